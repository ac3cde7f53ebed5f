"""Perceptrons pruned and trained for real: what the theory of pruning is checked against."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls


class Setting(NamedTuple):
    examples_per_param: float
    keep: float
    probe_angle: float
    kept: str


SETTINGS = [
    Setting(3, 1.0, 0, "random"),
    Setting(1, 0.5, 0, "hard"),
    Setting(5, 0.5, 0, "hard"),
    Setting(20, 0.2, 0, "hard"),
    Setting(150, 0.02, 0, "hard"),
    Setting(1, 0.5, 0, "easy"),
    Setting(10, 0.3, 0, "easy"),
    Setting(6, 0.6, 10, "hard"),
    Setting(20, 0.3, 10, "hard"),
    Setting(2, 0.4, 10, "easy"),
    Setting(10, 0.5, 20, "hard"),
    Setting(20, 0.1, 20, "hard"),
    Setting(3, 0.8, 20, "easy"),
    Setting(20, 0.3, 20, "easy"),
    Setting(8, 0.6, 40, "hard"),
    Setting(4, 0.7, 40, "easy"),
]


def max_margin(examples: np.ndarray) -> np.ndarray:
    """The shortest w with examples @ w >= 1, as least squares without negative weights.

    Lawson and Hanson 1974, chapter 23: least distance programming.
    """
    stacked = np.vstack([examples.T, np.ones(len(examples))])
    last = np.eye(len(stacked))[-1]
    weights, _ = nnls(stacked, last, maxiter=30 * len(examples))
    residual = last - stacked @ weights
    return -residual[:-1] / residual[-1]


def simulated_error(setting: Setting, params: int, rng: np.random.Generator) -> float:
    """Test error of one student; the teacher is the first axis, the probe lies in the first two."""
    x = rng.standard_normal((round(setting.examples_per_param * params), params))
    yx = x * np.sign(x[:, :1])
    angle = np.deg2rad(setting.probe_angle)
    margins = yx[:, 0] * np.cos(angle) + yx[:, 1] * np.sin(angle)
    order = {
        "hard": np.argsort(margins),
        "easy": np.argsort(-margins),
        "random": np.arange(len(x)),
    }[setting.kept]
    kept = yx[order[: round(setting.keep * len(x))]]
    student = max_margin(kept)
    assert (kept @ student).min() > 1 - 1e-6
    return float(np.arccos(student[0] / np.linalg.norm(student)) / np.pi)


def simulated(setting: Setting, params: int, replicates: int, seed: int = 0) -> tuple[float, float]:
    """Mean test error, and its standard error over replicates."""
    rng = np.random.default_rng(seed)
    errors = [simulated_error(setting, params, rng) for _ in range(replicates)]
    return float(np.mean(errors)), float(np.std(errors, ddof=1) / np.sqrt(replicates))
