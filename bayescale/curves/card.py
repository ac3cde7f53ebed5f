"""The card of a loss curve: priors of its coefficients and sizes of its discrepancy."""

import tomllib
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, PositiveFloat

from bayescale.cards import cards_folder
from bayescale.cards.prior import Strict
from bayescale.errors import DecisionError

FLAT = 10.0
"""Standard deviation of the level's prior if nothing is known about it, as a multiple of the
loss."""


class Belief(Strict):
    """A normal prior, or a fixed value if ``sd`` is None."""

    mean: float
    sd: PositiveFloat | None = None
    why: str = Field(min_length=1)


@dataclass(frozen=True, eq=False)
class CurvePrior:
    """The prior of a curve before its run begins.

    Attributes
    ----------
    alpha, kp, log_delay : tuple of float
        Mean and standard deviation of the shape: the exponent of progress, the power of the rate
        in progress, and the log of the steps over which a fall of the rate takes effect.
    beta, gamma : tuple of float or None
        Powers of the multi-power law; None for the annealing law.
    remaining : tuple of float
        Mean and standard deviation of R, the part of the loss that falls with progress, at the
        reference.
    drop : tuple of float
        Mean and standard deviation of B, which is how much the loss falls when the rate is annealed
        from its peak to zero.
    per_remaining : float or None
        B as a multiple of R; ``drop`` is then the prior of the difference from that multiple.
    level : tuple of float or None
        Mean and standard deviation of L0; None means a flat prior.
    reference : float or None
        Steps at the peak rate for which ``remaining`` is stated; None means those of the whole run.
    wander, wander_over : float
        Discrepancy in log progress: its standard deviation, as a share of the loss, and its
        correlation length.
    annealing : float
        Standard deviation of the discrepancy of an annealing from the peak to zero, as a share of
        the loss.
    unit_share : bool
        Whether ``remaining`` and ``drop`` are shares of the loss.
    """

    alpha: tuple[float, float]
    kp: tuple[float, float]
    log_delay: tuple[float, float]
    remaining: tuple[float, float]
    drop: tuple[float, float]
    per_remaining: float | None
    level: tuple[float, float] | None
    reference: float | None
    wander: float
    wander_over: float
    annealing: float
    unit_share: bool = True
    beta: tuple[float, float] | None = None
    gamma: tuple[float, float] | None = None

    @property
    def shape(self) -> np.ndarray:
        """Mean and standard deviation of the parameters of the shape, (parameter, 2).

        The parameters are in the order of :meth:`bayescale.curves.law.Shapes.of`.
        """
        powers = [pair for pair in (self.beta, self.gamma) if pair is not None]
        return np.array([self.alpha, self.kp, self.log_delay, *powers])

    def linear(self, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Return mean (3,) and covariance (3, 3) of L0, R and B if ``scale`` is a typical loss."""
        unit = scale if self.unit_share else 1.0
        (r, r_sd), (b, b_sd) = self.remaining, self.drop
        level, level_sd = self.level or (scale, FLAT * scale)
        ties = self.per_remaining or 0.0
        mean = np.array([level, r * unit, (b + ties * r) * unit])
        covariance = np.diag([level_sd**2, (r_sd * unit) ** 2, 0.0])
        covariance[1, 2] = covariance[2, 1] = ties * (r_sd * unit) ** 2
        covariance[2, 2] = ((ties * r_sd) ** 2 + b_sd**2) * unit**2
        return mean, covariance


LAWS = ("annealing", "multi_power")
"""Names of the laws of a curve, and of their cards."""


def load_curve_prior(name: str = "annealing") -> CurvePrior:
    """Return the prior that a card of ``models/curves`` states.

    Raises
    ------
    DecisionError
        If there is no such law.
    """
    if name not in LAWS:
        raise DecisionError(f"the law of a curve is {name!r}, but must be {' or '.join(LAWS)}")
    text = (cards_folder() / "curves" / f"{name}.toml").read_text(encoding="utf-8")
    content: dict[str, Any] = tomllib.loads(text)
    beliefs = {
        key: Belief.model_validate(value)
        for key, value in content.items()
        if isinstance(value, dict)
    }
    pairs = {key: (each.mean, each.sd) for key, each in beliefs.items() if each.sd is not None}
    sizes = {key: each.mean for key, each in beliefs.items() if each.sd is None}
    return CurvePrior(per_remaining=None, level=None, reference=None, **pairs, **sizes)  # type: ignore[arg-type]
