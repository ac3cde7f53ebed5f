"""Densities of the residual noise: against SciPy, against quadrature, and the same in PyTensor."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from scipy import integrate, stats

from bayescale import noise
from bayescale.inference.model.likelihood import PyTensor
from bayescale.laws import LAWS

PLAIN = Mode(linker="py", optimizer=None)
FAR = np.array([-0.08, -0.02, -0.004, 0.0, 0.003, 0.01, 0.05, 0.3])
SD = 0.004


def exact(x: np.ndarray, nu: float, excess: float | None = None) -> np.ndarray:
    """The density by summing over widths, in units of the scale, (x,)."""
    if excess is None:
        return stats.t.pdf(x, nu)
    log_w = np.linspace(-14, 5, 801)
    root = np.exp(log_w / 2)
    weight = stats.gamma.pdf(root**2, nu / 2, scale=2 / nu) * root**2 * (log_w[1] - log_w[0])
    return stats.exponnorm.pdf(x[:, None] * root, excess) @ (weight * root)


@pytest.mark.parametrize("excess", [0.0001, 0.004, 0.05])
def test_normal_with_an_excess_is_the_exponentially_modified_one(excess: float) -> None:
    ours = noise.log_density(FAR, SD, excess=excess)
    np.testing.assert_allclose(ours, stats.exponnorm.logpdf(FAR, excess / SD, scale=SD), rtol=1e-9)
    below = noise.cdf(FAR, SD, excess=excess)
    expected = stats.exponnorm.cdf(FAR, excess / SD, scale=SD)
    np.testing.assert_allclose(below, expected, atol=1e-12)


def test_normal_variance_beside_the_noise_adds_to_it() -> None:
    ours = noise.log_density(FAR, 0.003, excess=0.02, variance=0.004**2)
    np.testing.assert_allclose(ours, stats.exponnorm.logpdf(FAR, 4, scale=0.005), rtol=1e-9)


@pytest.mark.parametrize("nu", [2.0, 4.0, 10.0, 30.0])
@pytest.mark.parametrize("excess", [None, 0.5, 6.0])
def test_heavy_tails_are_those_of_the_integral_over_widths(nu: float, excess: float | None) -> None:
    x = np.array([-6.0, -1.5, -0.2, 0.0, 0.6, 2.0, 5.0, 12.0])
    ours = np.exp(noise.log_density(x, 1.0, nu=nu, excess=excess, variance=0.0))
    np.testing.assert_allclose(ours, exact(x, nu, excess), rtol=0.012)
    line = np.sinh(np.linspace(-9, 9, 2001))
    density = np.exp(noise.log_density(line, 1.0, nu=nu, excess=excess, variance=0.0))
    assert np.trapezoid(density, line) == pytest.approx(1, abs=1e-4)
    if excess is not None:
        left = line[line < 1.5]
        below = np.trapezoid(exact(left, nu, excess), left)
        chance = noise.cdf(left[-1:], 1.0, nu=nu, excess=excess)
        assert chance[0] == pytest.approx(below, abs=0.003)


@pytest.mark.parametrize("step", [1e-6, 0.0045, 0.05, 0.5])
@pytest.mark.parametrize("excess", [None, 0.01])
def test_a_step_has_the_probability_between_its_ends(step: float, excess: float | None) -> None:
    x = FAR[FAR < 0.1]
    ours = noise.log_density(x, SD, excess=excess, step=(-step / 3, 2 * step / 3))
    law = stats.norm(scale=SD) if excess is None else stats.exponnorm(excess / SD, scale=SD)
    for at, found in zip(x, ours, strict=True):
        ends = at - step / 3, at + 2 * step / 3
        between, _ = integrate.quad(law.pdf, *ends, epsabs=0, points=[0.0] if step > 0.1 else None)
        assert found == pytest.approx(np.log(between), rel=1e-5, abs=1e-5)


def test_steps_of_a_student_t_far_from_the_law_are_not_lost() -> None:
    """Differences of distribution functions near one would be zero."""
    x, step = np.array([-0.2, 0.02, 0.2]), (-0.001, 0.001)
    ours = noise.log_density(x, SD, nu=3.0, step=step)
    exact = stats.t.logpdf(x, 3, scale=SD) + np.log(0.002)
    assert abs(ours - exact).max() < 0.1
    assert np.isfinite(noise.log_density(np.array([-9.0, 9.0]), SD, step=step)).all()


@pytest.mark.parametrize("nu", [None, 4.0])
@pytest.mark.parametrize("excess", [None, 0.02])
@pytest.mark.parametrize("step", [None, (-0.002, 0.0025)])
def test_pytensor_gives_the_same_with_true_and_finite_slopes(nu, excess, step) -> None:
    x = np.array([-3.0, -0.2, -0.004, 0.0, 0.001, 0.05, 0.9, 3.0])
    at, scale, degrees, over = pt.dvector("x"), pt.dscalar("s"), pt.dscalar("nu"), pt.dscalar("e")
    found = noise.log_density(
        at, scale, nu=None if nu is None else degrees, excess=None if excess is None else over,
        step=step, xp=PyTensor,
    )  # fmt: skip
    given = [v for v, there in ((degrees, nu), (over, excess)) if there is not None]
    slopes = pytensor.grad(found.sum(), [at, scale, *given])
    evaluate = pytensor.function([at, scale, *given], [found, *slopes], mode=PLAIN)
    values, *slopes = evaluate(x, SD, *[v for v in (nu, excess) if v is not None])
    expected = noise.log_density(x, SD, nu=nu, excess=excess, step=step)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert all(np.isfinite(slope).all() for slope in slopes)

    def total(scale: float, *rest: float) -> float:
        names = [name for name, v in (("nu", nu), ("excess", excess)) if v is not None]
        named = dict(zip(names, rest, strict=True))
        return float(noise.log_density(x, scale, step=step, **named).sum())

    point = [SD, *[v for v in (nu, excess) if v is not None]]
    for i, slope in enumerate(slopes[1:]):
        ends = [[v * (1 + h * (i == j)) for j, v in enumerate(point)] for h in (1e-5, -1e-5)]
        change = (total(*ends[0]) - total(*ends[1])) / (2e-5 * point[i])
        np.testing.assert_allclose(slope, change, rtol=1e-4)


def test_draws_have_the_density() -> None:
    rng = np.random.default_rng(3)
    for nu, excess in ((None, 3.0), (5.0, 3.0)):
        drawn = noise.draw(rng, (40_000,), nu, excess)
        shares = noise.cdf(np.sort(drawn)[::40], 1.0, nu=nu, excess=excess)
        assert abs(shares - np.arange(1000) / 1000).max() < 1.63 / np.sqrt(40_000) + 0.002


# rows of one training run

MEMBERS = np.array([0, 1, 1, 2, 0, 1])


def covariance(own: np.ndarray, shared: np.ndarray) -> np.ndarray:
    return np.diag(own**2) + np.outer(shared, shared)


def test_rows_of_one_run_are_jointly_normal_or_student_t() -> None:
    rng = np.random.default_rng(5)
    x, own, shared = rng.standard_normal(6), rng.uniform(0.5, 2, 6), rng.uniform(0.2, 2, 6)
    normal = noise.log_density_of_checkpoints(x, own, shared, MEMBERS)
    heavy = noise.log_density_of_checkpoints(x, own, shared, MEMBERS, nu=3.5)
    for i in range(3):
        of = i == MEMBERS
        spread = covariance(own[of], shared[of])
        assert normal[i] == pytest.approx(stats.multivariate_normal(cov=spread).logpdf(x[of]))
        expected = stats.multivariate_t(shape=spread, df=3.5).logpdf(x[of])
        assert heavy[i] == pytest.approx(expected)


def test_many_checkpoints_of_one_run_say_as_little_as_one() -> None:
    """With all of the noise shared, a hundred rows at one deviation are one run there."""
    rows = np.full(100, 0.7)
    members = np.zeros(100, dtype=int)

    def fall(n: int) -> float:
        """How much less likely a deviation of 0.7 is than one of 0, of n rows."""
        own, shared = np.full(n, 1e-3), np.ones(n)
        there, at_zero = (
            noise.log_density_of_checkpoints(x[:n], own, shared, members[:n])
            for x in (rows, 0 * rows)
        )
        return float((there - at_zero)[0])

    assert fall(100) == pytest.approx(-(0.7**2) / 2, rel=1e-3)
    assert fall(1) == pytest.approx(fall(100), rel=1e-3)


# errors of scales


def test_errors_of_scales_widen_by_the_law_s_slope() -> None:
    """A power law of exponent 0.05: an error of 0.1 in log compute is one of 0.005 in the loss."""
    law, flops = LAWS["kaplan_compute"], np.array([1e18, 1e20])
    known = {"C_c": 1e24, "alpha_C": 0.05}
    spread = noise.input_error_variance(
        law, {"flops": flops}, {"flops": np.array([0.1, 0.0])}, known
    )
    np.testing.assert_allclose(np.sqrt(spread), [0.005, 0.0], rtol=1e-9)


def test_tokens_found_from_compute_err_against_params() -> None:
    """Tokens are C / 6N: an error of N moves both, in opposite directions."""
    law, inputs = LAWS["chinchilla"], {"params": np.array([1e9]), "tokens": np.array([2e10])}
    known = {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2000.0, "beta": 0.37}
    by_size, by_data = 480 * 1e9**-0.35, 2000 * 2e10**-0.37
    loss = 1.8 + by_size + by_data
    errors = {"params": np.array([1e-3])}
    alone = noise.input_error_variance(law, inputs, errors, known)
    with_flops = noise.input_error_variance(law, inputs, errors | {"flops": np.array([0.0])}, known)
    assert np.sqrt(alone)[0] == pytest.approx(1e-3 * 0.35 * by_size / loss, rel=1e-5)
    opposed = 1e-3 * abs(0.35 * by_size - 0.37 * by_data) / loss
    assert np.sqrt(with_flops)[0] == pytest.approx(opposed, rel=1e-5)


@pytest.mark.parametrize(("error", "most"), [(0.05, 0.005), (0.3, 0.05)])
def test_first_order_is_near_the_integral_over_true_scales(error: float, most: float) -> None:
    """Against the likelihood of a latent true compute, summed over."""
    law, flops = LAWS["henighan_compute"], np.geomspace(1e18, 1e21, 7)
    places = np.linspace(-8, 8, 4001)
    weights = stats.norm.pdf(places)
    rng = np.random.default_rng(2)
    for E, sigma in ((1.5, 0.004), (1.9, 0.01)):
        known = {"E": E, "C_c": 3e20, "alpha_C": 0.25}
        moved = flops * np.exp(error * rng.standard_normal(7))
        log_loss = np.log(law.loss(moved, **known)) + sigma * rng.standard_normal(7)
        spread = noise.input_error_variance(law, {"flops": flops}, {"flops": error}, known)
        ours = stats.norm.logpdf(
            log_loss, np.log(law.loss(flops, **known)), np.sqrt(sigma**2 + spread)
        ).sum()
        true = flops[:, None] * np.exp(error * places)
        density = stats.norm.pdf(log_loss[:, None], np.log(law.loss(true, **known)), sigma)
        latent = np.log(density @ (weights / weights.sum())).sum()
        assert abs(ours - latent) / 7 < most
