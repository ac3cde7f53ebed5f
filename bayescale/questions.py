"""The questions about a fit that report, explorer and documentation answer, with their commands."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from bayescale.command_lines import cluster_options, command_line
from bayescale.conventions import FlopCount, LossUnit
from bayescale.decisions.allocate import allocate
from bayescale.decisions.allocation import Allocation
from bayescale.decisions.data_budget import data_budget
from bayescale.decisions.next_run import next_run
from bayescale.decisions.next_run_answer import NextRun
from bayescale.errors import DecisionError, LawError, as_options
from bayescale.forecasting import Forecast, forecast, optimal_curve, slices
from bayescale.laws import find_law
from bayescale.laws.optimum import require_split, splits
from bayescale.posterior import (
    Fit,
    ModelAverageSummary,
    Posterior,
    Summary,
    flop_count_of,
    loss_unit_of,
    summarize,
)
from bayescale.splits.hardware import Cluster
from bayescale.validation.design import design_checks
from bayescale.validation.horizon import Trust, trust
from bayescale.verdict import NEXT_LOWER_LOSS, next_scale, own_scale, size_scale, sizes

AROUND = (0.1, 0.3, 1.0, 3.0, 10.0)
"""The scales that are shown around the next one, as multiples of it."""

_NEARBY = (1 / NEXT_LOWER_LOSS, 1.0, NEXT_LOWER_LOSS)

CURVE_POINTS = 50
MOST_FAMILIES = 20

Form = Callable[[Any], str]


@dataclass(frozen=True)
class Value:
    """One value, its text on pages, and its place in an answer.

    Attributes
    ----------
    text : str
        The text that is shown.
    value : object
        The value in the answer.
    of, pointer : str
        The answer's key, and the place in it as a JSON pointer (RFC 6901).
    """

    text: str
    value: Any
    of: str
    pointer: str

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        """Return the value as HTML; numbers are ``data`` elements, which programs can read."""
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        tag, value = ("data", f' value="{self.value}"') if is_number else ("span", "")
        place = f'data-of="{escape(self.of)}" data-at="{escape(self.pointer)}"'
        return f"<{tag}{value} {place}>{escape(self.text)}</{tag}>"


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer of a command of the package.

    Attributes
    ----------
    key : str
        A short name, unique among the answers.
    command : str
        The command line.
    json : mapping
        The values that the command prints with ``--json``, apart from names of files.
    place : tuple
        The place in ``json`` from which values are taken.
    """

    key: str
    command: str
    json: Mapping[str, Any]
    place: tuple[str | int, ...] = ()

    def at(self, *path: str | int) -> "Answer":
        """Return the part of the answer at a place."""
        return replace(self, place=(*self.place, *path))

    def __call__(self, *path: str | int, form: Form = str, none: str = "unknown") -> Value:
        """Return the value at a place, with the text of ``form``, or ``none`` if it is absent."""
        value = self.raw(*path)
        absent = value is None or value != value
        steps = (str(step).replace("~", "~0").replace("/", "~1") for step in (*self.place, *path))
        pointer = "".join(f"/{step}" for step in steps)
        text = none if absent else form(value)
        if isinstance(value, str):  # messages name arguments of Python, pages those of commands
            text, value = as_options(text), as_options(value)
        return Value(text, None if absent else value, self.key, pointer)

    def raw(self, *path: str | int) -> Any:
        """Return the value itself."""
        value: Any = self.json
        for step in (*self.place, *path):
            value = value[step]
        return value


