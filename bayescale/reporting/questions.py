"""The questions that a report asks of a fit, each once, as the commands would."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd

from bayescale.decisions.allocate import allocate
from bayescale.decisions.allocation import Allocation
from bayescale.decisions.data_budget import data_budget
from bayescale.decisions.next_run import NextRun, next_run
from bayescale.errors import DecisionError, LawError
from bayescale.forecasting import Forecast, forecast
from bayescale.laws import find_law
from bayescale.laws.law import splits
from bayescale.posterior import Fit, ModelAverageSummary, Posterior, Summary, summarize
from bayescale.reporting.blocks import Answer
from bayescale.validation.design import design_checks
from bayescale.validation.horizon import Trust, trust
from bayescale.verdict import NEXT_LOWER_LOSS, next_scale, own_scale, size_scale, sizes

AROUND = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Scales shown about the next one, as multiples of it."""

_NEARBY = (1 / NEXT_LOWER_LOSS, 1.0, NEXT_LOWER_LOSS)

CURVE_POINTS = 50
MOST_FAMILIES = 20


@dataclass(frozen=True, eq=False)
class Questions:
    """A fit, what is asked of it, and the answers, each found when first needed.

    Attributes
    ----------
    file : str
        The fit's file, for the commands.
    flops : float or None
        The next scale; ten times the largest run's where None.
    own : tuple of str
        The caller's own laws, as the command line names them.
    """

    fit: Fit
    file: str
    flops: float | None
    target: float | None
    tolerance: float
    family: str | None
    own: tuple[str, ...]
    allow: bool
    answers: dict[str, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no section could answer."""
        self.fit.require_converged(self.allow)
        if self.flops is not None and not (splits(self.fit.inputs) or self.scale == "flops"):
            raise LawError(
                f"law {self.fit.name!r} is a function of {' and '.join(self.fit.inputs)}, so "
                "--flops does not say where to forecast: leave it out"
            )
        if self.flops is not None and not 0 < self.flops < np.inf:
            raise LawError(f"flops is {self.flops:g}, but must be finite and above zero")
        if self.flops is None and self.fit.runs is None:
            if self.scale != "flops":
                raise LawError(
                    f"a point estimate of law {self.fit.name!r} has no largest run to go on from: "
                    "fit runs first"
                )
            raise LawError(
                "a point estimate has no largest run to go on from: name the next scale with "
                "--flops"
            )

    # where

    @property
    def scale(self) -> str:
        """What sizes are counted in: flops, or the law's only input."""
        return size_scale(self.fit.inputs)

    @property
    def split(self) -> bool:
        """Whether a budget is split between params and tokens."""
        return splits(self.fit.inputs)

    @cached_property
    def largest(self) -> float:
        """The largest run, on the law's scale; the lowest loss, for a law of that."""
        if self.fit.runs is None:
            return float("nan")
        size = float(sizes(self.fit.runs.frame, self.fit.inputs).max())
        return own_scale(size, self.fit.inputs)

    @cached_property
    def next(self) -> float:
        """The next scale."""
        if self.flops is not None:
            return self.flops
        assert self.fit.runs is not None
        return next_scale(self.fit.runs.frame, self.fit.inputs)

    @cached_property
    def around(self) -> tuple[float, ...]:
        """The next scale and others about it, ascending."""
        if self.scale == "lm_loss":
            return tuple(_rounded(self.next * times) for times in _NEARBY)
        return tuple(_rounded(self.next * t) if t != 1 else self.next for t in AROUND)

    @property
    def at(self) -> int:
        """Which of :attr:`around` is the next scale."""
        return self.around.index(self.next)

    # what

    def answered(self, key: str, command: str, json: Any, *options: Any) -> Answer:
        """An answer, kept with the command that gives it."""
        words = ["bayescale", command, self.file, *map(_word, options)]
        for law in self.own:
            words += ["--law", law]
        if self.allow and not self.fit.diagnostics["passed"] and command not in ("summary",):
            words.append("--allow-unconverged")
        self.answers[key] = Answer(key, shlex.join(words), json)
        return self.answers[key]

    @property
    def _family(self) -> tuple[str, ...]:
        return () if self.family is None else ("--family", self.family)

    @property
    def _tolerance(self) -> tuple[Any, ...]:
        return ("--tolerance", self.tolerance)

    @cached_property
    def summary(self) -> tuple[Summary | ModelAverageSummary, Answer]:
        """``bayescale summary``."""
        result = summarize(self.fit)
        return result, self.answered("summary", "summary", result.to_json())

    @property
    def summaries(self) -> tuple[tuple[Summary, tuple[str, ...]], ...]:
        """Each law's summary, and where in the answer it stands."""
        result, _ = self.summary
        if isinstance(result, ModelAverageSummary):
            return tuple((law, ("laws", law.law)) for law in result.laws)
        return ((result, ()),)

    @cached_property
    def allocation(self) -> tuple[Allocation, Answer]:
        """``bayescale allocate``, of the next budget and those about it."""
        result = allocate(
            self.fit, self.around, tolerance=self.tolerance, family=self.family,
            allow_unconverged=self.allow,
        )  # fmt: skip
        budgets = ",".join(map(_word, self.around))
        options = ("--flops", budgets, *self._tolerance, *self._family)
        return result, self.answered("allocate", "allocate", result.to_json(), *options)

    @property
    def places(self) -> dict[str, float]:
        """The next run: params and tokens of least expected loss, or the law's own scale."""
        if not self.split:
            return {self.scale: self.next}
        choice = self.allocation[1].raw("budgets", self.at, "choice")
        return {name: float(round(choice[name])) for name in ("params", "tokens")}

    @cached_property
    def forecast(self) -> tuple[Forecast, Answer]:
        """``bayescale forecast`` of the next run."""
        return self.forecast_at("forecast", self.places)

    def forecast_at(
        self, key: str, places: dict[str, float], family: str | None = None
    ) -> tuple[Forecast, Answer]:
        """``bayescale forecast`` of a run."""
        family = family or self.family
        result = forecast(
            self.fit, **cast("dict[str, Any]", places), target=self.target,
            tolerance=self.tolerance, family=family, allow_unconverged=self.allow,
        )  # fmt: skip
        options = [word for name, x in places.items() for word in (_option(name), x)]
        options += ["--target", self.target] if self.target is not None else []
        options += [*self._tolerance, *(("--family", family) if family else ())]
        return result, self.answered(key, "forecast", result.to_json(), *options)

    @cached_property
    def scales(self) -> tuple[Answer, ...]:
        """``bayescale forecast`` of each of :attr:`around`, for laws of one scale."""
        found = []
        for i, value in enumerate(self.around):
            at_next = value == self.next
            key = "forecast" if at_next else f"forecast_{i}"
            questions = self.forecast if at_next else self.forecast_at(key, {self.scale: value})
            found.append(questions[1])
        return tuple(found)

    @cached_property
    def families(self) -> dict[str, Answer]:
        """``bayescale forecast --family`` of the next run, for each family of the fit."""
        known = self.fit.families[:MOST_FAMILIES] if self.family is None else ()
        return {
            name: self.forecast_at(f"family_{i}", self.places, name)[1]
            for i, name in enumerate(known)
        }

    @cached_property
    def curve(self) -> Forecast:
        """The loss from the smallest run to well beyond the next scale."""
        runs, ends = self.fit.runs, [self.next, *self.around]
        if runs is not None:
            ends += list(own_scale(sizes(runs.frame, self.fit.inputs), self.fit.inputs))
        space = np.linspace if self.scale == "lm_loss" else np.geomspace
        scales: dict[str, Any] = {self.scale: space(min(ends), max(ends), CURVE_POINTS)}
        return forecast(self.fit, **scales, family=self.family, allow_unconverged=self.allow)

    @cached_property
    def trust(self) -> tuple[Trust, Answer]:
        """``bayescale trust``, without a backtest that the file does not hold."""
        result = trust(self.fit, tolerance=self.tolerance, allow_unconverged=self.allow)
        return result, self.answered("trust", "trust", result.to_json(), *self._tolerance)

    @property
    def backtested(self) -> bool:
        """Whether the file holds a backtest."""
        return "backtest" in self.fit.record

    @cached_property
    def data(self) -> Answer:
        """``bayescale data`` for the next run's model."""
        params = self.places["params"]
        result = data_budget(
            self.fit, params=params, family=self.family, allow_unconverged=self.allow
        )
        return self.answered("data", "data", result.to_json(), "--params", params, *self._family)

    @cached_property
    def next_run(self) -> tuple[NextRun, Answer]:
        """``bayescale next-run``: what to buy for as much as the largest run cost."""
        if self.fit.runs is None:
            raise DecisionError(
                "a point estimate has no uncertainty that a run could shrink: fit runs first"
            )
        budget = _rounded(self.largest)
        result = next_run(self.fit, budget, flops=self.next, allow_unconverged=self.allow)
        options = ("--target-flops", self.next, "--budget", budget)
        return result, self.answered("next_run", "next-run", result.to_json(), *options)

    def _named(self, member: Posterior) -> str:
        """A law as the command line names it."""
        own = [text for text in self.own if find_law(text).name == member.name]
        return own[0] if own else member.name

    @cached_property
    def design(self) -> tuple[tuple[str, Answer], ...]:
        """``bayescale check`` of the fitted runs, for each law."""
        runs = self.fit.runs
        if runs is None:
            return ()
        found = []
        for i, member in enumerate(self.fit.members):
            checks = design_checks(runs, member.law, member.card)
            json = {"law": member.name, "checks": [check.check_json() for check in checks]}
            words = ["bayescale", "check", runs.source, "--law", self._named(member)]
            answer = Answer(f"check_{i}", shlex.join(words), json)
            self.answers[answer.key] = answer
            found.append((member.name, answer))
        return tuple(found)


def _rounded(value: float) -> float:
    """Three digits, as people name a scale."""
    return float(f"{value:.3g}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _word(value: Any) -> str:
    """As it would be typed, to the last bit."""
    if not isinstance(value, float):
        return str(value)
    whole = value.is_integer() and value < 1e15
    return str(int(value)) if whole else repr(value).replace("e+", "e")


def frame_of(runs: pd.DataFrame, most: int) -> tuple[pd.DataFrame, int]:
    """The runs of lowest loss, at most so many, and how many are left out."""
    return runs.nsmallest(most, "loss"), max(len(runs) - most, 0)


def named(items: Sequence[str]) -> str:
    """A list in words."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last
