"""What pruning the data would do to the loss: a scenario, or a fit where pruned runs were logged.

The law of the loss comes from the fit. What a pruning metric is worth does not, unless the log
holds pruned runs (``kept_fraction``) and the law ``pruned`` was fitted: until then it is a stated
prior, and every answer is labeled a scenario. Kept tokens that have to be repeated are worth less
each time, as the law of repetition says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.cards import Described, Prior, load_card
from bayescale.errors import ScenarioError, collected, listed
from bayescale.laws import worth
from bayescale.laws.law import FLOP_PER_PARAM_TOKEN
from bayescale.laws.optimum import require_split
from bayescale.laws.repetition import effective
from bayescale.posterior import (
    DEFAULT_CI_PROB,
    Fit,
    Posterior,
    finite,
    quantiles,
    quantiles_by_rank,
)
from bayescale.random import Purpose
from bayescale.units import format_size

FRACTIONS = tuple(np.geomspace(0.02, 1.0, 40).tolist())
"""Kept fractions that are looked at where none are named."""

_ASSUMED = ("quality", "floor", "R_D")
_HALVINGS = 50
_MOST_TOLD = 8
_OF_A_POINT = 1000
_FURTHEST = 1e3  # times the tokens, in looking for the same loss
_GROWTH = np.geomspace(1.0, 1e4, 33)  # times the tokens, in looking for where curves part
_QUALITIES = (0.01, 100.0)


@dataclass(frozen=True, eq=False)
class Pruning:
    """The loss against the share of the data that is kept.

    Attributes
    ----------
    law : str
    params, tokens, trained : float
        Of the model; unique tokens before pruning; tokens that it is trained on.
    keep : numpy.ndarray, shape (fraction,)
        Kept fractions, increasing to 1.
    loss : xarray.DataArray
        Dims (chain, draw, fraction), nats per token, the mean of runs by the law as it stands.
    break_even, same_loss : xarray.DataArray
        Dims (chain, draw, fraction): the quality at which pruning does neither good nor harm, and
        the tokens trained on that reach the loss of the whole data; infinite where none do.
    scenario : bool
        Whether the quality is a prior and not learnt from pruned runs.
    assumed : mapping of str to mapping
        Quantiles of quality, floor and R_D, and where each comes from.
    growth : pandas.DataFrame
        One row a size of the same design: ``tokens`` (before pruning), ``params``, ``flops``, the
        plain law's interval there, drift included, the pruned loss, and ``outside``.
    """

    law: str
    params: float
    tokens: float
    trained: float
    keep: np.ndarray
    loss: xr.DataArray
    break_even: xr.DataArray
    same_loss: xr.DataArray
    ci_prob: float
    scenario: bool
    assumed: Mapping[str, Mapping[str, Any]]
    growth: pd.DataFrame
    provenance: Mapping[str, Any]

    @property
    def gain(self) -> xr.DataArray:
        """Nats per token by which pruning beats keeping everything, (chain, draw, fraction)."""
        return self.loss.isel(fraction=-1) - self.loss

    @property
    def choice(self) -> int:
        """The place in ``keep`` of the least expected loss."""
        return int(np.argmin(self.loss.mean(("chain", "draw")).values))

    @property
    def best(self) -> xr.DataArray:
        """Each draw's own best fraction, dims (chain, draw)."""
        return xr.DataArray(self.keep, dims="fraction")[self.loss.argmin("fraction")]

    @property
    def p_beats(self) -> np.ndarray:
        """The chance that pruning beats keeping everything, shape (fraction,)."""
        return (self.gain > 0).mean(("chain", "draw")).values

    @property
    def saved(self) -> xr.DataArray:
        """The share of compute saved for the same loss; negative where more is needed."""
        return 1.0 - self.same_loss / self.trained

    @property
    def leaves_at(self) -> float | None:
        """Unique tokens at which the pruned curve leaves the plain law's interval, if it does."""
        outside = self.growth.loc[self.growth["outside"], "tokens"]
        return float(outside.iloc[0]) if len(outside) else None

    @property
    def label(self) -> str:
        """``scenario`` or ``fit``."""
        return "scenario" if self.scenario else "fit"

    def to_frame(self) -> pd.DataFrame:
        """One row a fraction: loss, gain, chance, break-even quality and compute saved."""
        each = {
            "loss": self.loss,
            "gain": self.gain,
            "break_even": self.break_even,
            "saved": self.saved,
        }
        rows, p_beats = [], self.p_beats
        for i, fraction in enumerate(self.keep):
            row: dict[str, Any] = {
                "kept_fraction": float(fraction),
                "unique_tokens": float(fraction) * self.tokens,
                "epochs": max(self.trained / (float(fraction) * self.tokens), 1.0),
                "p_beats": float(p_beats[i]),
            }
            for name, draws in each.items():
                q = quantiles_by_rank(draws.isel(fraction=i), self.ci_prob)
                row |= {f"{name}_{key}": value for key, value in q.items()}
            rows.append(row | {"label": self.label})
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""
        frame = self.to_frame()

        def q(row: Any, name: str) -> dict[str, float | None]:
            return {key: finite(row[f"{name}_{key}"]) for key in ("median", "lower", "upper")}

        rows = [
            {
                **{k: row[k] for k in ("kept_fraction", "unique_tokens", "epochs", "p_beats")},
                **{name: q(row, name) for name in ("loss", "gain", "break_even", "saved")},
            }
            for row in frame.to_dict("records")
        ]
        return {
            "law": self.law,
            "label": self.label,
            "interval": self.ci_prob,
            "params": self.params,
            "tokens": self.tokens,
            "trained_tokens": self.trained,
            "flops": FLOP_PER_PARAM_TOKEN * self.params * self.trained,
            "best_fraction": quantiles(self.best, self.ci_prob),
            "choice": rows[self.choice],
            "fractions": rows,
            "leaves_at_tokens": self.leaves_at,
            "assumed": {name: dict(told) for name, told in self.assumed.items()},
            "provenance": dict(self.provenance),
        }

    def __str__(self) -> str:
        mass, best = f"{self.ci_prob:.0%}", quantiles(self.best, self.ci_prob)
        again = f", {self.trained / self.tokens:.3g} times" if self.trained > self.tokens else ""
        lines = [
            f"{self.law}, {format_size(self.params)} params trained on {format_size(self.trained)} "
            f"tokens out of {format_size(self.tokens)} unique ones{again}"
            + (" (scenario):" if self.scenario else ":")
        ]
        frame = self.to_frame()
        chosen, whole = frame.iloc[self.choice], frame.iloc[-1]
        lines.append(
            f"  keep everything  loss {whole['loss_median']:.4f}  ({mass} interval "
            f"{whole['loss_lower']:.4f} to {whole['loss_upper']:.4f})"
        )
        if self.choice < len(self.keep) - 1:
            lines += self._fraction(chosen, "least expected loss")
        else:
            lines.append("  No fraction has a lower expected loss than keeping everything.")
        others = frame[frame["kept_fraction"] < 1].drop(index=self.choice, errors="ignore")
        if len(self.keep) <= _MOST_TOLD:
            for _, row in others.iterrows():
                lines += self._fraction(row, "")
        lines.append(
            f"  Best fraction by draw: {best['median']:.2g} ({mass} interval {best['lower']:.2g} "
            f"to {best['upper']:.2g})."
        )
        at = self.leaves_at
        lines.append(
            "  Grown in proportion, the pruned curve "
            + (
                f"leaves the plain law's {mass} interval at {format_size(at)} unique tokens."
                if at is not None
                else f"stays inside the plain law's {mass} interval up to "
                f"{format_size(float(self.growth['tokens'].iloc[-1]))} unique tokens."
            )
        )
        for name, told in self.assumed.items():
            lines.append(
                f"  {name} {told['median']:.3g} ({mass} interval {told['lower']:.3g} to "
                f"{told['upper']:.3g}): {told['source']}"
            )
        if self.scenario:
            lines.append(
                "  SCENARIO: no run in this fit was pruned. Log pilot runs with kept_fraction and "
                "fit the law pruned to learn what the metric is worth."
            )
        return "\n".join(lines)

    def _fraction(self, row: pd.Series, what: str) -> list[str]:
        mass = f"{self.ci_prob:.0%}"
        saved = [_share(row[f"saved_{q}"]) for q in ("median", "lower", "upper")]
        even = [_plain(row[f"break_even_{q}"]) for q in ("median", "lower", "upper")]
        return [
            f"  keep {row['kept_fraction']:.0%}  loss {row['loss_median']:.4f}  ({mass} interval "
            f"{row['loss_lower']:.4f} to {row['loss_upper']:.4f})" + (f"  {what}" if what else ""),
            f"    beats keeping everything with {row['p_beats']:.0%}; breaks even at quality "
            f"{even[0]} ({even[1]} to {even[2]})",
            f"    compute saved for the same loss {saved[0]} ({saved[1]} to {saved[2]})",
        ]


