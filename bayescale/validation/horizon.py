"""The trust horizon: the largest extrapolation that is precise enough and was tested."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from bayescale.errors import PosteriorError, TrustError
from bayescale.findings import Finding, Severity
from bayescale.forecasting import forecast
from bayescale.posterior import Fit, fitted_unit_of, flop_count_of
from bayescale.posterior.methods import asks_fit
from bayescale.results import Result, TextTable
from bayescale.units import format_size, three_digits
from bayescale.validation import scores
from bayescale.validation.backtest_record import record_of, require_same
from bayescale.validation.backtest_result import Backtest
from bayescale.validation.held_out import by_draw
from bayescale.validation.horizon_checks import (
    INTERVAL,
    first_crossing,
    horizon_checks,
    share,
)
from bayescale.verdict import (
    BREAK,
    COVERAGE_RULE,
    LEAST_COVERAGE,
    TOLERANCE,
    holds,
    own_scale,
    reach,
    size_scale,
    sizes,
)

FURTHEST, FURTHEST_LOSS = 1000.0, 2.0
"""Precision is computed up to this multiple of the largest run; for a law of the language model's
loss, down to its lowest loss divided by the second number."""

STEPS = 121


@dataclass(frozen=True, eq=False)
class Trust(Result):
    """The scale up to which a fit can be trusted, and why not beyond.

    Attributes
    ----------
    scale : str
        The scale of sizes: ``flops``, or the law's only input.
    largest : float
        The largest training run on that scale.
    tokens_per_param : float or None
        The ratio along which ``path`` goes; None for laws of one scale.
    tolerance : float
        The largest half-width that counts as precise, as a share of the loss.
    horizon_ratio : float
        Multiple of the largest training run; 1 if nothing beyond the runs can be trusted.
    horizon_flops : float or None
        The horizon in FLOP; None for a law of another scale.
    tested_ratio : float
        The largest ratio that a backtest inside the training runs could test; 1 if none.
    limited_by : str
        ``precision``, ``backtest`` (beyond, intervals did not cover) or ``untested``.
    checks : tuple of Finding
    path : pandas.DataFrame
        By ``ratio``, at the runs' own tokens per parameter: the scales, ``half_width`` (of the 90 %
        interval of log mean loss) and ``disagreement`` (the largest difference between the laws'
        log medians).
    bins : tuple of mapping
        Coverage of backtests by ratio: see :func:`bayescale.validation.backtest_record.bins`.
    across : tuple of mapping
        Forecasts at tokens per parameter outside the fitted range: ``side``, ``distance`` (in
        e-folds), ``covered``.
    splits : tuple of mapping
        The backtest of splits of larger budgets: see :func:`bayescale.verdict.split_verdict`.
    """

    in_figures = True

    law: str
    scale: str
    largest: float
    tokens_per_param: float | None
    tolerance: float
    horizon_ratio: float
    tested_ratio: float
    limited_by: str
    checks: tuple[Finding, ...]
    path: pd.DataFrame
    bins: tuple[Mapping[str, Any], ...]
    across: tuple[Mapping[str, Any], ...] = ()
    splits: tuple[Mapping[str, Any], ...] = ()

    @property
    def horizon_flops(self) -> float | None:
        """The largest trusted compute in FLOP; None for a law of another scale."""
        return self.horizon_ratio * self.largest if self.scale == "flops" else None

    def _table(self) -> pd.DataFrame:
        return self.path

    def _json(self) -> dict[str, Any]:
        return {
            "law": self.law,
            "scale": self.scale,
            "interval": INTERVAL,
            "tolerance": self.tolerance,
            "horizon": own_scale(self.horizon_ratio * self.largest, (self.scale,)),
            "horizon_flops": self.horizon_flops,
            "horizon_ratio": self.horizon_ratio,
            "tested_ratio": self.tested_ratio,
            "limited_by": self.limited_by,
            "tokens_per_param": self.tokens_per_param,
            "checks": [check.check_json(figures=True) for check in self.checks],
            "bins": self.bins,
            "across": self.across,
            "splits": self.splits,
            "caveat": BREAK,
        }

    def _content(self) -> Iterator[str | TextTable]:
        yield self._answer()
        yield self._limit()
        for check in self.checks:
            if check.code == "held_out_runs" and check.passed is False and self.horizon_ratio > 1:
                yield f"The evidence is thin: {check.text}"
        yield BREAK
        for severity, title in _GRADES.items():
            found = [check for check in self.checks if check.severity is severity]
            if found:
                yield ""
                yield title
            for check in found:
                yield f"  {check.code}: {_sentence(check.text)} {check.means}".rstrip()
        passed = [check.code for check in self.checks if check.passed]
        if passed:
            yield ""
            yield f"Passed: {', '.join(passed)}."
        if self.bins:
            yield ""
            yield f"Held-out runs inside {INTERVAL:.0%} intervals:"
            yield TextTable.of(map(_bin_row, self._merged_bins()), indent="  ")
            yield COVERAGE_RULE
            yield from map(_passed_below, filter(_passes_below, self._near_bins()))

    def _answer(self) -> str:
        of = "compute" if self.scale == "flops" else self.scale
        within = f"within {share(self.tolerance)} of the loss"
        if self.scale == "lm_loss":
            to, largest = f"{three_digits(self.horizon_ratio)} times below the lowest", "the lowest"
        else:
            to = f"{three_digits(self.horizon_ratio)} times the largest run's {of}"
            largest = "the largest run"
        if self.horizon_ratio > 1:
            return f"Trust it up to {to}, {within}: {self._at(self.horizon_ratio)} ({self.law})."
        return f"Do not trust it beyond {largest}, {within}: {self._at(1.0)} ({self.law})."

    def _limit(self) -> str:
        if self.limited_by == "untested" and not self.bins:
            return _NOT_TESTED
        return _LIMITS[self.limited_by].format(
            tolerance=share(self.tolerance), tested=f"{three_digits(self.tested_ratio)}"
        )

    def _near_bins(self) -> Sequence[Mapping[str, Any]]:
        """Return the bins that are shown one by one."""
        near = [item for item in self.bins if item["lower"] <= self.horizon_ratio][:_MOST_BINS]
        shown = len(near) + 1
        return self.bins[:shown] if len(self.bins) > shown + 1 else self.bins

    def _merged_bins(self) -> list[Mapping[str, Any]]:
        """Return the bins up to one beyond the horizon, with all further bins merged into one."""
        first = self._near_bins()
        far = self.bins[len(first) :]
        if not far:
            return [*first]
        n = sum(item["n"] for item in far)
        held = sum(item["n_covered"] for item in far)
        return [*first, {**far[0], "upper": far[-1]["upper"], "n": n, "n_covered": held}]

    def _at(self, ratio: float) -> str:
        size = ratio * self.largest
        if self.scale == "lm_loss":
            return f"a language model's loss of {own_scale(size, (self.scale,)):.4g} nats/token"
        if self.scale != "flops":
            return f"{format_size(size)} {self.scale}"
        along = self.tokens_per_param
        return f"{size:.3g} FLOP" + (f" at {along:.3g} tokens per parameter" if along else "")


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _bin_row(item: Mapping[str, Any]) -> dict[str, str]:
    return {
        "times larger": f"{_times(item['lower'])} to {_times(item['upper'])}",
        "held out": str(item["n"]),
        "inside": str(item["n_covered"]),
        "share": share(round(item["n_covered"] / item["n"], 2)),
    }


def _passes_below(item: Mapping[str, Any]) -> bool:
    """Return whether a bin passes although fewer runs than required lie inside their intervals."""
    return item["n_covered"] < LEAST_COVERAGE * item["n"] and holds(
        item["coverage90"] * item["n"], item["n"]
    )


def _passed_below(item: Mapping[str, Any]) -> str:
    return (
        f"{_times(item['lower'])} to {_times(item['upper'])} passes: "
        f"{share(round(item['n_covered'] / item['n'], 2))} over all forecasts is "
        f"{share(round(item['coverage90'], 2))} averaged over cutoffs."
    )


def _times(ratio: float) -> str:
    return f"{ratio:,g}" if ratio < 1e6 else three_digits(ratio)


_MOST_BINS = 6  # the most bins up to the horizon in the text

_GRADES = {
    Severity.STOPS: "What stops trust:",
    Severity.WARNS: "Warnings, which do not stop it:",
    Severity.INFORMATION: "For information:",
}
"""Titles of findings by severity, in order."""

_LIMITS = {
    "precision": "Limited by precision: beyond, the loss is not known within {tolerance}. Train a "
    "larger run (`bayescale.next_run` finds which), or accept a wider tolerance (`tolerance=`).",
    "backtest": "Limited by backtests: beyond, intervals inside the runs did not cover. Train runs "
    "of sizes between, or fit another law.",
    "untested": "Limited by what could be tested: backtests inside the runs reach {tested} times. "
    "Train a larger run, or smaller ones, to test further.",
}
_NOT_TESTED = (
    "Limited by what was tested: no backtest was made. Make one: `fit = fit.with_backtest()`."
)


@asks_fit
def trust(
    fit: Fit,
    backtest: Backtest | Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
    *,
    allow_unconverged: bool = False,
) -> Trust:
    """Return the largest scale at which a fit is precise enough and its forecasts were tested.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    backtest : Backtest or mapping, optional
        A backtest of the fit's own laws and runs (:func:`bayescale.backtest`), or its record
        (:func:`bayescale.validation.backtest_record.record_of`). By default the backtest in the
        fit's record; without one, everything beyond the runs is untested.
    tolerance : float
        Largest half width of the 90 % interval of log mean loss: 0.02 is 2 %.
    allow_unconverged : bool
        Answer although the fit failed its convergence checks.

    Returns
    -------
    Trust

    Raises
    ------
    TrustError
        If the tolerance is not between 0 and 1, or the backtest is of other laws or runs.
    PosteriorError
        If the fit is a point estimate, which has no runs.
    UnconvergedError
        If the fit failed its convergence checks.

    Notes
    -----
    The horizon is the smaller of two ratios to the largest run. *Precision* is the ratio at which
    the half width first exceeds the tolerance, at the runs' own tokens per parameter (the median of
    the upper quarter of runs by compute). *Backtest* is the ratio up to which 90 % intervals of a
    single new run probably hold at least 80 % of larger runs, in consecutive bins of a factor of
    two from 1 on (:func:`bayescale.verdict.reach`). Nothing beyond the largest tested ratio is
    trusted, and no backtest can detect a break in the law outside the runs. Refits have looser
    convergence limits than fits (:data:`bayescale.inference.diagnostics.REFIT_LIMITS`). The horizon
    is along compute; forecasts at tokens per parameter outside the runs' range have a verdict of
    their own (:func:`bayescale.verdict.verdict`).
    """
    require_answerable(fit, tolerance, allow_unconverged)
    assert fit.runs is not None
    record = record_of(backtest) if isinstance(backtest, Backtest) else backtest
    record = fit.record.get("backtest") if record is None else record
    if record is not None:
        require_same(fit, record)
    bins = () if record is None else tuple(record["bins"])
    path, along = _path(fit)
    precise = first_crossing(path["ratio"], path["half_width"], tolerance)
    to = reach(bins)
    if precise < to.covered:
        limited_by = "precision"
    else:
        limited_by = "untested" if to.failed is None else "backtest"
    return Trust(
        law=fit.name,
        scale=size_scale(fit.inputs),
        largest=float(sizes(fit.runs.frame, fit.inputs).max()),
        tokens_per_param=along,
        tolerance=tolerance,
        horizon_ratio=min(precise, to.covered),
        tested_ratio=to.tested,
        limited_by=limited_by,
        checks=horizon_checks(fit, path, precise, tolerance, record, to),
        path=path,
        bins=bins,
        across=tuple((record or {}).get("across", ())),
        splits=tuple((record or {}).get("splits", ())),
    )


def require_answerable(fit: Fit, tolerance: float, allow_unconverged: bool = False) -> None:
    """Refuse arguments that :func:`trust` cannot answer, before a backtest is made.

    Raises
    ------
    TrustError, PosteriorError, UnconvergedError
        See :func:`trust`.
    """
    if not 0 < tolerance < 1:
        raise TrustError(
            f"tolerance is {tolerance:g}, but must lie between 0 and 1: a share of the loss, such "
            "as 0.02 for 2 %"
        )
    if fit.runs is None:
        raise PosteriorError(
            "a point estimate has no runs, so nothing can be tested: fit a run log instead"
        )
    fit.require_converged(allow_unconverged)


def own_path(fit: Fit, target: Any) -> tuple[dict[str, Any], float | None]:
    """Return the scales of runs of given sizes at the runs' own tokens per parameter, and these.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of runs.
    target : numpy.ndarray, shape (point,)
        Sizes, as :func:`bayescale.verdict.sizes` counts them.
    """
    runs, inputs = fit.runs, fit.inputs
    assert runs is not None
    if not {"params", "tokens"} <= set(inputs):
        return {size_scale(inputs): own_scale(target, inputs)}, None
    size = sizes(runs.frame, inputs)
    upper = size >= np.quantile(size, 0.75)
    along = float(np.exp(np.median(np.log(runs["tokens"] / runs["params"])[upper])))
    params = flop_count_of(fit).solve(lambda each: np.sqrt(target / (each * along)))
    return {"params": params, "tokens": along * params}, along


@lru_cache(1)
def _path(fit: Fit) -> tuple[pd.DataFrame, float | None]:
    """Return widths and disagreement by ratio, and the tokens per parameter of the path."""
    runs, inputs = fit.runs, fit.inputs
    assert runs is not None
    size = sizes(runs.frame, inputs)
    far = FURTHEST_LOSS if size_scale(inputs) == "lm_loss" else FURTHEST
    ratio = np.geomspace(1.0, far, STEPS)
    target = ratio * size.max()
    scales, along = own_path(fit, target)
    unit = fitted_unit_of(fit)
    answers = [
        forecast(m, **scales, loss_unit=unit, allow_unconverged=True).loss for m in fit.members
    ]
    mean = np.log(by_draw(fit.mix(answers)))
    medians = [np.median(np.log(by_draw(answer)), axis=0) for answer in answers]
    path = pd.DataFrame({"ratio": ratio, **scales})
    path["half_width"] = scores.half_width(mean, INTERVAL)
    path["disagreement"] = np.ptp(medians, axis=0) if len(medians) > 1 else np.nan
    return path, along
