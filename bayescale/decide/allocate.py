"""How to split a compute budget between parameters and tokens, and what a split gives up.

The answer is the distribution of the decision, not the decision of the average: each draw
has a best split of its own, and any one split, chosen now, is judged by what every draw says
that it gives up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.decide.optimum import (
    Best,
    Losses,
    best_choice,
    best_split,
    deciding,
    ladder,
    least_compute,
    losses_of,
)
from bayescale.decide.spending import TOKENS_PER_PARAM, Constraints, checked_budgets
from bayescale.errors import DecisionError, collected
from bayescale.forecast import Forecast, forecast
from bayescale.laws.law import require_split
from bayescale.posterior import DEFAULT_INTERVAL, Fit, Posterior, quantiles
from bayescale.units import format_size
from bayescale.verdict import TOLERANCE

MOST_DRAWS = 4000
"""Draws that are optimised, in all; evenly spaced ones where a fit has more."""

PUBLISHED_EXPONENTS: Mapping[str, float] = MappingProxyType(
    {
        "Hoffmann et al. 2022, approach 1": 0.50,
        "Hoffmann et al. 2022, approach 2": 0.49,
        "Hoffmann et al. 2022, approach 3": 0.46,
        "Kaplan et al. 2020": 0.73,
    }
)
"""a in params ~ C^a."""

_HALF_DECADE = np.sqrt(10.0)


@dataclass(frozen=True, eq=False)
class Judged:
    """Definite splits, and what each draw says of them.

    Attributes
    ----------
    points : pandas.DataFrame
        One row a split: ``params``, ``tokens``, ``flops`` (of training and of serving).
    loss : xarray.DataArray
        Dims (chain, draw, point), nats per token: the mean of runs there.
    regret : xarray.DataArray
        Dims (chain, draw, point), nats per token: how much lower the loss would be at the best
        split of the same compute. Never negative.
    wasted : xarray.DataArray
        Dims (chain, draw, point), FLOP: compute that the best split would have saved at the
        same loss.
    """

    points: pd.DataFrame
    loss: xr.DataArray
    regret: xr.DataArray
    wasted: xr.DataArray

    def to_json(self, i: int, interval: float, price: float | None) -> dict[str, Any]:
        """Plain values of one split."""
        regret, wasted = self.regret.isel(point=i), self.wasted.isel(point=i)
        dollars = {} if price is None else {"dollars": quantiles(wasted * price, interval)}
        expected = {"loss": float(regret.mean()), "flops": float(wasted.mean())}
        if price is not None:
            expected["dollars"] = expected["flops"] * price
        return {
            "choice": {name: float(self.points[name].iloc[i]) for name in ("params", "tokens")},
            "spent": float(self.points["flops"].iloc[i]),
            "regret": {
                "loss": quantiles(regret, interval),
                "flops": quantiles(wasted, interval),
                **dollars,
            },
            "expected_regret": expected,
        }

    def told(self, i: int, interval: float, price: float | None) -> str:
        """A sentence on what one split gives up."""
        regret, wasted = self.regret.isel(point=i), self.wasted.isel(point=i)
        at_most = (1 + interval) / 2
        share = wasted / self.points["flops"].iloc[i]
        text = (
            f"{float(regret.mean()):.2g} nats expected (below {float(regret.quantile(at_most)):.2g}"
            f" with {at_most:.0%}), as if {float(wasted.mean()):.2g} FLOP, "
            f"{float(share.mean()):.1%}, were wasted (below {float(share.quantile(at_most)):.0%})"
        )
        return text if price is None else f"{text}, ${float(wasted.mean()) * price:,.0f}"


@dataclass(frozen=True, eq=False)
class Allocation:
    """How to split one or more budgets.

    Attributes
    ----------
    flops : numpy.ndarray, shape (budget,)
        What may be spent on training, and on serving where that is asked for.
    params, tokens : xarray.DataArray
        Dims (chain, draw, budget): each draw's best split.
    choice : Judged
        One split a budget: that of least expected loss over all draws.
    options : Judged or None
        Splits that were named.
    exponent : xarray.DataArray
        Dims (chain, draw): a in params ~ C^a, without limits, from a factor of the square root
        of ten below the smallest budget to as far above the largest.
    at_choice : Forecast
        The loss at each choice, with the verdict on it.
    by_law : tuple of Allocation
        What each law of a pool would choose, and says of that; empty for one law.
    across : pandas.DataFrame
        One row a budget and ordered pair of laws: ``flops``, ``follow``, whose choice is
        taken, ``holds``, the law that is right, and expected ``regret`` and ``wasted``.
    at_end : float
        Share of draws whose best split lies at an end of the tokens per parameter looked at.
    """

    law: str
    flops: np.ndarray
    limits: Constraints
    interval: float
    params: xr.DataArray
    tokens: xr.DataArray
    choice: Judged
    options: Judged | None
    exponent: xr.DataArray
    at_choice: Forecast
    at_end: float
    drift: bool
    price: float | None
    provenance: Mapping[str, Any]
    by_law: tuple["Allocation", ...] = ()
    weights: tuple[float, ...] = ()
    across: pd.DataFrame | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row a budget: intervals of the best split, the choice, its loss and its regret."""
        rows = []
        losses = self.at_choice.to_frame()
        for i, flops in enumerate(self.flops):
            row: dict[str, Any] = {"flops": flops}
            for name, draws in self._best(i).items():
                row |= {f"{name}_{k}": v for k, v in quantiles(draws, self.interval).items()}
            row |= {f"choice_{k}": v for k, v in self.choice.points.iloc[i].items()}
            row |= {str(k): v for k, v in losses.iloc[i].items() if str(k).startswith("loss")}
            for name, draws in (("regret", self.choice.regret), ("wasted", self.choice.wasted)):
                each = draws.isel(point=i)
                row[f"{name}_mean"] = float(each.mean())
                row |= {f"{name}_{k}": v for k, v in quantiles(each, self.interval).items()}
            rows.append(row | {name: losses[name].iloc[i] for name in ("verdict", "why")})
        return pd.DataFrame(rows)

    def _best(self, i: int) -> dict[str, xr.DataArray]:
        params, tokens = self.params.isel(budget=i), self.tokens.isel(budget=i)
        return {"params": params, "tokens": tokens, "tokens_per_param": tokens / params}

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line.

        With one budget its keys stand at the top, with several in the list ``budgets``.
        """
        budgets = [self._budget_json(i) for i in range(len(self.flops))]
        limits = self.limits
        return {
            "law": self.law,
            "interval": self.interval,
            **(budgets[0] if len(budgets) == 1 else {"budgets": budgets}),
            "exponent": quantiles(self.exponent, self.interval),
            "published_exponents": dict(PUBLISHED_EXPONENTS),
            "options": [
                self.options.to_json(i, self.interval, self.price)
                | {"loss": quantiles(self.options.loss.isel(point=i), self.interval)}
                for i in range(len(self.options.points))
            ]
            if self.options is not None
            else [],
            "limits": {
                "max_tokens": limits.max_tokens,
                "max_params": limits.max_params,
                "sizes": None if limits.sizes is None else list(limits.sizes),
                "inference_tokens": limits.inference_tokens,
            },
            "price": self.price,
            "drift": self.drift,
            "at_end": self.at_end,
            "provenance": dict(self.provenance),
        }

    def _budget_json(self, i: int) -> dict[str, Any]:
        point = self.at_choice.points.iloc[i]
        across = self.across
        ratio = float(point["extrapolation_ratio"])
        return {
            "flops": float(self.flops[i]),
            **{name: quantiles(x, self.interval) for name, x in self._best(i).items()},
            **self.choice.to_json(i, self.interval, self.price),
            "loss": quantiles(self.at_choice.loss.isel(point=i), self.interval),
            "loss_new": None
            if self.at_choice.loss_new is None
            else quantiles(self.at_choice.loss_new.isel(point=i), self.interval),
            "extrapolation_ratio": None if np.isnan(ratio) else ratio,
            "verdict": point["verdict"],
            "why": point["why"],
            "laws": {
                law.law: {"weight": weight}
                | {name: quantiles(x, self.interval) for name, x in law._best(i).items()}
                | law.choice.to_json(i, self.interval, self.price)
                for law, weight in zip(self.by_law, self.weights, strict=True)
            },
            "across": []
            if across is None
            else across[across["flops"] == self.flops[i]].to_dict(orient="records"),
        }

    def __str__(self) -> str:
        lines = [] if len(self.flops) == 1 else [*self._frontier(), ""]
        told = range(len(self.flops)) if len(self.flops) == 1 else [len(self.flops) - 1]
        for i in told:
            lines += self._one_budget(i)
        if self.options is not None:
            lines.append("  Named splits:")
            for i, point in self.options.points.iterrows():
                loss = self.options.loss.isel(point=i)
                lines += [
                    f"    {_split_told(point)}, {point['flops']:.3g} FLOP: loss "
                    f"{float(loss.median()):.4f}",
                    f"      {self.options.told(int(str(i)), self.interval, self.price)}",
                ]
        a = quantiles(self.exponent, self.interval)
        lines += [
            f"  Params grow as C^{a['median']:.3f} ({self.interval:.0%} interval "
            f"{a['lower']:.3f} to {a['upper']:.3f}); published: 0.50, 0.49 and 0.46 (Hoffmann et "
            "al.),",
            "  0.73 (Kaplan et al.).",
        ]
        if self.at_end > 0.01:
            lines.append(
                f"  {self.at_end:.0%} of draws have no best split between 0.0001 and 1e7 tokens "
                "per parameter: they end there."
            )
        if not self.drift:
            lines.append("  Without drift: these intervals take the law to hold exactly.")
        return "\n".join(lines)

    def _frontier(self) -> list[str]:
        lines = [
            f"{self.law}: the split of least expected loss",
            f"{'FLOP':>9}  {'params':>7}  {'tokens':>7}  {'tokens per param':>22}  "
            f"{'loss':>23}  {'regret':>7}  {'wasted':>6}",
        ]
        for row in self.to_frame().to_dict(orient="records"):
            ratio = row["choice_tokens"] / row["choice_params"]
            low, high = row["tokens_per_param_lower"], row["tokens_per_param_upper"]
            between = f"({low:.3g} to {high:.3g})"
            loss = f"({row['loss_lower']:.3f} to {row['loss_upper']:.3f})"
            lines.append(
                f"{row['flops']:>9.3g}  {format_size(row['choice_params']):>7}  "
                f"{format_size(row['choice_tokens']):>7}  {ratio:>6.3g} {between:>15}  "
                f"{row['loss_median']:>6.3f} {loss:>16}  {row['regret_mean']:>7.2g}  "
                f"{row['wasted_mean'] / row['choice_flops']:>6.1%}"
            )
        lines.append(
            f"Intervals of {self.interval:.0%}; regret in nats and wasted compute are expected."
        )
        return lines

    def _one_budget(self, i: int) -> list[str]:
        point, mass = self.choice.points.iloc[i], f"{self.interval:.0%}"
        best = {name: quantiles(x, self.interval) for name, x in self._best(i).items()}
        loss = quantiles(self.at_choice.loss.isel(point=i), self.interval)
        served = self.limits.inference_tokens
        lines = [
            f"{self.law}, {self.flops[i]:.4g} FLOP"
            + (f", {format_size(served)} tokens to be served included" if served else "")
            + (f", ${self.flops[i] * self.price:,.0f}" if self.price is not None else "")
            + ":",
            f"  choice      {_split_told(point)}: least expected loss",
            f"  best split  {_between(best['params'])} params, {_between(best['tokens'])} tokens, "
            f"{best['tokens_per_param']['lower']:.3g} to {best['tokens_per_param']['upper']:.3g} "
            f"per param ({mass})",
            f"  loss        {loss['median']:.4f}  ({mass} interval {loss['lower']:.4f} to "
            f"{loss['upper']:.4f})  nats/token, mean of runs",
            f"  regret      {self.choice.told(i, self.interval, self.price)}",
        ]
        if point["flops"] < 0.99 * self.flops[i]:
            unspent = 1 - point["flops"] / self.flops[i]
            lines.append(f"  The limits leave {unspent:.0%} of the budget unspent.")
        lines.append(f"  {self.at_choice.points['why'].iloc[i]}")
        for law in self.by_law:
            own = quantiles(law._best(i)["tokens_per_param"], self.interval)
            lines.append(
                f"    {law.law:<20} {_split_told(law.choice.points.iloc[i])}; best "
                f"{own['lower']:.3g} to {own['upper']:.3g}"
            )
        if self.across is not None:
            rows = self.across[self.across["flops"] == self.flops[i]].to_dict(orient="records")
            lines += [
                f"    If {row['holds']} holds, {row['follow']}'s choice wastes "
                f"{row['wasted']:.2g} FLOP, {row['wasted'] / self.flops[i]:.1%}."
                for row in rows
            ]
        return lines


def _between(q: Mapping[str, float]) -> str:
    return f"{format_size(q['lower'])} to {format_size(q['upper'])}"


def _split_told(point: Mapping[Any, Any] | pd.Series) -> str:
    return (
        f"{format_size(point['params'])} params on {format_size(point['tokens'])} tokens "
        f"({point['tokens'] / point['params']:.3g} per param)"
    )


def allocate(
    fit: Fit,
    flops: float | Sequence[float] | np.ndarray,
    *,
    max_tokens: float | None = None,
    max_params: float | None = None,
    sizes: Sequence[float] | None = None,
    inference_tokens: float = 0.0,
    options: Sequence[tuple[float, float | None]] = (),
    price: float | None = None,
    interval: float = DEFAULT_INTERVAL,
    tolerance: float = TOLERANCE,
    family: str | None = None,
    drift: bool = True,
    allow_unconverged: bool = False,
) -> Allocation:
    """Split compute budgets between parameters and tokens.

    Parameters
    ----------
    fit : Posterior or Pool
        Of laws of params and tokens.
    flops : float or array_like, shape (budget,)
        Budgets in FLOP: training, 6 N D, and serving where ``inference_tokens`` are given.
    max_tokens : float, optional
        Most training tokens there are, each seen once.
    max_params : float, optional
        Largest model.
    sizes : sequence of float, optional
        The models that can be built, in params.
    inference_tokens : float
        Tokens T to be served later; they cost 2 N T, which the budget pays for, so that the
        best model is smaller.
    options : sequence of (params, tokens)
        Splits to be judged beside the choice. With tokens None, the option has what the
        largest budget leaves it. Each is compared with the best split of what it costs.
    price : float, optional
        Dollars per FLOP, to tell wasted compute in dollars as well.
    interval : float
        Mass of the central intervals.
    tolerance : float
        As for :func:`bayescale.forecast`, for the verdict.
    family : str, optional
        A family of the fit; a new family where not given and families are pooled.
    drift : bool
        Whether to allow for the laws' drift.
    allow_unconverged : bool
        Answer although the convergence gate was missed.

    Returns
    -------
    Allocation

    Raises
    ------
    DecisionError
        If a budget, limit or option leaves nothing to choose.
    LawError
        If the law is not of params and tokens.
    UnconvergedError
        If the fit failed its convergence gate.

    Notes
    -----
    The best split of each draw is searched for on the line of all splits that spend the
    budget, from 1e-4 to 1e7 tokens per parameter, under the draw's own law. Splits are
    compared by laws as they stand, with coefficients inferred beside a drift along compute,
    which moves all of them alike (:func:`bayescale.decide.optimum.deciding`); the loss told of
    the choice allows for any drift. The choice has the least loss averaged over draws, laws in
    proportion to their weights.
    Compute wasted is what remains of its cost beyond the least compute at which the same
    draw's best split reaches the same loss (told up to a factor of 400).

    Examples
    --------
    >>> from bayescale.cards import load_card
    >>> from bayescale.posterior import point
    >>> card = load_card("chinchilla")
    >>> fit = point(card, card.published_values("besiroglu_2024"))
    >>> answer = allocate(fit, 5.76e23).to_json()
    >>> round(answer["tokens_per_param"]["median"], 2)
    18.39
    """
    for member in fit.members:
        require_split(member.law)
    fit.require_converged(allow_unconverged)
    if not 0 < interval < 1:
        raise DecisionError(f"interval is {interval:g}, but must lie between 0 and 1")
    if price is not None and not 0 < price < np.inf:
        raise DecisionError(f"price is {price:g} dollars per FLOP, but must be above zero")
    budgets = checked_budgets(flops)
    limits = Constraints(
        max_tokens=max_tokens,
        max_params=max_params,
        sizes=None if sizes is None else tuple(float(size) for size in sizes),
        inference_tokens=float(inference_tokens),
    )
    named = _named(options, limits, budgets.max())
    rungs = ladder(np.concatenate([budgets, named["flops"]]))
    if limits.sizes is not None:
        limits.buildable(budgets)  # those below that cannot build any are left out
        rungs = rungs[limits.can_build(rungs)]
    most = max(1, MOST_DRAWS // len(fit.members))
    laws = [
        _answering(deciding(m, drift).thinned(most), family, rungs, budgets, limits)
        for m in fit.members
    ]
    at = laws[0].best.at(budgets)

    def told(of: Sequence[_Answering], points: pd.DataFrame, fit: Fit, **more: Any) -> Allocation:
        return Allocation(
            law=fit.name,
            flops=budgets,
            limits=limits,
            interval=interval,
            params=fit.mix([law.as_draws(law.best.params[:, at], "budget") for law in of]),
            tokens=fit.mix([law.as_draws(law.best.tokens[:, at], "budget") for law in of]),
            choice=_judged(of, points, budgets, fit),
            exponent=fit.mix([law.exponent for law in of]),
            at_choice=forecast(
                fit, params=points["params"], tokens=points["tokens"], interval=interval,
                tolerance=tolerance, family=family, drift=drift, allow_unconverged=True,
            ),
            at_end=float(np.mean([_at_end(law.best, at) for law in of])),
            drift=drift,
            price=price,
            provenance=fit.record["provenance"],
            **more,
        )  # fmt: skip

    def chosen(of: Sequence[_Answering], weights: tuple[float, ...]) -> pd.DataFrame:
        choice = best_choice([law.losses for law in of], weights, budgets, limits)
        return _points(*choice, limits)

    options_ = _judged(laws, named, named["flops"].to_numpy(), fit) if len(named) else None
    choice = chosen(laws, fit.weights)
    if len(laws) == 1:
        return told(laws, choice, fit, options=options_)
    own = [chosen([law], (1.0,)) for law in laws]
    each = zip(laws, own, fit.members, strict=True)
    return told(
        laws,
        choice,
        fit,
        options=options_,
        by_law=tuple(told([law], points, member, options=None) for law, points, member in each),
        weights=fit.weights,
        across=_across(fit, laws, own, budgets),
    )


@dataclass(frozen=True, eq=False)
class _Answering:
    """One law's draws, and the best split in each of every budget on the ladder."""

    posterior: Posterior
    losses: Losses
    best: Best
    exponent: xr.DataArray

    def as_draws(self, values: np.ndarray, dim: str) -> xr.DataArray:
        """Values of shape (draw, ...) under their chain and draw."""
        return _as_draws(self.posterior, values, dim)