def prune(
    fit: Fit,
    *,
    params: float,
    tokens: float,
    keep: Sequence[float] | None = None,
    trained: float | None = None,
    quality: tuple[float, float] | None = None,
    floor: tuple[float, float] | None = None,
    repeat_worth: tuple[float, float] | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    family: str | None = None,
    allow_unconverged: bool = False,
) -> Pruning:
    """The loss when only part of the data is kept, and whether that beats keeping everything.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        Of laws of params and tokens. A fit of the law ``pruned`` knows what its runs said of the
        metric; for any other that is a prior.
    params : float
        Of the model.
    tokens : float
        Unique tokens before pruning.
    keep : sequence of float, optional
        Fractions to keep, above 0 and at most 1; forty from 0.02 on where not given. Keeping
        everything is always among them.
    trained : float, optional
        Tokens to train on; ``tokens`` where not given, so that compute is the same for every
        fraction and kept tokens are repeated.
    quality, floor, repeat_worth : pair of float, optional
        Your own 90 % intervals of what the metric is worth, of the fraction below which it helps
        no more, and of R_D, which says what repeats are worth; those of the card ``pruned`` where
        not given. Not for coefficients that the fit has learnt.
    ci_prob : float
        Mass of the central intervals.
    family : str, optional
        As for :func:`bayescale.forecast`.
    allow_unconverged : bool
        Answer although the convergence gate was missed.

    Returns
    -------
    Pruning

    Raises
    ------
    ScenarioError
        With everything that is wrong with the values given.
    LawError
        If the law is not of params and tokens.
    UnconvergedError
        If the fit failed its convergence gate.

    Notes
    -----
    Fractions are compared by the law as it stands; the plain law's interval along growth allows
    for drift. Laws that know no repetition take the tokens' effective number for their tokens,
    and no account of parameters in excess. Repetition after Muennighoff et al. 2023; why pruning
    can beat a power law, and the floor: Sorscher et al. 2022 and
    :mod:`bayescale.scenarios.perceptron`.

    Examples
    --------
    A metric that loses nothing (quality 2, no floor), with endless worth of repeats:

    >>> from bayescale.posterior import point
    >>> card = load_card("chinchilla")
    >>> law = point(card, card.published_values("besiroglu_2024"))
    >>> sure = dict(quality=(1.999, 2.001), floor=(1e-9, 2e-9), repeat_worth=(1e8, 2e8))
    >>> result = prune(law, params=7e9, tokens=1e11, keep=[0.5], trained=1e11, **sure)
    >>> round(result.to_json()["choice"]["saved"]["median"], 2)
    0.5
    """
    for member in fit.members:
        require_split(member.law)
    fit.require_converged(allow_unconverged)
    trained = tokens if trained is None else trained
    stated = {"quality": quality, "floor": floor, "R_D": repeat_worth}
    _require(fit, params, tokens, trained, keep, stated)
    fractions = np.unique([*(FRACTIONS if keep is None else keep), 1.0])

    known, parts, grown = [], [], []
    for member in fit.members:
        values, assumed = _values(member, family, stated, ci_prob)
        losses = _losses(member, values)
        known.append(assumed)
        parts.append(_solve(losses, values, params, tokens, trained, fractions))
        grown.append((member, losses))
    loss, break_even, same_loss = (
        fit.mix([_labeled(x) for x in each]) for each in zip(*parts, strict=True)
    )
    best = float(fractions[np.argmin(loss.mean(("chain", "draw")).values)])
    # where keeping everything is best, growth is told of the least pruning that was looked at
    followed = best if best < 1 else float(fractions[max(len(fractions) - 2, 0)])
    return Pruning(
        law=fit.name,
        params=params,
        tokens=tokens,
        trained=trained,
        keep=fractions,
        loss=loss,
        break_even=break_even,
        same_loss=same_loss,
        ci_prob=ci_prob,
        scenario=any("quality" not in member.law.coefficients for member in fit.members),
        assumed=known[0],
        growth=_growth(fit, grown, params, tokens, trained, followed, ci_prob, family),
        provenance=fit.record["provenance"],
    )


