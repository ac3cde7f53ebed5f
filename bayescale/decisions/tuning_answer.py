"""The result of :func:`bayescale.tune`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.laws.law import FLOP_PER_PARAM_TOKEN
from bayescale.results import Result, TextTable, interval_text, quantiles
from bayescale.units import format_size, three_digits

SHARES = (0.001, 0.003, 0.01)
"""Shares of the best loss within which settings are reported."""

MOST_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Tune(Result):
    """The best learning rate and batch size of a run, and the regret of other settings.

    Attributes
    ----------
    params, tokens : float
        The run.
    lr, batch_size : xarray.DataArray or None
        Draws of the best setting. The batch size is in the log's own unit, and None if the log has
        none.
    choice : mapping
        ``lr`` and ``batch_size`` of least expected loss.
    loss, frontier : xarray.DataArray
        Draws of the mean loss at the choice, and of the well-tuned loss, in ``unit``.
    regret : mapping
        The regret of the choice: ``loss`` (draws, in ``unit``), ``share`` (draws, of the loss),
        ``expected_share``, ``bound95_share`` (as a sweep at this size would show it: one run
        compared with the luckiest run near the best) and ``noise_free_bound95_share``.
    regions : pandas.DataFrame
        Ranges of the settings ``within`` 0.1, 0.3 and 1 % of the best with a probability above 0.9
        (``core``) and above 0.1 (``rim``).
    off : list
        Settings a factor of two away from the choice, with their regret.
    named : mapping or None
        The requested setting, with its regret.
    next_setting : mapping or None
        The setting of this run whose outcome would lower the expected regret most.
    cells : pandas.DataFrame
        For each cell, how far its best run lies above the valley's floor.
    splits : pandas.DataFrame or None
        Splits of the budget that were compared.
    edges : tuple of str
        Sentences on best settings that probably lie outside the tried range.
    exponents : mapping
        Draws of the exponents of params and tokens.
    ratio : float
        How many times more compute the run takes than the largest of the sweep.
    """

    params: float
    tokens: float
    lr: xr.DataArray
    batch_size: xr.DataArray | None
    choice: Mapping[str, Any]
    loss: xr.DataArray
    frontier: xr.DataArray
    regret: Mapping[str, Any]
    regions: pd.DataFrame
    off: list[dict[str, Any]]
    named: Mapping[str, Any] | None
    next_setting: Mapping[str, Any] | None
    cells: pd.DataFrame
    splits: pd.DataFrame | None
    edges: tuple[str, ...]
    exponents: Mapping[str, Any]
    ratio: float
    unit: str
    batch_column: str | None
    ci_prob: float
    diagnostics: Mapping[str, Any]
    provenance: Mapping[str, Any]
    cautions: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Whether the run lies inside the range of the sweep."""
        return "inside" if self.ratio <= 1.001 else "untested"

    @property
    def why(self) -> str:
        """The reason for the verdict."""
        if self.verdict == "inside":
            return "No larger than the largest run of the sweep."
        return (
            f"Extrapolates to {three_digits(self.ratio)} times the compute of the largest run of "
            "the sweep; no run of the log tests that."
        )

    def _json(self) -> dict[str, Any]:
        values = dict(super()._json())
        values["flops"] = FLOP_PER_PARAM_TOKEN * self.params * self.tokens
        values["extrapolation_ratio"] = values.pop("ratio")
        values["under_tuned"] = values.pop("cells")
        return {"law": "valley", **values, "verdict": self.verdict, "why": self.why}

    def _table(self) -> pd.DataFrame:
        return self.cells

    def _content(self) -> Iterator[str | TextTable]:
        run = f"{format_size(self.params)} params, {format_size(self.tokens)} tokens"
        flops = FLOP_PER_PARAM_TOKEN * self.params * self.tokens
        yield f"Learning rate and batch size at {run} ({flops:.3g} FLOP):"
        yield f"  choice              {_setting_text(self.choice)}: least expected loss"
        for name, draws in (("learning rate", self.lr), ("batch size", self.batch_size)):
            if draws is not None:
                text = interval_text(quantiles(draws, self.ci_prob), three_digits, self.ci_prob)
                yield f"  {f'best {name}':<20}{text}"
        loss = quantiles(self.loss, self.ci_prob)
        yield f"  loss                {interval_text(loss, _four, self.ci_prob)}  {self.unit}"
        yield (
            f"  regret              {self.regret['expected_share']:.2%} expected; with 95%, below "
            f"{self.regret['bound95_share']:.2%} as a sweep there would show it, and below "
            f"{self.regret['noise_free_bound95_share']:.2%} without the noise of runs"
        )
        if self.named is not None:
            regret = self.named["regret"]
            yield (
                f"  {_setting_text(self.named)} gives up {regret['expected_share']:.2%} expected, "
                f"below {regret['bound95_share']:.2%} with 95% as a sweep would show it"
            )
        off = (f"{row['move']}: {row['regret']['expected_share']:.2%}" for row in self.off)
        yield f"  a factor of two off loses (expected): {', '.join(off)}"
        yield from self._region_lines()
        yield from self.edges
        if self.next_setting is not None:
            before, after = (self.next_setting[f"regret_{n}_share"] for n in ("before", "after"))
            yield (
                f"  next to try         {_setting_text(self.next_setting)}: leaves an expected "
                f"regret of {after:.3%} of {before:.3%}"
            )
        if self.splits is not None:
            yield self._split_table()
        yield f"  {self.why}"
        yield from self._cell_lines()
        exponents = (
            f"{name.replace('_', ' of ')} {interval_text(quantiles(draws, self.ci_prob), _two)}"
            for name, draws in self.exponents.items()
        )
        yield f"Exponents ({self.ci_prob:.0%}): {', '.join(exponents)}."
        yield (
            "All settings are used. The noise grows with the excess, so diverged runs say where "
            "the valley's edge is and hardly move its floor."
        )

    def _region_lines(self) -> Iterator[str]:
        for row in self.regions.to_dict(orient="records"):
            if not np.isfinite(row["lr_low"]):
                continue
            sure = "surely" if row["part"] == "core" else "possibly"
            text = f"lr {three_digits(row['lr_low'])} to {three_digits(row['lr_high'])}"
            if np.isfinite(row["batch_size_low"]):
                ends = (three_digits(row[f"batch_size_{end}"]) for end in ("low", "high"))
                text += f", batch size {' to '.join(ends)}"
            yield f"  {sure} within {row['within']:.1%} of the best: {text}"

    def _split_table(self) -> TextTable:
        assert self.splits is not None
        return TextTable.of(
            (
                {
                    "params": format_size(row["params"]),
                    "tokens": format_size(row["tokens"]),
                    f"well-tuned loss ({self.ci_prob:.0%})": (
                        f"{row['loss_mean']:.4f} ({row['loss_lower']:.4f} to "
                        f"{row['loss_upper']:.4f})"
                    ),
                    "best lr": three_digits(row["lr"]),
                    "best batch size": three_digits(row["batch_size"]),
                }
                for row in self.splits.to_dict(orient="records")
            ),
            indent="  ",
        )

    def _cell_lines(self) -> Iterator[str | TextTable]:
        poor = self.cells[self.cells["under_tuned"]]
        if poor.empty:
            yield (
                f"No cell is under-tuned: the best run of each of {len(self.cells)} lies within "
                f"{self.cells['under_tuned_share'].max():.2%} of its floor (median)."
            )
            return
        worst = poor.sort_values("under_tuned_share", ascending=False)
        yield (
            f"Under-tuned cells: {len(poor)} of {len(self.cells)}. A law of their best runs lies "
            "too high:"
        )
        yield TextTable.of(
            (
                {
                    "params": format_size(row["params"]),
                    "tokens": format_size(row["tokens"]),
                    "runs": str(row["n_runs"]),
                    "best run above the floor": f"{row['under_tuned_share']:.2%} (below "
                    f"{row['under_tuned_upper']:.2%})",
                    "best lr": three_digits(row["lr"]),
                    "tried": f"{row['lr_tried_low']:.3g} to {row['lr_tried_high']:.3g}",
                }
                for row in worst.head(MOST_SHOWN).to_dict(orient="records")
            ),
            indent="  ",
        )


def _setting_text(setting: Mapping[str, Any]) -> str:
    size = setting["batch_size"]
    return f"lr {setting['lr']:.3g}" + ("" if size is None else f", batch size {size:.3g}")


def _two(x: float) -> str:
    return f"{x:.2f}"


def _four(x: float) -> str:
    return f"{x:.4f}"
