"""Whether a forecast can be trusted: how far it extrapolates, and how far that was tested.

A verdict needs only a few numbers that a fit stores with its draws: the bins of a backtest (see
:mod:`bayescale.validation.backtest`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.conventions import read_flop_count
from bayescale.laws.law import INPUTS
from bayescale.units import three_digits

STATES = ("inside", "trusted", "too_wide", "failed", "untested")
TOLERANCE = 0.02
"""The largest half-width of the interval of log mean loss that counts as precise: 2 % of the
loss."""

LEAST_COVERAGE = 0.8
"""The coverage that 90 % intervals need in backtests; the margin allows for few held-out runs."""

FEW = 10
"""A range with fewer forecasts of held-out runs is called hardly tested."""

FEWEST_ACROSS = 4
"""The fewest forecasts of held-out runs that test a distance across tokens per parameter."""

MOST_EMPTY_BINS = 2
"""The most consecutive factors of two that may be untested: runs often differ in size by eight."""

BREAK = "A break in the law outside the runs cannot be excluded."


class Verdict(NamedTuple):
    """A verdict on a forecast: a state and its reason.

    Attributes
    ----------
    state : str
        One of :data:`STATES`.
    text : str
        The reason, and what to do.
    """

    state: str
    text: str


TITLES = {
    "inside": "Inside the range of the runs",
    "trusted": "Trusted",
    "untested": "Not tested",
    "too_wide": "Not precise enough",
    "failed": "Not trusted, because backtests failed",
}
"""States in words, for the beginning of an answer."""


def titled(state: str, text: str) -> str:
    """Return the text of a verdict after its state in words, unless it begins with it.

    Examples
    --------
    >>> titled("trusted", "Extrapolates to 3 times the largest training run.")
    'Trusted. Extrapolates to 3 times the largest training run.'
    """
    title = TITLES[state]
    return text if text.startswith(title) else f"{title}. {text}"


class Reach(NamedTuple):
    """The range in which backtests support forecasts, in multiples of the largest training run.

    Attributes
    ----------
    covered : float
        The ratio up to which intervals covered as they should, without a gap from 1; 1 if nowhere.
    tested : float
        The largest ratio that any backtest forecast; 1 if none did.
    failed : mapping or None
        The bin that ended the range because its coverage was too low; None if the range ended
        because nothing larger was tested.
    n : int
        Number of forecasts of held-out runs within the range.
    """

    covered: float
    tested: float
    failed: Mapping[str, Any] | None
    n: int = 0


def size_scale(inputs: Sequence[str]) -> str:
    """Return the scale by which runs are compared: a law's only scale, or else flops."""
    known = [name for name in inputs if name in INPUTS]
    return known[0] if len(known) == 1 else "flops"


def sizes(frame: pd.DataFrame, inputs: Sequence[str]) -> np.ndarray:
    """Return the sizes of runs or points on the law's scale, shape (row,).

    Parameters
    ----------
    frame : pandas.DataFrame
        The law's inputs, in raw units. A law of several inputs uses ``flops`` or, if a row lacks
        it, params and tokens with the count of the other rows; a law of the language model's loss
        uses its inverse.
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
    """Return sizes of :func:`sizes` on the law's scale: a loss is the inverse of a size."""
    return 1.0 / size if size_scale(inputs) == "lm_loss" else size


NEXT_TIMES, NEXT_LOWER_LOSS = 10.0, 0.95
"""The default of the next scale, as a multiple of the largest run, or of the lowest loss."""


def next_scale(frame: pd.DataFrame, inputs: Sequence[str]) -> float:
    """Return the default of the next scale: a step beyond the runs, to three digits."""
    largest = float(own_scale(sizes(frame, inputs).max(), inputs))
    times = NEXT_LOWER_LOSS if size_scale(inputs) == "lm_loss" else NEXT_TIMES
    return float(f"{times * largest:.3g}")