def _as_draws(posterior: Posterior, values: np.ndarray, dim: str) -> xr.DataArray:
    coords = {name: posterior.draws[name] for name in ("chain", "draw")}
    shape = tuple(len(c) for c in coords.values())
    return xr.DataArray(values.reshape(*shape, -1), dims=("chain", "draw", dim), coords=coords)


def _answering(
    posterior: Posterior,
    family: str | None,
    rungs: np.ndarray,
    budgets: np.ndarray,
    limits: Constraints,
) -> _Answering:
    losses = losses_of(posterior, family)
    ends = np.array([budgets.min() / _HALF_DECADE, budgets.max() * _HALF_DECADE])
    free = best_split(losses, ends, Constraints())
    growth = np.diff(np.log(free.params), axis=1) / np.log(ends[1] / ends[0])
    exponent = _as_draws(posterior, growth, "budget").isel(budget=0, drop=True)
    return _Answering(posterior, losses, best_split(losses, rungs, limits), exponent)


def _judged(
    laws: Sequence[_Answering], points: pd.DataFrame, budgets: np.ndarray, fit: Fit
) -> Judged:
    """Splits as each law's draws see them, against the best split of these budgets."""
    answers: dict[str, list[xr.DataArray]] = {"loss": [], "regret": [], "wasted": []}
    params, tokens, cost = (points[name].to_numpy() for name in ("params", "tokens", "flops"))
    for law in laws:
        loss = law.losses(params, tokens)
        least = law.best.loss[:, law.best.at(budgets)]
        wasted = cost - np.minimum(least_compute(law.best, np.maximum(loss, least)), cost)
        found = {"loss": loss, "regret": np.maximum(loss - least, 0.0), "wasted": wasted}
        for name, values in found.items():
            answers[name].append(law.as_draws(values, "point"))
    return Judged(points, **{name: fit.mix(each) for name, each in answers.items()})


