"""Forecasts of whole loss curves of one schedule from those of others, for ``watch.py``.

The cosine and constant curves of a size, of 24,000 and 72,000 steps, are fitted together: one
shape, one L0, R and B, and a discrepancy of its own for each curve. The five other curves of the
size are forecast from them without any of their own losses.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bayescale.curves.card import CurvePrior
from bayescale.curves.condition import Observed, Sampled, reference_of, weigh_shapes
from bayescale.curves.history import History
from bayescale.curves.law import Shapes, design, features, joint_normal
from bayescale.curves.learned import ANNEALING, WANDER
from bayescale.curves.named import named_schedule
from bayescale.curves.schedule import Schedule

FITTED = ("cosine_24000", "cosine_72000", "constant_24000", "constant_72000")
POINTS, DRAWS, KEPT = 40, 800, 200
"""Steps of a forecast curve, draws of its shape, and those that are kept of them by weight."""

Curve = tuple[float, str, Schedule, History]


@dataclass(frozen=True, eq=False)
class Together:
    """Curves of one size, with the prior that they share and the typical loss."""

    runs: tuple[tuple[Schedule, Observed], ...]
    prior: CurvePrior
    scale: float

    def joint(self, shapes: Shapes) -> tuple[np.ndarray, np.ndarray]:
        """Return mean (draw, point) and covariance of the losses of all curves, without noise."""
        log_reference = reference_of(self.runs[0][0], self.prior, shapes)
        found = [features(schedule, seen.steps, shapes) for schedule, seen in self.runs]
        x = np.concatenate([design(each, shapes, log_reference) for each in found], axis=1)
        mean, covariance = self.prior.linear(self.scale)
        total, start = x @ covariance @ np.swapaxes(x, 1, 2), 0
        for each in found:
            _, own = joint_normal(each, shapes, self.prior, log_reference, self.scale)
            end = start + own.shape[1]
            total[:, start:end, start:end] = own
            start = end
        return x @ mean, total


def observed(schedule: Schedule, history: History, space: Callable[..., np.ndarray], n: int) -> Any:
    """Return losses after the warm-up."""
    first = max(1.15 * schedule.warm_up, 0.03 * schedule.last_step, history.steps[0])
    return history.observed(schedule, space(first, history.last_step, n))


def forecasts(every: list[Curve], size: float, card: CurvePrior, ignored: bool) -> pd.DataFrame:
    """Forecast the other curves of a size, one row each."""

    def plan(schedule: Schedule) -> Schedule:
        if not ignored:
            return schedule
        return named_schedule("constant", schedule.last_step, warm_up=schedule.warm_up)

    own = [(name, schedule, history) for at, name, schedule, history in every if at == size]
    fitted = [(plan(s), observed(s, h, np.geomspace, 24)) for name, s, h in own if name in FITTED]
    reference = float(np.exp(np.mean([np.log(schedule.last_step) for schedule, _ in fitted])))
    scale = float(np.mean([seen.scale for _, seen in fitted]))
    known = Together(tuple(fitted), replace(card, reference=reference), scale)
    losses, noise = (
        np.concatenate([getattr(o, k) for _, o in fitted]) for k in ("losses", "noise")
    )

    def log_density(shapes: Shapes) -> np.ndarray:
        mean, total = known.joint(shapes)
        root = np.linalg.cholesky(total + np.diag(noise**2))
        away = np.linalg.solve(root, (losses - mean)[:, :, None])[:, :, 0]
        return -(away**2).sum(axis=1) / 2 - np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)

    rng = np.random.default_rng(0)
    shapes = _kept(weigh_shapes(log_density, known.prior, rng, DRAWS), rng)
    rows = []
    for name, schedule, history in own:
        if name in FITTED:
            continue
        seen = observed(schedule, history, np.linspace, POINTS)
        mean, total = replace(known, runs=(*known.runs, (plan(schedule), seen))).joint(shapes)
        n = len(losses)
        inside = total[:, :n, :n] + np.diag(noise**2)
        gain = np.swapaxes(np.linalg.solve(inside, total[:, :n, n:]), 1, 2)
        curve = mean[:, n:] + (gain @ (losses - mean[:, :n])[:, :, None])[:, :, 0]
        variance = (total[:, n:, n:] - gain @ total[:, :n, n:])[:, -1, -1] + seen.noise[-1] ** 2
        final = curve[:, -1] + np.sqrt(variance) * rng.standard_normal((50, KEPT))
        lower, median, upper = np.quantile(final, [0.05, 0.5, 0.95])
        away, truth = np.abs(curve.mean(axis=0) - seen.losses), history.losses[-1]
        rows.append(
            {"size": size, "curve": name, "mean": away.mean(), "worst": (away / seen.losses).max()}
            | {"final": abs(median / truth - 1), "held": lower <= truth <= upper}
            | {"width": (upper - lower) / truth}
        )
    return pd.DataFrame(rows)


def _kept(sampled: Sampled, rng: np.random.Generator) -> Shapes:
    weight = np.exp(sampled.log_weight)
    chosen = rng.choice(len(weight), KEPT, p=weight / weight.sum())
    values = {name: getattr(sampled.shapes, name) for name in Shapes.__dataclass_fields__}
    return Shapes(**{name: x if x is None else x[chosen] for name, x in values.items()})


def across(every: list[Curve], cards: dict[str, CurvePrior]) -> pd.DataFrame:
    """Forecast curves of other schedules by each law, and by wrong models that must fail."""
    settled = {
        name: replace(card, wander=WANDER, annealing=ANNEALING) for name, card in cards.items()
    }
    plain = settled["annealing"]
    methods = {
        **{name: (card, False) for name, card in settled.items()},
        **{f"wrong: {n}, kp = 1": (replace(c, kp=(1.0, 0.01)), False) for n, c in settled.items()},
        "wrong: schedule ignored": (plain, True),
        "wrong: independent noise": (replace(plain, wander=1e-5, annealing=1e-5), False),
    }
    rows = []
    for name, (card, ignored) in methods.items():
        sizes = sorted({size for size, *_ in every})
        found = pd.concat([forecasts(every, size, card, ignored) for size in sizes])
        rows.append(
            {"method": name, "mean error of the curve, nats": f"{found['mean'].mean():.4f}"}
            | {"largest on average, %": f"{100 * found['worst'].mean():.2f}"}
            | {"final: mean error, %": f"{100 * found['final'].mean():.2f}"}
            | {"largest, %": f"{100 * found['final'].max():.2f}"}
            | {"held": f"{found['held'].sum()} of {len(found)}"}
            | {"width, %": f"{100 * found['width'].mean():.1f}"}
        )
    return pd.DataFrame(rows)
