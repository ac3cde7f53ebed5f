"""Forecasts of runs in progress, on eighteen loss curves of two sizes and nine schedules.

Each curve is cut at a fifth, two and three fifths of its steps, and its last loss is forecast: with
the card's prior, with a prior learned from the runs of the other size, and by three wrong models
that must fail: progress in proportion to the rate (kp = 1), the schedule ignored, and independent
noise. Curves of one size share their first part, so they are no eighteen independent tests. The
card's prior was set with these curves in view; the learned prior saw those of the other size alone.
Departures are looked for at forty looks: in the curves as they are, with a step of 1 % half-way,
and with a ramp to 2 %; and in simulated runs that are on course. Curves of other schedules are
forecast from the cosine and constant curves of their size (``watch_schedules.py``).

Run: ``BAYESCALE_DATA=folder python benchmarks/watch.py``. It takes ten minutes and writes
``benchmarks/results/watch.json`` and ``watch.md``.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from run_sets import machine, table, write
from watch_schedules import across

from bayescale.curves.card import LAWS, CurvePrior, load_curve_prior
from bayescale.curves.condition import LEAST, Observed, condition, reference_of, sample_shapes
from bayescale.curves.course import course, look_steps
from bayescale.curves.finished import read_finished
from bayescale.curves.history import History, history_of
from bayescale.curves.law import Shapes, features, joint_normal
from bayescale.curves.learned import learned_prior
from bayescale.curves.named import named_schedule
from bayescale.curves.schedule import Schedule
from bayescale.decisions.watch import first_part

SHARES = (0.2, 0.4, 0.6)
SIMULATED = 200
SMOOTHED = 60
ROWS = 5000
"""Rows of a simulated log of every batch."""
FEWEST = 12

Curve = tuple[float, str, Schedule, History]


def curves(folder: Path) -> tuple[list[Curve], pd.DataFrame]:
    """Return the curves, and their table."""
    frame = pd.read_csv(folder / "loss_curves.csv")
    found = []
    for (size, name), part in frame.groupby(["params_millions", "schedule"]):
        history = history_of(part, str(name), "loss", None, None, "error")
        schedule = Schedule.from_table(history.rate_steps, history.rates, str(name))
        found.append((float(size), str(name), schedule, history))
    rows = frame.assign(
        run=frame["params_millions"].astype(str) + frame["schedule"],
        params=frame["params_millions"],
    )
    return found, rows[["run", "params", "step", "lr", "loss"]]


def ends(every: list[Curve], prior_of: Callable[[float], CurvePrior], **how: Any) -> pd.DataFrame:
    """Forecast the last loss of every curve from its first parts."""
    rows = []
    for size, name, schedule, history in every:
        for share in SHARES:
            seen = first_part(history, schedule, share * schedule.last_step)
            if len(seen.steps) < FEWEST:
                continue
            final = _final(schedule, seen, prior_of(size), **how)
            lower, median, upper = np.quantile(final, [0.05, 0.5, 0.95])
            truth = history.losses[-1]
            rows.append(
                {"size": size, "curve": name, "share": share, "held": lower <= truth <= upper}
                | {"error": abs(median / truth - 1), "width": (upper - lower) / truth}
            )
    return pd.DataFrame(rows)


def _final(
    schedule: Schedule, seen: Observed, prior: CurvePrior, *, ignored: bool = False
) -> np.ndarray:
    rng = np.random.default_rng(0)
    used = schedule
    if ignored:
        used = named_schedule("constant", schedule.last_step, warm_up=schedule.warm_up)
    sampled = sample_shapes(used, seen, prior, rng)
    found = condition(used, seen, np.array([schedule.last_step]), prior, sampled)
    return found.draw(4000, rng)[:, 0] + seen.noise[-1] * rng.standard_normal(4000)


def summary(rows: pd.DataFrame, name: str) -> dict[str, str]:
    """Summarize forecasts by the share that was seen."""
    found: dict[str, str] = {"method": name}
    for share, part in rows.groupby("share"):
        found[f"held from {share:.0%}"] = f"{part['held'].sum()} of {len(part)}"
    by = rows.groupby("share")
    found["mean error, %"] = " ".join(f"{100 * x:.2f}" for x in by["error"].mean())
    found["largest error, %"] = " ".join(f"{100 * x:.2f}" for x in by["error"].max())
    found["width, %"] = " ".join(f"{100 * x:.1f}" for x in by["width"].mean())
    return found


def alarms(every: list[Curve], prior_of: Callable[[float], CurvePrior]) -> dict[str, str]:
    """Count alarms on the curves, on the curves with a step or a ramp added, and on course."""
    counts = {"as they are": 0, "step of 1 %": 0, "ramp to 2 %": 0}
    by_next = 0
    for size, _, schedule, history in every:
        prior = prior_of(size)
        seen = history.observed(schedule, look_steps(schedule))
        done = seen.steps / schedule.last_step
        scale = float(np.median(seen.losses[:3]))
        added = {
            "as they are": 0 * done,
            "step of 1 %": 0.01 * (done >= 0.5),
            "ramp to 2 %": 0.02 * ((done - 0.5) / 0.4).clip(0, 1),
        }
        for name, off in added.items():
            moved = Observed(seen.steps, seen.losses * (1 + off), seen.noise, scale)
            sampled = sample_shapes(schedule, moved, prior, np.random.default_rng(0))
            alarm = course(schedule, moved, prior, sampled).alarm_step
            counts[name] += alarm is not None
            if name == "step of 1 %" and alarm is not None:
                by_next += alarm <= seen.steps[done >= 0.5][1]
    n = len(every)
    return {
        **{name: f"{count} of {n}" for name, count in counts.items()},
        "step of 1 %, by the next look": f"{by_next} of {n}",
        "simulated on course": false_alarms(every, prior_of),
    }


def simulated(
    schedule: Schedule, steps: np.ndarray, prior: CurvePrior, rng: np.random.Generator
) -> np.ndarray:
    """Draw a run's losses at these steps from the prior, without noise."""
    shape = Shapes.of(np.maximum(rng.normal(*prior.shape.T), LEAST[: len(prior.shape)])[None, :])
    reference = reference_of(schedule, prior, shape)
    mean, total = joint_normal(features(schedule, steps, shape), shape, prior, reference, 3.3)
    return rng.multivariate_normal(mean[0], total[0])


