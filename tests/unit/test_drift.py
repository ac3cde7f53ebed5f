"""Drift: a walk with the variance it promises, the same in every call."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayescale.cards import drift_components, load_card
from bayescale.drift import Frame
from bayescale.posterior import View
from bayescale.posterior.residuals import log_density
from bayescale.runs import Runs

LOG_X = np.log(np.geomspace(1e18, 1e21, 9))


M = 4.0
"""E-folds over which a change of the slope fades."""

VARIANCE = {
    ("level", None): lambda h: h,
    ("slope", None): lambda h: h**3 / 3,
    ("slope", M): lambda h: (
        M**2 * (h - 2 * M * (1 - np.exp(-h / M)) + M * (1 - np.exp(-2 * h / M)) / 2)
    ),
}
"""Variance of a walk at h e-folds from its start, by its kind and what it fades over, for q = 1."""


def variance(frame: Frame, h: float, way: int = 1) -> float:
    """Return the variance of the walk at h e-folds from the center, within and beyond the runs."""
    at = np.array([[h]])
    inside, beyond = (frame.down, frame.up)[way > 0], frame.beyond((h, h))[way > 0]
    return sum(float((frame.reach(steps, at) ** 2).sum()) for steps in (inside, beyond))


@pytest.mark.parametrize("steps", [6, 16, None])
@pytest.mark.parametrize("way", [-1, 1])
@pytest.mark.parametrize(("walk", "fades_over"), VARIANCE)
def test_variance_grows_with_distance_from_the_center(walk, fades_over, way, steps) -> None:
    frame = Frame.of(LOG_X, walk, fades_over, steps=steps)
    for h in (frame.up.end, 5.0, 8.0, 14.0):  # among the runs a walk is exact at runs
        expected = VARIANCE[walk, fades_over](h)
        assert variance(frame, h, way) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("steps", [6, 16, None])
@pytest.mark.parametrize(("walk", "fades_over"), VARIANCE)
def test_a_path_is_the_sum_of_its_steps(walk, fades_over, steps) -> None:
    frame, rng = Frame.of(LOG_X, walk, fades_over, steps=steps), np.random.default_rng(0)
    sides = [
        x.then(y) for x, y in zip((frame.down, frame.up), frame.beyond((6.0, 9.0)), strict=True)
    ]
    values = [rng.standard_normal((len(side.gap), 3)) for side in sides]
    path = frame.path(sides, values)
    assert path.ends >= (6.0, 9.0)
    distance = np.array([-5.9, -frame.down.end, -0.3, 0.0, 1e-9, 0.7, frame.up.end, 4.0, 8.9])
    expected = sum(
        frame.reach(side, way * distance[:, None]) @ draws
        for way, side, draws in zip((-1, 1), sides, values, strict=True)
    )
    np.testing.assert_allclose(path.at(distance), expected, atol=1e-12)


def test_a_slope_that_fades_slowly_lasts_and_one_that_has_faded_is_a_walk_of_the_level() -> None:
    lasting, fading = Frame.of(LOG_X, "slope"), Frame.of(LOG_X, "slope", M)
    slow, far = Frame.of(LOG_X, "slope", 1e6), 100 * M
    assert variance(slow, 5.0) == pytest.approx(variance(lasting, 5.0), rel=1e-4)
    # changes of long ago have all moved the level by M: what is left is a walk of the level
    assert variance(fading, 2 * far) / variance(fading, far) == pytest.approx(2, rel=0.05)


def test_there_is_no_drift_at_the_center_of_the_runs() -> None:
    frame = Frame.of(LOG_X, "slope")
    assert not frame.basis(np.array([LOG_X.mean()])).any()


def test_few_runs_leave_steps_of_no_length() -> None:
    frame = Frame.of(LOG_X[:3], "level", steps=16)
    assert len(frame.up.gap) == len(frame.down.gap) == 16
    assert np.count_nonzero(frame.up.gap) == 1
    assert frame.up.end == pytest.approx(LOG_X[2] - LOG_X[1])


def drifting(law: str = "chinchilla") -> View:
    """A law on nine runs, with q = 0.01 and no drift seen within the runs."""
    card, params = load_card(law), np.geomspace(1e8, 3e9, 9)
    frame = {"run_id": list("abcdefghi"), "params": params, "tokens": 20 * params}
    runs = Runs(frame=pd.DataFrame(frame | {"loss": 3.0}), columns={})
    n = 4000
    besiroglu = load_card("chinchilla").published_values("besiroglu_2024")
    besiroglu |= {"kappa": 1.0} if law == "unified" else {}
    values = besiroglu | {"sigma": 0.004, "nu": 5.0} | dict.fromkeys(card.drift.parameters, 0.01)
    draws = xr.Dataset(
        {name: (("chain", "draw"), np.full((1, n), value)) for name, value in values.items()}
        | {
            f"drift_walk_{name}": (("chain", "draw", "step"), np.zeros((1, n, 12)))
            for name in card.drift.walks
        },
        coords={"chain": [0], "draw": np.arange(n)},
    )
    return View(draws, card, runs, seed=3, drifts=True)


def at(params: float, tokens: float) -> dict[str, xr.DataArray]:
    return {
        "params": xr.DataArray([params], dims="point"),
        "tokens": xr.DataArray([tokens], dims="point"),
    }


def test_forecasts_wander_as_far_as_the_walk_says() -> None:
    view = drifting()
    (component,) = drift_components(view.card, view.runs).values()
    frame = component.frame
    h = 4.0  # e-folds of compute past the largest run
    grow = np.exp(h / 2)
    loss = view.loss(at(3e9 * grow, 6e10 * grow))
    spread = float(np.log(loss).std())
    fades_over = load_card("chinchilla").drift.fades_over
    expected = 0.01 * np.sqrt(VARIANCE["slope", fades_over](h))
    assert spread == pytest.approx(expected, rel=4 / np.sqrt(2 * 4000))
    assert frame.up.end + h == pytest.approx(np.log(6 * 3e9 * grow * 6e10 * grow) - frame.center)


@pytest.mark.parametrize("times", [0.1, 1.0, 30.0])
def test_drift_in_two_dimensions_adds_up_its_three_walks(times: float) -> None:
    """At h e-folds of compute past the runs, and x of tokens per parameter off their 20."""
    view, h = drifting("unified"), 4.0
    grow = np.exp(h / 2)
    params, tokens = 3e9 * grow / times**0.5, 6e10 * grow * times**0.5
    x = np.log(times)
    fades_over = view.card.drift.fades_over
    smooth, level = VARIANCE["slope", fades_over], VARIANCE["level", None]
    tilt = (view.card.drift.tilt * x) ** 2 * level(h)
    expected = 0.01 * np.sqrt(smooth(h) + smooth(abs(x)) + tilt)
    spread = float(np.log(view.loss(at(params, tokens))).std())
    assert spread == pytest.approx(expected, rel=0.03 + 4 / np.sqrt(2 * 4000))


def test_splits_of_a_budget_share_the_drift_along_compute_alone() -> None:
    view = drifting("unified")
    params = np.array([1e9, 3e9, 9e9])
    budget = {"params": xr.DataArray(params, dims="point")}
    budget["tokens"] = 1e21 / (6 * budget["params"])
    none = 0 * view.draws["sigma"]
    along = replace(view, draws=view.draws.assign(drift_tokens_per_param=none))
    across = replace(view, draws=view.draws.assign(drift_flops=none))
    assert float(np.log(along.drift(budget)).std("point").max()) < 1e-12
    assert float(np.log(across.drift(budget)).std("point").min()) > 1e-6


@pytest.mark.parametrize("law", ["chinchilla", "unified"])
def test_a_point_drifts_alike_in_every_call(law: str) -> None:
    view, near, far = drifting(law), at(1e10, 2e11), at(1e12, 2e13)
    alone = view.loss(near)
    both = {name: xr.concat([far[name], near[name]], "point") for name in near}
    np.testing.assert_allclose(view.loss(both).isel(point=1), alone.isel(point=0))


def test_drift_is_one_where_draws_have_none() -> None:
    view = drifting()
    assert view.without_walk().drift(at(1e12, 2e13)) == 1.0


def test_without_drift_the_density_is_that_of_the_noise() -> None:
    """The widths that make up a Student-t, put together again, far into its tails."""
    view = drifting()
    small = view.draws.assign(drift_flops=0 * view.draws["drift_flops"] + 1e-9)
    still, exact = replace(view, draws=small), view.without_walk()
    mean = float(exact.loss(at(3e10, 6e11)).mean())
    for sigmas in (0.0, 1.0, 4.0, 8.0):
        loss = [mean * np.exp(0.004 * sigmas)]
        ours, known = (p.log_density(loss, at(3e10, 6e11)).mean() for p in (still, exact))
        assert float(ours) == pytest.approx(float(known), abs=0.05)


def test_density_of_a_new_run_allows_for_every_path_of_the_drift() -> None:
    """Against the average over many drawn paths, in Monte Carlo standard errors."""
    view, place = drifting(), at(3e10, 6e11)
    loss = float(view.law.loss(3e10, 6e11, **view.card.published_values(
        "besiroglu_2024"
    ))) * 1.01  # fmt: skip
    ours = float(np.exp(view.log_density([loss], place)).mean())
    paths = view.loss(place)
    deviation = np.log(loss) - np.log(paths)
    by_path = np.exp(log_density(view.draws, deviation, view.sigma())).values.ravel() / loss
    error = by_path.std() / np.sqrt(by_path.size)
    assert abs(ours - by_path.mean()) < 4 * error
