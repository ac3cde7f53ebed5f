"""Whether a forecast can be trusted: how far it reaches, and how far that was tested.

A verdict needs only a few numbers that a fit keeps beside its draws: the bins of a backtest (see
:mod:`bayescale.validation.backtest`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.conventions import read_flop_count

STATES = ("inside", "trusted", "too_wide", "failed", "untested")
TOLERANCE = 0.02
"""Half-width of the interval of log mean loss that counts as precise: 2 % of the loss."""

LEAST_COVERAGE = 0.8
"""Coverage that 90 % intervals need in backtests; the margin allows for few held-out runs."""

MOST_EMPTY_BINS = 2
"""Consecutive factors of two that may be untested: sizes of runs often grow eightfold a step."""

BREAK = "A break in the law outside the runs cannot be excluded."


class Verdict(NamedTuple):
    """A judgment on a forecast: its state and the reason.

    Attributes
    ----------
    state : str
        One of :data:`STATES`.
    text : str
        The reason, and what to do.
    """

    state: str
    text: str


class Reach(NamedTuple):
    """The range in which backtests support forecasts, in multiples of the largest training run.

    Attributes
    ----------
    covered : float
        Up to here intervals covered as they should, without a gap from 1; 1 if nowhere.
    tested : float
        The largest ratio that any backtest forecast; 1 if none did.
    failed : mapping or None
        The bin that ended the range because its coverage was too low; None where the range
        ended because nothing larger was tested.
    """

    covered: float
    tested: float
    failed: Mapping[str, Any] | None


def size_scale(inputs: Sequence[str]) -> str:
    """Name the scale in which runs are compared: a law's only input, else flops."""
    return inputs[0] if len(inputs) == 1 else "flops"


def sizes(frame: pd.DataFrame, inputs: Sequence[str]) -> np.ndarray:
    """Return the sizes of runs or points on the law's scale, shape (row,).

    Parameters
    ----------
    frame : pandas.DataFrame
        Holds the law's inputs, in raw units. A law of several inputs uses ``flops``, and where a
        row lacks it, params and tokens by the count of the others; a law of the language model's
        loss its inverse.
    inputs : sequence of str
        The inputs of the law.
    """
    scale = size_scale(inputs)
    if scale == "lm_loss":  # the larger the model, the lower its loss
        return 1.0 / frame[scale].to_numpy(dtype=float)
    unknown = np.full(len(frame), np.nan)
    found = frame[scale].to_numpy(dtype=float) if scale in frame else unknown
    if scale == "flops" and {"params", "tokens"} <= set(frame.columns):
        counted = read_flop_count(frame).flops(
            *(frame[n].to_numpy(float) for n in ("params", "tokens"))
        )
        found = np.where(np.isfinite(found), found, counted)
    return found if np.isfinite(found).all() else unknown


def own_scale(size: Any, inputs: Sequence[str]) -> Any:
    """Convert what :func:`sizes` returns to the law's scale: a loss is the inverse of a size."""
    return 1.0 / size if size_scale(inputs) == "lm_loss" else size


NEXT_TIMES, NEXT_LOWER_LOSS = 10.0, 0.95
"""The next scale, where none is named: multiples of the largest run, or of the lowest loss."""


def next_scale(frame: pd.DataFrame, inputs: Sequence[str]) -> float:
    """Return the default question: a step beyond the runs on the law's scale, to three digits."""
    largest = float(own_scale(sizes(frame, inputs).max(), inputs))
    times = NEXT_LOWER_LOSS if size_scale(inputs) == "lm_loss" else NEXT_TIMES
    return float(f"{times * largest:.3g}")


def reach(bins: Sequence[Mapping[str, Any]]) -> Reach:
    """Find how far a backtest's bins reach, and how far they pass.

    Parameters
    ----------
    bins : sequence of mapping
        In order of ratio, each with ``lower``, ``upper`` (a factor of two), ``n`` forecasts,
        ``n_covered``, ``n_cutoffs``, ``coverage90`` (averaged over cutoffs) and ``largest``
        (the largest ratio in it).

    Notes
    -----
    A bin passes with :data:`LEAST_COVERAGE`. The range starts at 1, bridges at most
    :data:`MOST_EMPTY_BINS` untested bins in a row, and ends at the largest ratio tested.
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
    """Judge a forecast.

    Parameters
    ----------
    inside : bool
        Whether it lies inside the range of the runs.
    ratio : float
        How many times larger than the largest training run; NaN if there are no runs.
    half_width : float
        Half the width of the 90 % interval of log mean loss, drift included.
    tolerance : float
        The largest ``half_width`` that counts as precise.
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
            "This point estimate comes without runs, so how far it extrapolates is unknown.",
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
    """Describe a bin whose coverage is too low."""
    return (
        f"Backtests inside the runs failed at {item['lower']:.3g} to {item['upper']:.3g} times: "
        f"90% intervals held {item['n_covered']} of {item['n']} held-out runs, "
        f"{item['coverage90']:.0%} averaged over cutoffs, and at least {LEAST_COVERAGE:.0%} is "
        "needed."
    )
