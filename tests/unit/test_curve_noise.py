"""The noise of a loss curve: of single losses and of averages, for neighbors alike and not."""

import numpy as np
import pandas as pd
import pytest

from bayescale.curves.history import History
from bayescale.curves.named import named_schedule
from bayescale.curves.noise import Noise
from bayescale.decisions.watch import watch

LAST = 20_000
COSINE = named_schedule("cosine", LAST, peak=3e-4, warm_up=500)


def batches(rows: int = 8000, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(rows)


def smoothed(values: np.ndarray, weight: float = 0.02) -> np.ndarray:
    return pd.Series(values).ewm(alpha=weight).mean().to_numpy()


def bend(rows: int) -> np.ndarray:
    """A smooth curve like that of a run after its first tenth."""
    return 2.5 + 0.2 * np.linspace(0.1, 1, rows) ** -0.5


def test_averages_of_independent_losses_scatter_less_by_the_root_of_their_number() -> None:
    """On average over logs: of several distances the largest counts, which errs upward."""
    logs = [Noise(bend(8000) + batches(seed=seed), 1e-6) for seed in range(20)]
    for count in (1, 16, 100, 1000):
        mean = np.mean([noise.of_mean(count) for noise in logs])
        assert mean == pytest.approx(0.1 / np.sqrt(count), rel=0.25)
    assert np.median([noise.enough(0.01) for noise in logs]) == pytest.approx(100, rel=0.4)


def test_losses_that_were_smoothed_have_the_noise_of_what_was_smoothed() -> None:
    """The mean of many smoothed losses is about that of as many batches, whatever neighbors say."""
    losses = bend(8000) + smoothed(batches())
    neighbors = 1.4826 * np.median(np.abs(np.diff(losses, 2))) / np.sqrt(6)
    noise = Noise(losses, 1e-6)
    assert neighbors < 0.002
    assert noise.of_mean(1) == pytest.approx(0.1 * np.sqrt(0.02 / 1.98), rel=0.3)
    assert noise.of_mean(1000) == pytest.approx(0.1 / np.sqrt(1000), rel=0.5)


def test_a_smooth_curve_has_the_least_noise() -> None:
    assert Noise(bend(8000), 1e-3).of_mean(1) == 1e-3
    assert Noise(bend(3), 1e-3).of_mean(1) == 1e-3
    assert Noise(bend(3), 1e-3).enough(2e-3) == 1


@pytest.mark.integration
def test_a_smoothed_log_of_a_run_on_course_raises_no_alarm() -> None:
    steps = np.arange(2, 0.6 * LAST, 2.0)
    progress = COSINE.progress(steps, np.array([0.5]))[0]
    whole = COSINE.progress(np.array([float(LAST)]), np.array([0.5]))[0, 0]
    curve = (
        2.7 + 0.2 * (progress / whole) ** -0.5 - 0.1 * COSINE.annealed(steps, np.array([250.0]))[0]
    )
    for seed in range(4):
        losses = curve + smoothed(batches(len(steps), seed), 0.01)
        run = History("smoothed", steps, losses, np.empty(0), np.empty(0))
        assert watch(run, COSINE).on_course
        late = losses + 0.06 * (steps > 0.3 * LAST)
        assert not watch(History("off", steps, late, np.empty(0), np.empty(0)), COSINE).on_course