def _across(
    fit: Fit, laws: Sequence[_Answering], own: Sequence[pd.DataFrame], budgets: np.ndarray
) -> pd.DataFrame:
    """What one law's choice gives up where another law holds."""
    rows = []
    for follow, points in zip(fit.members, own, strict=True):
        for holds, law in zip(fit.members, laws, strict=True):
            if holds is follow:
                continue
            judged = _judged([law], points, budgets, holds)
            rows += [
                {"flops": flops, "follow": follow.name, "holds": holds.name}
                | {
                    name: float(draws.isel(point=i).mean())
                    for name, draws in (("regret", judged.regret), ("wasted", judged.wasted))
                }
                for i, flops in enumerate(budgets)
            ]
    return pd.DataFrame(rows)


def _points(params: np.ndarray, tokens: np.ndarray, limits: Constraints) -> pd.DataFrame:
    cost = limits.cost(params, tokens)
    return pd.DataFrame({"params": params, "tokens": tokens, "flops": cost})


def _named(
    options: Sequence[tuple[float, float | None]], limits: Constraints, budget: float
) -> pd.DataFrame:
    """Named splits, checked, with tokens filled in where the rest of the budget is meant."""
    problems, splits = [], []
    for params, given in options:
        if not 0 < params < np.inf:
            problems.append(f"{params:g} params: must be finite and above zero")
            continue
        tokens = limits.tokens_left(budget, params) if given is None else given
        if not 0 < tokens < np.inf:
            problems.append(
                f"{format_size(params)} params: serving {format_size(limits.inference_tokens)} "
                f"tokens takes {limits.cost(params, 0.0):.3g} FLOP, all of the budget of "
                f"{budget:.3g}"
                if given is None
                else f"{tokens:g} tokens: must be finite and above zero"
            )
        elif limits.max_tokens is not None and tokens > limits.max_tokens:
            problems.append(
                f"{format_size(tokens)} tokens: at most {format_size(limits.max_tokens)} are there"
            )
        splits.append((params, tokens))
    if problems:
        raise DecisionError(collected("these splits cannot be judged:", problems))
    params, tokens = np.array(splits, dtype=float).reshape(-1, 2).T
    return _points(params, tokens, limits)


def _at_end(best: Best, at: np.ndarray) -> float:
    """Share of best splits at an end of the tokens per parameter that are looked at."""
    log_ratio = np.log(best.tokens[:, at] / best.params[:, at])
    low, high = np.log(TOKENS_PER_PARAM)
    return float(((log_ratio < low + 0.01) | (log_ratio > high - 0.01)).mean())