def holds(covered: float, n: float) -> bool:
    """Return whether intervals covered as they should, given this many held-out runs.

    They did if coverage is more probably than not at least :data:`LEAST_COVERAGE`, under a prior of
    Beta(9, 1): 90 % intervals are believed until runs contradict them.
    """
    from scipy.special import betainc

    return bool(betainc(9.0 + covered, 1.0 + n - covered, LEAST_COVERAGE) <= 0.5)


COVERAGE_RULE = (
    f"A range passes if coverage of {LEAST_COVERAGE:.0%} or more is more probable than not, by the "
    "share averaged over cutoffs (each counts alike) and a prior of Beta(9, 1)."
)
"""The rule of :func:`holds`, as tables of coverage state it."""


def reach(bins: Sequence[Mapping[str, Any]]) -> Reach:
    """Return how far a backtest's bins reach, and how far they pass.

    Parameters
    ----------
    bins : sequence of mapping
        Bins in order of ratio, each with ``lower``, ``upper`` (a factor of two), ``n`` forecasts,
        ``n_covered``, ``n_cutoffs``, ``coverage90`` (averaged over cutoffs) and ``largest`` (the
        largest ratio in it).

    Notes
    -----
    A bin passes if :func:`holds` is true for its coverage, averaged over cutoffs. The range starts
    at 1, bridges at most :data:`MOST_EMPTY_BINS` untested bins in a row, and ends at the largest
    ratio tested.
    """
    if not bins:
        return Reach(1.0, 1.0, None, 0)
    tested = max(item["largest"] for item in bins)
    covered, upper, n = 1.0, 1.0, 0
    for item in bins:
        if item["lower"] > upper * 2.0**MOST_EMPTY_BINS * 1.001:
            break
        if not holds(item["coverage90"] * item["n"], item["n"]):
            return Reach(covered, tested, item, n)
        upper = item["upper"]
        covered, n = min(upper, tested), n + item["n"]
    return Reach(covered, tested, None, n)


class Place(NamedTuple):
    """The place of a point relative to the runs.

    Attributes
    ----------
    inside : bool
        Whether the point lies inside the range of the runs in every input and in tokens per
        parameter.
    ratio : float
        The size of the point over that of the largest training run; NaN if there are no runs.
    across : float
        E-folds of tokens per parameter above the runs' largest ratio (positive) or below their
        smallest (negative); zero between these, and for laws of one scale.
    beyond : str
        A text on the inputs other than scales that lie outside the range of the runs; empty if none
        does.
    """

    inside: bool
    ratio: float
    across: float = 0.0
    beyond: str = ""

    def in_words(self) -> str:
        """Return the beginning of a sentence on the place."""
        start = "Extrapolates to" if self.ratio > 1 else "At"
        size = f"{start} {three_digits(self.ratio)} times"
        if not self.across:
            # a place within the runs' compute has another size or input outside their range
            where = ", but outside the range of the runs" if self.ratio <= 1 else ""
            return f"{size} the largest training run{'' if self.beyond else where}"
        times = three_digits(np.exp(abs(self.across)))
        share = f"{times} times the most" if self.across > 0 else f"1/{times} of the least"
        return (
            f"{size} the compute of the largest training run, at {share} tokens per parameter of "
            "any run"
        )


class Evidence(NamedTuple):
    """The results of backtests inside the runs, which a fit stores.

    Attributes
    ----------
    bins : sequence of mapping or None
        The bins of :func:`reach`; None if no backtest was made.
    across : sequence of mapping
        Forecasts at other tokens per parameter than those fitted, each with ``side``, ``distance``
        in e-folds and ``covered``.
    """

    bins: Sequence[Mapping[str, Any]] | None = None
    across: Sequence[Mapping[str, Any]] = ()


