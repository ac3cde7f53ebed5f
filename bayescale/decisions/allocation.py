"""The result of an allocation: the best split in each draw, the choice, and its regret."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.agreement import disagreement
from bayescale.conventions import NATS, LossUnit
from bayescale.decisions.evaluated import EvaluatedSplits
from bayescale.decisions.split_text import end_lines, frontier_row, range_text, split_text
from bayescale.errors import DecisionError
from bayescale.forecasting import Forecast
from bayescale.posterior import MEAN
from bayescale.results import Result, TextTable, interval_text, laws_json, quantiles, withheld
from bayescale.splits import Constraints
from bayescale.splits.hardware import Cluster
from bayescale.splits.utilization import Utilization
from bayescale.units import format_size, three_digits
from bayescale.verdict import Verdict, split_verdict, titled

PUBLISHED_EXPONENTS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {"Hoffmann et al. 2022": (0.50, 0.49, 0.46), "Kaplan et al. 2020": (0.73,)}
)
"""Published values of a in params ~ C^a; those of Hoffmann et al. by their approaches 1 to 3."""

MANY_AT_END = 0.01
"""If more than this share of draws has its best split at an end of the range, a warning says so."""


class MoreData(NamedTuple):
    """The worth of more unique tokens.

    Attributes
    ----------
    times : float
        Multiple of the available unique tokens.
    loss, flops : xarray.DataArray
        Dims (chain, draw, budget): how much lower the loss of the best split would be, and how much
        compute would be saved at today's loss.
    """

    times: float
    loss: xr.DataArray
    flops: xr.DataArray


@dataclass(frozen=True, eq=False)
class Allocation(Result):
    """How to split one or more budgets.

    Attributes
    ----------
    flops : numpy.ndarray, shape (budget,)
        The budgets for training and, if requested, serving. If budgets are in days and utilization
        depends on size, they are for models with the params of the choice.
    params, tokens : xarray.DataArray
        Dims (chain, draw, budget): each draw's best split.
    choice : EvaluatedSplits
        One split per budget: the one of least expected loss over all draws, see
        :func:`bayescale.allocate`.
    options : EvaluatedSplits or None
        The named splits.
    exponent : xarray.DataArray
        Dims (chain, draw): a in params ~ C^a, without limits, on average from the smallest run to
        the largest run or budget; for a point estimate, over a decade around the budgets. None if
        losses were not requested.
    at_choice : Forecast or None
        The loss at each choice, with its verdict; None if losses were not requested.
    limits : Constraints
        The limits on the splits, and the count of compute.
    cluster : Cluster or None
        The GPUs on which the budgets are spent, if they were given.
    by_law : tuple of Allocation
        The allocation of each law of an average; empty for one law.
    across : pandas.DataFrame
        One row per budget and ordered pair of laws: ``flops``, ``follow`` (the law whose choice is
        taken), ``holds`` (the law that is right), and the expected ``regret`` and ``wasted`` FLOP.
    at_end : float
        Share of draws whose best split lies at an end of the searched tokens per parameter.
    more_data : tuple of MoreData
        The worth of twice as many and of unlimited unique tokens; empty unless tokens are limited
        and the law has ``unique_tokens``.
    tested : sequence of mapping or None
        The backtest of splits: see :func:`bayescale.verdict.split_verdict`. None if no backtest was
        made.
    drift_across : bool
        Whether drift differs between splits, so that it widens their comparison.

    Notes
    -----
    :meth:`to_frame` has one row per budget: intervals of the best split, the choice, its loss and
    its regret. :meth:`to_json` has the keys of a single budget at the top level, and those of
    several budgets in the list ``budgets``.
    """

    law: str
    flops: np.ndarray
    limits: Constraints
    ci_prob: float
    params: xr.DataArray
    tokens: xr.DataArray
    choice: EvaluatedSplits
    options: EvaluatedSplits | None
    exponent: xr.DataArray | None
    at_choice: Forecast | None
    at_end: float
    drift: bool
    provenance: Mapping[str, Any]
    by_law: tuple["Allocation", ...] = ()
    weights: tuple[float, ...] = ()
    across: pd.DataFrame | None = None
    more_data: tuple[MoreData, ...] = ()
    meaning: str = MEAN
    tested: Sequence[Mapping[str, Any]] | None = None
    drift_across: bool = True
    cautions: tuple[str, ...] = ()
    loss_unit: LossUnit = NATS
    cluster: Cluster | None = None

    def split_verdict(self, i: int) -> Verdict:
        """Return the verdict on the split of one budget, by the fit's backtest of splits."""
        ratio = float(self._reached.points["extrapolation_ratio"].iloc[i])
        return split_verdict(ratio, self.tested)

    @property
    def price(self) -> float | None:
        """Dollars per FLOP; None if no price is known, or if it differs between choices."""
        known = self.choice.price
        return None if known is None or np.ptp(known) > 0 else float(known[0])

    def _spent(self, i: int) -> dict[str, float | None]:
        """Return one budget in days, GPU-hours and dollars, as far as these are known."""
        flops, price, found = float(self.flops[i]), self.choice.price, {}
        if self.cluster is not None:
            params = self.choice.split(i)["params"]
            found = self.cluster.cost(flops, params)
            found["utilization"] = float(self.cluster.utilization_at(params))
        return found if price is None else found | {"dollars": flops * float(price[i])}

    @property
    def _reached(self) -> Forecast:
        if self.at_choice is None:
            raise DecisionError("this allocation holds no losses: allocate with `losses=True`")
        return self.at_choice

    def best(self, i: int) -> dict[str, xr.DataArray]:
        """Return draws of the best split of one budget, dims (chain, draw)."""
        params, tokens = self.params.isel(budget=i), self.tokens.isel(budget=i)
        best = {"params": params, "tokens": tokens, "tokens_per_param": tokens / params}
        if self.limits.unique_tokens is not None:
            best["epochs"] = (tokens / self.limits.unique_tokens).clip(1.0)
        return best

    def refusal(self, i: int) -> str | None:
        """Return how the laws of an average disagree on the split of one budget, or None."""
        return next(filter(None, map(partial(self._disagreement, i), ("params", "tokens"))), None)

    def _disagreement(self, i: int, name: str) -> str | None:
        return disagreement(self, lambda law: getattr(law, name).isel(budget=i), name)

    @property
    def answered(self) -> bool:
        """Whether a split is given for every budget."""
        return all(self.refusal(i) is None for i in range(len(self.flops)))

    def _quantiles(self, draws: xr.DataArray) -> dict[str, float]:
        return quantiles(draws, self.ci_prob)

    def _table(self) -> pd.DataFrame:
        rows, losses = [], self._reached.to_frame()
        evaluated = self.choice.to_frame(self.ci_prob)
        for i, flops in enumerate(self.flops):
            spent = {name: value for name, value in self._spent(i).items() if value is not None}
            row: dict[str, Any] = {"flops": flops, **spent}
            for name, draws in self.best(i).items():
                row |= {f"{name}_{k}": v for k, v in self._quantiles(draws).items()}
            row |= {f"choice_{k}": v for k, v in self.choice.points.iloc[i].items()}
            row |= {str(k): v for k, v in losses.iloc[i].items() if str(k).startswith("loss")}
            given_up = evaluated.filter(regex="^(regret|wasted)").iloc[i]
            row |= {str(k): v for k, v in given_up.items()}
            row |= {name: losses[name].iloc[i] for name in ("verdict", "why")}
            if (why := self.refusal(i)) is not None:
                known = {"flops": flops, **spent, "verdict": None, "why": why}
                row = dict.fromkeys(row, np.nan) | known
            rows.append(row)
        return pd.DataFrame(rows)

    def _json(self) -> dict[str, Any]:
        budgets = [self._budget_values(i) for i in range(len(self.flops))]
        exponent = {"exponent": self.exponent}
        return {
            "law": self.law,
            "interval": self.ci_prob,
            **(budgets[0] if len(budgets) == 1 else {"budgets": budgets}),
            "answered": self.answered,
            **(exponent if self.answered else withheld(exponent)),
            "published_exponents": PUBLISHED_EXPONENTS,
            "options": self._options_values(),
            "limits": self.limits.to_json(),
            "flop_count": self.limits.count.plain.to_json(),
            "price": self.price,
            "cluster": None if self.cluster is None else self.cluster.to_json(),
            "drift": self.drift,
            "drift_across": self.drift_across,
            "at_end": self.at_end,
            "provenance": self.provenance,
        }

    def _options_values(self) -> list[dict[str, Any]]:
        options = self.options
        if options is None:
            return []
        losses = options.loss
        return [
            {
                **options.split(i),
                "loss": None if losses is None else losses.isel(point=i),
                **(values if self.answered else withheld(values)),
            }
            for i in range(len(options.points))
            for values in (options.values(i),)
        ]

    def split_values(self, i: int) -> dict[str, Any]:
        """Return the best split, the choice and its regret for one budget, by JSON key."""
        choice = {"choice": self.choice.split(i)}
        return {**self.best(i), **choice, **self.choice.values(i)}

    def _budget_values(self, i: int) -> dict[str, Any]:
        point, across, new = self._reached.points.iloc[i], self.across, self._reached.loss_new
        rows = [] if across is None else across[across["flops"] == self.flops[i]]
        values = {
            **self.split_values(i),
            **self._spent(i),
            **self._cost_interval(i),
            "loss": self._reached.loss.isel(point=i),
            "loss_new": None if new is None else new.isel(point=i),
            **{key: point[key] for key in ("extrapolation_ratio", "across", "verdict", "why")},
            "split_verdict": self.split_verdict(i).state,
            "split_why": self.split_verdict(i).text,
        }
        if (why := self.refusal(i)) is not None:
            values = withheld(values) | {"why": why}
        return {
            "flops": float(self.flops[i]),
            **values,
            "unit": self._reached.unit,
            "laws": laws_json(self, lambda law: law.split_values(i)),
            "more_data": [
                {
                    "times": more.times,
                    "loss": more.loss.isel(budget=i),
                    "flops": more.flops.isel(budget=i),
                }
                for more in self.more_data
            ],
            "across": rows,
        }

    def _content(self) -> Iterator[str | TextTable]:
        if len(self.flops) > 1:
            yield f"{self.law}: the split of least expected loss"
            yield self._frontier()
            unit = self.loss_unit.short
            yield f"Intervals of {self.ci_prob:.0%}; regret in {unit} and wasted compute are means."
            yield ""
        yield from self._budget_lines(len(self.flops) - 1)
        yield from self._option_lines()
        if self.answered:
            yield from self._exponent_lines()
        if self.at_end > MANY_AT_END:
            yield from end_lines(self.tokens / self.params, self.limits.searched)
        yield from self.limits.count.plain.lines
        if not self.drift:
            yield "  Without drift: these intervals take the law to hold exactly."
        elif not self.drift_across:
            yield (
                "  The drift of this law is equal for all splits of a budget, so the intervals of "
                "the best split and of the regret take its form to be right: fit unified for "
                "intervals that do not."
            )

    def brief(self) -> tuple[str, ...]:
        """Return the choice, its loss, verdicts and options; or a line for each of many budgets."""
        if len(self.flops) > 1:
            return (*map(self._brief_line, range(len(self.flops))), *self._option_lines())
        head = next(self._budget_lines(0))
        if (why := self.refusal(0)) is not None:
            return (head, f"  {why}")
        return (
            f"{head} {split_text(self.choice.points.iloc[0])}",
            f"  loss {self._loss_text(0)} {self._reached.unit}, {self.meaning}",
            f"  {titled(*self._reached.points[['verdict', 'why']].iloc[0])} "
            f"{self.split_verdict(0).text}",
            *self._option_lines(),
        )

    def _brief_line(self, i: int) -> str:
        head = f"{self.flops[i]:.4g} FLOP"
        if (why := self.refusal(i)) is not None:
            return f"{head}: {why}"
        verdict = self._reached.points["verdict"].iloc[i].replace("_", " ")
        return (
            f"{head}: {split_text(self.choice.points.iloc[i])}, loss {self._loss_text(i)} "
            f"{self._reached.unit}; loss {verdict}, split {self.split_verdict(i).state}"
        )

    def _loss_text(self, i: int) -> str:
        loss = self._quantiles(self._reached.loss.isel(point=i))
        return interval_text(loss, lambda x: f"{x:.4f}", self.ci_prob)

    def _exponent_lines(self) -> Iterator[str]:
        if self.exponent is None:
            return
        exponent = interval_text(self._quantiles(self.exponent), lambda x: f"{x:.3f}", self.ci_prob)
        yield (
            f"  Params grow as C^{exponent}, on average over the compute of the runs and of the "
            "budgets."
        )
        published = ", ".join(
            f"{', '.join(f'{a:.2f}' for a in values)} ({source})"
            for source, values in PUBLISHED_EXPONENTS.items()
        )
        yield f"  Published: {published}."

    def _frontier(self) -> TextTable:
        rows = self.to_frame().to_dict(orient="records")
        return TextTable.of(map(frontier_row, rows))

    def _budget_lines(self, i: int) -> Iterator[str]:
        point, mass = self.choice.points.iloc[i], f"{self.ci_prob:.0%}"
        best = {name: self._quantiles(x) for name, x in self.best(i).items()}
        served, dollars = self.limits.inference_tokens, self._spent(i).get("dollars")
        yield (
            f"{self.law}, {self.flops[i]:.4g} FLOP"
            + (f", {self._served_text()} tokens to be served included" if served else "")
            + (f", ${dollars:,.0f}" if dollars is not None else "")
            + ":"
        )
        if self.cluster is not None:
            yield from self._time_lines(self.cluster, i)
        if (why := self.refusal(i)) is not None:
            yield f"  {why}"
            yield from self._law_lines(i)
            return
        yield from self._serving_lines(point)
        yield f"  choice      {split_text(point)}: least expected loss"
        yield (
            f"  best split  {range_text(best['params'])} params, {range_text(best['tokens'])} "
            f"tokens, {three_digits(best['tokens_per_param']['lower'])} to "
            f"{three_digits(best['tokens_per_param']['upper'])} per param ({mass})"
        )
        yield f"  loss        {self._loss_text(i)}  {self._reached.unit}, {self.meaning}"
        yield f"  regret      {self.choice.regret_text(i, self.ci_prob)}"
        if "epochs" in best:
            yield from self._data_lines(i, point, best["epochs"])
        if point["flops"] < 0.99 * self.flops[i]:
            unspent = 1 - point["flops"] / self.flops[i]
            yield f"  The limits leave {unspent:.0%} of the budget unspent."
        yield f"  {titled(*self._reached.points[['verdict', 'why']].iloc[i])}"
        yield f"  {self.split_verdict(i).text}"
        yield from self._law_lines(i)

    def _time_lines(self, cluster: Cluster, i: int) -> Iterator[str]:
        params = self.choice.split(i)["params"]
        yield f"  time        {cluster.time_text(float(self.flops[i]), params)}"
        if isinstance(cluster.utilization, Utilization):
            counts_flops = self.limits.count.plain is self.limits.count
            equal = "FLOP, whatever time they take" if counts_flops else "GPU time"
            yield f"  utilization {cluster.utilization.in_words()}"
            yield f"              Splits are compared at equal {equal}."

    def _cost_interval(self, i: int) -> dict[str, list[float]]:
        if self.limits.inference_interval is None:
            return {}
        at = self.choice.points.iloc[i]
        return {"cost_interval": list(self.limits.cost_interval(at["params"], at["tokens"]))}

    def _served_text(self) -> str:
        served, interval = self.limits.inference_tokens, self.limits.inference_interval
        if interval is None:
            return format_size(served)
        ends = " to ".join(map(format_size, interval))
        return f"{ends} (90%, {format_size(served)} on average)"

    def _serving_lines(self, point: pd.Series) -> Iterator[str]:
        if self.limits.inference_interval is not None:
            low, high = self.limits.cost_interval(point["params"], point["tokens"])
            yield (
                f"  cost        {low:.3g} to {high:.3g} FLOP for training and serving the choice "
                "(90%): the budget holds on average"
            )
            yield (
                "  served      each draw has its own tokens to be served: its best split is for "
                "these, and its regret compares splits of equal cost"
            )

    def _law_lines(self, i: int) -> Iterator[str]:
        for law in self.by_law:
            own = self._quantiles(law.best(i)["tokens_per_param"])
            yield (
                f"    {law.law:<20} {split_text(law.choice.points.iloc[i])}; best "
                f"{three_digits(own['lower'])} to {own['upper']:.3g}"
            )
        if self.across is not None:
            rows = self.across[self.across["flops"] == self.flops[i]]
            for row in rows.to_dict(orient="records"):
                yield (
                    f"    If {row['holds']} holds, {row['follow']}'s choice wastes "
                    f"{row['wasted']:.2g} FLOP, {row['wasted'] / self.flops[i]:.1%}."
                )

    def _option_lines(self) -> Iterator[str]:
        options = self.options
        if options is None:
            return
        yield "  Named splits:"
        for i, point in enumerate(options.points.to_dict(orient="records")):
            loss = options.loss
            reached = "" if loss is None else f": loss {float(loss.isel(point=i).median()):.4f}"
            yield f"    {split_text(point)}, {point['flops']:.3g} FLOP{reached}"
            if self.answered:
                yield f"      {options.regret_text(i, self.ci_prob)}"

    def _data_lines(self, i: int, point: pd.Series, epochs: Mapping[str, float]) -> Iterator[str]:
        unique, unit = self.limits.unique_tokens, self.loss_unit.short
        assert unique is not None
        yield (
            f"  epochs      {max(point['tokens'] / unique, 1.0):.3g} over {format_size(unique)} "
            f"unique tokens; best {epochs['lower']:.3g} to {epochs['upper']:.3g}"
        )
        for more in self.more_data:
            what = "twice as many" if np.isfinite(more.times) else "unlimited"
            less = self._quantiles(more.loss.isel(budget=i))
            share = self._quantiles(more.flops.isel(budget=i) / self.flops[i])
            yield (
                f"    {what} unique tokens: {less['median']:.2g} {unit} less "
                f"({less['lower']:.2g} to {less['upper']:.2g}), or {share['median']:.0%} of the "
                f"compute saved ({share['lower']:.0%} to {share['upper']:.0%})"
            )
