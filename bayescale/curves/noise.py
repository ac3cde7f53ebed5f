"""The noise of a loss curve, and of averages of its neighboring losses.

The noise of losses of successive batches is independent. In a smoothed log, or in one that averages
successive batches, neighbors are correlated. An average of many losses is then noisier than it
seems, and a test that takes them as independent finds departures that do not exist. So the noise is
measured, at several distances, for single losses and for their averages.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

FARTHEST = 1 / 20
"""The largest distance between losses that are compared, as a share of the rows: over a larger
distance the curve itself bends."""

LONGEST = 1 / 32
"""The longest average whose noise is measured, as a share of the rows; longer averages are taken as
means of independent averages of this length."""


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of losses about a smooth curve.

    Attributes
    ----------
    losses : numpy.ndarray, shape (row,)
        Losses at roughly evenly spaced steps.
    least : float
        A lower bound on the standard deviation.
    """

    losses: np.ndarray
    least: float

    @cached_property
    def _measured(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of neighbors that are averaged, and the standard deviation of such averages."""
        losses = self.losses[len(self.losses) // 3 :]  # the first third bends too much
        rows = len(losses)
        if rows < 5:
            return np.ones(1), np.full(1, self.least)
        counts = 2 ** np.arange(int(np.log2(max(rows * LONGEST, 1))) + 1)
        sums = np.concatenate([[0.0], np.cumsum(losses - losses.mean())])
        found = [_scatter((sums[n:] - sums[:-n]) / n, n, rows) for n in counts.tolist()]
        return counts.astype(float), np.minimum.accumulate(found)

    def of_mean(self, count: int) -> float:
        """Return the standard deviation of the noise in an average of ``count`` neighbors."""
        counts, sd = self._measured
        beyond = min(np.sqrt(counts[-1] / count), 1.0)
        return max(float(np.interp(np.log(count), np.log(counts), sd) * beyond), self.least)

    def enough(self, wanted: float) -> int:
        """Return how many neighbors to average for noise of at most this standard deviation."""
        counts, sd = self._measured
        reached = np.flatnonzero(sd <= wanted)
        if len(reached):
            return int(counts[reached[0]])
        return int(np.ceil(counts[-1] * (sd[-1] / wanted) ** 2))


def _scatter(means: np.ndarray, apart: int, rows: int) -> float:
    """Return the standard deviation of averages, from their second differences.

    A second difference cancels the slope of the curve, and has six times the variance of an average
    if the three averages in it are independent. If they are correlated, it is smaller, so the
    largest value over several distances is returned.
    """
    found, far = [], apart
    while not found or (far <= FARTHEST * rows and 2 * far < len(means)):
        second = means[2 * far :] - 2 * means[far:-far] + means[: -2 * far]
        found.append(1.4826 * float(np.median(np.abs(second))) / np.sqrt(6))
        far *= 2
    return max(found)
