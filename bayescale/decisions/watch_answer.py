"""The result of :func:`bayescale.watch`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bayescale.curves.course import ALARM, Course
from bayescale.findings import Finding, note_lines
from bayescale.results import Result, TextTable, interval_text, quantiles
from bayescale.units import three_digits

OFF = 0.05
"""Below this p-value a run is off its course, or disagrees with the forecast made before it."""

LEAST_P = 0.001
"""The smallest p-value that is shown as a number."""

SURE = 0.95
"""From this probability on, a missed target counts as known."""


@dataclass(frozen=True, eq=False)
class Watch(Result):
    """The final loss of a run in progress, and whether the run is on course.

    Attributes
    ----------
    name : str
    law : str
        The law of the curve.
    steps_done, last_step : float
    final_loss : numpy.ndarray, shape (draw,)
        Draws of the final loss under the plan.
    forecast : numpy.ndarray, shape (draw,), or None
        Draws of the forecast that was made before the run.
    forecast_p_value : float or None
        Two-sided p-value of that forecast, given the run so far.
    course : Course or None
        The test of the run's own course; None before its first look.
    target : float or None
    p_miss : float or None
        The probability of a final loss above the target.
    others : mapping of str to numpy.ndarray
        Draws of the final loss under other schedules for the rest of the run.
    looks : pandas.DataFrame
        Forecasts that would have been made earlier: ``fraction_done``, ``step``, ``median``,
        ``lower``,
        ``upper``, ``p_miss``, ``factor_off_course``.
    curve : pandas.DataFrame
        The mean loss of the rest of the run: ``step``, ``lower``, ``median``, ``upper`` (90 %).
    history : pandas.DataFrame
        ``step`` and ``loss`` so far.
    unit : str
    ci_prob : float
    findings : tuple of Finding
    """

    name: str
    law: str
    steps_done: float
    last_step: float
    final_loss: np.ndarray
    forecast: np.ndarray | None
    forecast_p_value: float | None
    course: Course | None
    target: float | None
    p_miss: float | None
    others: Mapping[str, np.ndarray]
    looks: pd.DataFrame = field(repr=False)
    curve: pd.DataFrame = field(repr=False)
    history: pd.DataFrame = field(repr=False)
    unit: str
    ci_prob: float
    findings: tuple[Finding, ...] = ()

    in_figures = True

    @property
    def fraction_done(self) -> float:
        """The share of the steps that is done."""
        return self.steps_done / self.last_step

    @property
    def on_course(self) -> bool | None:
        """Whether the run is on its own course; None before the first look."""
        return None if self.course is None else self.course.p_value > OFF

    @property
    def known_at(self) -> Mapping[str, Any] | None:
        """The first earlier forecast by which a miss of the target was almost certain, or None."""
        sure = self.looks[self.looks["p_miss"].fillna(0.0).astype(float) >= SURE]
        return None if sure.empty else dict(zip(map(str, sure.columns), sure.iloc[0], strict=True))

    def _json(self) -> dict[str, Any]:
        draws = {"final_loss": self.final_loss, "forecast": self.forecast}
        intervals = {
            name: None if values is None else quantiles(values, self.ci_prob)
            for name, values in draws.items()
        }
        others = {name: quantiles(values, self.ci_prob) for name, values in self.others.items()}
        return {
            "run": self.name,
            "law": self.law,
            "fraction_done": self.fraction_done,
            "step": self.steps_done,
            "final_step": self.last_step,
            **intervals,
            "on_course": self.on_course,
            "p_value": None if self.course is None else self.course.p_value,
            "off_course_since": None if self.course is None else self.course.alarm_step,
            "forecast_p_value": self.forecast_p_value,
            "target": self.target,
            "p_miss": self.p_miss,
            "known_at": self.known_at,
            "then": others,
            "looks": self.looks,
            "unit": self.unit,
            "interval": self.ci_prob,
            "findings": [finding.to_json() for finding in self.findings],
        }

    def _table(self) -> pd.DataFrame:
        return self.looks

    def _content(self) -> Iterator[str | TextTable]:
        by = "" if self.law == "annealing" else f", by the law {self.law}"
        text = interval_text(quantiles(self.final_loss, self.ci_prob), _four, self.ci_prob)
        yield (
            f"Final loss {text}, {self.unit}, from {self.fraction_done:.0%} of "
            f"{self.last_step:,.0f} steps{by}."
        )
        yield self._course_line()
        if self.forecast is not None and self.forecast_p_value is not None:
            yield self._forecast_line(self.forecast, self.forecast_p_value)
        yield from self._target_lines()
        if self.others:
            yield "Other ways to go on from here:"
            yield TextTable.of(self._other_rows(), indent="  ")
        if len(self.looks):
            yield "Forecasts of the final loss as they would have been made:"
            yield TextTable.of(self._look_rows(), indent="  ")
        yield from note_lines(self.findings)

    def _course_line(self) -> str:
        if self.course is None:
            return "Too early to test whether it is on its own course."
        p = self.course.p_value
        share = f"{_p_text(p)}, valid at every look"
        if self.on_course:
            return f"On its own course ({share})."
        since = self.course.alarm_step or self.steps_done
        return (
            f"OFF ITS OWN COURSE since step {since:,.0f} ({share}; alarm at {1 / ALARM:g}). The "
            "final loss above assumes the course: look at data, optimizer and hardware around "
            "that step."
        )

    def _forecast_line(self, forecast: np.ndarray, p_value: float) -> str:
        text = interval_text(quantiles(forecast, self.ci_prob), _four, self.ci_prob)
        agree = "agrees with" if p_value > OFF else "DOES NOT AGREE with"
        return f"It {agree} the forecast made before the run, {text} ({_p_text(p_value)})."

    def _target_lines(self) -> Iterator[str]:
        if self.target is None or self.p_miss is None:
            return
        yield f"Target {_four(self.target)}: missed with a probability of {self.p_miss:.0%}."
        if self.known_at is not None:
            share, step = self.known_at["fraction_done"], self.known_at["step"]
            yield f"  A miss was {SURE:.0%} sure at {share:.0%} of the run, step {step:,.0f}."

    def _other_rows(self) -> Iterator[dict[str, str]]:
        for name, values in (("as planned", self.final_loss), *self.others.items()):
            yield {"then": name, **_cells(quantiles(values, self.ci_prob), self.ci_prob)}

    def _look_rows(self) -> Iterator[dict[str, str]]:
        for found in self.looks.to_dict(orient="records"):
            row = {str(name): value for name, value in found.items()}
            yield {
                "done": f"{row['fraction_done']:.0%}",
                "step": f"{row['step']:,.0f}",
                **_cells(row, self.ci_prob),
            } | ({} if row["p_miss"] is None else {"P(miss)": f"{row['p_miss']:.0%}"})


def _cells(values: Mapping[str, Any], ci_prob: float) -> dict[str, str]:
    return {
        "median": _four(values["median"]),
        f"{ci_prob:.0%} interval": f"{_four(values['lower'])} to {_four(values['upper'])}",
    }


def _p_text(p: float) -> str:
    return f"p = {three_digits(p)}" if p >= LEAST_P else f"p < {LEAST_P:g}"


def _four(value: float) -> str:
    return f"{value:.4g}"
