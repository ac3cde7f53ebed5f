"""Progress of sampling: how long it will take is said before it begins."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from bayescale.inference import nuts


def test_the_time_of_a_gradient_tells_that_of_all_draws() -> None:
    calls = []

    def density(point: np.ndarray) -> tuple[float, np.ndarray]:
        calls.append(point)
        time.sleep(0.5 if len(calls) == 1 else 0.02)
        return 0.0, point

    slow = SimpleNamespace(density=density, initial_point_func=lambda seed: np.zeros(3))
    guess = nuts.guessed_seconds(slow, 6000, 2)
    assert guess == pytest.approx(6000 * nuts.GRADIENTS * 0.02 / 2, rel=0.5)
    assert nuts.guessed_seconds(object(), 6000, 2) == 0.0
