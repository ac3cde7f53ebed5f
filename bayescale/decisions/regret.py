"""The regret of splits around a budget's best split, as a map over params and tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from bayescale.conventions import LossUnit
from bayescale.conventions.flop_count import FORWARD_SHARE
from bayescale.decisions.allocate import allocate
from bayescale.decisions.allocation import Allocation
from bayescale.decisions.evaluated import EvaluatedSplits
from bayescale.errors import DecisionError
from bayescale.posterior import Fit
from bayescale.posterior.methods import asks_fit
from bayescale.results import DEFAULT_CI_PROB, Result, TextTable
from bayescale.splits.hardware import Cluster
from bayescale.units import format_size, three_digits

DOUBLINGS = 3
"""Doublings and halvings of params and tokens from the choice to the edges of a map."""

PER_DOUBLING = 4
"""Number of splits of a map per doubling of size."""

_LIMITS = ("max_params", "max_tokens", "unique_tokens")


@dataclass(frozen=True, eq=False)
class RegretMap(Result):
    """Expected regret of splits around the split of least expected loss.

    Attributes
    ----------
    allocation : Allocation
        The allocation of the budget; its choice is the center of the map.
    splits : EvaluatedSplits
        All splits of the map that the limits allow. Each is compared with the best split of the
        same cost, as a named split of :func:`bayescale.allocate` is.
    line : EvaluatedSplits
        Splits that spend the budget, from small to large models; the choice is one of them.

    Notes
    -----
    :meth:`to_frame` has one row per split: ``params``, ``tokens``, ``flops``; ``regret`` (in the
    allocation's unit), ``wasted`` (FLOP) and ``wasted_share`` (of the split's own compute), each
    with its mean over draws and its interval; ``on_budget`` (whether the split spends the budget);
    ``choice`` (whether it is the split of least expected loss); and the limits. If a price is
    known, ``dollars`` is the cost of a split, and ``wasted_dollars_mean`` what it wastes on
    average.
    """

    in_figures = True

    allocation: Allocation
    splits: EvaluatedSplits
    line: EvaluatedSplits

    @property
    def flops(self) -> float:
        """The budget, in FLOP."""
        return float(self.allocation.flops[0])

    @property
    def ci_prob(self) -> float:
        """Mass of the central intervals."""
        return self.allocation.ci_prob

    def _limits(self) -> dict[str, float]:
        limits = {name: getattr(self.allocation.limits, name) for name in _LIMITS}
        return {name: value for name, value in limits.items() if value is not None}

    def _table(self) -> pd.DataFrame:
        parts = []
        for evaluated, on_budget in ((self.splits, False), (self.line, True)):
            part = evaluated.to_frame(self.ci_prob).assign(on_budget=on_budget)
            if evaluated.price is not None:
                part["dollars"] = part["flops"] * evaluated.price
            parts.append(part)
        frame = pd.concat(parts, ignore_index=True)
        if self.splits.cost is None:
            for name in ("mean", "lower", "median", "upper"):
                frame[f"wasted_share_{name}"] = frame[f"wasted_{name}"] / frame["flops"]
        chosen = self.allocation.choice.split(0)
        frame["choice"] = frame["on_budget"] & np.isclose(frame["params"], chosen["params"])
        return frame.assign(**self._limits())

    def _json(self) -> dict[str, Any]:
        frame, cluster = self.to_frame(), self.allocation.cluster
        shown = frame.drop(columns=["on_budget", "choice", *self._limits()])
        return {
            "law": self.allocation.law,
            "interval": self.ci_prob,
            "flops": self.flops,
            "unit": self.allocation.loss_unit.label,
            "choice": self.allocation.choice.split(0),
            "limits": self.allocation.limits.to_json(),
            "flop_count": self.allocation.limits.count.to_json(),
            "drift": self.allocation.drift,
            "provenance": self.allocation.provenance,
            "splits": shown[~frame["on_budget"]],
            "line": shown[frame["on_budget"]],
            "cluster": None if cluster is None else cluster.to_json(),
        }

    def _content(self) -> Iterator[str | TextTable]:
        yield f"{self.allocation.law}: what splits of {self.flops:.4g} FLOP give up"
        frame, cluster = self.to_frame(), self.allocation.cluster
        if cluster is not None:
            params = self.allocation.choice.split(0)["params"]
            yield f"The budget takes {cluster.time_text(self.flops, params)} at the choice."
        line = frame[frame["on_budget"]].reset_index(drop=True)
        at = int(line["choice"].to_numpy().argmax())
        shown = line.iloc[at % PER_DOUBLING :: PER_DOUBLING]
        upper = f"{(1 + self.ci_prob) / 2:.0%}"
        yield TextTable.of(
            {
                "params": format_size(row["params"]),
                "tokens": format_size(row["tokens"]),
                "per param": f"{three_digits(row['tokens'] / row['params'])}",
                f"regret, {self.allocation.loss_unit.short}": f"{row['regret_mean']:.2g}",
                f"regret {upper}": f"{row['regret_upper']:.2g}",
                "wasted": f"{row['wasted_share_mean']:.1%}",
                f"wasted {upper}": f"{row['wasted_share_upper']:.1%}",
                **(
                    {"dollars": f"{row['dollars']:,.0f}"}
                    | {"wasted, dollars": f"{row['wasted_dollars_mean']:,.0f}"}
                    if "dollars" in row
                    else {}
                ),
                "": "choice" if row["choice"] else "",
            }
            for row in shown.to_dict(orient="records")
        )
        yield (
            "Regret and wasted compute are means over draws, beside the upper ends of their "
            f"{self.ci_prob:.0%} intervals."
        )
        grid = frame[~frame["on_budget"]]
        low, high = (
            f"{format_size(of['params'])} params on {format_size(of['tokens'])} tokens"
            for of in (grid.min(), grid.max())
        )
        yield f"The map has {len(grid)} splits, {low} to {high}."


@asks_fit
def regret_map(  # noqa: PLR0913
    fit: Fit,
    flops: float | str | None = None,
    *,
    days: float | str | None = None,
    max_tokens: float | str | None = None,
    max_params: float | str | None = None,
    inference_tokens: float | str | Sequence[float | str] = 0.0,
    price: float | None = None,
    cluster: Cluster | None = None,
    doublings: int = DOUBLINGS,
    ci_prob: float = DEFAULT_CI_PROB,
    family: str | None = None,
    drift: bool = True,
    loss_unit: str | LossUnit | None = None,
    allow_unconverged: bool = False,
) -> RegretMap:
    """Return a map of the regret of splits around a budget's best split.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of laws of params and tokens.
    flops : float or str, optional
        The budget in FLOP. Its split of least expected loss is the center of the map.
    days : float or str, optional
        The budget in days of all GPUs of ``cluster``, instead of ``flops``.
    max_tokens, max_params, inference_tokens
        As for :func:`bayescale.allocate`. The map ends at these limits.
    price, cluster
        As for :func:`bayescale.allocate`. With a price, costs are also in dollars. The map ends at
        the largest model that fits into the memory of the cluster.
    doublings : int
        How many times params and tokens (including served tokens) are doubled and halved from the
        choice to the edges.
    ci_prob, family, drift, loss_unit, allow_unconverged
        As for :func:`bayescale.allocate`.

    Returns
    -------
    RegretMap

    Raises
    ------
    DecisionError
        If a budget or limit leaves nothing to choose, ``doublings`` is less than one, or the laws
        of an average do not agree on the split.
    LawError
        If the law is not a function of params and tokens.
    UnconvergedError
        If the fit failed its convergence checks.

    Notes
    -----
    A split is compared with the best split of the same cost: regret measures how badly compute is
    divided, not that more compute would lower the loss. Each draw has its own best split, and means
    are taken over draws. The map has four splits per doubling.
    """
    for given in (flops, days):
        if not isinstance(given, str) and np.ndim(given):  # type: ignore[arg-type]
            raise DecisionError(
                f"a regret map is for one budget, but {np.size(given)} are given: call it for each"  # type: ignore[arg-type]
            )
    if doublings < 1:
        raise DecisionError(f"doublings is {doublings}, but must be one or more")
    split = partial(
        allocate,
        fit,
        flops,
        days=days,
        max_tokens=max_tokens,
        max_params=max_params,
        inference_tokens=inference_tokens,
        price=price,
        cluster=cluster,
        ci_prob=ci_prob,
        family=family,
        drift=drift,
        losses=False,
        loss_unit=loss_unit,
        allow_unconverged=allow_unconverged,
    )
    first = split()
    if (why := first.refusal(0)) is not None:
        raise DecisionError(f"a map needs a single split in its center. {why}")
    grid, line = _splits(first, doublings)
    found = split(options=[*grid, *line])
    assert found.options is not None
    return RegretMap(
        allocation=first,
        splits=found.options.part(slice(None, len(grid))),
        line=found.options.part(slice(len(grid), None)),
    )


def _splits(
    about: Allocation, doublings: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return splits on a grid around the choice, and splits that spend the budget."""
    limits, choice = about.limits, about.choice.split(0)
    steps = np.arange(-doublings * PER_DOUBLING, doublings * PER_DOUBLING + 1) / PER_DOUBLING
    # Serving costs as much as training on so many more tokens. Steps of both together make costs
    # repeat, and only distinct costs need their own best split.
    served = FORWARD_SHARE * limits.inference_tokens
    params = choice["params"] * 2.0**steps
    tokens = (choice["tokens"] + served) * 2.0**steps - served
    params = _within(params, limits.max_params)
    tokens = _within(tokens[tokens > 0], limits.max_tokens)
    grid = [(float(n), float(d)) for n in params for d in tokens]
    budget = float(about.flops[0] / limits.count.in_flops(1.0, choice["params"]))
    left = limits.tokens_left(budget, params)
    spends = (left > 0) & np.isclose(limits.cost(params, left), budget, rtol=1e-9)
    spends |= np.isclose(params, choice["params"])  # limits may leave part of the budget unspent
    return grid, list(zip(params[spends].tolist(), left[spends].tolist(), strict=True))


def _within(values: np.ndarray, limit: float | None) -> np.ndarray:
    """Return the values below a limit, and the limit itself if there are values beyond it."""
    if limit is None or values[-1] <= limit:
        return values
    below = values[values < limit * (1 - 1e-9)]  # rounding may put the choice at the limit
    return np.append(below, limit)
