"""What an allocation says: splits of a budget, the best in each draw, and what others give up."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.decisions.constraints import TOKENS_PER_PARAM, Constraints
from bayescale.errors import DecisionError
from bayescale.forecasting import Forecast
from bayescale.posterior import MEAN, quantiles
from bayescale.units import format_size

PUBLISHED_EXPONENTS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {"Hoffmann et al. 2022": (0.50, 0.49, 0.46), "Kaplan et al. 2020": (0.73,)}
)
"""a in params ~ C^a; Hoffmann's by approaches 1 to 3."""

MANY_AT_END = 0.01
"""Share of draws without a best split within reach from which on that is told."""


@dataclass(frozen=True, eq=False)
class EvaluatedSplits:
    """Definite splits, and what each draw says of them.

    Attributes
    ----------
    points : pandas.DataFrame
        One row a split: ``params``, ``tokens``, ``flops`` (of training and of serving).
    loss : xarray.DataArray or None
        Dims (chain, draw, point), nats per token: the mean of runs there, or the floor,
        allowing for drift where asked to; None where losses were not asked for.
    regret : xarray.DataArray
        Dims (chain, draw, point), nats per token: how much lower the loss would be at the best
        split of the same compute. Never negative.
    wasted : xarray.DataArray
        Dims (chain, draw, point), FLOP: compute that the best split would have saved at the
        same loss.
    """

    points: pd.DataFrame
    loss: xr.DataArray | None
    regret: xr.DataArray
    wasted: xr.DataArray

    def split(self, i: int) -> dict[str, float]:
        """Params and tokens of one split."""
        return {name: float(self.points[name].iloc[i]) for name in ("params", "tokens")}

    def part(self, which: slice) -> "EvaluatedSplits":
        """Some of the splits."""
        return EvaluatedSplits(
            self.points.iloc[which],
            loss=None if self.loss is None else self.loss.isel(point=which),
            regret=self.regret.isel(point=which),
            wasted=self.wasted.isel(point=which),
        )

    def to_frame(self, ci_prob: float) -> pd.DataFrame:
        """One row a split: its place, and the mean and interval of its regret and waste."""
        frame = self.points.reset_index(drop=True)
        at = {"lower": (1 - ci_prob) / 2, "median": 0.5, "upper": (1 + ci_prob) / 2}
        for name in ("regret", "wasted"):
            draws = getattr(self, name).transpose("chain", "draw", "point").values
            frame[f"{name}_mean"] = draws.mean(axis=(0, 1))
            for part, values in zip(at, np.quantile(draws, [*at.values()], (0, 1)), strict=True):
                frame[f"{name}_{part}"] = values
        return frame

    def to_json(self, i: int, ci_prob: float, price: float | None) -> dict[str, Any]:
        """What one split costs and gives up, as plain values."""
        regret, wasted = self.regret.isel(point=i), self.wasted.isel(point=i)
        dollars = {} if price is None else {"dollars": quantiles(wasted * price, ci_prob)}
        expected = {"loss": float(regret.mean()), "flops": float(wasted.mean())}
        if price is not None:
            expected["dollars"] = expected["flops"] * price
        return {
            "spent": float(self.points["flops"].iloc[i]),
            "regret": {
                "loss": quantiles(regret, ci_prob),
                "flops": quantiles(wasted, ci_prob),
                **dollars,
            },
            "expected_regret": expected,
        }

    def told(self, i: int, ci_prob: float, price: float | None) -> str:
        """A sentence on what one split gives up."""
        regret, wasted = self.regret.isel(point=i), self.wasted.isel(point=i)
        at_most = (1 + ci_prob) / 2
        share = wasted / self.points["flops"].iloc[i]
        text = (
            f"{float(regret.mean()):.2g} nats expected (below {float(regret.quantile(at_most)):.2g}"
            f" with {at_most:.0%}), as if {float(wasted.mean()):.2g} FLOP, "
            f"{float(share.mean()):.1%}, were wasted (below {float(share.quantile(at_most)):.0%})"
        )
        return text if price is None else f"{text}, ${float(wasted.mean()) * price:,.0f}"