@dataclass(frozen=True, eq=False)
class Questions:
    """The questions about a fit and their answers, each computed when first needed.

    Attributes
    ----------
    file : str
        The fit's file, for the commands.
    flops : float or None
        The next scale; None means ten times the largest run's.
    own : tuple of str
        The caller's own laws, each as ``file.py:NAME``.
    unit_name : str or None
        The unit of losses; None means the log's own.
    cluster : Cluster or None
        The GPUs on which the budgets are spent.
    days : float or None
        The next scale in days of these GPUs, instead of ``flops``.
    """

    fit: Fit
    file: str
    flops: float | None
    target: float | None
    tolerance: float
    family: str | None
    own: tuple[str, ...]
    allow: bool
    unit_name: str | None = None
    cluster: Cluster | None = None
    days: float | None = None
    answers: dict[str, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise an error if there is no next scale that the questions can use."""
        self.fit.require_converged(self.allow)
        if self.flops is not None and not (splits(self.fit.inputs) or self.scale == "flops"):
            raise LawError(
                f"law {self.fit.name!r} is a function of {' and '.join(self.fit.inputs)}, so "
                "`flops=` does not say where to forecast: leave it out"
            )
        if self.flops is not None and not 0 < self.flops < np.inf:
            raise LawError(f"flops is {self.flops:g}, but must be finite and above zero")
        self._require_cluster_that_applies()
        if self.flops is None and self.days is None and self.fit.runs is None:
            if self.scale != "flops":
                raise LawError(
                    f"a point estimate of law {self.fit.name!r} has no largest run to start from: "
                    "fit runs first"
                )
            raise LawError(
                "a point estimate has no largest run to start from: name the next scale with "
                "`flops=`"
            )

    def _require_cluster_that_applies(self) -> None:
        for member in self.fit.members if self.cluster is not None else ():
            require_split(member.law)
        if self.days is not None and (self.cluster is None or self.flops is not None):
            raise DecisionError(
                "the next scale is `flops=`, or `days=` of a `cluster=`: give one of them"
            )

    @property
    def scale(self) -> str:
        """The scale of sizes: flops, or the law's only input."""
        return size_scale(self.fit.inputs)

    @property
    def file_name(self) -> str:
        """The name of the fit's file, without its folder."""
        return Path(self.file).name

    @cached_property
    def loss_unit(self) -> LossUnit:
        """The unit of losses: the requested one, or the log's own."""
        return loss_unit_of(self.fit, self.unit_name)

    @property
    def unit(self) -> str:
        """The unit of the law's predictions, in words."""
        return self.loss_unit.words

    @property
    def flop_count(self) -> FlopCount:
        """How compute is counted."""
        return flop_count_of(self.fit)

    @property
    def split(self) -> bool:
        """Whether a budget is split between params and tokens."""
        return splits(self.fit.inputs)

    @cached_property
    def largest(self) -> float:
        """The largest run's size on the law's scale; for a law of a loss, the lowest loss."""
        if self.fit.runs is None:
            return float("nan")
        size = float(sizes(self.fit.runs.frame, self.fit.inputs).max())
        return own_scale(size, self.fit.inputs)

    @cached_property
    def next(self) -> float:
        """The next scale."""
        if self.flops is not None:
            return self.flops
        if self.days is not None:
            return self.around[AROUND.index(1.0)]
        assert self.fit.runs is not None
        return next_scale(self.fit.runs.frame, self.fit.inputs)

    @cached_property
    def around(self) -> tuple[float, ...]:
        """The next scale and others around it, in increasing order."""
        if self.scale == "lm_loss":
            return tuple(_rounded(self.next * times) for times in _NEARBY)
        if self.days is not None:
            return tuple(map(float, self.allocation[0].flops))
        return _multiples(self.next)

    @property
    def at(self) -> int:
        """The index of the next scale in :attr:`around`."""
        return self.around.index(self.next)

    @property
    def _shared(self) -> dict[str, Any]:
        """Options that several commands share."""
        return {"family": self.family, "loss_unit": self.unit_name}

    def _answer(self, key: str, command: str, json: Any, **options: Any) -> Answer:
        """Store an answer with the command that gives it, and return it."""
        words = [word for law in self.own for word in ("--law", law)]
        words += [text for name, x in self.fit.at.items() for text in ("--at", f"{name}={x:.12g}")]
        if self.allow and not self.fit.diagnostics["passed"] and command != "summary":
            words.append("--allow-unconverged")
        line = command_line(command, self.file, options, *words)
        self.answers[key] = Answer(key, line, json)
        return self.answers[key]

    @cached_property
    def summary(self) -> tuple[Summary | ModelAverageSummary, Answer]:
        """The answer of ``bayescale summary``."""
        result = summarize(self.fit)
        return result, self._answer("summary", "summary", result.to_json())

    @property
    def summaries(self) -> tuple[tuple[Summary, tuple[str, ...]], ...]:
        """The summary of each law, and its place in the answer."""
        result, _ = self.summary
        if isinstance(result, ModelAverageSummary):
            return tuple((law, ("laws", law.law)) for law in result.laws)
        return ((result, ()),)

    @cached_property
    def allocation(self) -> tuple[Allocation, Answer]:
        """The answer of ``bayescale allocate`` for the next budget and those around it."""
        days = None if self.days is None else _multiples(self.days)
        flops = self.around if days is None else None
        result = allocate(
            self.fit,
            flops,
            days=days,
            cluster=self.cluster,
            tolerance=self.tolerance,
            family=self.family,
            loss_unit=self.unit_name,
            allow_unconverged=self.allow,
        )
        options = {"flops": flops, "days": days, **cluster_options(self.cluster)}
        options |= {"tolerance": self.tolerance, **self._shared}
        return result, self._answer("allocate", "allocate", result.to_json(), **options)

    @property
    def refusal(self) -> str | None:
        """Why the next budget has no split; None if it has one, or if the law splits no budget."""
        return self.allocation[0].refusal(self.at) if self.split else None

    @property
    def places(self) -> dict[str, float]:
        """The next run: params and tokens with the least expected loss, or the law's own scale."""
        if not self.split:
            return {self.scale: self.next}
        if self.refusal is not None:
            raise DecisionError(self.refusal)
        choice = self.allocation[1].raw("budgets", self.at, "choice")
        return {name: float(round(choice[name])) for name in ("params", "tokens")}

    @cached_property
    def forecast(self) -> tuple[Forecast, Answer]:
        """The answer of ``bayescale forecast`` for the next run."""
        return self.forecast_at("forecast", self.places)

    def forecast_at(
        self, key: str, places: dict[str, float], family: str | None = None
    ) -> tuple[Forecast, Answer]:
        """Return the answer of ``bayescale forecast`` for a run."""
        family = family or self.family
        result = forecast(
            self.fit,
            **cast("dict[str, Any]", places),
            target=self.target,
            tolerance=self.tolerance,
            family=family,
            loss_unit=self.unit_name,
            allow_unconverged=self.allow,
        )
        options = {"target": self.target, "tolerance": self.tolerance, **self._shared}
        options["family"] = family
        return result, self._answer(key, "forecast", result.to_json(), **places, **options)

    @cached_property
    def scales(self) -> tuple[Answer, ...]:
        """The answers of ``bayescale forecast`` at :attr:`around`, for laws of one scale."""
        found = []
        for i, value in enumerate(self.around):
            at_next = value == self.next
            key = "forecast" if at_next else f"forecast_{i}"
            _, answer = self.forecast if at_next else self.forecast_at(key, {self.scale: value})
            found.append(answer)
        return tuple(found)

    @cached_property
    def families(self) -> dict[str, Answer]:
        """The answers of ``bayescale forecast --family`` for the next run, by family of the fit."""
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
        path = space(min(ends), max(ends), CURVE_POINTS)
        options: dict[str, Any] = {**self._shared, "allow_unconverged": self.allow}
        if self.split:
            return optimal_curve(self.fit, path, **options)
        return forecast(self.fit, **{self.scale: path}, **options)

    @cached_property
    def slices(self) -> Forecast:
        """The answer of ``bayescale slices``: the loss against params at fixed tokens."""
        options = {"loss_unit": self.unit_name, "allow_unconverged": self.allow}
        return slices(self.fit, family=self.family, **options)

    @cached_property
    def trust(self) -> tuple[Trust, Answer]:
        """The answer of ``bayescale trust``, with the backtest only if the file holds one."""
        result = trust(self.fit, tolerance=self.tolerance, allow_unconverged=self.allow)
        return result, self._answer("trust", "trust", result.to_json(), tolerance=self.tolerance)

    @property
    def backtested(self) -> bool:
        """Whether the file holds a backtest."""
        return "backtest" in self.fit.record

    @cached_property
    def data(self) -> Answer:
        """The answer of ``bayescale data`` for the next run's model."""
        params = self.places["params"]
        result = data_budget(
            self.fit, params=params, family=self.family, allow_unconverged=self.allow
        )
        options = {"params": params, "family": self.family}
        return self._answer("data", "data", result.to_json(), **options)

    @cached_property
    def next_run(self) -> tuple[NextRun, Answer]:
        """The answer of ``bayescale next-run``, for a budget of the largest run's cost."""
        if self.fit.runs is None:
            raise DecisionError(
                "a point estimate has no uncertainty that a run could reduce: fit runs first"
            )
        budget = _rounded(self.largest)
        result = next_run(self.fit, budget, target_flops=self.next, allow_unconverged=self.allow)
        options = {"target_flops": self.next, "budget": budget}
        return result, self._answer("next_run", "next-run", result.to_json(), **options)

    def _law_word(self, member: Posterior) -> str:
        """Return a law's name on the command line."""
        own = [text for text in self.own if find_law(text).name == member.name]
        return own[0] if own else member.name

    @cached_property
    def design(self) -> tuple[tuple[str, Answer], ...]:
        """The answers of ``bayescale check`` for the fitted runs, by law."""
        runs = self.fit.runs
        if runs is None:
            return ()
        found = []
        for i, member in enumerate(self.fit.members):
            checks = design_checks(runs, member.law, member.card)
            json = {"law": member.name, "checks": [check.check_json() for check in checks]}
            line = command_line("check", runs.source, {"law": self._law_word(member)})
            answer = Answer(f"check_{i}", line, json)
            self.answers[answer.key] = answer
            found.append((member.name, answer))
        return tuple(found)


def _multiples(scale: float) -> tuple[float, ...]:
    """Return a scale and others around it."""
    return tuple(_rounded(scale * times) if times != 1 else scale for times in AROUND)


def _rounded(value: float) -> float:
    """Return a value rounded to three digits."""
    return float(f"{value:.3g}")


def lowest_losses(runs: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the runs with the lowest losses, at most ``most`` of them."""
    return runs.nsmallest(most, "loss")


def words_list(items: Sequence[str]) -> str:
    """Return items joined with commas and a final "and"."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last