def verdict(
    place: Place,
    half_width: float,
    tolerance: float = TOLERANCE,
    evidence: Evidence = Evidence(),  # noqa: B008 a frozen value
    new_half_width: float | None = None,
) -> Verdict:
    """Return the verdict on a forecast.

    Parameters
    ----------
    place : Place
        The place of the forecast point relative to the runs.
    half_width : float
        Half the width of the 90 % interval of log mean loss, drift included.
    tolerance : float
        The largest ``half_width`` that counts as precise.
    evidence : Evidence
        The results of backtests.
    new_half_width : float, optional
        Half the width for a single new run.

    Examples
    --------
    >>> verdict(Place(False, 3.0), 0.05).state
    'too_wide'
    """
    if np.isnan(place.ratio):
        return Verdict(
            "untested",
            "This point estimate comes without runs, so how far it extrapolates is unknown.",
        )
    single = ""
    if new_half_width is not None and not new_half_width <= tolerance:
        single = f" A single new run is known within {new_half_width:.1%}."
    if place.inside:
        text = f"Inside the range of the runs ({three_digits(place.ratio)} times the largest)."
        return Verdict("inside", text + single)
    head = place.in_words()
    first = "Train a larger run first" if place.ratio > 1 else "Train runs there first"
    if not half_width <= tolerance:
        digits = 1 if half_width > tolerance + 5e-4 else 2  # so that the difference shows
        return Verdict(
            "too_wide",
            f"{head}, too far to be precise: the mean loss is known within "
            f"{half_width:.{digits}%}, and {tolerance:.1%} is asked for. {first}, or "
            "accept a wider tolerance."
            if np.isfinite(half_width)
            else f"{head}, where the mean loss has no finite interval. {first}.",
        )
    if place.beyond:
        return Verdict(
            "untested",
            f"{head}, and {place.beyond}: no backtest tests that. Train runs there. {BREAK}",
        )
    if evidence.bins is None:
        return Verdict(
            "untested",
            f"{head}. No backtest has tested this: the interval takes the law to hold there. Test "
            f"it: `fit = fit.with_backtest()`. {BREAK}",
        )
    along = _along(place, head, reach(evidence.bins))
    if along.state != "trusted" or not place.across:
        return Verdict(along.state, along.text + single if along.state == "trusted" else along.text)
    side = [
        item
        for item in evidence.across
        if item["side"] * place.across > 0 and item["distance"] >= abs(place.across)
    ]
    held = sum(item["covered"] for item in side)
    tested = f"{len(side)} held-out run{'' if len(side) == 1 else 's'} as far from those fitted"
    if len(side) < FEWEST_ACROSS:
        return Verdict(
            "untested",
            f"{head}. Untested across tokens per parameter: backtests inside the runs forecast "
            f"{tested}, and {FEWEST_ACROSS} are needed. Train a run at such a ratio. {BREAK}",
        )
    if not holds(held, len(side)):
        return Verdict(
            "failed",
            f"{head}. Backtests across tokens per parameter failed: 90% intervals held {held} of "
            f"{tested}. Do not rely on the interval there.",
        )
    return Verdict(
        "trusted",
        f"{head}: precise enough; backtests inside the runs covered as they should along compute, "
        f"and held {held} of {tested} in tokens per parameter. {BREAK}{single}",
    )


def _along(place: Place, head: str, to: Reach) -> Verdict:
    """Return the verdict on a point's distance along compute."""
    if place.ratio <= max(to.covered, 1.0):
        few = f" (hardly: {to.n} held-out runs)" if to.n < FEW else ""
        return Verdict(
            "trusted",
            f"{head}: precise enough, and backtests inside the runs covered as they should up to "
            f"{three_digits(to.covered)} times{few}. {BREAK}",
        )
    if to.failed is not None:
        return Verdict("failed", f"{head}. {failure(to.failed)} Do not rely on the interval there.")
    far = (
        f"Backtests inside the runs support up to {three_digits(to.covered)} times"
        if to.covered > 1
        else "Backtests inside the runs tested no such ratio"
    )
    return Verdict("untested", f"{head}. {far}; beyond, nothing was tested. {BREAK}")


UNTESTED_SPLIT = (
    "The split has not been tested on these runs: that needs budgets with five runs or more of "
    "like compute and different sizes, and a backtest (`fit = fit.with_backtest()`)."
)
UNTESTABLE_SPLIT = (
    "The split has not been tested, and the backtest of these runs cannot test one: no budget "
    "above its smallest cutoff has five runs or more of like compute and different sizes, with the "
    "best size between them."
)


