"""The loss on pruned data in each draw: by fraction kept, and at larger sizes of the design."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.cards import Described, Prior, load_card
from bayescale.conventions import LossUnit
from bayescale.laws import worth
from bayescale.laws.repetition import effective
from bayescale.posterior import Fit, Posterior, flop_count_of
from bayescale.random import Purpose
from bayescale.results import quantiles

_HALVINGS = 50
_OF_A_POINT = 1000
_FURTHEST = 1e3  # multiple of the tokens, in the search for the same loss
_GROWTH = np.geomspace(1.0, 1e4, 33)  # multiples of the design
_QUALITIES = (0.01, 100.0)


def assumed_values(
    member: Posterior,
    family: str | None,
    stated: Mapping[str, tuple[float, float] | None],
    ci_prob: float,
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
    """Return draws of coefficients and assumptions, (chain, draw), and quantiles of the latter."""
    values = _coefficients(member, family)
    shape = next(iter(values.values())).shape
    if shape == (1, 1):  # a point estimate, for which the assumptions still vary
        shape = (1, _OF_A_POINT)
    card, assumed = load_card("pruned"), {}
    for name in ("quality", "floor", "R_D"):
        pair = stated[name]
        if name in values:
            source = "inferred from the runs"
        else:
            described: Described = card.coefficients[name]
            prior = described.prior if pair is None else Prior(low=pair[0], high=pair[1])
            values[name] = prior.frozen.rvs(
                size=shape, random_state=member.rng(Purpose[f"PRUNING_{name.upper()}"])
            )
            source = "prior of the card pruned" if pair is None else "prior as given"
        assumed[name] = quantiles(values[name], ci_prob) | {"source": source}
    return values, assumed


Losses = Callable[..., np.ndarray]
"""``losses(params, tokens, unique_tokens, kept_fraction, quality)``, (chain, draw, ...)."""


def make_losses(member: Posterior, values: Mapping[str, np.ndarray]) -> Losses:
    """Return the loss of one law as a function."""
    law = member.law
    draws = {name: x[..., None] for name, x in values.items()}

    def losses(params: Any, tokens: Any, unique: Any, kept: Any, quality: Any = None) -> np.ndarray:
        v = draws if quality is None else {**draws, "quality": quality}
        each = worth(kept, quality=v["quality"], floor=v["floor"])
        tokens, unique = tokens * each, np.minimum(unique, tokens) * each
        coefficients = {name: v[name] for name in law.coefficients}
        if "kept_fraction" in law.inputs:  # its worth is included already
            return law.loss(params, tokens, unique, 1.0, **coefficients)
        if "unique_tokens" in law.inputs:
            return law.loss(params, tokens, unique, **coefficients)
        return law.loss(params, effective(tokens, unique, v["R_D"]), **coefficients)

    return losses


def solve(
    losses: Losses,
    values: Mapping[str, np.ndarray],
    params: float,
    tokens: float,
    trained: float,
    keep: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return loss, break-even quality and tokens for the same loss, (chain, draw, fraction)."""
    loss = losses(params, trained, keep * tokens, keep)
    whole = loss[..., -1:]

    def by_quality(log_quality: np.ndarray) -> np.ndarray:
        return losses(params, trained, keep * tokens, keep, np.exp(log_quality)) - whole

    def by_tokens(log_tokens: np.ndarray) -> np.ndarray:
        return losses(params, np.exp(log_tokens), keep * tokens, keep) - whole

    low, high = np.log(_QUALITIES)
    break_even = _falls_to_zero(by_quality, low, high, loss.shape)
    break_even[..., keep == 1] = np.nan  # nothing is pruned, so quality does not matter
    middle, span = np.log(trained), np.log(_FURTHEST)
    return loss, break_even, _falls_to_zero(by_tokens, middle - span, middle + span, loss.shape)


def _falls_to_zero(
    excess: Callable[[np.ndarray], np.ndarray], low: float, high: float, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the value at which a falling function of its log reaches zero, or infinity."""
    left, right = np.full(shape, low), np.full(shape, high)
    reached = excess(right) <= 0
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        enough = excess(middle) <= 0
        left, right = np.where(enough, left, middle), np.where(enough, middle, right)
    return np.where(reached, np.exp(right), np.inf)


def by_fraction(values: np.ndarray) -> xr.DataArray:
    """Return values with the dims (chain, draw, fraction); sizes of a design are fractions too."""
    return xr.DataArray(values, dims=("chain", "draw", "fraction"))


def growth_table(
    fit: Fit,
    losses_of: Sequence[Losses],
    params: float,
    tokens: float,
    trained: float,
    kept: float,
    ci_prob: float,
    family: str | None,
) -> pd.DataFrame:
    """Return the plain law's interval and the pruned loss, one row per size of the same design."""
    n, d, pool = params * _GROWTH, trained * _GROWTH, tokens * _GROWTH
    scales = {"params": n, "tokens": d, "unique_tokens": np.minimum(pool, d)}
    plain, pruned = [], []
    for member, losses in zip(fit.members, losses_of, strict=True):
        source = member.drifting
        inputs = {
            name: xr.DataArray(x, dims="fraction")
            for name, x in scales.items()
            if name in source.inputs
        }
        whole = source.loss(inputs, family).transpose("chain", "draw", "fraction").values
        if "unique_tokens" not in source.inputs:  # the scenario counts repeats, the law does not
            exact = {name: x[..., None] for name, x in _coefficients(member, family).items()}
            whole = whole * losses(n, d, pool, 1.0) / member.law.loss(n, d, **exact)
        plain.append(by_fraction(whole))
        pruned.append(by_fraction(losses(n, d, kept * pool, kept)))
    mixed, cut = fit.mix(plain), fit.mix(pruned).median(("chain", "draw")).values
    tail = (1 - ci_prob) / 2
    lower, median, upper = np.quantile(mixed.values, [tail, 0.5, 1 - tail], axis=(0, 1))
    return pd.DataFrame(
        {
            "tokens": pool,
            "params": n,
            "flops": flop_count_of(fit).flops(n, d),
            "plain_median": median,
            "plain_lower": lower,
            "plain_upper": upper,
            "kept_fraction": kept,
            "pruned_median": cut,
            "outside": (cut < lower) | (cut > upper),
        }
    )


def _coefficients(member: Posterior, family: str | None) -> dict[str, np.ndarray]:
    """Return draws of the coefficients, (chain, draw)."""
    return {
        name: draws.transpose("chain", "draw").values
        for name, draws in member.exact.coefficients(family).items()
    }


def in_unit(growth: pd.DataFrame, unit: LossUnit) -> pd.DataFrame:
    """Return a growth table with its losses converted from the fitted unit."""
    losses = [name for name in growth if str(name).startswith(("plain_", "pruned_"))]
    return growth.assign(**{str(name): unit.of(growth[name]) for name in losses})
