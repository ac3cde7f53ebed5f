"""Given splits of a budget, evaluated under every draw."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions import NATS, LossUnit


@dataclass(frozen=True, eq=False)
class EvaluatedSplits:
    """Given splits, with their loss and regret under each draw.

    Attributes
    ----------
    points : pandas.DataFrame
        One row per split: ``params``, ``tokens``, ``flops`` (of training and serving).
    loss : xarray.DataArray or None
        Dims (chain, draw, point), in ``loss_unit``: the mean over seeds, or the floor, with drift
        if that was requested; None if losses were not requested.
    regret : xarray.DataArray
        Dims (chain, draw, point), in ``loss_unit``: how much lower the loss would be at the best
        split of the same compute. Never negative.
    wasted : xarray.DataArray
        Dims (chain, draw, point), FLOP: compute that the best split would have saved at the
        same loss. The share is of the least compute at which the best split reaches its loss: less
        than the split's own where drift lets the loss rise with compute.
    cost : xarray.DataArray or None
        Dims (chain, draw, point), FLOP of training and serving in each draw, if tokens to be served
        are uncertain; ``points`` then has their mean.
    price : numpy.ndarray or None
        Shape (point,), dollars per FLOP at each split; None if no price is known.
    """

    points: pd.DataFrame
    loss: xr.DataArray | None
    regret: xr.DataArray
    wasted: xr.DataArray
    loss_unit: LossUnit = NATS
    price: np.ndarray | None = None
    cost: xr.DataArray | None = None

    def split(self, i: int) -> dict[str, float]:
        """Return params and tokens of one split."""
        return {name: float(self.points[name].iloc[i]) for name in ("params", "tokens")}

    def part(self, which: slice) -> "EvaluatedSplits":
        """Return some of the splits."""
        return EvaluatedSplits(
            self.points.iloc[which],
            loss=None if self.loss is None else self.loss.isel(point=which),
            regret=self.regret.isel(point=which),
            wasted=self.wasted.isel(point=which),
            loss_unit=self.loss_unit,
            price=None if self.price is None else self.price[which],
            cost=None if self.cost is None else self.cost.isel(point=which),
        )

    def to_frame(self, ci_prob: float) -> pd.DataFrame:
        """Return one row per split: params, tokens, flops, and mean and interval of its regret.

        If the cost differs between draws, ``wasted_share`` is the part of each draw's own cost.
        """
        frame = self.points.reset_index(drop=True)
        at = {"lower": (1 - ci_prob) / 2, "median": 0.5, "upper": (1 + ci_prob) / 2}
        answers = {"regret": self.regret, "wasted": self.wasted}
        if self.cost is not None:
            answers["wasted_share"] = self.wasted / self.cost
        for name, answer in answers.items():
            draws = answer.transpose("chain", "draw", "point").values
            frame[f"{name}_mean"] = draws.mean(axis=(0, 1))
            for part, values in zip(at, np.quantile(draws, [*at.values()], (0, 1)), strict=True):
                frame[f"{name}_{part}"] = values
        if self.price is not None:
            frame["wasted_dollars_mean"] = frame["wasted_mean"] * self.price
        return frame

    def values(self, i: int) -> dict[str, Any]:
        """Return the cost and the regret of one split, by JSON key."""
        regret, wasted = self.regret.isel(point=i), self.wasted.isel(point=i)
        given_up = {"loss": regret, "flops": wasted}
        if self.price is not None:
            given_up["dollars"] = wasted * float(self.price[i])
        return {
            "spent": float(self.points["flops"].iloc[i]),
            "regret": given_up,
            "expected_regret": {name: float(draws.mean()) for name, draws in given_up.items()},
        }

    def regret_text(self, i: int, ci_prob: float) -> str:
        """Return the regret of one split as text."""
        regret, wasted = self.regret.isel(point=i), self.wasted.isel(point=i)
        at_most = (1 + ci_prob) / 2
        cost = self.points["flops"].iloc[i] if self.cost is None else self.cost.isel(point=i)
        share = wasted / cost
        text = (
            f"{float(regret.mean()):.2g} {self.loss_unit.short} expected "
            f"(below {float(regret.quantile(at_most)):.2g} with {at_most:.0%}), "
            f"as if {float(wasted.mean()):.2g} FLOP, {float(share.mean()):.1%}, were wasted "
            f"(below {float(share.quantile(at_most)):.0%})"
        )
        if self.price is None:
            return text
        return f"{text}, ${float(wasted.mean() * self.price[i]):,.0f}"
