"""What any split about a budget's best gives up, over a map of params and tokens."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.decisions.allocate import allocate
from bayescale.decisions.allocation import Allocation, EvaluatedSplits
from bayescale.errors import DecisionError
from bayescale.laws.law import FLOP_PER_PARAM_TOKEN
from bayescale.posterior import DEFAULT_CI_PROB, Fit
from bayescale.units import format_size

DOUBLINGS = 3
"""How many times sizes are doubled and halved from the choice to the edges of a map."""

PER_DOUBLING = 4
"""Splits of a map from one size to twice that."""

_SIDES = ("max_params", "max_tokens", "unique_tokens")


@dataclass(frozen=True, eq=False)
class RegretMap:
    """Expected regret of splits about the one of least expected loss.

    Attributes
    ----------
    allocation : Allocation
        Of the budget, with the choice about which the map lies.
    splits : Judged
        Every split of the map that the limits allow. Each is held against the best split of
        what it costs itself, as a named split of :func:`bayescale.allocate` is.
    line : Judged
        Splits that spend the budget, from small models to large ones; the choice is one of them.
    """

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

    def to_frame(self) -> pd.DataFrame:
        """One row a split.

        Returns
        -------
        pandas.DataFrame
            ``params``, ``tokens``, ``flops``; ``regret`` (nats per token), ``wasted`` (FLOP) and
            ``wasted_share`` (of the split's own compute), each with its mean over draws and its
            interval; ``on_budget``, whether the split is of those that spend the budget;
            ``choice``, whether it is the split of least expected loss; and the limits.
        """
        parts = []
        for judged, on_budget in ((self.splits, False), (self.line, True)):
            parts.append(judged.to_frame(self.ci_prob).assign(on_budget=on_budget))
        frame = pd.concat(parts, ignore_index=True)
        for name in ("mean", "lower", "median", "upper"):
            frame[f"wasted_share_{name}"] = frame[f"wasted_{name}"] / frame["flops"]
        chosen = self.allocation.choice.split(0)
        frame["choice"] = frame["on_budget"] & np.isclose(frame["params"], chosen["params"])
        return frame.assign(**self._limits())

    def _limits(self) -> dict[str, float]:
        limits = {name: getattr(self.allocation.limits, name) for name in _SIDES}
        return {name: value for name, value in limits.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Plain values; a row of ``splits`` and ``line`` is a row of :meth:`to_frame`."""
        frame, rows = self.to_frame(), {}
        for name, of in (
            ("splits", frame[~frame["on_budget"]]),
            ("line", frame[frame["on_budget"]]),
        ):
            own = of.drop(columns=["on_budget", "choice", *self._limits()])
            rows[name] = own.to_dict(orient="records")
        return {
            "law": self.allocation.law,
            "interval": self.ci_prob,
            "flops": self.flops,
            "choice": self.allocation.choice.split(0),
            "limits": asdict(self.allocation.limits),
            "drift": self.allocation.drift,
            "provenance": dict(self.allocation.provenance),
            **rows,
        }

    def __str__(self) -> str:
        share, mass = f"below, {(1 + self.ci_prob) / 2:.0%}", f"{self.ci_prob:.0%}"
        lines = [
            f"{self.allocation.law}: what splits of {self.flops:.4g} FLOP give up",
            f"{'params':>8}  {'tokens':>8}  {'per param':>9}  {'regret, nats':>12}  {share:>10}  "
            f"{'wasted':>7}  {share:>10}",
        ]
        frame = self.to_frame()
        line = frame[frame["on_budget"]].reset_index(drop=True)
        at = int(line["choice"].to_numpy().argmax())
        lines += [
            f"{format_size(row['params']):>8}  {format_size(row['tokens']):>8}  "
            f"{row['tokens'] / row['params']:>9.3g}  {row['regret_mean']:>12.2g}  "
            f"{row['regret_upper']:>10.2g}  {row['wasted_share_mean']:>7.1%}  "
            f"{row['wasted_share_upper']:>10.1%}" + ("  choice" if row["choice"] else "")
            for row in line.iloc[at % PER_DOUBLING :: PER_DOUBLING].to_dict(orient="records")
        ]
        lines.append(
            f"Regret and wasted compute are expected ones, with upper ends of {mass} intervals."
        )
        map_of = frame[~frame["on_budget"]]
        low, high = (
            f"{format_size(of['params'])} params on {format_size(of['tokens'])} tokens"
            for of in (map_of.min(), map_of.max())
        )
        lines.append(f"The map has {len(map_of)} splits, {low} to {high}.")
        return "\n".join(lines)


def regret_map(
    fit: Fit,
    flops: float,
    *,
    max_tokens: float | None = None,
    max_params: float | None = None,
    inference_tokens: float = 0.0,
    doublings: int = DOUBLINGS,
    ci_prob: float = DEFAULT_CI_PROB,
    family: str | None = None,
    drift: bool = True,
    allow_unconverged: bool = False,
) -> RegretMap:
    """Say what any params and tokens about a budget's best split give up.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        Of laws of params and tokens.
    flops : float
        The budget in FLOP, whose split of least expected loss is the middle of the map.
    max_tokens, max_params, inference_tokens
        As for :func:`bayescale.allocate`. The map ends at limits.
    doublings : int
        From the choice, how many times params and tokens, those to be served included, are
        doubled and halved to the edges.
    interval, family, drift, allow_unconverged
        As for :func:`bayescale.allocate`.

    Returns
    -------
    RegretMap

    Raises
    ------
    DecisionError
        If a budget or limit leaves nothing to choose, or ``doublings`` is less than one.
    LawError
        If the law is not of params and tokens.
    UnconvergedError
        If the fit failed its convergence gate.

    Notes
    -----
    A split is held against the best one of its own cost: regret tells how badly compute is
    divided, and not that more of it would lower the loss. Each draw has its own best split, and
    the mean is taken over what draws say. The map has four splits a doubling.
    """
    budget = np.asarray(flops, dtype=float)
    if budget.ndim:
        raise DecisionError(f"a regret map is of one budget, and {budget.size} are given")
    if doublings < 1:
        raise DecisionError(f"doublings is {doublings}, but must be one or more")
    asked: dict[str, Any] = {
        "max_tokens": max_tokens, "max_params": max_params, "inference_tokens": inference_tokens,
        "ci_prob": ci_prob, "family": family, "drift": drift,
        "losses": False, "allow_unconverged": allow_unconverged,
    }  # fmt: skip
    first = allocate(fit, float(budget), **asked)
    grid, line = _splits(first, doublings)
    found = allocate(fit, float(budget), options=[*grid, *line], **asked)
    assert found.options is not None
    return RegretMap(
        allocation=first,
        splits=found.options.part(slice(None, len(grid))),
        line=found.options.part(slice(len(grid), None)),
    )


def _splits(
    about: Allocation, doublings: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Splits on a grid about the choice, and along the budget, both within the limits."""
    limits, choice = about.limits, about.choice.split(0)
    steps = np.arange(-doublings * PER_DOUBLING, doublings * PER_DOUBLING + 1) / PER_DOUBLING
    # what serving takes is as if so many more tokens were trained on: steps of both together make
    # costs repeat, of which each needs a best split of its own
    served = limits.cost(1.0, 0.0) / FLOP_PER_PARAM_TOKEN
    params = choice["params"] * 2.0**steps
    tokens = (choice["tokens"] + served) * 2.0**steps - served
    params = _within(params, limits.max_params)
    tokens = _within(tokens[tokens > 0], limits.max_tokens)
    grid = [(float(n), float(d)) for n in params for d in tokens]
    budget = float(about.flops[0])
    left = limits.tokens_left(budget, params)
    spends = (left > 0) & np.isclose(limits.cost(params, left), budget, rtol=1e-9)
    spends |= np.isclose(params, choice["params"])  # which limits may keep from spending all
    return grid, list(zip(params[spends].tolist(), left[spends].tolist(), strict=True))


def _within(values: np.ndarray, limit: float | None) -> np.ndarray:
    """Values up to a limit, itself the last where there are any beyond."""
    if limit is None or values[-1] <= limit:
        return values
    below = values[values < limit * (1 - 1e-9)]  # as rounding may leave the choice at the limit
    return np.append(below, limit)
