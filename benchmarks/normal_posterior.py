"""A task's posterior as a normal about its mode, resampled by importance: fast, for benchmarks.

The law's numbers and the steps of its drift are found together by least squares, reweighted as
Student-t noise asks.
"""

from dataclasses import dataclass

import numpy as np
from scalebench_tasks import Task
from scipy.optimize import least_squares

NU = 4.0  # degrees of freedom of the noise
NOISE_EXCESS = 0.2  # noise that grows with the excess of a setting: the median of tune's prior
DRAWS, PROPOSALS = 400, 2000
STEP = 1e-6
WIDEST = 5.0  # residuals of log loss beyond this are as far as any


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of a law's numbers and its steps of drift, (number, draw), and the noise's scale."""

    task: Task
    theta: np.ndarray
    sigma: float

    def log_loss(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log losses and the scales of their noise, (draw, row)."""
        mean, excess = _predicted(self.task, rows, self.theta)
        return mean, np.sqrt(self.sigma**2 + (NOISE_EXCESS * excess) ** 2)


def _predicted(task: Task, rows: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = len(task.center)
    mean, excess = task.of_law(rows, theta[:n])
    mean = mean + theta[n:].T @ task.drift_columns[rows].T
    bounded = {"nan": WIDEST, "posinf": WIDEST, "neginf": -WIDEST}
    return np.nan_to_num(mean, **bounded), np.nan_to_num(excess, **bounded)


def _prior(task: Task, theta: np.ndarray) -> np.ndarray:
    n = len(task.center)
    return np.concatenate([task.prior_residuals(theta[:n]), theta[n:]])


@dataclass(frozen=True, eq=False)
class _LeastSquares:
    """Weighted residuals of rows and of the prior, which is normal: (row + number,)."""

    task: Task
    rows: np.ndarray
    weight: np.ndarray

    def residuals(self, at: np.ndarray) -> np.ndarray:
        """Return the residuals."""
        return self._of(at[:, None])[:, 0]

    def slopes(self, at: np.ndarray) -> np.ndarray:
        """Return their derivatives by differences, (row + number, number), in one evaluation."""
        moved = at[:, None] + STEP * np.eye(len(at))
        every = self._of(np.column_stack([at, moved]))
        return (every[:, 1:] - every[:, :1]) / STEP

    def _of(self, theta: np.ndarray) -> np.ndarray:
        away = self.task.observed[self.rows] - _predicted(self.task, self.rows, theta)[0]
        return np.concatenate([(self.weight * away).T, _prior(self.task, theta)])


def log_t(residual: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the Student-t log density of residuals, up to a constant."""
    return -(NU + 1) / 2 * np.log1p((residual / scale) ** 2 / NU) - np.log(scale)


def _likely_sigma(task: Task, residual: np.ndarray, excess: np.ndarray) -> float:
    mean, sd = task.noise
    places = np.linspace(-3, 3, 61)
    grid = np.exp(mean + sd * places)
    scale = np.sqrt(grid**2 + (NOISE_EXCESS * excess[:, None]) ** 2)
    height = log_t(residual[:, None], scale).sum(axis=0) - places**2 / 2
    return float(grid[int(height.argmax())])


def _mode(task: Task, rows: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return a mode, the noise's scale there and the height of the density."""
    observed, theta, sigma = task.observed[rows], start, 0.03
    for _ in range(4):
        mean, excess = (x[0] for x in _predicted(task, rows, theta[:, None]))
        scale = np.sqrt(sigma**2 + (NOISE_EXCESS * excess) ** 2)
        weight = np.sqrt((NU + 1) / (NU + ((observed - mean) / scale) ** 2)) / scale

        fit = _LeastSquares(task, rows, weight)
        theta = least_squares(fit.residuals, theta, fit.slopes, max_nfev=15).x
        mean, excess = (x[0] for x in _predicted(task, rows, theta[:, None]))
        if len(rows):
            sigma = _likely_sigma(task, observed - mean, excess)
    scale = np.sqrt(sigma**2 + (NOISE_EXCESS * excess) ** 2)
    height = log_t(observed - mean, scale).sum() - (_prior(task, theta[:, None]) ** 2).sum() / 2
    return theta, sigma, float(height)


def posterior(task: Task, bought: np.ndarray, seed: int) -> Draws:
    """Return draws of the posterior from bought runs."""
    observed, rng = task.observed[bought], np.random.default_rng([seed, len(bought)])
    center = np.concatenate([task.center, np.zeros(task.drift_columns.shape[1])])
    starts = [center]
    if len(bought) <= 40:
        starts.append(center + 0.3 * rng.standard_normal(len(center)))
    best, sigma, _ = max((_mode(task, bought, at) for at in starts), key=lambda found: found[2])
    excess = _predicted(task, bought, best[:, None])[1][0]
    scale = np.sqrt(sigma**2 + (NOISE_EXCESS * excess) ** 2)

    known = np.sqrt((NU + 1) / (NU + 3)) / scale
    slopes = _LeastSquares(task, bought, known).slopes(best)
    root = np.linalg.cholesky(np.linalg.inv(slopes.T @ slopes))
    z = rng.standard_normal((PROPOSALS, len(best)))
    theta = (best + z @ root.T).T
    mean, excess = _predicted(task, bought, theta)
    scale = np.sqrt(sigma**2 + (NOISE_EXCESS * excess) ** 2)
    log_weight = log_t(observed - mean, scale).sum(axis=1) + (z**2).sum(axis=1) / 2
    log_weight -= (_prior(task, theta) ** 2).sum(axis=0) / 2
    weight = np.exp(np.minimum(log_weight - np.median(log_weight), 5.0))
    chosen = rng.choice(PROPOSALS, DRAWS, p=weight / weight.sum())
    return Draws(task, theta[:, chosen], sigma)
