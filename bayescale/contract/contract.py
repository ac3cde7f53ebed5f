"""The contract of one law: its checks and their results."""

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.cards import ModelCard, load_card, runs_for
from bayescale.contract.checks import ARITHMETIC, CHECKS, Answer
from bayescale.contract.subject import Subject, language_models
from bayescale.errors import CardError, LawError
from bayescale.findings import Finding
from bayescale.laws import LAWS, Law
from bayescale.results import Content, Result
from bayescale.runs import Runs, require_runs_for, with_inputs


@dataclass(frozen=True, eq=False)
class Contract(Result):
    """The results of the checks of one law, in order.

    Attributes
    ----------
    law : str
    card : str or None
    checks : tuple of Finding
    """

    law: str
    card: str | None
    checks: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)

    def _table(self) -> pd.DataFrame:
        columns = ["name", "passed", "text"]
        return pd.DataFrame([check.check_json() for check in self.checks], columns=columns)

    def _json(self) -> Mapping[str, Any]:
        checks = [check.check_json() for check in self.checks]
        return {"law": self.law, "card": self.card, "passed": self.passed, "checks": checks}

    def _content(self) -> Content:
        words = {True: "pass", False: "FAIL", None: "info"}
        yield f"Contract of law {self.law}" + (f", card {self.card}" if self.card else "")
        for check in self.checks:
            yield f"  {words[check.passed]}  {check.code}: {check.text}"
        failed = sum(check.passed is False for check in self.checks)
        yield f"{failed} of its checks fail." if failed else "The law keeps its contract."


def check_law(
    law: Law, card: str | Path | ModelCard | None = None, runs: Runs | None = None
) -> Contract:
    """Check a law, and its card, against the contract of laws.

    Parameters
    ----------
    law : Law
    card : str, Path or ModelCard, optional
        The card of the law; without one, checks that depend on plausible coefficients are left out.
    runs : Runs, optional
        Runs at which the law is examined; by default language models of 1e7 to 1e11 params on
        twenty tokens per parameter.

    Returns
    -------
    Contract
        The results of the checks, without those that depend on a failed one.

    Raises
    ------
    RunLogError
        If the runs lack inputs of the law.

    Examples
    --------
    >>> from bayescale.laws import CHINCHILLA
    >>> check_law(CHINCHILLA, "chinchilla").passed
    True
    """
    problem = None
    if card is not None and not isinstance(card, ModelCard):
        try:
            card = load_card(card, law=None if LAWS.get(law.name) is law else law)
        except CardError as error:
            card, problem = None, str(error)
    if runs is not None:
        runs = with_inputs(runs, law) if card is None else runs_for(card, runs)
        require_runs_for(law, runs)
    known = {} if card is None else card.inputs
    examined = language_models(law, known) if runs is None else runs
    subject = Subject(law, card, examined, problem)
    found: dict[str, Finding] = {}
    for name, (check, needs) in CHECKS.items():
        if all(other in found and found[other].passed is not False for other in needs):
            answer = _answer(check, subject)
            if answer is not None:
                found[name] = Finding.check(name, *answer)
    return Contract(law.name, card.name if card is not None else None, tuple(found.values()))


def _answer(check: Callable[[Subject], Answer], subject: Subject) -> Answer:
    """Return the result of a check, or the place in the law's own file at which it failed."""
    try:
        return check(subject)
    except LawError as error:
        return False, str(error)
    except Exception as error:
        functions = [f for f in (subject.law.loss, subject.law.optimum) if f is not None]
        files = {inspect.unwrap(f).__code__.co_filename for f in functions}
        passed = traceback.extract_tb(error.__traceback__)
        last = next((frame for frame in reversed(passed) if frame.filename in files), None)
        if last is None and not isinstance(error, TypeError):
            raise
        place = f"{Path(last.filename).name}, line {last.lineno}: " if last else ""
        message = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        return False, f"{place}{type(error).__name__}: {message}. {ARITHMETIC}"
