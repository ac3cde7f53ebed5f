"""The frontier as a Gaussian process: the law's prior over functions, in a few directions.

Coefficients of a law that few cells determine are known only jointly, along curved ridges that take
a sampler long to walk. The law's prior is therefore taken as normal over functions, with the mean
and covariance that its coefficients' priors imply. Its leading directions are sampled, in which the
posterior is nearly normal.

Each draw of the law has a draw of the drift of the card `unified`, with its priors: along compute,
across tokens per parameter, and a tilt (see :mod:`bayescale.drift`). A sweep's levels depart from
the law as those of any log do.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayescale.cards import load_card
from bayescale.drift import STEPS, Frame, Path, Walk
from bayescale.tuning.card import TuningCard
from bayescale.tuning.valley import frontier

N_DRAWS, N_DIRECTIONS = 2000, 24
"""Draws of the law from its prior, and directions that are kept, which hold all but 3e-5 of its
spread."""

REACH = 4.0
"""How far beyond the cells the directions must be accurate, in e-folds of params and tokens."""


@dataclass(frozen=True, eq=False)
class Basis:
    """Directions of the frontier.

    Attributes
    ----------
    card : TuningCard
    n, d : numpy.ndarray, shape (cell,)
        Logs of the cells' params and tokens relative to the center.
    level : float
        Mean of the log loss of the cells' best runs.
    """

    card: TuningCard
    n: np.ndarray
    d: np.ndarray
    level: float

    @cached_property
    def _coefficients(self) -> dict[str, np.ndarray]:
        return self.card.draw(N_DRAWS, np.random.default_rng(0))

    @cached_property
    def _walks(self) -> tuple[Path, Path, Path]:
        """Draws of the drift's walks along compute and tokens per parameter, and of the tilt."""
        drift = load_card("unified").drift
        assert drift is not None
        rng = np.random.default_rng(1)
        size = [
            each.prior.frozen.rvs(size=N_DRAWS, random_state=rng) for each in drift.sizes.values()
        ]
        compute, ratio = self.n + self.d, self.d - self.n
        stated: tuple[tuple[np.ndarray, Walk, np.ndarray], ...] = (
            (compute, "slope", size[0]),
            (ratio, "slope", size[1]),
            (compute, "level", (drift.tilt or 0.0) * size[1]),
        )
        paths = []
        for log_x, walk, q in stated:
            frame = Frame.of(log_x, walk, drift.fades_over, steps=STEPS["slope"])
            down, up = frame.beyond((2 * REACH + np.ptp(log_x), 2 * REACH + np.ptp(log_x)))
            sides = frame.down.then(down), frame.up.then(up)
            values = [q * rng.standard_normal((len(side.gap), N_DRAWS)) for side in sides]
            paths.append(frame.path(sides, values))
        return paths[0], paths[1], paths[2]

    def _draws(self, n: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Return log losses of prior draws relative to the level, (draw, place)."""
        columns = {name: x[:, None] for name, x in self._coefficients.items()}
        compute = n + d - (self.n + self.d).mean()
        ratio = d - n - (self.d - self.n).mean()
        along, across, tilt = self._walks
        drift = along.at(compute) + across.at(ratio) + ratio[:, None] * tilt.at(compute)
        return frontier(columns, n, d) + drift.T

    @cached_property
    def _weights(self) -> np.ndarray:
        """Weights of prior draws in each direction, (draw, direction)."""
        ends = [np.linspace(x.min() - REACH / 2, x.max() + REACH, 5) for x in (self.n, self.d)]
        grid = np.array(np.meshgrid(*ends)).reshape(2, -1)
        draws = self._draws(*(np.append(x, y) for x, y in zip((self.n, self.d), grid, strict=True)))
        left, _, _ = np.linalg.svd(draws - draws.mean(axis=0), full_matrices=False)
        return left[:, :N_DIRECTIONS] / np.sqrt(N_DRAWS - 1)

    def at(self, n: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the prior mean (place,) and deviations in each direction (direction, place)."""
        draws = self._draws(np.atleast_1d(n), np.atleast_1d(d))
        mean = draws.mean(axis=0)
        return self.level + mean, self._weights.T @ (draws - mean)

    def whitened(self, lowest: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and a root of the covariance of the directions, given the cells' losses."""
        mean, directions = self.at(self.n, self.d)
        precision = directions @ directions.T / noise**2 + np.eye(len(directions))
        covariance = np.linalg.inv(precision)
        center = covariance @ (directions @ (lowest - mean)) / noise**2
        return center, np.linalg.cholesky(covariance)
