"""The scaled complementary error function: SciPy's numbers, without a call into SciPy."""

import numpy as np
import pytest
from scipy import special

from bayescale.inference.compiled.erfcx import make_erfcx

POINTS = np.concatenate(
    [np.linspace(-26.0, 60.0, 4001), np.geomspace(1e-8, 1e12, 501), -np.geomspace(1e-8, 5.0, 101)]
)


def test_it_is_that_of_scipy() -> None:
    erfcx = make_erfcx()
    found = np.array([erfcx(x) for x in POINTS])
    np.testing.assert_allclose(found, special.erfcx(POINTS), rtol=4e-15)


def test_it_has_the_limits_of_scipy() -> None:
    erfcx = make_erfcx()
    assert erfcx(np.inf) == 0.0
    assert erfcx(0.0) == erfcx(-0.0) == pytest.approx(1.0, rel=1e-15)
    assert np.isnan(erfcx(np.nan))
