"""Random numbers after sampling: each purpose has its own number, so that no two share draws."""

import enum

import numpy as np


class Purpose(enum.IntEnum):
    """The purpose of random numbers. The values are part of every reproducible result.

    ``posterior.rng(Purpose.X)`` returns the generator of one purpose. A new purpose must get an
    unused number, and numbers must never change.
    """

    NEW_FAMILY = 1
    """Coefficients of a family without runs."""
    NEW_RUN = 2
    """Residual noise of a single new run."""
    POSTERIOR_PREDICTIVE = 3
    PRIOR_PREDICTIVE = 4
    DOWNSTREAM = 5
    """The pairing of draws of a loss with draws of the law of a downstream error."""
    INTEGRATED_DRIFT = 6
    """Drift that was integrated out while sampling."""
    LACK_OF_FIT = 8
    """Replicates of runs, for the test of lack of fit."""
    POSTERIOR_PREDICTIVE_ERROR = 13
    PRIOR_PREDICTIVE_ERROR = 14
    DRIFT_1_DOWN = 20
    """Drift beyond the runs, by the axis' position on the card and the direction."""
    DRIFT_1_UP = 21
    DRIFT_2_DOWN = 22
    DRIFT_2_UP = 23
    DRIFT_3_DOWN = 24
    DRIFT_3_UP = 25
    POSTERIOR_PREDICTIVE_ROUNDING = 33
    PRIOR_PREDICTIVE_ROUNDING = 34
    PRUNING_QUALITY = 40
    """Coefficients of the pruning scenario that the runs do not determine."""
    PRUNING_FLOOR = 41
    PRUNING_R_D = 42
    CROSS_CHECK = 71
    TUNING_LUCK = 80
    """Noise of runs near the best of a sweep."""
    TUNING_NEXT = 81
    """Noise of the next setting to try."""

    VERSUS = 85
    """Noise of single runs of recipes that are compared."""
    TIMED_REFIT = 86
    """Runs of a refit that is timed before a backtest."""
    WATCH = 90
    """Curves of a run in progress, by the question that they answer."""
    SERVED_TOKENS = 91
    """The pairing of draws with tokens to be served."""

    @classmethod
    def drift(cls, position: int, *, up: bool) -> "Purpose":
        """Return the purpose for drift beyond the runs, along the axis at this position."""
        return cls(cls.DRIFT_1_DOWN + 2 * position + up)


def generator(seed: int, purpose: Purpose, place: int = 0) -> np.random.Generator:
    """Return the generator of one purpose: equal seed, purpose and place give equal numbers."""
    return np.random.default_rng([seed, purpose, place])
