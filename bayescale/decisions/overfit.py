"""The fewest tokens with which models of several sizes do not overfit: the line D(N)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.agreement import disagreement
from bayescale.decisions.data_answer import EXACT_LAW, size_text
from bayescale.decisions.data_budget import OVERFIT, checked_overfit, overfit_bound
from bayescale.errors import DecisionError, UnitError, collected
from bayescale.laws.optimum import require_split
from bayescale.posterior import Fit
from bayescale.posterior.methods import asks_fit
from bayescale.results import (
    DEFAULT_CI_PROB,
    Result,
    TextTable,
    interval_text,
    laws_json,
    quantiles,
    quantiles_by_rank,
    with_each_law,
)
from bayescale.units import as_size, checked_ci_prob, format_size

KAPLAN = (5e3, 0.74)
"""Kaplan et al. 2020, equation 4.4: tokens of at least 5e3 N^0.74, for overfit of 0.02.

Its params leave embeddings out, and its tokens are WebText2's.
"""


UNKNOWN = "-"
"""What a table shows if the laws disagree."""


@dataclass(frozen=True, eq=False)
class OverfitLine(Result):
    """Tokens that models of several sizes need to keep to a bound on overfit.

    Attributes
    ----------
    params : numpy.ndarray, shape (model,)
        Sizes in ascending order, as raw counts.
    overfit : float
        The bound on L(N, D) / L(N, infinite data) - 1.
    needed : xarray.DataArray
        Dims (chain, draw, model): the fewest tokens; infinite if no number is enough.
    exponent : xarray.DataArray or None
        Dims (chain, draw): b in tokens ~ params^b between the ends of the line; None for one size,
        or if the tokens of a draw are infinite.
    by_law : tuple of OverfitLine
        Each law's own line, for an average of laws; empty for one law.

    Notes
    -----
    :meth:`to_frame` has one row per size: ``params``; ``tokens_median``, ``tokens_lower`` and
    ``tokens_upper``, infinite if no amount is enough; ``p_reachable``; the median of each law of an
    average as ``tokens_NAME``; ``why``, which says how the laws of an average disagree, in which
    case tokens and probability are NaN; and ``kaplan``, the published line, NaN for a bound other
    than 0.02.
    """

    in_figures = True

    law: str
    params: np.ndarray
    overfit: float
    needed: xr.DataArray
    exponent: xr.DataArray | None
    ci_prob: float
    provenance: Mapping[str, Any]
    by_law: tuple["OverfitLine", ...] = ()
    weights: tuple[float, ...] = ()

    def _table(self) -> pd.DataFrame:
        rows = []
        for i, params in enumerate(self.params):
            apart = disagreement(self, lambda line, i=i: line.needed.isel(model=i), "tokens")
            draws = self.needed.isel(model=i)
            draws = draws if apart is None else draws * np.nan
            tokens = quantiles_by_rank(draws, self.ci_prob)
            row: dict[str, Any] = {"params": params, "why": apart}
            row |= {f"tokens_{name}": x for name, x in tokens.items()}
            row["p_reachable"] = np.nan if apart else float(np.isfinite(draws).mean())
            for law in self.by_law:
                own = quantiles_by_rank(law.needed.isel(model=i), self.ci_prob)
                row[f"tokens_{law.law}"] = own["median"]
            rows.append(row)
        factor, power = KAPLAN
        frame = pd.DataFrame(rows)
        line = factor * frame["params"] ** power
        return frame.assign(kaplan=line if self.overfit == OVERFIT else np.nan)

    @property
    def disagrees(self) -> bool:
        """Whether the laws of an average disagree at any size."""
        return bool(self.to_frame()["why"].notna().any())

    def _models(self) -> dict[str, Any]:
        rows = self.to_frame().to_dict(orient="records")
        kept = ("params", "p_reachable", "kaplan", "why")
        return {
            "models": [
                {key: row[key] for key in kept}
                | {"tokens_needed": {q: row[f"tokens_{q}"] for q in ("median", "lower", "upper")}}
                for row in rows
            ]
        }

    def _json(self) -> dict[str, Any]:
        return {
            "law": self.law,
            "interval": self.ci_prob,
            "overfit": self.overfit,
            **self._models(),
            "exponent": None if self.disagrees else self.exponent,
            "laws": laws_json(self, OverfitLine._models),
            "provenance": self.provenance,
        }

    def _content(self) -> Iterator[str | TextTable]:
        yield f"{self.law}: tokens needed for overfit of at most {self.overfit:.3g}"
        frame = self.to_frame()
        published = frame["kaplan"].notna().any()
        rows = []
        for row in frame.to_dict(orient="records"):
            lower, median, upper = (
                size_text(row[f"tokens_{name}"], UNKNOWN if row["why"] else "out of reach")
                for name in ("lower", "median", "upper")
            )
            cells = {
                "params": format_size(row["params"]),
                "tokens": median,
                f"{self.ci_prob:.0%} interval": f"{lower} to {upper}",
            }
            if published:
                cells["Kaplan et al."] = format_size(row["kaplan"])
            rows.append(cells)
        yield TextTable.of(rows)
        yield from frame["why"].dropna()
        if self.exponent is not None and not self.disagrees:
            exponent = quantiles(self.exponent, self.ci_prob)
            text = interval_text(exponent, lambda x: f"{x:.3f}", self.ci_prob)
            yield f"Tokens grow as params^{text}."
        yield EXACT_LAW


@asks_fit
def overfit_line(
    fit: Fit,
    params: Sequence[float] | np.ndarray,
    *,
    overfit: float = OVERFIT,
    ci_prob: float = DEFAULT_CI_PROB,
    family: str | None = None,
    allow_unconverged: bool = False,
) -> OverfitLine:
    """Return the fewest tokens with which models of several sizes do not overfit.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of laws of params and tokens.
    params : array_like, shape (model,)
        Sizes, as raw counts.
    overfit : float
        Bound on L(N, D) / L(N, infinite data) - 1.
    ci_prob, family, allow_unconverged
        As for :func:`bayescale.data_budget`, which answers for a single size.

    Returns
    -------
    OverfitLine

    Raises
    ------
    DecisionError
        If a size or the bound is not finite and above zero, or no size is given.
    LawError
        If the law is not a function of params and tokens, or has no value for unlimited data.
    UnconvergedError
        If the fit failed its convergence checks.

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

    def result(fit: Fit, needed: list[xr.DataArray], **more: Any) -> OverfitLine:
        return OverfitLine(
            law=fit.name,
            params=sizes,
            overfit=overfit,
            needed=fit.mix(needed),
            exponent=_exponent(fit, needed, sizes),
            ci_prob=checked_ci_prob(ci_prob),
            provenance=fit.record["provenance"],
            **more,
        )

    each = []
    for member in fit.members:
        needed = overfit_bound(member, "params", overfit, family)
        each.append(xr.concat([needed(float(size)) for size in sizes], dim="model"))
    return with_each_law(fit, each, result)


def _exponent(fit: Fit, needed: list[xr.DataArray], sizes: np.ndarray) -> xr.DataArray | None:
    if len(sizes) < 2 or not all(np.isfinite(line).all() for line in needed):
        return None
    span = np.log(sizes[-1] / sizes[0])
    return fit.mix([np.log(line.isel(model=-1) / line.isel(model=0)) / span for line in needed])


def _sizes(params: Sequence[float | str] | np.ndarray) -> np.ndarray:
    """Return distinct sizes in ascending order."""
    sizes, problems = [], []
    for i, size in enumerate(np.atleast_1d(np.asarray(params)).tolist()):
        try:
            sizes.append(as_size(size, f"params[{i}]"))
        except UnitError as error:
            problems.append(str(error))
    if problems:
        raise DecisionError(collected("these sizes cannot be used:", problems))
    if not sizes:
        raise DecisionError("`params=` has no size, but an overfit line needs at least one")
    return np.unique(sizes)
