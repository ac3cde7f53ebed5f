"""The trust horizon: the largest extrapolation that is precise enough and was tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import PosteriorError, TrustError
from bayescale.findings import Finding
from bayescale.forecasting import forecast
from bayescale.posterior import Fit, Posterior, outliers
from bayescale.units import format_size
from bayescale.validation import scores
from bayescale.validation.backtest import Backtest, Missing, problems_told
from bayescale.validation.identifiability import identifiability_checks
from bayescale.validation.resampling import resampling_notes
from bayescale.verdict import (
    BREAK,
    TOLERANCE,
    Reach,
    failure,
    own_scale,
    reach,
    size_scale,
    sizes,
)

FURTHEST, FURTHEST_LOSS = 1000.0, 2.0
"""Times the largest run up to which precision is looked at; of a law of the language model's loss,
how many times lower, since a thousandth of a loss means nothing."""

STEPS = 121
INTERVAL = 0.9
FEWEST_FORECASTS, FEWEST_CUTOFFS = 30, 3
"""With less, the coverage of a backtest is itself hardly known."""


@dataclass(frozen=True, eq=False)
class Trust:
    """Up to which scale a fit can be trusted, and why not beyond.

    Attributes
    ----------
    horizon_ratio : float
        Times the largest training run; 1 where nothing beyond the runs is to be trusted.
    horizon_flops : float or None
        The same in FLOP; None for a law of another scale.
    tested_ratio : float
        The largest ratio that a backtest inside the training runs could test; 1 if none.
    limited_by : str
        ``precision``, ``backtest`` (it failed beyond) or ``untested``.
    checks : tuple of Finding
    path : pandas.DataFrame
        By ``ratio`` along the runs' own tokens per parameter: the scales, ``half_width`` of
        the 90 % interval of log mean loss, and ``disagreement``, the largest difference of
        the laws' log medians.
    """

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

    @property
    def horizon_flops(self) -> float | None:
        """The largest trusted compute in FLOP, where the law has any."""
        return self.horizon_ratio * self.largest if self.scale == "flops" else None

    def to_frame(self) -> pd.DataFrame:
        """Half width and disagreement by ratio."""
        return self.path.copy()

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""
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
            "bins": [dict(item) for item in self.bins],
            "caveat": BREAK,
        }

    def __str__(self) -> str:
        lines = [self._headline(), _LIMITS[self.limited_by].format(self=self)]
        few = [c.text for c in self.checks if c.code == "held_out_runs" and c.passed is False]
        lines += [f"It rests on little: {text}" for text in few if self.horizon_ratio > 1]
        lines += [BREAK, ""]
        for check in self.checks:
            lines.append(str(check))
            if check.code == "coverage" and check.table is not None:
                lines += ["", *_bin_lines(self.bins), ""]
        return "\n".join(lines)

    def _headline(self) -> str:
        if self.horizon_ratio <= 1:
            return f"{self.law}: not to be trusted beyond the largest run ({self._at(1.0)})."
        return (
            f"{self.law}: trusted up to {self.horizon_ratio:.3g} times the largest run, "
            f"{self._at(self.horizon_ratio)}, within {self.tolerance:.1%} of the loss."
        )

    def _at(self, ratio: float) -> str:
        size = ratio * self.largest
        if self.scale == "lm_loss":
            return f"a language model's loss of {own_scale(size, (self.scale,)):.4g} nats/token"
        if self.scale != "flops":
            return f"{format_size(size)} {self.scale}"
        along = self.tokens_per_param
        return f"{size:.3g} FLOP" + (f" at {along:.3g} tokens per parameter" if along else "")


_LIMITS = {
    "precision": "Limited by precision: beyond, the loss is not known within {self.tolerance:.1%}.",
    "backtest": "Limited by backtests: beyond, intervals inside the runs did not cover.",
    "untested": "Limited by what could be tested: backtests inside the runs reach "
    "{self.tested_ratio:.3g} times.",
}


def trust(
    fit: Fit,
    backtest: Backtest | Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
    *,
    allow_unconverged: bool = False,
) -> Trust:
    """The largest scale at which a fit is precise enough and was tested to be right.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    backtest : Backtest or mapping, optional
        Of the fit's own laws and runs: what :func:`bayescale.backtest` gives, or what
        :func:`record_of` keeps of it. Without it, the one kept in the fit's record; without
        that, everything beyond the runs is untested.
    tolerance : float
        What half the width of the 90 % interval of log mean loss may be: 0.02 is 2 %.
    allow_unconverged : bool
        Answer although the convergence gate was missed.

    Returns
    -------
    Trust

    Raises
    ------
    TrustError
        If the tolerance is no share between 0 and 1, or the backtest is of other laws or runs.
    PosteriorError
        If the fit is a point estimate, which no runs stand behind.
    UnconvergedError
        If the fit failed its convergence gate.

    Notes
    -----
    The horizon is the smaller of two ratios to the largest run. *Precision*: where half the
    width first exceeds the tolerance, walking outward at the runs' own tokens per parameter
    (the median of the upper quarter of runs by compute). *Backtest*: up to where 90 % intervals
    of one new run held at least 80 % of held-out larger runs, in bins of a factor of two,
    averaged over cutoffs, counting on from 1 (:func:`bayescale.verdict.reach`). What lies
    beyond the largest ratio tested is never trusted, and no backtest sees a break in the law
    that lies outside the runs.
    """
    require_answerable(fit, tolerance, allow_unconverged)
    assert fit.runs is not None
    kept = record_of(backtest) if isinstance(backtest, Backtest) else backtest
    kept = fit.record.get("backtest") if kept is None else kept
    if kept is not None:
        _require_same(fit, kept)
    bins_ = tuple(kept["bins"]) if kept is not None else ()
    path, along = _path(fit)
    precise = _first_crossing(path["ratio"], path["half_width"], tolerance)
    to = reach(bins_)
    horizon = min(precise, to.covered)
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
        horizon_ratio=horizon,
        tested_ratio=to.tested,
        limited_by=limited_by,
        checks=(
            _converged(fit),
            _precision(path, precise, tolerance),
            _coverage(bins_, to),
            _held_out(kept),
            _agreement(fit, path, tolerance),
            *_of_any_tolerance(fit),
        ),
        path=path,
        bins=bins_,
    )


def require_answerable(fit: Fit, tolerance: float, allow_unconverged: bool = False) -> None:
    """Refuse what :func:`trust` cannot answer; asked before a backtest, not after.

    Raises
    ------
    TrustError, PosteriorError, UnconvergedError
        As :func:`trust` does.
    """
    if not 0 < tolerance < 1:
        raise TrustError(
            f"tolerance is {tolerance:g}, but must lie between 0 and 1: a share of the loss, such "
            "as 0.02 for 2 %"
        )
    if fit.runs is None:
        raise PosteriorError("a point estimate has no runs behind it, so nothing can be tested")
    fit.require_converged(allow_unconverged)


def bins(backtest: Backtest, law: str | None = None) -> list[dict[str, Any]]:
    """Coverage of 90 % intervals of one new run, by factors of two in ratio.

    Parameters
    ----------
    backtest : Backtest
    law : str, optional
        One of its laws; the pool, or the only law, where not given.

    Returns
    -------
    list of dict
        Plain values, for bins with any forecast: ``lower`` (excluded), ``upper`` (included),
        ``n`` forecasts, ``n_covered``, ``n_cutoffs``, ``coverage90`` (of each cutoff, then
        averaged) and ``largest``, the largest ratio in the bin.
    """
    frame = backtest.forecasts
    frame = frame[frame["law"] == (law or backtest.answer)]
    power = np.maximum(np.ceil(np.log2(frame["ratio"].to_numpy()) - 1e-9), 1).astype(int)
    found = []
    for k, part in frame.groupby(power):
        by_cutoff = part.groupby("cutoff")["covered90"].mean()
        found.append(
            {
                "lower": 2.0 ** (cast(int, k) - 1),
                "upper": 2.0 ** cast(int, k),
                "n": len(part),
                "n_covered": int(part["covered90"].sum()),
                "n_cutoffs": len(by_cutoff),
                "coverage90": float(by_cutoff.mean()),
                "largest": float(part["ratio"].max()),
            }
        )
    return found


def record_of(backtest: Backtest) -> dict[str, Any]:
    """What of a backtest is kept with a fit, as plain values: enough for every verdict."""
    answer = backtest.forecasts["law"] == backtest.answer
    return {
        "bins": bins(backtest),
        "laws": list(backtest.laws),
        "weights": list(backtest.weights),
        "scale": backtest.scale,
        "cutoffs": list(backtest.cutoffs),
        "n": int(answer.sum()),
        "refits": len(backtest.samples),
        "unconverged": len(backtest.unconverged()),
        "missing": [list(item) for item in backtest.missing],
        "runs_sha256": backtest.runs.digest,
        "seed": backtest.seed,
    }


def keep(fit: Fit, backtest: Backtest) -> Fit:
    """The same fit with the backtest's bins in its record, so that it need not run again.

    Raises
    ------
    TrustError
        If the backtest is of other laws or runs.
    """
    record = record_of(backtest)
    _require_same(fit, record)
    first, *rest = fit.members
    first = replace(first, record={**first.record, "backtest": record})
    if isinstance(fit, Posterior):
        return first
    return replace(fit, members=(first, *rest))


def _require_same(fit: Fit, record: Mapping[str, Any]) -> None:
    laws = {member.name for member in fit.members}
    if set(record["laws"]) != laws:
        raise TrustError(
            f"the backtest is of {' and '.join(sorted(record['laws']))}, but the fit is of "
            f"{' and '.join(sorted(laws))}: backtest the fit's own laws"
        )
    assert fit.runs is not None
    if record["runs_sha256"] != fit.runs.digest:
        raise TrustError(
            "the backtest is of another run log than the fit: backtest the fit's own runs"
        )


# precision along the runs' own path


@lru_cache(1)
def _path(fit: Fit) -> tuple[pd.DataFrame, float | None]:
    """Widths and disagreement by ratio, and the tokens per parameter walked along."""
    runs, inputs = fit.runs, fit.inputs
    assert runs is not None
    size = sizes(runs.frame, inputs)
    far = FURTHEST_LOSS if size_scale(inputs) == "lm_loss" else FURTHEST
    ratio = np.geomspace(1.0, far, STEPS)
    target = ratio * size.max()
    along = None
    if len(inputs) == 1:
        scales: dict[str, Any] = {inputs[0]: own_scale(target, inputs)}
    else:
        upper = size >= np.quantile(size, 0.75)
        along = float(np.exp(np.median(np.log(runs["tokens"] / runs["params"])[upper])))
        # the runs' own count of FLOP for one parameter and token, 6 by most conventions
        per = float(np.median((size / (runs["params"] * runs["tokens"]))[upper]))
        params = np.sqrt(target / (per * along))
        scales = {"params": params, "tokens": along * params}
    answers = [forecast(m, **scales, allow_unconverged=True).loss for m in fit.members]
    mean = np.log(_flat(fit.mix(answers)))
    medians = [np.median(np.log(_flat(answer)), axis=0) for answer in answers]
    path = pd.DataFrame({"ratio": ratio, **scales})
    path["half_width"] = scores.half_width(mean, INTERVAL)
    path["disagreement"] = np.ptp(medians, axis=0) if len(medians) > 1 else np.nan
    return path, along


def _flat(draws: xr.DataArray) -> np.ndarray:
    return draws.transpose("chain", "draw", "point").values.reshape(-1, draws.sizes["point"])


def _first_crossing(ratio: Any, values: Any, limit: float) -> float:
    """The largest ratio up to which values stay within the limit, between grid points too."""
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


# checks


def _converged(fit: Fit) -> Finding:
    passed = bool(fit.diagnostics["passed"])
    reasons = "; ".join(fit.diagnostics["reasons"])
    text = "the sampler passed its gate" if passed else f"the sampler missed its gate: {reasons}"
    return Finding.check("converged", passed, f"{text}.")


def _precision(path: pd.DataFrame, precise: float, tolerance: float) -> Finding:
    far = float(path["ratio"].iloc[-1])
    marks = (1, 3, 10, 100) if far > 100 else (1, 1.2, 1.5, 2)
    at = ", ".join(f"{_width_at(path, mark):.1%} at {mark:g} times" for mark in marks)
    start = path["half_width"].iloc[0]
    if start > tolerance:
        text = (
            f"even at the largest run the mean loss is known within {start:.1%} only, and "
            f"{tolerance:.1%} is asked for. Add runs, or accept a wider tolerance."
        )
    elif precise >= far * 0.999:
        text = f"half the {INTERVAL:.0%} interval of the mean loss stays within {tolerance:.1%} up"
        text += f" to {far:g} times the largest run and perhaps beyond ({at})."
    else:
        text = f"half the {INTERVAL:.0%} interval of the mean loss stays within {tolerance:.1%} up"
        text += f" to {precise:.3g} times the largest run ({at})."
    table = path[["ratio", "half_width"]].iloc[:: (STEPS - 1) // 12].reset_index(drop=True)
    return Finding.check("precision", bool(start <= tolerance), text, table)


def _width_at(path: pd.DataFrame, ratio: float) -> float:
    return float(np.interp(np.log(ratio), np.log(path["ratio"]), path["half_width"]))


def _coverage(bins_: Sequence[Mapping[str, Any]], to: Reach) -> Finding:
    if not bins_:
        return Finding.check(
            "coverage",
            None,
            "no backtest was made, so nothing beyond the runs is tested: make one with bayescale "
            "trust.",
        )
    table = pd.DataFrame(bins_)
    if to.failed is not None:
        supports = f" Smaller steps did, up to {to.covered:.3g} times." if to.covered > 1 else ""
        return Finding.check("coverage", False, failure(to.failed) + supports, table)
    if to.covered <= 1:
        text = f"the smallest step tested is {bins_[0]['lower']:.3g} times or more: train runs of"
        return Finding.check("coverage", None, f"{text} sizes between.", table)
    text = f"90% intervals of one new run covered as they should up to {to.covered:.3g} times"
    if to.covered < to.tested * 0.999:
        text += f"; up to {to.tested:.3g} times was tested, with a gap between"
    return Finding.check("coverage", True, f"{text}.", table)


def _held_out(record: Mapping[str, Any] | None) -> Finding:
    if record is None:
        return Finding.check("held_out_runs", None, "none.")
    n, cutoffs = record["n"], len(record["cutoffs"])
    enough = n >= FEWEST_FORECASTS and cutoffs >= FEWEST_CUTOFFS
    text = f"{n} forecasts of held-out runs from {cutoffs} cutoff{'' if cutoffs == 1 else 's'}"
    if not enough:
        text += (
            f": so few say little about coverage ({FEWEST_FORECASTS} from {FEWEST_CUTOFFS} would)"
        )
    missing = [Missing(*item) for item in record["missing"]]
    told = problems_told(missing, record["unconverged"], record["refits"])
    return Finding.check("held_out_runs", enough, " ".join([f"{text}.", *filter(None, told)]))


def _agreement(fit: Fit, path: pd.DataFrame, tolerance: float) -> Finding:
    name = "laws_agree"
    if len(fit.members) == 1:
        return Finding.check(name, None, f"{fit.name} alone: another law might say otherwise.")
    to = _first_crossing(path["ratio"], path["disagreement"], tolerance)
    table = path[["ratio", "disagreement"]].iloc[:: (STEPS - 1) // 12].reset_index(drop=True)
    far = f"up to {to:.3g} times the largest run" if to > 1 else "not even at the largest run"
    if to >= path["ratio"].iloc[-1] * 0.999:
        far += " and perhaps beyond"
    return Finding.check(name, None, f"medians of the laws within {tolerance:.1%} {far}.", table)


def _surprises(fit: Fit) -> Finding:
    frames = [outliers(member).assign(law=member.name) for member in fit.members]
    found = [frame for frame in frames if len(frame)]
    if not found:
        known = any("leave_one_out" in member.tree.children for member in fit.members)
        text = "none stands out." if known else "not looked for in this fit."
        return Finding.check("outliers", None, text)
    table = pd.concat(found, ignore_index=True)
    runs = list(dict.fromkeys(table["run_id"].astype(str)))
    shown = f"{', '.join(runs[:5])}{f' and {len(runs) - 5} more' if len(runs) > 5 else ''}"
    return Finding.check("outliers", None, f"by leave-one-out: {shown}.", table)


@lru_cache(1)  # with the path: asked again of the same fit, for another tolerance
def _of_any_tolerance(fit: Fit) -> tuple[Finding, ...]:
    return _surprises(fit), *identifiability_checks(fit), *_resampling(fit)


def _resampling(fit: Fit) -> list[Finding]:
    """Whether coefficients would scatter more over fresh logs than their posterior says."""
    if not all("log_likelihood" in member.tree.children for member in fit.members):
        return []
    return [Finding.check(note.code, None, note.text) for note in resampling_notes(fit)]


def _bin_lines(bins_: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["      times larger  held out  covered  cutoffs  averaged"]
    for item in bins_:
        between = f"{item['lower']:g} to {item['upper']:g}"
        lines.append(
            f"      {between:>12}  {item['n']:>8}  {item['n_covered']:>7}  {item['n_cutoffs']:>7}  "
            f"{item['coverage90']:>8.0%}"
        )
    return lines