def _require(
    fit: Fit,
    params: float,
    tokens: float,
    trained: float,
    keep: Sequence[float] | None,
    stated: Mapping[str, tuple[float, float] | None],
) -> None:
    problems = [
        f"{name} is {value:g}, but must be finite and above zero"
        for name, value in {"params": params, "tokens": tokens, "trained": trained}.items()
        if not 0 < value < np.inf
    ]
    wrong = [f for f in keep or () if not 0 < f <= 1]
    if wrong:
        problems.append(
            f"keep has {listed(f'{f:g}' for f in wrong)}, but a kept fraction is above 0 and at "
            "most 1"
        )
    learnt = {name for member in fit.members for name in member.law.coefficients}
    for name, pair in stated.items():
        if pair is None:
            continue
        if not 0 < pair[0] < pair[1] < np.inf:
            problems.append(
                f"{name} is {pair[0]:g} to {pair[1]:g}, but needs two numbers above zero, the "
                "lower one first: the ends of a 90 % interval"
            )
        if name in learnt:
            problems.append(f"{name} was learnt by this fit of {fit.name}: do not give it")
    if problems:
        raise ScenarioError(collected("this pruning cannot be computed:", problems))


def _values(
    member: Posterior,
    family: str | None,
    stated: Mapping[str, tuple[float, float] | None],
    ci_prob: float,
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
    """Draws of coefficients and of what is assumed, (chain, draw), and where that comes from."""
    values = _plain_draws(member, family)
    shape = next(iter(values.values())).shape
    if shape == (1, 1):  # a point estimate, about which what is assumed still varies
        shape = (1, _OF_A_POINT)
    card, told = load_card("pruned"), {}
    for name in _ASSUMED:
        pair = stated[name]
        if name in values:
            source = "learnt from the runs"
        else:
            described: Described = card.coefficients[name]
            prior = described.prior if pair is None else Prior(low=pair[0], high=pair[1])
            values[name] = prior.frozen.rvs(
                size=shape, random_state=member.rng(Purpose[f"PRUNING_{name.upper()}"])
            )
            source = "prior of the card pruned" if pair is None else "prior as given"
        told[name] = quantiles(xr.DataArray(values[name], dims=("chain", "draw")), ci_prob)
        told[name]["source"] = source
    return values, told


Losses = Callable[..., np.ndarray]
"""``losses(params, tokens, unique_tokens, kept_fraction, quality)``, (chain, draw, ...)."""


def _losses(member: Posterior, values: Mapping[str, np.ndarray]) -> Losses:
    law = member.law

    draws = {name: x[..., None] for name, x in values.items()}

    def losses(params: Any, tokens: Any, unique: Any, kept: Any, quality: Any = None) -> np.ndarray:
        v = draws if quality is None else {**draws, "quality": quality}
        each = worth(kept, quality=v["quality"], floor=v["floor"])
        tokens, unique = tokens * each, np.minimum(unique, tokens) * each
        coefficients = {name: v[name] for name in law.coefficients}
        if "kept_fraction" in law.inputs:  # its worth is counted in already
            return law.loss(params, tokens, unique, 1.0, **coefficients)
        if "unique_tokens" in law.inputs:
            return law.loss(params, tokens, unique, **coefficients)
        return law.loss(params, effective(tokens, unique, v["R_D"]), **coefficients)

    return losses


def _solve(
    losses: Losses,
    values: Mapping[str, np.ndarray],
    params: float,
    tokens: float,
    trained: float,
    keep: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The loss by fraction, the break-even quality, and the tokens that reach the whole's loss."""
    loss = losses(params, trained, keep * tokens, keep)
    whole = loss[..., -1:]

    def by_quality(log_quality: np.ndarray) -> np.ndarray:
        return losses(params, trained, keep * tokens, keep, np.exp(log_quality)) - whole

    def by_tokens(log_tokens: np.ndarray) -> np.ndarray:
        return losses(params, np.exp(log_tokens), keep * tokens, keep) - whole

    low, high = np.log(_QUALITIES)
    break_even = _falls_to_zero(by_quality, low, high, loss.shape)
    break_even[..., keep == 1] = np.nan  # nothing is pruned
    middle, span = np.log(trained), np.log(_FURTHEST)
    return loss, break_even, _falls_to_zero(by_tokens, middle - span, middle + span, loss.shape)


def _falls_to_zero(
    excess: Callable[[np.ndarray], np.ndarray], low: float, high: float, shape: tuple[int, ...]
) -> np.ndarray:
    """Where a falling function of a logarithm comes to zero; infinite if it does not."""
    left, right = np.full(shape, low), np.full(shape, high)
    reached = excess(right) <= 0
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        enough = excess(middle) <= 0
        left, right = np.where(enough, left, middle), np.where(enough, middle, right)
    return np.where(reached, np.exp(right), np.inf)


def _labeled(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("chain", "draw", "fraction"))


def _growth(
    fit: Fit,
    grown: Sequence[tuple[Posterior, Losses]],
    params: float,
    tokens: float,
    trained: float,
    kept: float,
    ci_prob: float,
    family: str | None,
) -> pd.DataFrame:
    """The same design at larger sizes: the plain law's interval, and the pruned loss."""
    n, d, pool = params * _GROWTH, trained * _GROWTH, tokens * _GROWTH
    scales = {"params": n, "tokens": d, "unique_tokens": np.minimum(pool, d)}
    plain, pruned = [], []
    for member, losses in grown:
        source = member.drifting
        inputs = {
            name: xr.DataArray(x, dims="fraction")
            for name, x in scales.items()
            if name in source.inputs
        }
        whole = source.loss(inputs, family).transpose("chain", "draw", "fraction").values
        if "unique_tokens" not in source.inputs:  # repeats are of the scenario, not of the law
            exact = {name: x[..., None] for name, x in _plain_draws(member, family).items()}
            whole = whole * losses(n, d, pool, 1.0) / member.law.loss(n, d, **exact)
        plain.append(_labeled(whole))
        pruned.append(_labeled(losses(n, d, kept * pool, kept)))
    told, cut = fit.mix(plain), fit.mix(pruned).median(("chain", "draw")).values
    tail = (1 - ci_prob) / 2
    lower, median, upper = np.quantile(told.values, [tail, 0.5, 1 - tail], axis=(0, 1))
    return pd.DataFrame(
        {
            "tokens": pool,
            "params": n,
            "flops": FLOP_PER_PARAM_TOKEN * n * d,
            "plain_median": median,
            "plain_lower": lower,
            "plain_upper": upper,
            "kept_fraction": kept,
            "pruned_median": cut,
            "outside": (cut < lower) | (cut > upper),
        }
    )


def _plain_draws(member: Posterior, family: str | None) -> dict[str, np.ndarray]:
    """Draws of the coefficients, (chain, draw)."""
    return {
        name: draws.transpose("chain", "draw").values
        for name, draws in member.exact.coefficients(family).items()
    }


def _share(value: float) -> str:
    return f"{value:.0%}" if np.isfinite(value) else "out of reach"


def _plain(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "none"
