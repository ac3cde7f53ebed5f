"""Whether checkpoints, through the law of the curve, narrow the forecast of a larger run.

A checkpoint of a run whose learning rate has not fallen yet is no final loss. The law of the curve
says what the loss would have been, had the same schedule ended there. First, such conversions are
compared with runs that did end there: ends at 24,000 steps, from curves of 72,000 steps of the same
size. Then the longest cosine run of 100 million parameters is forecast from the three others (two
sizes, 24,000 steps, and 25 million on 72,000), alone and with converted checkpoints of these.

Run: ``BAYESCALE_DATA=folder python benchmarks/curves_as_data.py``. It takes minutes and writes
``benchmarks/results/curves_as_data.json`` and ``.md``.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from run_sets import machine, table, write
from watch import curves
from watch_schedules import observed

from bayescale import forecast, refit
from bayescale.curves.card import load_curve_prior
from bayescale.curves.condition import condition, sample_shapes
from bayescale.curves.history import History
from bayescale.curves.named import named_schedule
from bayescale.curves.schedule import Schedule
from bayescale.runs import read_runs

TOKENS_PER_STEP = 0.5e6
NOISE = 0.0015
SOURCES = ("cosine_72000", "constant_72000")
ENDS = ("cosine_24000", "wsd_20000_24000", "wsdld_20000_24000")
SIZES = (25.0, 100.0)
CHECKPOINTS = {
    (25.0, "cosine_72000"): (8000, 12_000, 16_000, 36_000, 48_000),
    (100.0, "cosine_24000"): (8000, 12_000, 16_000),
}
RUNS = ((25.0, "cosine_24000"), (25.0, "cosine_72000"), (100.0, "cosine_24000"))
TARGET = (100.0, "cosine_72000")
SAMPLER: dict[str, Any] = {"draws": 1000, "tune": 500}

Known = dict[tuple[float, str], tuple[Schedule, History]]


def converted(source: tuple[Schedule, History], end: Schedule) -> np.ndarray:
    """Draw the loss that the run of a curve would have had at the end of another schedule."""
    schedule, history = source
    seen, rng = observed(schedule, history, np.geomspace, 24), np.random.default_rng(0)
    prior = load_curve_prior()
    sampled = sample_shapes(schedule, seen, prior, rng)
    at = np.array([end.last_step])
    return condition(schedule, seen, at, prior, sampled, end).draw(4000, rng)[:, 0]


def conversions(known: Known) -> pd.DataFrame:
    """Compare converted checkpoints with runs that ended there."""
    rows = []
    for size in SIZES:
        for source in SOURCES:
            for name in ENDS:
                schedule, history = known[size, name]
                draws = converted(known[size, source], schedule)
                draws = draws + NOISE * np.random.default_rng(1).standard_normal(len(draws))
                lower, median, upper = np.quantile(draws, [0.05, 0.5, 0.95])
                truth = history.losses[-1]
                rows.append(
                    {"of": source, "to the end of": name, "params, M": size}
                    | {"error, %": f"{100 * (median / truth - 1):+.2f}"}
                    | {"held": "yes" if lower <= truth <= upper else "no"}
                    | {"width, %": f"{100 * (upper - lower) / truth:.1f}"}
                )
    return pd.DataFrame(rows)


def row(size: float, name: str, step: float, loss: float, error: float) -> dict[str, Any]:
    """Return a row of a run log; checkpoints of one run share its name."""
    return {
        "run_id": f"{size:g} M, {name}, {step:g}",
        "run": f"{size:g} M, {name}",
        "params": 1e6 * size,
        "tokens": TOKENS_PER_STEP * step,
        "loss": loss,
        "loss_se": error,
    }


def forecasts(known: Known) -> pd.DataFrame:
    """Forecast the held-out run from runs alone, and with converted checkpoints."""
    runs = [row(*at, known[at][0].last_step, known[at][1].losses[-1], NOISE) for at in RUNS]
    more = []
    for at, steps in CHECKPOINTS.items():
        for step in steps:
            end = named_schedule("cosine", step, warm_up=known[at][0].warm_up)
            draws = converted(known[at], end)
            more.append(row(*at, step, float(np.median(draws)), float(draws.std())))
    schedule, history = known[TARGET]
    truth, found = history.losses[-1], []
    for name, rows in (("runs alone", runs), ("runs and checkpoints", [*runs, *more])):
        fit = refit(read_runs(pd.DataFrame(rows)), "unified", **SAMPLER)
        place = {"params": 1e6 * TARGET[0], "tokens": TOKENS_PER_STEP * schedule.last_step}
        result = forecast(fit, **place, allow_unconverged=True)
        assert result.loss_new is not None
        draws = result.loss_new.isel(point=0).values
        lower, median, upper = np.quantile(draws, [0.05, 0.5, 0.95])
        found.append(
            {"fitted to": name, "rows": len(rows)}
            | {"converged": "yes" if fit.diagnostics["passed"] else "no"}
            | {"error, %": f"{100 * (median / truth - 1):+.2f}"}
            | {"held": "yes" if lower <= truth <= upper else "no"}
            | {"width, %": f"{100 * (upper - lower) / truth:.1f}"}
        )
    return pd.DataFrame(found)


def main() -> None:
    """Measure both, and write the page."""
    every, _ = curves(Path(os.environ["BAYESCALE_DATA"]))
    known = {(size, name): (schedule, history) for size, name, schedule, history in every}
    converting, ahead = conversions(known), forecasts(known)
    page = [
        "## Checkpoints as data",
        "Made by `python benchmarks/curves_as_data.py`. Checkpoints of curves of 72,000 steps "
        "are converted by the law of the loss curve to the loss at the end of a schedule of "
        "24,000 steps, and compared with the runs that ended there. Held: inside the 90 % "
        "interval.",
        table(converting),
        "The cosine run of 100 million parameters and 72,000 steps is forecast by `unified` "
        "from the three other cosine runs, alone and with eight converted checkpoints of them. "
        "One forecast is no backtest: it shows the width of the interval, and nothing about "
        "coverage.",
        table(ahead),
        f"{machine()}.",
    ]
    results = {"conversions": converting, "forecasts": ahead}
    kept = {name: frame.to_dict(orient="records") for name, frame in results.items()}
    write("curves_as_data", kept, "\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
