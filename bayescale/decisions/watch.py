"""The final loss of a run in progress, and whether the run is on course."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.curves.card import CurvePrior, load_curve_prior
from bayescale.curves.condition import Observed, condition, sample_shapes
from bayescale.curves.course import Course, course, look_steps
from bayescale.curves.history import (
    FAR_OFF,
    NEIGHBORS,
    History,
    gap_findings,
    read_history,
)
from bayescale.curves.learned import Finished, learned_prior
from bayescale.curves.schedule import Schedule
from bayescale.decisions.watch_answer import Watch
from bayescale.errors import DecisionError
from bayescale.findings import Finding, note
from bayescale.forecasting import forecast as forecast_of
from bayescale.plausible import require_plausible
from bayescale.posterior import Fit, loss_unit_of
from bayescale.random import Purpose, generator
from bayescale.results import DEFAULT_CI_PROB, quantiles
from bayescale.units import as_size, checked_ci_prob

POINTS = 24
"""Number of losses of the run so far that are used, evenly spaced in the log of steps; more losses
do not change the answer."""

FEWEST_POINTS, LEAST_GROWTH = 12, np.log(1.5)
"""The fewest losses, and the least growth of the log of progress, for a forecast."""

DRAWS = 4000

EARLIER = np.arange(1, 10) / 10
"""Fractions of the run at which the forecast is repeated as it would have been made then."""

CURVE_POINTS = 40

RATE_TOLERANCE, FEW_ROWS = 0.02, 0.05
"""A logged rate may differ from the plan's by this share of the peak, and by more in this share of
the rows."""

JUMP = 0.05
"""A rise since the last look by more than this share of the loss is a jump, and neither noise nor a
slow departure."""


@dataclass(frozen=True, eq=False)
class _Setting:
    """The inputs that all looks at the run share."""

    history: History
    plan: Schedule
    prior: CurvePrior
    seed: int
    target: float | None


def watch(  # noqa: PLR0913
    history: History | pd.DataFrame | str | Path,
    plan: Schedule,
    *,
    forecast: Fit | None = None,
    params: float | str | None = None,
    tokens: float | str | None = None,
    target: float | None = None,
    then: Sequence[Schedule] = (),
    finished: Sequence[Finished] = (),
    law: str = "annealing",
    ci_prob: float = DEFAULT_CI_PROB,
    seed: int = 0,
) -> Watch:
    """Forecast the final loss of a run in progress, and test whether it is on course.

    Parameters
    ----------
    history : History, pandas.DataFrame or path
        Steps, losses and learning rates so far: see :func:`bayescale.read_history`.
    plan : Schedule
        The learning rates of the whole run, to its last step.
    forecast : Posterior or ModelAverage, optional
        A fit of smaller runs, made before this run. It needs ``params`` and ``tokens`` of the whole
        run, and losses on the same evaluation set as the history.
    params, tokens : float or str, optional
        The whole run, in raw counts or as text (``"7B"``).
    target : float, optional
        A loss to reach, for the probability of missing it.
    then : sequence of Schedule, optional
        Other schedules for the rest of the run, whose final losses are forecast as well.
    finished : sequence of Finished, optional
        Finished runs of the same recipe, from which the curve's prior is learned.
    law : {"annealing", "multi_power"}
        How a fall of the learning rate takes effect: see :mod:`bayescale.curves.law`.
    ci_prob : float
    seed : int

    Returns
    -------
    Watch

    Raises
    ------
    DecisionError, RunLogError
        If history and plan do not fit each other, or the run is too young.

    Notes
    -----
    :mod:`bayescale.curves.law` describes the law and its discrepancy, and
    :mod:`bayescale.curves.course` the test.
    """
    checked_ci_prob(ci_prob)
    n, d = as_size(params, "params"), as_size(tokens, "tokens")
    require_plausible(n, "params")
    require_plausible(d, "tokens")
    logged = history if isinstance(history, History) else read_history(history)
    if target is not None and not 0 < target < np.inf:
        raise DecisionError(f"the target is {target:g}, but must be a loss: finite, above zero")
    _require_plan(logged, plan)
    _require_settled(logged, plan)
    prior = _prior(finished, n, law)
    before = _forecast_before(forecast, n, d, seed)
    setting = _Setting(logged, plan, prior, seed, target)
    seen, young = first_part(logged, plan), []
    if (why := _too_young(seen, plan, prior)) is not None:
        if before is None:
            raise DecisionError(why)
        seen = seen.with_loss(plan.last_step, float(np.median(before)), float(before.std()))
        young = [note("young", f"{why}. Until then the final loss rests on the forecast")]
    now, curve = _final_loss(setting, seen, plan, curve=True)
    looked = None if young else _course(setting)
    others = {other.name: _final_loss(setting, seen, other)[0] for other in then}
    return Watch(
        name=logged.name,
        law=law,
        steps_done=logged.last_step,
        last_step=plan.last_step,
        final_loss=now,
        forecast=before,
        forecast_p_value=None if before is None or young else _apart(now, before),
        course=looked,
        target=target,
        p_miss=None if target is None else float((now > target).mean()),
        others=others,
        looks=_earlier(setting, looked, ci_prob),
        curve=curve,
        history=pd.DataFrame({"step": logged.steps, "loss": logged.losses}),
        unit="as logged" if forecast is None else loss_unit_of(forecast).label,
        ci_prob=ci_prob,
        findings=(*young, *_findings(logged, plan)),
    )


def first_part(history: History, plan: Schedule, until: float | None = None) -> Observed:
    """Return the losses after the warm-up, up to a step, that forecasts of the final loss use."""
    last = history.last_step if until is None else until
    first = max(1.15 * plan.warm_up, 0.03 * plan.last_step, history.steps[0])
    if first >= last:
        return history.observed(plan, np.empty(0))
    return history.observed(plan, np.append(np.geomspace(first, last, POINTS), last)).until(last)


def _require_plan(history: History, plan: Schedule) -> None:
    if history.last_step == plan.last_step:
        raise DecisionError(
            f"{history.name} ends at step {history.last_step:,.0f} and so does {plan.name}: the "
            "run is over, and its final loss is known. To continue it, give the longer plan"
        )
    if history.last_step > plan.last_step:
        raise DecisionError(
            f"{history.name} goes to step {history.last_step:,.0f}, but {plan.name} ends at "
            f"{plan.last_step:,.0f}: give the plan to the run's last step"
        )
    if history.last_step <= plan.warm_up:
        raise DecisionError(
            f"{history.name} ends at step {history.last_step:,.0f}, within the warm-up of "
            f"{plan.warm_up:,.0f} steps, which the law does not describe: wait until it is over"
        )
    if len(history.rates):
        planned = plan.rate(history.rate_steps)
        off = np.abs(planned - history.rates) > RATE_TOLERANCE * plan.peak
        off &= history.rate_steps > plan.warm_up
        if off.mean() > FEW_ROWS:
            i = int(np.argmax(off))
            raise DecisionError(
                f"the learning rates of {history.name} are not those of {plan.name}: at step "
                f"{history.rate_steps[i]:,.0f} it logged {history.rates[i]:.3g} where the plan has "
                f"{planned[i]:.3g}: give the schedule that was run, as a table of step and lr"
            )


def _require_settled(history: History, plan: Schedule) -> None:
    """Refuse a jump since the last look, which the test cannot judge before the next look."""
    looks = look_steps(plan)
    reached, ahead = looks[looks <= history.last_step], looks[looks > history.last_step]
    if not len(reached) or not len(ahead) or reached[-1] == history.last_step:
        return
    before = history.losses[history.steps <= reached[-1]][-NEIGHBORS:]
    rate_then, rate_now = plan.rate(np.array([reached[-1], history.last_step]))
    if not len(before) or rate_now > rate_then:  # a rising rate raises the loss
        return
    usual, last = float(np.median(before)), float(history.losses[-1])
    if last - usual > max(JUMP * usual, FAR_OFF * history.noise):
        raise DecisionError(
            f"the last loss of {history.name} is {last:.4g} at step {history.last_step:,.0f}, far "
            f"above {usual:.4g} at step {reached[-1]:,.0f}: a spike, or the run diverges. Wait "
            f"until step {ahead[0]:,.0f}, where the test can tell, or leave out the last losses"
        )


def _too_young(seen: Observed, plan: Schedule, prior: CurvePrior) -> str | None:
    """Return why the run so far is too short for a forecast, or None."""
    n = len(seen.steps)
    if n >= FEWEST_POINTS:
        progress = plan.progress(seen.steps[[0, -1]], np.array([prior.kp[0]]))[0]
        if np.log(progress[1] / progress[0]) >= LEAST_GROWTH:
            return None
    reached = f"{seen.steps[-1]:,.0f}" if n else "none"
    return (
        f"the run is too young for a forecast: {n} losses after the warm-up, the last at step "
        f"{reached}. It needs {FEWEST_POINTS} of them, and 1.5 times the progress of the first: "
        "wait, or log more often"
    )


def _prior(finished: Sequence[Finished], params: float | None, law: str) -> CurvePrior:
    base = load_curve_prior(law)
    if not finished:
        return base
    sizes = {run.params for run in finished}
    if params is None and len(sizes) > 1:
        raise DecisionError("finished runs of several sizes need the size of this one: `params=`")
    return learned_prior(finished, params or sizes.pop(), base)


def _forecast_before(
    fit: Fit | None, params: float | None, tokens: float | None, seed: int
) -> np.ndarray | None:
    if fit is None:
        return None
    if params is None or tokens is None:
        raise DecisionError(
            "the forecast made before the run needs `params=` and `tokens=` of the whole run"
        )
    found = forecast_of(fit, params=params, tokens=tokens)
    assert found.loss_new is not None
    draws = np.asarray(found.loss_new).ravel()
    return generator(seed, Purpose.WATCH).choice(draws, DRAWS)


def _final_loss(
    setting: _Setting, seen: Observed, then: Schedule, *, curve: bool = False
) -> tuple[np.ndarray, pd.DataFrame]:
    """Return draws of the final loss under a schedule, and intervals of the curve until then."""
    rng = generator(setting.seed, Purpose.WATCH, 1)
    start, end = setting.history.last_step, then.last_step
    at = np.linspace(start, end, CURVE_POINTS)[1:] if curve else np.array([end])
    sampled = sample_shapes(setting.plan, seen, setting.prior, rng)
    found = condition(setting.plan, seen, at, setting.prior, sampled, then).draw(DRAWS, rng)
    final = found[:, -1] + seen.noise[0] * rng.standard_normal(DRAWS)
    lower, median, upper = np.quantile(found, [0.05, 0.5, 0.95], axis=0)
    return final, pd.DataFrame({"step": at, "lower": lower, "median": median, "upper": upper})


def _course(setting: _Setting) -> Course | None:
    history, plan = setting.history, setting.plan
    seen = history.observed(plan, look_steps(plan))
    if len(seen.steps) < 2:
        return None
    early = Observed(seen.steps, seen.losses, seen.noise, float(np.median(seen.losses[:3])))
    rng = generator(setting.seed, Purpose.WATCH, 2)
    return course(plan, early, setting.prior, sample_shapes(plan, early, setting.prior, rng))


def _earlier(setting: _Setting, looked: Course | None, ci_prob: float) -> pd.DataFrame:
    """Return the forecasts that would have been made at earlier fractions of the run."""
    rows: list[dict[str, Any]] = []
    plan = setting.plan
    for share in EARLIER:
        step = share * plan.last_step
        if step > setting.history.last_step:
            break
        seen = first_part(setting.history, plan, step)
        if _too_young(seen, plan, setting.prior) is not None:
            continue
        draws, _ = _final_loss(setting, seen, plan)
        miss = None if setting.target is None else float((draws > setting.target).mean())
        factor = np.nan
        if looked is not None and (looked.steps <= step).any():
            factor = float(np.exp(min(looked.log_factor[looked.steps <= step][-1], 700.0)))
        rows.append(
            {"fraction_done": share, "step": step, **quantiles(draws, ci_prob)}
            | {"p_miss": miss, "factor_off_course": factor}
        )
    columns = ("fraction_done", "step", "median", "lower", "upper", "p_miss", "factor_off_course")
    return pd.DataFrame(rows, columns=list(columns))


def _apart(now: np.ndarray, before: np.ndarray) -> float:
    """Return the two-sided p-value of the forecast before the run, given the forecast of today."""
    difference = now - before
    return float(min(1.0, 2 * min((difference > 0).mean(), (difference < 0).mean())))


def _findings(history: History, plan: Schedule) -> list[Finding]:
    text = f"{history.name} logs no learning rates: those of the plan are used"
    absent = [] if len(history.rates) else [note("no_rates", text)]
    return [*absent, *history.findings, *gap_findings(history, plan)]
