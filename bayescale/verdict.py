"""Whether one forecast is to be trusted: how far it reaches, and how far that was tested.

Works on a few plain numbers, so that a forecast can say it at once from what is kept beside
the draws: the bins of a backtest (see :mod:`bayescale.validation.backtest`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.laws.law import FLOP_PER_PARAM_TOKEN

STATES = ("inside", "trusted", "too_wide", "failed", "untested")
TOLERANCE = 0.02
"""Half the width of the interval of log mean loss that is taken as precise: 2 % of the loss."""

LEAST_COVERAGE = 0.8
"""What intervals of 90 % must cover in backtests; the rest is room for few held-out runs."""

MOST_EMPTY_BINS = 2
"""Factors of two in a row that may go untested: sizes of runs often grow eightfold a step."""

BREAK = "A break in the law outside the runs cannot be excluded."


class Verdict(NamedTuple):
    """What to think of a forecast.

    Attributes
    ----------
    state : str
        One of :data:`STATES`.
    text : str
        Why, and what to do.
    """

    state: str
    text: str


class Reach(NamedTuple):
    """How far backtests support forecasts, as times the largest training run.

    Attributes
    ----------
    covered : float
        Up to here intervals covered as they should, counting on from 1; 1 if nowhere.
    tested : float
        The largest ratio that any backtest forecast; 1 if none did.
    failed : mapping or None
        The bin that ended the count because too few were covered; None where it ended because
        nothing larger was tested.
    """

    covered: float
    tested: float
    failed: Mapping[str, Any] | None


def size_scale(inputs: Sequence[str]) -> str:
    """What the size of a run is counted in: a law's own input where it has one, else flops."""
    return inputs[0] if len(inputs) == 1 else "flops"


def sizes(frame: pd.DataFrame, inputs: Sequence[str]) -> np.ndarray:
    """Sizes of runs or points on the law's scale, shape (row,).

    Parameters
    ----------
    frame : pandas.DataFrame
        With the law's inputs, in raw units; for a law of several, ``flops`` where known for
        all rows, else 6 x params x tokens. Of a law of the language model's loss, its inverse.
    inputs : sequence of str
        What the law is a function of.
    """
    scale = size_scale(inputs)
    if scale == "lm_loss":  # the larger the model, the lower its loss
        return 1.0 / frame[scale].to_numpy(dtype=float)
    if scale in frame and np.isfinite(frame[scale]).all():
        return frame[scale].to_numpy(dtype=float)
    if scale == "flops" and {"params", "tokens"} <= set(frame.columns):
        return (FLOP_PER_PARAM_TOKEN * frame["params"] * frame["tokens"]).to_numpy(dtype=float)
    return np.full(len(frame), np.nan)


def own_scale(size: Any, inputs: Sequence[str]) -> Any:
    """What :func:`sizes` counts, back on the law's scale: a loss is the inverse of a size."""
    return 1.0 / size if size_scale(inputs) == "lm_loss" else size


NEXT_TIMES, NEXT_LOWER_LOSS = 10.0, 0.95
"""The next scale, where none is named: so many times the largest run, or so much of the lowest
loss seen."""


def next_scale(frame: pd.DataFrame, inputs: Sequence[str]) -> float:
    """Where people look first: a step beyond the runs on the law's scale, to three digits."""
    largest = float(own_scale(sizes(frame, inputs).max(), inputs))
    times = NEXT_LOWER_LOSS if size_scale(inputs) == "lm_loss" else NEXT_TIMES
    return float(f"{times * largest:.3g}")


def reach(bins: Sequence[Mapping[str, Any]]) -> Reach:
    """How far a backtest's bins go, and how far they pass.

    Parameters
    ----------
    bins : sequence of mapping
        Of growing ratio, each with ``lower``, ``upper`` (a factor of two), ``n`` forecasts,
        ``n_covered``, ``n_cutoffs``, ``coverage90`` (averaged over cutoffs) and ``largest``
        (the largest ratio in it).

    Notes
    -----
    A bin passes with :data:`LEAST_COVERAGE`. The count goes on from 1 over at most
    :data:`MOST_EMPTY_BINS` untested bins in a row, and never beyond the largest ratio tested.
    """
    if not bins:
        return Reach(1.0, 1.0, None)
    tested = max(item["largest"] for item in bins)
    covered, upper = 1.0, 1.0
    for item in bins:
        if item["lower"] > upper * 2.0**MOST_EMPTY_BINS * 1.001:
            break
        if item["coverage90"] < LEAST_COVERAGE:
            return Reach(covered, tested, item)
        upper = item["upper"]
        covered = min(upper, tested)
    return Reach(covered, tested, None)


def verdict(
    inside: bool,
    ratio: float,
    half_width: float,
    tolerance: float = TOLERANCE,
    bins: Sequence[Mapping[str, Any]] | None = None,
) -> Verdict:
    """What to think of a forecast.

    Parameters
    ----------
    inside : bool
        Whether it lies inside the range of the runs.
    ratio : float
        How many times larger than the largest training run; NaN if there are no runs.
    half_width : float
        Half the width of the 90 % interval of log mean loss, drift included.
    tolerance : float
        What ``half_width`` may be.
    bins : sequence of mapping, optional
        As for :func:`reach`; None where no backtest was made.

    Examples
    --------
    >>> verdict(False, 3.0, 0.05).state
    'too_wide'
    """
    if np.isnan(ratio):
        return Verdict(
            "untested",
            "No runs stand behind this point estimate, so how far it extrapolates is unknown.",
        )
    if inside:
        return Verdict("inside", f"Inside the range of the runs ({ratio:.3g} times the largest).")
    head = f"Extrapolates to {ratio:.3g} times the largest training run"
    if half_width > tolerance:
        return Verdict(
            "too_wide",
            f"{head}, too far to be precise: the mean loss is known within {half_width:.1%}, and "
            f"{tolerance:.1%} is asked for. Train a larger run first, or accept a wider tolerance.",
        )
    if bins is None:
        return Verdict(
            "untested",
            f"{head}. No backtest has tested this: the interval takes the law to hold there. Test "
            f"it: bayescale trust. {BREAK}",
        )
    to = reach(bins)
    if ratio <= to.covered:
        return Verdict(
            "trusted",
            f"{head}: precise enough, and backtests inside the runs covered as they should up to "
            f"{to.covered:.3g} times. {BREAK}",
        )
    if to.failed is not None:
        return Verdict("failed", f"{head}. {failure(to.failed)} Do not rely on the interval there.")
    far = (
        f"Backtests inside the runs support up to {to.covered:.3g} times"
        if to.covered > 1
        else "Backtests inside the runs tested no such step"
    )
    return Verdict("untested", f"{head}. {far}; beyond, nothing was tested. {BREAK}")


def failure(item: Mapping[str, Any]) -> str:
    """A sentence on a bin that did not cover."""
    return (
        f"Backtests inside the runs failed at {item['lower']:.3g} to {item['upper']:.3g} times: "
        f"90% intervals held {item['n_covered']} of {item['n']} held-out runs, "
        f"{item['coverage90']:.0%} averaged over cutoffs, and at least {LEAST_COVERAGE:.0%} is "
        "needed."
    )