def false_alarms(every: list[Curve], prior_of: Callable[[float], CurvePrior]) -> str:
    """Count alarms of runs simulated from the prior, of which none has left its course."""
    count = 0
    for i in range(SIMULATED):
        rng, (size, _, schedule, _) = np.random.default_rng(i), every[i % len(every)]
        prior = prior_of(size)
        known = replace(prior, level=(2.9, 0.3))
        steps = look_steps(schedule)
        noise = np.full(len(steps), 0.0015)
        values = simulated(schedule, steps, known, rng)
        seen = Observed(steps, values + noise * rng.standard_normal(len(steps)), noise, 3.3)
        sampled = sample_shapes(schedule, seen, prior, np.random.default_rng(i))
        count += course(schedule, seen, prior, sampled).alarm_step is not None
    return f"{count} of {SIMULATED}"


def smoothed_alarms(every: list[Curve], prior: CurvePrior) -> dict[str, str]:
    """Count alarms of logs of every batch, exponentially smoothed as dashboards do it."""
    known, counts = replace(prior, level=(2.9, 0.3)), {"on course": 0, "step of 1 %": 0}
    for i in range(SMOOTHED):
        rng, schedule = np.random.default_rng(i), every[i % len(every)][2]
        first = max(0.03 * schedule.last_step, 1.1 * schedule.warm_up)
        knots = np.geomspace(first, schedule.last_step, 150)
        steps = np.linspace(first, schedule.last_step, ROWS)
        curve = np.interp(steps, knots, simulated(schedule, knots, known, rng))
        batch = 0.1 * rng.standard_normal(ROWS)
        noise = pd.Series(batch).ewm(alpha=0.01).mean().to_numpy()
        for name, off in (("on course", 0.0), ("step of 1 %", 0.01)):
            losses = curve * (1 + off * (steps >= 0.5 * schedule.last_step)) + noise
            history = History(name, steps, losses, np.empty(0), np.empty(0))
            seen = history.observed(schedule, look_steps(schedule))
            seen = replace(seen, scale=float(np.median(seen.losses[:3])))
            sampled = sample_shapes(schedule, seen, prior, np.random.default_rng(i))
            counts[name] += course(schedule, seen, prior, sampled).alarm_step is not None
    return {
        f"simulated log of every batch, smoothed: {name}": f"{n} of {SMOOTHED}"
        for name, n in counts.items()
    }


