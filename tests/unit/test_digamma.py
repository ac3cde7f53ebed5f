"""The slope of log gamma: SciPy's numbers, in code that asks Python for nothing."""

import numpy as np
import pytest
from scipy import special

from bayescale.inference.compiled.digamma import digamma

POINTS = np.concatenate([np.geomspace(1e-8, 1e12, 501), -np.geomspace(1e-3, 20.0, 101) - 1e-4])


def test_it_is_the_derivative_that_scipy_has() -> None:
    assert [digamma(x) for x in POINTS] == pytest.approx(special.psi(POINTS), rel=1e-11, abs=1e-14)


@pytest.mark.parametrize("pole", [0.0, -1.0, -7.0])
def test_it_has_no_value_at_its_poles(pole: float) -> None:
    assert np.isnan(digamma(pole))
