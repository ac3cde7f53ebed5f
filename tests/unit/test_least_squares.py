"""The least-squares fits that benchmarks compare with find what made a curve."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import least_squares

X = np.geomspace(1e5, 1e9, 40)
LARGER = np.geomspace(1.2e9, 4e9, 5)


def broken(x: np.ndarray) -> np.ndarray:
    return 0.2 + 30 * x**-0.3 * (1 + (x / 1e7) ** (1 / 0.4)) ** (-0.3 * 0.4)


def saturating(x: np.ndarray) -> np.ndarray:
    """M4 with e = 0.2, e_0 = 1 and a = 1, which has a closed form."""
    share = 300 * x**-0.4
    return (0.2 + share) / (1 + share)


CURVES = {
    "M1": lambda x: 12 * x**-0.2,
    "M2": lambda x: 0.4 + 40 * x**-0.3,
    "M3": lambda x: 12 * (1 / x + 1e-8) ** 0.2,
    "M4": saturating,
    "BNSL": broken,
}


@pytest.mark.parametrize("name", CURVES)
def test_extrapolates_its_own_form(name):
    fitted = least_squares.fit(name, X, CURVES[name](X))
    np.testing.assert_allclose(fitted(LARGER), CURVES[name](LARGER), rtol=2e-3)


def test_an_outlier_hardly_moves_it():
    loss = CURVES["M2"](X)
    loss[7] *= 1.5
    fitted = least_squares.fit("M2", X, loss)
    np.testing.assert_allclose(fitted(LARGER), CURVES["M2"](LARGER), rtol=5e-3)


def test_m4_solves_its_equation():
    t, p = np.linspace(-3, 3, 9), np.array([0.3, -0.7, np.log(0.1), np.log(0.8), np.log(2.5)])
    y = np.exp(least_squares.FORMS["M4"].log_loss(p, t))
    e, e_0, a = 0.1, 0.9, 2.5
    np.testing.assert_allclose(np.log(y - e) - a * np.log(e_0 - y), 0.3 - 0.7 * t, atol=1e-9)
