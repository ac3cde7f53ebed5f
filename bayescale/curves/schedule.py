"""Learning rates over the steps of a run, linear between knots."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayescale.errors import RunLogError

FEWEST_KNOTS = 2

PART = 0.02
"""The largest part of a fall, as a share of the peak, that the multi-power law takes at once."""

LEAST_RATE = 1e-6
"""The smallest rate, as a share of the peak, at which the multi-power law evaluates a fall."""

JUMP = 0.01
"""The longest distance between two rows, as a share of the run, across which a rate may jump."""

STRAIGHT = 1e-3
"""The largest departure from a straight line that needs no knot, as a share of the peak."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """The learning rate of a run at every step, linear between knots.

    Attributes
    ----------
    steps : numpy.ndarray, shape (knot,)
        Steps in increasing order, from zero; two equal steps make a jump.
    rates : numpy.ndarray, shape (knot,)
        Learning rates, zero or more.
    warm_up : float
        The step at which the first rise ends.
    name : str
    """

    steps: np.ndarray
    rates: np.ndarray
    warm_up: float
    name: str = "schedule"

    @classmethod
    def from_table(
        cls, steps: np.ndarray, rates: np.ndarray, name: str, warm_up: float | None = None
    ) -> "Schedule":
        """Return the schedule of a table of steps and learning rates.

        Rates are linear between rows. If the rate changes between two neighboring rows at most
        :data:`JUMP` of the run apart, and is flat before and after them, it jumps at the second
        row; the new rate has not affected the loss of that row yet.

        Parameters
        ----------
        steps, rates : numpy.ndarray, shape (row,)
        name : str
            The name of the table in messages.
        warm_up : float, optional
            Steps of warm-up; by default, those until the rate first reaches its largest value. Up
            to the table's first row the rate is assumed to rise linearly from zero.

        Raises
        ------
        RunLogError
            If the steps go back, or the rates are negative, all zero or not finite.
        """
        steps, rates = np.asarray(steps, dtype=float), np.asarray(rates, dtype=float)
        _require_rates(steps, rates, name)
        if steps[0] > 0:
            steps, rates = np.append(0.0, steps), np.append(0.0, rates)
        steps, rates = _with_jumps(steps, rates)
        first_peak = int(np.argmax(rates >= rates.max() * (1 - 1e-9)))
        rise = float(steps[first_peak]) if warm_up is None else float(warm_up)
        return cls(steps, rates, rise, name).simplified()

    @property
    def last_step(self) -> float:
        """The step at which the schedule ends."""
        return float(self.steps[-1])

    @property
    def peak(self) -> float:
        """The largest learning rate."""
        return float(self.rates.max())

    @cached_property
    def _shares(self) -> np.ndarray:
        return self.rates / self.peak

    def rate(self, steps: np.ndarray) -> np.ndarray:
        """Return learning rates at these steps; at the step of a jump, the rate after it."""
        return np.interp(np.asarray(steps, dtype=float), self.steps, self.rates)

    def progress(self, steps: np.ndarray, power: np.ndarray) -> np.ndarray:
        """Return the sum of (rate / peak)^power over the steps so far, warm-up included.

        Parameters
        ----------
        steps : numpy.ndarray, shape (point,)
        power : numpy.ndarray, shape (draw,)

        Returns
        -------
        numpy.ndarray, shape (draw, point)
        """
        knots, shares = self._with_knots(steps)
        k, h = power[:, None] + 1, np.diff(knots)
        low, high = shares[:-1], shares[1:]
        flat = np.isclose(low, high, rtol=1e-6, atol=1e-9)
        slope = np.where(flat, 1.0, high - low)
        linear = (high**k - low**k) / (k * slope)
        each = h * np.where(flat, np.maximum((low + high) / 2, 0.0) ** (k - 1), linear)
        total = np.concatenate([np.zeros((len(power), 1)), each.cumsum(axis=1)], axis=1)
        return total[:, np.searchsorted(knots, steps, side="right") - 1]

    def annealed(self, steps: np.ndarray, delay: np.ndarray) -> np.ndarray:
        """Return the part of the rate's fall that has taken effect, as a share of the peak.

        Each fall takes effect exponentially over ``delay`` steps.

        Parameters
        ----------
        steps : numpy.ndarray, shape (point,)
        delay : numpy.ndarray, shape (draw,)

        Returns
        -------
        numpy.ndarray, shape (draw, point)
            Zero before the rate falls; one long after it has fallen to zero.
        """
        knots, shares = self._with_knots(steps)
        start = int(np.searchsorted(knots, self.warm_up, side="left"))
        pending = np.zeros((len(delay), len(knots)))
        for i in range(start + 1, len(knots)):
            h, fall = knots[i] - knots[i - 1], shares[i - 1] - shares[i]
            if h == 0:
                pending[:, i] = pending[:, i - 1] + fall
                continue
            kept = np.exp(-h / delay)
            pending[:, i] = pending[:, i - 1] * kept + fall * delay / h * (1 - kept)
        fallen = np.where(np.arange(len(knots)) >= start, shares[start] - shares, 0.0)
        return (fallen - pending)[:, np.searchsorted(knots, steps, side="right") - 1]

    def annealed_by_powers(
        self, steps: np.ndarray, delay: np.ndarray, beta: np.ndarray, gamma: np.ndarray
    ) -> np.ndarray:
        """Return how much of the rate's fall has taken effect by the multi-power law, as a share.

        Of a fall to the rate e (as a share of the peak), the share 1 - (1 + x)^-beta has taken
        effect, where x is the sum of rates since the fall, divided by ``delay`` and by e^gamma (Luo
        et al. 2025, arXiv 2503.12811).

        Parameters
        ----------
        steps : numpy.ndarray, shape (point,)
        delay, beta, gamma : numpy.ndarray, shape (draw,)

        Returns
        -------
        numpy.ndarray, shape (draw, point)
        """
        at, fall, rate = self._falls
        sums = self.progress(np.concatenate([steps, at]), np.ones(1))[0]
        since = np.maximum(sums[: len(steps), None] - sums[len(steps) :], 0.0)
        x = since / np.maximum(rate, LEAST_RATE) ** gamma[:, None, None] / delay[:, None, None]
        return ((1 - np.exp(-beta[:, None, None] * np.log1p(x))) * fall).sum(axis=2)

    @cached_property
    def _falls(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return steps, sizes and rates (fall,) of small parts of the falls after the warm-up."""
        knots, shares = self._with_knots(np.empty(0))
        found = [np.empty((3, 0))]
        for i in np.flatnonzero((np.diff(shares) != 0) & (knots[:-1] >= self.warm_up)):
            jump = knots[i] == knots[i + 1]
            parts = 1 if jump else int(np.ceil(np.abs(shares[i] - shares[i + 1]) / PART))
            middle = (np.arange(parts) + 0.5) / parts
            rate = shares[i + 1] if jump else shares[i] + middle * (shares[i + 1] - shares[i])
            step = knots[i] + middle * (knots[i + 1] - knots[i])
            fall = np.full(parts, (shares[i] - shares[i + 1]) / parts)
            found.append(np.stack([step, fall, np.broadcast_to(rate, parts)]))
        at, fall, rate = np.concatenate(found, axis=1)
        return at, fall, rate

    def simplified(self) -> "Schedule":
        """Return the schedule with fewer knots, which keeps its rates within 0.1 % of the peak."""
        kept, first = [0], 0
        while first < len(self.steps) - 1:
            last = first + 1
            while last + 1 < len(self.steps) and self._is_straight(first, last + 1):
                last += 1
            kept.append(last)
            first = last
        return Schedule(self.steps[kept], self.rates[kept], self.warm_up, self.name)

    def _is_straight(self, first: int, last: int) -> bool:
        if self.steps[first] == self.steps[last]:
            return False
        inside = slice(first, last + 1)
        if (np.diff(self.steps[inside]) == 0).any():  # a straight line cannot cross a jump
            return False
        ends = [first, last]
        line = np.interp(self.steps[inside], self.steps[ends], self._shares[ends])
        return bool(np.abs(line - self._shares[inside]).max() <= STRAIGHT)

    def continued(self, other: "Schedule", step: float) -> "Schedule":
        """Return this schedule up to a step, continued by another one.

        Raises
        ------
        RunLogError
            If the other one ends before that step.
        """
        if other.last_step <= step:
            raise RunLogError(
                f"{other.name} ends at step {other.last_step:,.0f}, but the run is at step "
                f"{step:,.0f}: name a schedule that goes on"
            )
        before, after = self.steps <= step, other.steps > step
        here = np.array([step])
        steps = np.concatenate([self.steps[before], here, here, other.steps[after]])
        rates = np.concatenate(
            [self.rates[before], self.rate(here), other.rate(here), other.rates[after]]
        )
        return Schedule(steps, rates, self.warm_up, other.name)

    def _with_knots(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return knots that contain these steps and the end of the warm-up, and rates there."""
        more = np.setdiff1d(np.append(steps, self.warm_up), self.steps)
        more = more[(more > self.steps[0]) & (more < self.steps[-1])]
        knots = np.concatenate([self.steps, more])
        shares = np.concatenate([self._shares, np.interp(more, self.steps, self._shares)])
        order = np.argsort(knots, kind="stable")
        return knots[order], shares[order]


def _with_jumps(steps: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and rates, with two rows at each step at which the rate jumps."""
    share = np.diff(rates) / rates.max()
    flat = np.abs(share) <= STRAIGHT
    short = np.diff(steps) <= JUMP * steps[-1]
    jumps = np.flatnonzero(~flat[1:-1] & short[1:-1] & flat[:-2] & flat[2:]) + 1
    return np.insert(steps, jumps + 1, steps[jumps + 1]), np.insert(rates, jumps + 1, rates[jumps])


def _require_rates(steps: np.ndarray, rates: np.ndarray, name: str) -> None:
    problems = []
    if len(steps) < FEWEST_KNOTS:
        count = f"{len(steps)} row{'' if len(steps) == 1 else 's'}"
        problems.append(f"it has {count}: give at least {FEWEST_KNOTS}")
    elif not (np.isfinite(steps).all() and np.isfinite(rates).all()):
        at = int(np.argmin(np.isfinite(steps) & np.isfinite(rates)))
        problems.append(
            f"its steps and learning rates must be finite, but row {at + 1} has step {steps[at]:g} "
            f"and rate {rates[at]:g}"
        )
    elif steps[0] < 0 or (np.diff(steps) < 0).any():
        at = int(np.argmax(np.diff(steps) < 0)) + 1 if steps[0] >= 0 else 0
        where = f"row {at + 1} has {steps[at]:g}"
        problems.append(f"its steps must rise from zero or more, but {where}")
    elif (rates < 0).any() or not rates.max() > 0:
        at = int(rates.argmin())
        found = f"row {at + 1} has {rates[at]:g}" if rates[at] < 0 else "all are zero"
        problems.append(f"its learning rates must be zero or more, some above zero, but {found}")
    if problems:
        raise RunLogError(f"{name} is not a schedule: {'; '.join(problems)}")
