"""The checks behind a trust horizon: convergence, precision, coverage, agreement, outliers."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from bayescale.findings import Finding, Severity
from bayescale.laws.optimum import splits
from bayescale.posterior import Fit, outliers, recorded_conflicts
from bayescale.posterior.resampling import resampling_notes
from bayescale.validation.backtest_result import Missing, refit_problems
from bayescale.validation.identifiability import identifiability_checks
from bayescale.validation.meanings import KEPT_OUTLIERS, second_law, with_meanings
from bayescale.validation.other_factors import other_factors_of
from bayescale.verdict import NEXT_TIMES, UNTESTABLE_SPLIT, Reach, failure, holds, split_verdict

INTERVAL = 0.9
FEWEST_FORECASTS, FEWEST_CUTOFFS = 30, 3
"""With fewer forecasts or cutoffs, the coverage of a backtest is itself uncertain."""

_ROWS = 12  # rows of the tables of checks
_EDGE = 0.999


def share(part: float) -> str:
    """Return a share in percent as text with three digits: ``2%``."""
    return f"{100 * part:.3g}%"


def first_crossing(ratio: Any, values: Any, limit: float) -> float:
    """Return the largest ratio up to which values stay within a limit, by interpolation."""
    x, y = np.log(np.asarray(ratio)), np.asarray(values)
    above = np.flatnonzero(~(y <= limit))
    if not len(above):
        return float(np.exp(x[-1]))
    i = above[0]
    if i == 0:
        return 1.0
    if not np.isfinite(y[i]):
        return float(np.exp(x[i - 1]))
    share = (limit - y[i - 1]) / (y[i] - y[i - 1])
    return float(np.exp(x[i - 1] + share * (x[i] - x[i - 1])))


def horizon_checks(
    fit: Fit,
    path: pd.DataFrame,
    precise: float,
    tolerance: float,
    record: Mapping[str, Any] | None,
    to: Reach,
) -> tuple[Finding, ...]:
    """Return the checks of a trust horizon. Those that limit it have severity ``STOPS``.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    path : pandas.DataFrame
        See :class:`bayescale.Trust`.
    precise : float
        The ratio up to which forecasts are precise enough.
    tolerance : float
    record : mapping or None
        The record of the backtest.
    to : Reach
        How far the backtest supports forecasts.
    """
    found = (
        _converged(fit),
        _precision(path, precise, tolerance),
        _coverage([] if record is None else record["bins"], to, stops=precise >= to.covered),
        _held_out(record),
        *_beside(fit, record or {}),
        _agreement(fit, path, tolerance),
        *_of_any_tolerance(fit),
    )
    return with_meanings(found)


def _converged(fit: Fit) -> Finding:
    passed = bool(fit.diagnostics["passed"])
    reasons = "; ".join(fit.diagnostics["reasons"])
    ending = (
        "passed its convergence checks" if passed else f"failed its convergence checks: {reasons}"
    )
    return _stops_unless(passed, "converged", f"the sampler {ending}.")


def _stops_unless(passed: bool, code: str, text: str, table: pd.DataFrame | None = None) -> Finding:
    return Finding(code, Severity.OK if passed else Severity.STOPS, text, table)


def _precision(path: pd.DataFrame, precise: float, tolerance: float) -> Finding:
    far, start = float(path["ratio"].iloc[-1]), float(path["half_width"].iloc[0])
    marks = (1, 3, 10, 100) if far > 100 else (1, 1.2, 1.5, 2)
    at = ", ".join(f"{_width_at(path, mark):.1%} at {mark:g} times" for mark in marks)
    within = (
        f"half the {INTERVAL:.0%} interval of the mean loss stays within {share(tolerance)} up to"
    )
    if start > tolerance:
        text = (
            f"even at the largest run the mean loss is known within {start:.1%} only, and "
            f"the tolerance is {share(tolerance)}. Add runs, or accept a wider "
            "tolerance (`tolerance=`)."
        )
    elif precise >= far * _EDGE:
        text = f"{within} {far:g} times the largest run and perhaps beyond ({at})."
    else:
        text = f"{within} {precise:.3g} times the largest run ({at})."
    return _stops_unless(start <= tolerance, "precision", text, _sparse(path, "half_width"))


def _width_at(path: pd.DataFrame, ratio: float) -> float:
    return float(np.interp(np.log(ratio), np.log(path["ratio"]), path["half_width"]))


def _sparse(path: pd.DataFrame, column: str) -> pd.DataFrame:
    every = (len(path) - 1) // _ROWS
    return path[["ratio", column]].iloc[::every].reset_index(drop=True)


def _coverage(bins: Sequence[Mapping[str, Any]], to: Reach, stops: bool) -> Finding:
    code = "coverage"
    if not bins:
        text = (
            "no backtest was made, so nothing beyond the runs is tested: make one with "
            "`fit = fit.with_backtest()`."
        )
        return Finding.check(code, None, text)
    table = pd.DataFrame(bins)
    if to.failed is not None:
        supports = (
            f" Smaller ratios passed, up to {to.covered:.3g} times." if to.covered > 1 else ""
        )
        severity = Severity.STOPS if stops else Severity.WARNS
        return Finding(code, severity, failure(to.failed) + supports, table)
    if to.covered <= 1:
        text = (
            f"the smallest ratio tested is {bins[0]['lower']:.3g} times or more: train runs of "
            "sizes between."
        )
        return Finding.check(code, None, text, table)
    text = f"90% intervals of a single new run covered as they should up to {to.covered:.3g} times"
    if to.covered < to.tested * _EDGE:
        text += f"; up to {to.tested:.3g} times was tested, with a gap between"
    return Finding.check(code, True, f"{text}.", table)


def _beside(fit: Fit, record: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield checks of forecasts at other tokens per parameter, and of splits of larger budgets."""
    across, tested = record.get("across", ()), record.get("splits")
    for side, words in ((1, "more"), (-1, "fewer")):
        rows = [item for item in across if item["side"] == side]
        if rows:
            held, far = sum(item["covered"] for item in rows), max(r["distance"] for r in rows)
            text = (
                f"runs of {words} tokens per parameter than those fitted, at like compute: 90% "
                f"intervals held {held} of {len(rows)}, up to {np.exp(far):.3g} times outside."
            )
            yield Finding.check(f"across_{words}", holds(held, len(rows)), text)
    if tested:
        judged = split_verdict(min(NEXT_TIMES, max(item["ratio"] for item in tested)), tested)
        yield Finding.check("splits", judged.state == "trusted", judged.text)
    elif tested is not None and splits(fit.inputs):
        yield Finding.check("splits", None, UNTESTABLE_SPLIT)


