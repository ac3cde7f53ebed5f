"""The data that models need before they overfit, along a range of sizes: the line D(N)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.decisions.data_budget import OVERFIT, checked_overfit, overfit_bound
from bayescale.errors import DecisionError, collected
from bayescale.laws.law import require_split
from bayescale.posterior import DEFAULT_CI_PROB, Fit, finite, quantiles, quantiles_by_rank
from bayescale.units import format_size

KAPLAN = (5e3, 0.74)
"""Kaplan et al. 2020, equation 4.4: tokens of at least 5e3 N^0.74, for overfit of 0.02.

Its params leave embeddings out, and its tokens are WebText2's.
"""


@dataclass(frozen=True, eq=False)
class OverfitLine:
    """Tokens that models of several sizes need to keep to a bound on overfit.

    Attributes
    ----------
    params : numpy.ndarray, shape (model,)
        Ascending, as raw counts.
    overfit : float
        The bound on L(N, D) / L(N, endless data) - 1.
    needed : xarray.DataArray
        Dims (chain, draw, model): the least tokens; infinite where none are enough.
    exponent : xarray.DataArray or None
        Dims (chain, draw): b in tokens ~ params^b between the ends of the line; None for one
        size, or where some draw's tokens are endless.
    by_law : tuple of OverfitLine
        What each law of a pool says; empty for one law.
    """

    law: str
    params: np.ndarray
    overfit: float
    needed: xr.DataArray
    exponent: xr.DataArray | None
    ci_prob: float
    provenance: Mapping[str, Any]
    by_law: tuple["OverfitLine", ...] = ()
    weights: tuple[float, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """One row a size.

        Returns
        -------
        pandas.DataFrame
            ``params``; ``tokens_median``, ``tokens_lower`` and ``tokens_upper``, infinite where
            no amount is enough; ``p_reachable``; the median of each law of a pool as
            ``tokens_NAME``; and ``kaplan``, the published line, NaN for another bound than its.
        """
        rows = []
        for i, params in enumerate(self.params):
            draws = self.needed.isel(model=i)
            tokens = quantiles_by_rank(draws, self.ci_prob)
            row = {"params": params} | {f"tokens_{name}": x for name, x in tokens.items()}
            row["p_reachable"] = float(np.isfinite(draws).mean())
            for law in self.by_law:
                own = quantiles_by_rank(law.needed.isel(model=i), self.ci_prob)
                row[f"tokens_{law.law}"] = own["median"]
            rows.append(row)
        factor, power = KAPLAN
        frame = pd.DataFrame(rows)
        line = factor * frame["params"] ** power
        return frame.assign(kaplan=line if self.overfit == OVERFIT else np.nan)

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is endless or not known is None."""
        rows = [
            {"params": float(params), "p_reachable": row["p_reachable"],
             "kaplan": finite(row["kaplan"]),
             "tokens_needed": {
                 name: finite(row[f"tokens_{name}"]) for name in ("median", "lower", "upper")
             }}
            for params, row in zip(self.params, self.to_frame().to_dict(orient="records"),
                                   strict=True)
        ]  # fmt: skip
        return {
            "law": self.law,
            "interval": self.ci_prob,
            "overfit": self.overfit,
            "models": rows,
            "exponent": None if self.exponent is None else quantiles(self.exponent, self.ci_prob),
            "laws": {
                law.law: {"weight": weight, "models": law.to_json()["models"]}
                for law, weight in zip(self.by_law, self.weights, strict=True)
            },
            "provenance": dict(self.provenance),
        }

    def __str__(self) -> str:
        frame = self.to_frame()
        lines = [
            f"{self.law}: tokens needed for overfit of at most {self.overfit:.3g}",
            f"{'params':>8}  {'tokens':>13}  {f'{self.ci_prob:.0%} interval':>30}"
            + ("  Kaplan et al." if frame["kaplan"].notna().any() else ""),
        ]
        for row in frame.to_dict(orient="records"):
            lower, median, upper = (
                _told(row[f"tokens_{name}"]) for name in ("lower", "median", "upper")
            )
            published = "" if np.isnan(row["kaplan"]) else format_size(row["kaplan"])
            lines.append(
                f"{format_size(row['params']):>8}  {median:>13}  {f'{lower} to {upper}':>30}  "
                f"{published:>13}".rstrip()
            )
        if self.exponent is not None:
            b = quantiles(self.exponent, self.ci_prob)
            lines.append(
                f"Tokens grow as params^{b['median']:.3f} ({self.ci_prob:.0%} interval "
                f"{b['lower']:.3f} to {b['upper']:.3f})."
            )
        lines.append("The laws are taken to hold exactly: drift has no say on endless data.")
        return "\n".join(lines)


