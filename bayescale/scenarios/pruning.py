"""The effect of data pruning on the loss: a scenario, or inferred if pruned runs were logged.

The law of the loss comes from the fit. How much a pruning metric is worth does not, unless the log
holds pruned runs (``kept_fraction``) and the law ``pruned`` was fitted. Otherwise it has a stated
prior, and every answer is labeled a scenario. Repeated tokens are worth less each time, according
to the law of repetition.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions import NATS, LossUnit
from bayescale.errors import ScenarioError, UnitError, collected, listed
from bayescale.laws.optimum import require_split
from bayescale.posterior import Fit, flop_count_of, loss_unit_of
from bayescale.posterior.methods import asks_fit
from bayescale.results import (
    DEFAULT_CI_PROB,
    Result,
    interval_text,
    quantiles,
    quantiles_by_rank,
    quantiles_in_row,
)
from bayescale.scenarios.pruned_loss import (
    assumed_values,
    by_fraction,
    growth_table,
    in_unit,
    make_losses,
    solve,
)
from bayescale.units import as_size, checked_ci_prob, format_size

FRACTIONS = tuple(np.geomspace(0.02, 1.0, 40).tolist())
"""Kept fractions where none are given."""

_MOST_LISTED = 8


@dataclass(frozen=True, eq=False)
class Pruning(Result):
    """The loss as a function of the share of the data that is kept.

    Attributes
    ----------
    law : str
    params, tokens, trained : float
        The size of the model; unique tokens before pruning; tokens to train on.
    flops : float
        The compute of training, as the fitted log counts it.
    keep : numpy.ndarray, shape (fraction,)
        Kept fractions, increasing to 1.
    loss : xarray.DataArray
        Dims (chain, draw, fraction), in ``loss_unit``: the mean over seeds, without drift.
    break_even, same_loss : xarray.DataArray
        Dims (chain, draw, fraction): the quality at which pruning makes no difference, and the
        training tokens that reach the loss of the whole data; infinite if none do.
    scenario : bool
        Whether the quality comes from a prior instead of pruned runs.
    assumed : mapping of str to mapping
        Quantiles of quality, floor and R_D, and where each comes from.
    growth : pandas.DataFrame
        One row per size of the same design: ``tokens`` (before pruning), ``params``, ``flops``, the
        plain law's interval there, drift included, the pruned loss, and ``outside``.
    """

    in_figures = True

    law: str
    params: float
    tokens: float
    trained: float
    flops: float
    keep: np.ndarray
    loss: xr.DataArray
    break_even: xr.DataArray
    same_loss: xr.DataArray
    ci_prob: float
    scenario: bool
    assumed: Mapping[str, Mapping[str, Any]]
    growth: pd.DataFrame
    provenance: Mapping[str, Any]
    loss_unit: LossUnit = NATS

    @property
    def gain(self) -> xr.DataArray:
        """How much lower the loss is than if everything is kept, (chain, draw, fraction)."""
        return self.loss.isel(fraction=-1) - self.loss

    @property
    def choice(self) -> int:
        """The position in ``keep`` of the fraction with the least expected loss."""
        return int(np.argmin(self.loss.mean(("chain", "draw")).values))

    @property
    def best(self) -> xr.DataArray:
        """The best fraction in each draw, dims (chain, draw)."""
        return xr.DataArray(self.keep, dims="fraction")[self.loss.argmin("fraction")]

    @property
    def p_beats(self) -> np.ndarray:
        """The probability that pruning beats keeping everything, shape (fraction,)."""
        return (self.gain > 0).mean(("chain", "draw")).values

    @property
    def saved(self) -> xr.DataArray:
        """The share of compute saved at the same loss; negative if more is needed."""
        return 1.0 - self.same_loss / self.trained

    @property
    def leaves_at(self) -> float | None:
        """Unique tokens at which the pruned curve leaves the plain law's interval, or None."""
        outside = self.growth.loc[self.growth["outside"], "tokens"]
        return float(outside.iloc[0]) if len(outside) else None

    @property
    def label(self) -> str:
        """``scenario`` or ``fit``."""
        return "scenario" if self.scenario else "fit"

    def _table(self) -> pd.DataFrame:
        """Return one row per fraction: loss, gain, probability, break-even quality and savings."""
        draws = {
            "loss": self.loss,
            "gain": self.gain,
            "break_even": self.break_even,
            "saved": self.saved,
        }
        rows = []
        for i, (fraction, p_beats) in enumerate(zip(self.keep, self.p_beats, strict=True)):
            row: dict[str, Any] = {
                "kept_fraction": float(fraction),
                "unique_tokens": float(fraction) * self.tokens,
                "epochs": max(self.trained / (float(fraction) * self.tokens), 1.0),
                "p_beats": float(p_beats),
            }
            for name, values in draws.items():
                q = quantiles_by_rank(values.isel(fraction=i), self.ci_prob)
                row |= {f"{name}_{key}": value for key, value in q.items()}
            rows.append(row | {"label": self.label})
        return pd.DataFrame(rows)

    def _json(self) -> dict[str, Any]:
        rows = [
            {name: row[name] for name in ("kept_fraction", "unique_tokens", "epochs", "p_beats")}
            | {
                name: quantiles_in_row(row, name)
                for name in ("loss", "gain", "break_even", "saved")
            }
            for row in self._table().to_dict("records")
        ]
        return {
            "law": self.law,
            "label": self.label,
            "unit": self.loss_unit.label,
            "interval": self.ci_prob,
            "params": self.params,
            "tokens": self.tokens,
            "trained_tokens": self.trained,
            "flops": self.flops,
            "best_fraction": self.best,
            "choice": rows[self.choice],
            "fractions": rows,
            "leaves_at_tokens": self.leaves_at,
            "assumed": self.assumed,
            "provenance": self.provenance,
        }

    def _content(self) -> Iterator[str]:
        mass, rows = f"{self.ci_prob:.0%}", self._table().to_dict("records")
        again = f", {self.trained / self.tokens:.3g} times" if self.trained > self.tokens else ""
        yield (
            f"{self.law}, {format_size(self.params)} params trained on {format_size(self.trained)} "
            f"tokens out of {format_size(self.tokens)} unique ones{again}"
            f"{' (scenario)' if self.scenario else ''}:"
        )
        yield f"  keep everything  {self._loss_text(rows[-1])}"
        if self.choice < len(rows) - 1:
            yield from self._fraction(rows[self.choice], "  least expected loss")
        else:
            yield "  No fraction has a lower expected loss than keeping everything."
        if len(rows) <= _MOST_LISTED:
            for i, row in enumerate(rows[:-1]):
                if i != self.choice:
                    yield from self._fraction(row)
        best = interval_text(quantiles(self.best, self.ci_prob), lambda x: f"{x:.2g}", self.ci_prob)
        yield f"  Best fraction by draw: {best}."
        at, last = self.leaves_at, float(self.growth["tokens"].iloc[-1])
        where = (
            f"stays inside the plain law's {mass} interval up to {format_size(last)} unique tokens."
            if at is None
            else f"leaves the plain law's {mass} interval at {format_size(at)} unique tokens."
        )
        yield f"  Grown in proportion, the pruned curve {where}"
        for name, value in self.assumed.items():
            text = interval_text(value, lambda x: f"{x:.3g}", self.ci_prob)
            yield f"  {name} {text}: {value['source']}"
        if self.scenario:
            yield (
                "  SCENARIO: no run in this fit was pruned. Log pilot runs with kept_fraction and "
                "fit the law pruned to infer what the metric is worth."
            )

    def _loss_text(self, row: Mapping[Any, Any]) -> str:
        lower, upper = row["loss_lower"], row["loss_upper"]
        mass = f"{self.ci_prob:.0%} interval"
        return f"loss {row['loss_median']:.4f}  ({mass} {lower:.4f} to {upper:.4f})"

    def _fraction(self, row: Mapping[Any, Any], remark: str = "") -> Iterator[str]:
        even, saved = quantiles_in_row(row, "break_even"), quantiles_in_row(row, "saved")
        yield f"  keep {row['kept_fraction']:.0%}  {self._loss_text(row)}{remark}"
        yield (
            f"    beats keeping everything with {row['p_beats']:.0%}; breaks even at quality "
            f"{interval_text(even, lambda x: f'{x:.3g}' if np.isfinite(x) else 'none')}"
        )
        yield (
            "    compute saved for the same loss "
            f"{interval_text(saved, lambda x: f'{x:.0%}' if np.isfinite(x) else 'out of reach')}"
        )