class MoreData(NamedTuple):
    """What more unique tokens would be worth.

    Attributes
    ----------
    times : float
        How many times those that there are.
    loss, flops : xarray.DataArray
        Dims (chain, draw, budget): nats per token off the loss at the best split, and the compute
        that would be saved at the loss that is reached now.
    """

    times: float
    loss: xr.DataArray
    flops: xr.DataArray


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
    at_choice : Forecast or None
        The loss at each choice, with the verdict on it; None where losses were not asked for.
    by_law : tuple of Allocation
        What each law of a pool would choose, and says of that; empty for one law.
    across : pandas.DataFrame
        One row a budget and ordered pair of laws: ``flops``, ``follow``, whose choice is
        taken, ``holds``, the law that is right, and expected ``regret`` and ``wasted``.
    at_end : float
        Share of draws whose best split lies at an end of the tokens per parameter looked at.
    more_data : tuple of MoreData
        Twice as many unique tokens, and endless ones; empty unless they are limited and the law
        knows what repetition is worth.
    """

    law: str
    flops: np.ndarray
    limits: Constraints
    ci_prob: float
    params: xr.DataArray
    tokens: xr.DataArray
    choice: EvaluatedSplits
    options: EvaluatedSplits | None
    exponent: xr.DataArray
    at_choice: Forecast | None
    at_end: float
    drift: bool
    price: float | None
    provenance: Mapping[str, Any]
    by_law: tuple["Allocation", ...] = ()
    weights: tuple[float, ...] = ()
    across: pd.DataFrame | None = None
    more_data: tuple[MoreData, ...] = ()
    meaning: str = MEAN

    def to_frame(self) -> pd.DataFrame:
        """One row a budget: intervals of the best split, the choice, its loss and its regret."""
        rows = []
        losses = self._reached.to_frame()
        for i, flops in enumerate(self.flops):
            row: dict[str, Any] = {"flops": flops}
            for name, draws in self._best(i).items():
                row |= {f"{name}_{k}": v for k, v in quantiles(draws, self.ci_prob).items()}
            row |= {f"choice_{k}": v for k, v in self.choice.points.iloc[i].items()}
            row |= {str(k): v for k, v in losses.iloc[i].items() if str(k).startswith("loss")}
            for name, draws in (("regret", self.choice.regret), ("wasted", self.choice.wasted)):
                each = draws.isel(point=i)
                row[f"{name}_mean"] = float(each.mean())
                row |= {f"{name}_{k}": v for k, v in quantiles(each, self.ci_prob).items()}
            rows.append(row | {name: losses[name].iloc[i] for name in ("verdict", "why")})
        return pd.DataFrame(rows)

    @property
    def _reached(self) -> Forecast:
        if self.at_choice is None:
            raise DecisionError(
                "this allocation does not tell losses: ask for them with losses=True"
            )
        return self.at_choice

    def _best(self, i: int) -> dict[str, xr.DataArray]:
        params, tokens = self.params.isel(budget=i), self.tokens.isel(budget=i)
        best = {"params": params, "tokens": tokens, "tokens_per_param": tokens / params}
        if self.limits.unique_tokens is not None:
            best["epochs"] = (tokens / self.limits.unique_tokens).clip(1.0)
        return best

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line.

        With one budget its keys stand at the top, with several in the list ``budgets``.
        """
        budgets = [self._budget_json(i) for i in range(len(self.flops))]
        limits = self.limits
        return {
            "law": self.law,
            "interval": self.ci_prob,
            **(budgets[0] if len(budgets) == 1 else {"budgets": budgets}),
            "exponent": quantiles(self.exponent, self.ci_prob),
            "published_exponents": {k: list(v) for k, v in PUBLISHED_EXPONENTS.items()},
            "options": [
                self.options.split(i)
                | {
                    "loss": None
                    if self.options.loss is None
                    else quantiles(self.options.loss.isel(point=i), self.ci_prob)
                }
                | self.options.to_json(i, self.ci_prob, self.price)
                for i in range(len(self.options.points))
            ]
            if self.options is not None
            else [],
            "limits": {
                "max_tokens": limits.max_tokens,
                "max_params": limits.max_params,
                "sizes": None if limits.sizes is None else list(limits.sizes),
                "inference_tokens": limits.inference_tokens,
                "unique_tokens": limits.unique_tokens,
            },
            "price": self.price,
            "drift": self.drift,
            "at_end": self.at_end,
            "provenance": dict(self.provenance),
        }

    def _budget_json(self, i: int) -> dict[str, Any]:
        point = self._reached.points.iloc[i]
        across = self.across
        ratio = float(point["extrapolation_ratio"])
        return {
            "flops": float(self.flops[i]),
            **{name: quantiles(x, self.ci_prob) for name, x in self._best(i).items()},
            "choice": self.choice.split(i),
            **self.choice.to_json(i, self.ci_prob, self.price),
            "loss": quantiles(self._reached.loss.isel(point=i), self.ci_prob),
            "loss_new": None
            if self._reached.loss_new is None
            else quantiles(self._reached.loss_new.isel(point=i), self.ci_prob),
            "extrapolation_ratio": None if np.isnan(ratio) else ratio,
            "verdict": point["verdict"],
            "why": point["why"],
            "laws": {
                law.law: {"weight": weight, "choice": law.choice.split(i)}
                | {name: quantiles(x, self.ci_prob) for name, x in law._best(i).items()}
                | law.choice.to_json(i, self.ci_prob, self.price)
                for law, weight in zip(self.by_law, self.weights, strict=True)
            },
            "more_data": [
                {
                    "times": more.times if np.isfinite(more.times) else None,
                    "loss": quantiles(more.loss.isel(budget=i), self.ci_prob),
                    "flops": quantiles(more.flops.isel(budget=i), self.ci_prob),
                }
                for more in self.more_data
            ],
            "across": []
            if across is None
            else across[across["flops"] == self.flops[i]].to_dict(orient="records"),
        }

    def __str__(self) -> str:
        lines = [] if len(self.flops) == 1 else [*self._frontier(), ""]
        lines += self._one_budget(len(self.flops) - 1)
        if self.options is not None:
            lines += ["  Named splits:", *self._named()]
        a = quantiles(self.exponent, self.ci_prob)
        published = ", ".join(
            f"{', '.join(f'{a:.2f}' for a in values)} ({source})"
            for source, values in PUBLISHED_EXPONENTS.items()
        )
        lines += [
            f"  Params grow as C^{a['median']:.3f} ({self.ci_prob:.0%} interval "
            f"{a['lower']:.3f} to {a['upper']:.3f}).",
            f"  Published: {published}.",
        ]
        if self.at_end > MANY_AT_END:
            low, high = TOKENS_PER_PARAM
            lines.append(
                f"  {self.at_end:.0%} of draws have no best split between {low:g} and {high:g} "
                "tokens per parameter: they end there."
            )
        if not self.drift:
            lines.append("  Without drift: these intervals take the law to hold exactly.")
        return "\n".join(lines)

    def _named(self) -> list[str]:
        assert self.options is not None
        lines = []
        for i, point in enumerate(self.options.points.to_dict(orient="records")):
            loss = self.options.loss
            reached = "" if loss is None else f": loss {float(loss.isel(point=i).median()):.4f}"
            lines += [
                f"    {_split_told(point)}, {point['flops']:.3g} FLOP{reached}",
                f"      {self.options.told(i, self.ci_prob, self.price)}",
            ]
        return lines

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
            f"Intervals of {self.ci_prob:.0%}; regret in nats and wasted compute are expected."
        )
        return lines

    def _one_budget(self, i: int) -> list[str]:
        point, mass = self.choice.points.iloc[i], f"{self.ci_prob:.0%}"
        best = {name: quantiles(x, self.ci_prob) for name, x in self._best(i).items()}
        loss = quantiles(self._reached.loss.isel(point=i), self.ci_prob)
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
            f"{loss['upper']:.4f})  nats/token, {self.meaning}",
            f"  regret      {self.choice.told(i, self.ci_prob, self.price)}",
        ]
        if "epochs" in best:
            lines += self._data_told(i, point, best["epochs"])
        if point["flops"] < 0.99 * self.flops[i]:
            unspent = 1 - point["flops"] / self.flops[i]
            lines.append(f"  The limits leave {unspent:.0%} of the budget unspent.")
        lines.append(f"  {self._reached.points['why'].iloc[i]}")
        for law in self.by_law:
            own = quantiles(law._best(i)["tokens_per_param"], self.ci_prob)
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

    def _data_told(self, i: int, point: pd.Series, epochs: Mapping[str, float]) -> list[str]:
        unique = self.limits.unique_tokens
        assert unique is not None
        lines = [
            f"  epochs      {max(point['tokens'] / unique, 1.0):.3g} over {format_size(unique)} "
            f"unique tokens; best {epochs['lower']:.3g} to {epochs['upper']:.3g}"
        ]
        for more in self.more_data:
            what = "twice as many" if np.isfinite(more.times) else "endless"
            nats = quantiles(more.loss.isel(budget=i), self.ci_prob)
            share = quantiles(more.flops.isel(budget=i) / self.flops[i], self.ci_prob)
            lines.append(
                f"    {what} unique tokens: {nats['median']:.2g} nats less ({nats['lower']:.2g} to "
                f"{nats['upper']:.2g}), or {share['median']:.0%} of the compute saved "
                f"({share['lower']:.0%} to {share['upper']:.0%})"
            )
        return lines


def _between(q: Mapping[str, float]) -> str:
    return f"{format_size(q['lower'])} to {format_size(q['upper'])}"


def _split_told(point: Mapping[Any, Any] | pd.Series) -> str:
    return (
        f"{format_size(point['params'])} params on {format_size(point['tokens'])} tokens "
        f"({point['tokens'] / point['params']:.3g} per param)"
    )