def _told(tokens: float) -> str:
    return format_size(tokens) if np.isfinite(tokens) else "out of reach"


def overfit_line(
    fit: Fit,
    params: Sequence[float] | np.ndarray,
    *,
    overfit: float = OVERFIT,
    ci_prob: float = DEFAULT_CI_PROB,
    family: str | None = None,
    allow_unconverged: bool = False,
) -> OverfitLine:
    """Tokens that models along a range of sizes need before they overfit.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        Of laws of params and tokens.
    params : array_like, shape (model,)
        Sizes, as raw counts.
    overfit : float
        Bound on L(N, D) / L(N, endless data) - 1.
    interval, family, allow_unconverged
        As for :func:`bayescale.data_budget`, which answers for one size.

    Returns
    -------
    OverfitLine

    Raises
    ------
    DecisionError
        If a size or the bound is not finite and above zero, or there is no size.
    LawError
        If the law is not of params and tokens, or has no value for endless data.
    UnconvergedError
        If the fit failed its convergence gate.

    Notes
    -----
    After Kaplan et al. 2020, section 4.2. The law is taken to hold exactly.

    Examples
    --------
    >>> from bayescale.cards import load_card
    >>> from bayescale.posterior import point
    >>> card = load_card("kaplan")
    >>> kaplan = point(card, card.published_values("kaplan_2020"))
    >>> line = overfit_line(kaplan, [1e8, 1e9])
    >>> [f"{tokens:.3e}" for tokens in line.needed.values.ravel()]
    ['4.414e+09', '2.414e+10']
    """
    for member in fit.members:
        require_split(member.law)
    fit.require_converged(allow_unconverged)
    checked_overfit(overfit)
    sizes = _sizes(params)

    def told(fit: Fit, needed: list[xr.DataArray], **more: Any) -> OverfitLine:
        return OverfitLine(
            law=fit.name,
            params=sizes,
            overfit=overfit,
            needed=fit.mix(needed),
            exponent=_exponent(fit, needed, sizes),
            ci_prob=ci_prob,
            provenance=fit.record["provenance"],
            **more,
        )

    each = []
    for member in fit.members:
        needed = overfit_bound(member, "params", overfit, family)
        each.append(xr.concat([needed(float(size)) for size in sizes], dim="model"))
    if len(each) == 1:
        return told(fit, each)
    own = zip(fit.members, each, strict=True)
    return told(fit, each, by_law=tuple(told(m, [line]) for m, line in own), weights=fit.weights)


def _exponent(fit: Fit, needed: list[xr.DataArray], sizes: np.ndarray) -> xr.DataArray | None:
    if len(sizes) < 2 or not all(np.isfinite(line).all() for line in needed):
        return None
    span = np.log(sizes[-1] / sizes[0])
    return fit.mix([np.log(line.isel(model=-1) / line.isel(model=0)) / span for line in needed])


def _sizes(params: Sequence[float] | np.ndarray) -> np.ndarray:
    """Distinct sizes, ascending."""
    sizes = np.unique(np.atleast_1d(np.asarray(params, dtype=float)))
    wrong = [f"{size:g}" for size in sizes if not 0 < size < np.inf]
    if not len(sizes):
        raise DecisionError("an overfit line needs one size or more, in params, and none is given")
    if wrong:
        raise DecisionError(collected("these sizes are not finite and above zero:", wrong))
    return sizes