def _held_out(record: Mapping[str, Any] | None) -> Finding:
    code = "held_out_runs"
    if record is None:
        return Finding.check(code, None, "none.")
    n, cutoffs = record["n"], len(record["cutoffs"])
    enough = n >= FEWEST_FORECASTS and cutoffs >= FEWEST_CUTOFFS
    text = f"{n} forecasts of held-out runs from {cutoffs} cutoff{'' if cutoffs == 1 else 's'}"
    if not enough:
        text += (
            f": so few say little about coverage ({FEWEST_FORECASTS} from {FEWEST_CUTOFFS} would)"
        )
    missing = [Missing(*item) for item in record["missing"]]
    problems = refit_problems(missing, record["unconverged"], record["refits"])
    return Finding.check(code, enough, " ".join([f"{text}.", *problems]))


def _agreement(fit: Fit, path: pd.DataFrame, tolerance: float) -> Finding:
    code = "laws_agree"
    if len(fit.members) == 1:
        text = f"{fit.name} alone: another law might give another answer."
        return Finding(code, Severity.INFORMATION, text, means=second_law(fit.members[0].law))
    to = first_crossing(path["ratio"], path["disagreement"], tolerance)
    far = f"up to {to:.3g} times the largest run" if to > 1 else "not even at the largest run"
    if to >= path["ratio"].iloc[-1] * _EDGE:
        far += " and perhaps beyond"
    text = f"medians of the laws within {share(tolerance)} {far}."
    return Finding.check(code, None, text, _sparse(path, "disagreement"))


def _outliers(fit: Fit) -> Finding:
    frames = [outliers(member).assign(law=member.name) for member in fit.members]
    found = [frame for frame in frames if len(frame)]
    if not found:
        known = any("leave_one_out" in member.tree.children for member in fit.members)
        text = "none by leave-one-out." if known else "not looked for in this fit."
        return Finding.check("outliers", None, text)
    table = pd.concat(found, ignore_index=True)
    runs = list(dict.fromkeys(table["run_id"].astype(str)))
    shown = f"{', '.join(runs[:5])}{f' and {len(runs) - 5} more' if len(runs) > 5 else ''}"
    text = f"by leave-one-out: {shown}."
    return Finding("outliers", Severity.INFORMATION, text, table, KEPT_OUTLIERS)


@lru_cache(1)  # slow, and the same for every tolerance
def _of_any_tolerance(fit: Fit) -> tuple[Finding, ...]:
    other = other_factors_of(fit)
    found = [_outliers(fit), *([other] if other else []), *identifiability_checks(fit)]
    if all("log_likelihood" in member.tree.children for member in fit.members):
        found += [Finding.check(note.code, None, note.text) for note in resampling_notes(fit)]
    return (*found, *recorded_conflicts(fit))