def main() -> None:
    """Evaluate all, and write the page."""
    every, rows = curves(Path(os.environ["BAYESCALE_DATA"]))
    cards = {law: load_curve_prior(law) for law in LAWS}
    by_law = {
        law: {
            size: learned_prior(read_finished(rows[rows["params"] != size]), size, each)
            for size in rows["params"].unique()
        }
        for law, each in cards.items()
    }
    card, learned = cards["annealing"], by_law["annealing"]
    powers = by_law["multi_power"]
    narrow = {size: replace(prior, kp=(1.0, 0.01)) for size, prior in learned.items()}
    alone = {size: replace(p, wander=1e-5, annealing=1e-5) for size, p in learned.items()}
    methods: dict[str, tuple[Callable[[float], CurvePrior], dict[str, Any]]] = {
        "other size known": (learned.__getitem__, {}),
        "nothing at hand": (lambda size: card, {}),
        "multi_power, other size known": (powers.__getitem__, {}),
        "multi_power, nothing at hand": (lambda size: cards["multi_power"], {}),
        "wrong: kp = 1": (narrow.__getitem__, {}),
        "wrong: schedule ignored": (learned.__getitem__, {"ignored": True}),
        "wrong: independent noise": (alone.__getitem__, {}),
    }
    found = {name: ends(every, prior, **how) for name, (prior, how) in methods.items()}
    by_method = pd.DataFrame([summary(part, name) for name, part in found.items()])
    counted = {
        "nothing at hand": alarms(every, lambda size: card) | smoothed_alarms(every, card),
        "other size known": alarms(every, learned.__getitem__),
        "multi_power, other size known": alarms(every, powers.__getitem__),
    }
    looked = pd.DataFrame(counted).fillna("-").rename_axis("runs").reset_index()
    schedules = across(every, cards)
    page = [
        "# Runs in progress",
        "Made by `python benchmarks/watch.py`. The last loss of eighteen curves (25 and 100 "
        "million parameters, nine schedules), forecast from a fifth, two and three fifths of "
        f"the steps; curves with fewer than {FEWEST} losses by then are left out. Held counts "
        "final losses in their 90 % interval; the three numbers of errors and width are from a "
        "fifth, two and three fifths. Curves of one size share their first part, so these are "
        "not eighteen independent tests. The card's prior was set with these curves in view. "
        "With the other size known, the prior is learned from the curves of the other size "
        "alone. These cannot show how coefficients change with size, which limits the forecasts "
        "from a fifth. The methods called wrong are controls.",
        table(by_method),
        "## Across schedules",
        "The cosine and constant curves of a size, of 24,000 and 72,000 steps, are fitted "
        "together, and its five curves of other schedules (WSD, WSD with a linear decay, and "
        "three in two stages) are forecast from them without any of their own losses.",
        table(schedules),
        "## Departures",
        "Runs with an alarm at any of forty looks. The logs of every batch have 5,000 rows, noise "
        "of 0.1 nats from batch to batch, and an exponential average with weight 0.01.",
        table(looked),
        f"{machine()}.",
    ]
    rows_of = {name: part.to_dict(orient="records") for name, part in found.items()}
    results = {
        "ends": rows_of,
        "across": schedules.to_dict(orient="records"),
        "alarms": looked.to_dict(orient="records"),
    }
    write("watch", results, "\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