def split_verdict(ratio: float, record: Sequence[Mapping[str, Any]] | None) -> Verdict:
    """Return the verdict on a split, from backtests of splits at larger budgets inside the runs.

    Parameters
    ----------
    ratio : float
        How many times larger the budget is than the largest training run.
    record : sequence of mapping or None
        Splits that were forecast, each with ``ratio``, ``covered`` (whether the 90 % interval
        contained the best size) and ``exceeded`` (whether the choice lost more than the stated 95 %
        bound). It is empty if the log measures no best split at a larger budget, and None if no
        backtest was made. Splits up to the ratio count, or the nearest ones if the ratio is smaller
        than all.
    """
    if not record:
        return Verdict("untested", UNTESTED_SPLIT if record is None else UNTESTABLE_SPLIT)
    ratios = np.array([item["ratio"] for item in record])
    most = max(ratio, float(np.sort(ratios)[min(FEWEST_ACROSS, len(ratios)) - 1]))
    near = [item for item in record if item["ratio"] <= most]
    n, held = len(near), sum(item["covered"] for item in near)
    kept = n - sum(item["exceeded"] for item in near)
    text = (
        f"90% intervals of the best size held {held} of {n} measured at budgets up to "
        f"{three_digits(max(item['ratio'] for item in near))} times larger inside the runs, and "
        f"{kept} of {n} choices lost no more than the 95% bound stated"
    )
    if not (holds(held, n) and holds(kept, n)):
        return Verdict("failed", f"Backtests of splits failed: {text}.")
    if ratio > ratios.max():
        return Verdict("untested", f"The split is untested so far out: {text}.")
    return Verdict("trusted", f"Splits were tested: {text}.")


def places(
    frame: pd.DataFrame | None, inputs: Sequence[str], points: pd.DataFrame, ratio: np.ndarray
) -> list[Place]:
    """Return the places of points relative to the runs in ``frame``, None for a point estimate.

    ``ratio`` is each point's size over the largest run's; NaN without runs.
    """
    if frame is None:
        return [Place(False, np.nan)] * len(points)
    within, across, beyond = ratio <= 1, np.zeros(len(points)), [""] * len(points)
    for name in inputs:
        x = frame[name]
        inside = points[name].between(x.min() * 0.999, x.max() * 1.001).to_numpy()
        within = within & inside
        if name not in INPUTS:
            _say_beyond(beyond, name, x, points[name].to_numpy(float), inside)
    if {"params", "tokens"} <= set(inputs):
        runs, there = (
            np.log(table["tokens"].to_numpy(float) / table["params"].to_numpy(float))
            for table in (frame, points)
        )
        edge = 1e-3  # logs state ratios to a few digits only
        across = np.maximum(there - runs.max(), 0.0) - np.maximum(runs.min() - there, 0.0)
        across = np.where(abs(across) < edge, 0.0, across)
    return [
        Place(bool(inside and away == 0), float(times), float(away), outside)
        for inside, times, away, outside in zip(within, ratio, across, beyond, strict=True)
    ]


def _say_beyond(
    texts: list[str], name: str, runs: pd.Series, values: np.ndarray, inside: np.ndarray
) -> None:
    """Add to the texts of those points at which an input lies outside the range of the runs."""
    for i in np.flatnonzero(~inside):
        text = f"{name} {values[i]:.6g} lies outside the runs' {runs.min():.6g} to {runs.max():.6g}"
        texts[i] = f"{texts[i]} and {text}" if texts[i] else text


def failure(item: Mapping[str, Any]) -> str:
    """Return a text on a bin whose coverage is too low."""
    return (
        f"Backtests inside the runs failed at {three_digits(item['lower'])} to "
        f"{three_digits(item['upper'])} times: "
        f"90% intervals held {item['n_covered']} of {item['n']} held-out runs, "
        f"{item['coverage90']:.0%} averaged over cutoffs, and at least {LEAST_COVERAGE:.0%} is "
        "needed."
    )