@asks_fit
def prune(  # noqa: PLR0913
    fit: Fit,
    *,
    params: float | str,
    tokens: float | str,
    keep: Sequence[float] | None = None,
    trained: float | str | None = None,
    quality: tuple[float, float] | None = None,
    floor: tuple[float, float] | None = None,
    repeat_worth: tuple[float, float] | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    family: str | None = None,
    loss_unit: str | LossUnit | None = None,
    allow_unconverged: bool = False,
) -> Pruning:
    """Compute the loss if only a part of the data is kept.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of laws of params and tokens. The worth of the metric is inferred from the runs of a
        fit of the law ``pruned``, and has a prior with any other law.
    params : float or str
        The size of the model.
    tokens : float or str
        Unique tokens before pruning.
    keep : sequence of float, optional
        Fractions to keep, above 0 and at most 1; forty from 0.02 on by default. Keeping everything
        is always among them.
    trained : float or str, optional
        Tokens to train on; ``tokens`` by default, so that compute is the same for every fraction
        and kept tokens are repeated.
    quality, floor, repeat_worth : pair of float, optional
        Your 90 % intervals of the worth of the metric, of the fraction below which it does not
        help, and of R_D, the worth of repeats; by default those of the card ``pruned``. Do not give
        them for coefficients of the fit.
    ci_prob : float
        Mass of the central intervals.
    family, loss_unit : str, optional
        See :func:`bayescale.forecast`.
    allow_unconverged : bool
        Compute the answer even if the fit failed its convergence checks.

    Returns
    -------
    Pruning

    Raises
    ------
    ScenarioError
        If values are out of range; lists all problems.
    LawError
        If the law is not of params and tokens.
    UnconvergedError
        If the fit failed its convergence checks.

    Notes
    -----
    Fractions are compared without drift; the plain law's interval along growth allows for drift.
    Laws without repetition are evaluated at the effective number of tokens, and do not account for
    excess parameters. Repetition follows Muennighoff et al. 2023. Sorscher et al. 2022 and
    :mod:`bayescale.scenarios.perceptron` explain why pruning can beat a power law, and the floor.

    Examples
    --------
    A metric that loses nothing (quality 2, no floor), with repeats that are as good as new data:

    >>> from bayescale.cards import load_card
    >>> from bayescale.posterior import point
    >>> card = load_card("chinchilla")
    >>> law = point(card, card.published_values("besiroglu_2024"))
    >>> sure = dict(quality=(1.999, 2.001), floor=(1e-9, 2e-9), repeat_worth=(1e8, 2e8))
    >>> result = prune(law, params=7e9, tokens=1e11, keep=[0.5], trained=1e11, **sure)
    >>> round(result.to_json()["choice"]["saved"]["median"], 2)
    0.5
    """
    ci_prob, unit = checked_ci_prob(ci_prob), loss_unit_of(fit, loss_unit)
    for member in fit.members:
        require_split(member.law)
    fit.require_converged(allow_unconverged)
    sizes = {"params": params, "tokens": tokens, "trained": tokens if trained is None else trained}
    stated = {"quality": quality, "floor": floor, "R_D": repeat_worth}
    params, tokens, trained = _checked(fit, sizes, keep, stated)
    fractions = np.unique([*(FRACTIONS if keep is None else keep), 1.0])

    assumptions, parts, losses_of = [], [], []
    for member in fit.members:
        values, assumed = assumed_values(member, family, stated, ci_prob)
        losses = make_losses(member, values)
        assumptions.append(assumed)
        losses_of.append(losses)
        parts.append(solve(losses, values, params, tokens, trained, fractions))
    loss, break_even, same_loss = (
        fit.mix([by_fraction(x) for x in each]) for each in zip(*parts, strict=True)
    )
    best = float(fractions[np.argmin(loss.mean(("chain", "draw")).values)])
    # if keeping everything is best, growth is computed for the least pruning
    followed = best if best < 1 else float(fractions[max(len(fractions) - 2, 0)])
    growth = growth_table(fit, losses_of, params, tokens, trained, followed, ci_prob, family)
    return Pruning(
        law=fit.name,
        params=params,
        tokens=tokens,
        trained=trained,
        flops=flop_count_of(fit).flops(params, trained),
        keep=fractions,
        loss=unit.of(loss),
        break_even=break_even,
        same_loss=same_loss,
        ci_prob=ci_prob,
        scenario=any("quality" not in member.law.coefficients for member in fit.members),
        assumed=assumptions[0],
        growth=in_unit(growth, unit),
        provenance=fit.record["provenance"],
        loss_unit=unit,
    )


def _checked(
    fit: Fit,
    sizes: Mapping[str, float | str],
    keep: Sequence[float] | None,
    stated: Mapping[str, tuple[float, float] | None],
) -> list[float]:
    """Return the sizes as raw counts, or raise an error that lists all problems."""
    problems, counts = [], []
    for name, value in sizes.items():
        try:
            counts.append(as_size(value, name))
        except UnitError as error:
            problems.append(str(error))
    wrong = [f for f in keep or () if not 0 < f <= 1]
    if wrong:
        problems.append(
            f"keep has {listed(f'{f:g}' for f in wrong)}, but a kept fraction must be above 0 and "
            "at most 1"
        )
    inferred = {name for member in fit.members for name in member.law.coefficients}
    for name, pair in stated.items():
        if pair is None:
            continue
        if not 0 < pair[0] < pair[1] < np.inf:
            problems.append(
                f"{name} is {pair[0]:g} to {pair[1]:g}, but needs two numbers above zero, the "
                "lower one first: the ends of a 90 % interval"
            )
        if name in inferred:
            problems.append(f"{name} was inferred by this fit of {fit.name}: do not give it")
    if problems:
        raise ScenarioError(collected("this pruning cannot be computed:", problems))
    return counts
