"""The result of a purchase question: ranked candidates, and runs to buy together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bayescale.conventions import NATS, SIX_ND, FlopCount, LossUnit
from bayescale.decisions.information_value import NAMES, WORTHWHILE, Target
from bayescale.results import Result, TextTable, laws_json
from bayescale.units import format_size

MOST_SHOWN = 10

_OF_LAW = ("at", "candidates", "batch")


@dataclass(frozen=True, eq=False)
class NextRun(Result):
    """Candidate runs, and the uncertainty that buying each would leave.

    Attributes
    ----------
    target : {"loss", "regret"}
        The uncertain quantity: the loss at ``at``, or which split of its budget is best.
    at : mapping
        The scales of the target.
    budget : float
        FLOP to spend on new runs.
    candidates : pandas.DataFrame
        One row per candidate: the laws' inputs, ``flops`` (its price), ``sd_before`` and
        ``sd_after`` (of the log of the target's mean loss), ``reduction_per_flop``, ``affordable``
        (within the budget), and ``worthwhile`` (whether it removes a hundredth of the uncertainty).
        Candidates that are both come first, those with the largest reduction per FLOP at the top.
        For a regret also ``regret_before`` and ``regret_after`` (expected, in ``loss_unit``), to
        which the reduction then refers.
    batch : pandas.DataFrame
        Runs to buy together within the budget, in the order of choice, with the uncertainty left
        after each: ``sd_after`` or ``regret_after``.
    refusal : str or None
        How the laws of an average disagree on the split of the target's budget. There is then no
        single target, ``candidates`` and ``batch`` are empty, and ``by_law`` has each law's answer.
    no_larger : str or None
        That no candidate within the budget is larger than the largest fitted run, and what to do;
        None if one is, or if the fit has no runs.
    """

    in_figures = True

    law: str
    target: Target
    at: Mapping[str, float]
    budget: float
    candidates: pd.DataFrame
    batch: pd.DataFrame
    drift: bool
    provenance: Mapping[str, Any]
    flop_count: FlopCount = SIX_ND
    loss_unit: LossUnit = NATS
    cautions: tuple[str, ...] = ()
    refusal: str | None = None
    by_law: tuple["NextRun", ...] = ()
    weights: tuple[float, ...] = ()
    no_larger: str | None = None

    @property
    def answered(self) -> bool:
        """Whether candidates are ranked."""
        return self.refusal is None

    def _json(self) -> Mapping[str, Any]:
        values = {
            **super()._json(),
            "flop_count": self.flop_count.to_json(),
            "unit": self.loss_unit.label,
        }
        for name in ("refusal", "by_law", "weights", "loss_unit"):
            del values[name]
        if not self.answered:
            values |= {"candidates": None, "batch": None}
        laws = laws_json(self, lambda law: {k: getattr(law, k) for k in _OF_LAW})
        return values | {"answered": self.answered, "why": self.refusal, "laws": laws}

    def _table(self) -> pd.DataFrame:
        return self.candidates

    @property
    def _sizes(self) -> list[str]:
        scales = [name for name in ("params", "tokens") if name in self.candidates]
        others = [name for name in self.at if name not in (*scales, "flops")]
        varied = [name for name in others if self.candidates[name].nunique() > 1]
        return [*scales, *varied]

    def _content(self) -> Iterator[str | TextTable]:
        if self.refusal is not None:
            yield f"{self.law}: no single split of {self.at['flops']:.3g} FLOP to learn about."
            yield self.refusal
            for law in self.by_law:
                yield ""
                yield from law.content()
            return
        name = NAMES[self.target]
        before = self.candidates[f"{name}_before"].iloc[0]
        if self.target == "loss":
            where = _sizes_text(self.at)
            yield f"{self.law}: the mean loss at {where} has a standard deviation of {before:.2%}."
        else:
            yield (
                f"{self.law}: splitting {self.at['flops']:.3g} FLOP now gives up {before:.2g} "
                f"{self.loss_unit.short} "
                "(expected)."
            )
        yield ""
        useful = self.candidates[self.candidates["affordable"] & self.candidates["worthwhile"]]
        if len(useful):
            yield self._candidate_table(useful.head(MOST_SHOWN))
        yield self._count_text(len(useful))
        if not len(self.batch):
            return
        spent = float(self.batch["flops"].sum())
        yield ""
        yield f"Within {self.budget:.3g} FLOP, buy ({spent:.3g} in all):"
        for row in self.batch.to_dict(orient="records"):
            sizes = {key: row[key] for key in (*self._sizes, "flops")}
            yield f"  {_sizes_text(sizes)}: leaves {self._uncertainty_text(row[f'{name}_after'])}"
        yield "Train the first, add its row to the log, fit again, and ask again."
        if self._sizes[:2] == ["params", "tokens"]:
            yield from map(str.strip, self.flop_count.lines)
        if not self.drift:
            yield "Without drift: this takes the law to hold exactly."

    def brief(self) -> tuple[str, ...]:
        """Return the uncertainty now, and the first run to buy."""
        lines = [part for part in self._content() if isinstance(part, str) and part]
        buys = [i for i, line in enumerate(lines) if ", buy (" in line]
        return (lines[0], *(lines[buys[0] : buys[0] + 2] if buys else lines[1:2]))

    def _candidate_table(self, shown: pd.DataFrame) -> TextTable:
        name = NAMES[self.target]
        return TextTable.of(
            {key: _size_text(key, row[key]) for key in self._sizes}
            | {
                "FLOP": _size_text("flops", row["flops"]),
                f"{name} after": self._uncertainty_text(row[f"{name}_after"]),
                "less per 1e18 FLOP": f"{1e18 * row['reduction_per_flop']:.2g}",
            }
            for row in shown.to_dict(orient="records")
        )

    def _count_text(self, n_useful: int) -> str:
        n, expensive = len(self.candidates), int((~self.candidates["affordable"]).sum())
        more = f" ({expensive} of which cost more than the budget)" if expensive else ""
        if not n_useful:
            so = " alone." if len(self.batch) else ": buy none."
            text = f"None of {n} candidates{more} would remove {WORTHWHILE:.0%} of that{so}"
            return text if self.no_larger is None else f"{text} {self.no_larger}"
        return (
            f"{n_useful} of {n} candidates{more} would remove {WORTHWHILE:.0%} of that or more; "
            "the best for their price come first."
        )

    def _uncertainty_text(self, value: float) -> str:
        return f"{value:.2%}" if self.target == "loss" else f"{value:.2g} {self.loss_unit.short}"


def _sizes_text(sizes: Mapping[str, float]) -> str:
    units = {"flops": "FLOP"}
    return ", ".join(f"{_size_text(name, x)} {units.get(name, name)}" for name, x in sizes.items())


def _size_text(name: str, value: float) -> str:
    return format_size(value) if name in ("params", "tokens") else f"{value:.3g}"
