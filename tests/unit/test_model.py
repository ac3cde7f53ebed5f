"""The PyMC model: the card's prior in other coordinates, and an ordinary model otherwise."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
import xarray as xr
from pytensor.compile.mode import Mode
from scipy import stats
from support.imperfect import CHECKPOINTS, SECTIONS, card_with
from support.imperfect import some_runs as imperfect_runs

from bayescale.cards import (
    ModelCard,
    card_for,
    card_names,
    drift_bases,
    load_card,
    parse_card,
    runs_for,
)
from bayescale.drift import STEPS
from bayescale.inference.model.build import build_model
from bayescale.inference.model.data import are_few, family_names, model_data
from bayescale.inference.model.drift import _conditional_walk
from bayescale.inference.model.symbolic import prior_mismatch
from bayescale.inference.model.transforms import (
    ConditionalWhitening,
    DiagonalConditionalWhitening,
    GroupedConditionalWhitening,
    LevelAndShares,
    RootedLevelAndShares,
)
from bayescale.laws import LAWS
from bayescale.posterior import View
from bayescale.posterior.fitted_runs import densities_of_runs
from bayescale.runs import Runs, read_runs

PLAIN = Mode(linker="py", optimizer=None)


def some_runs(n: int = 6, **columns: Any) -> Runs:
    rng = np.random.default_rng(4)
    params = np.geomspace(1e8, 1e10, n)
    tokens = params * rng.uniform(5, 80, n)
    loss = np.linspace(3.5, 2.2, n)
    return read_runs(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss} | columns))


AT_A_SCALE = "at = 1e9, low = 0.06, high = 1.0"
OTHER_WAYS = {
    "gamma at a scale": (AT_A_SCALE, 'at = 1e9, dist = "Gamma", kwargs = { alpha = 2, beta = 4 }'),
    "log-normal without a scale": (AT_A_SCALE, "low = 50, high = 5000"),
    "normal, cut off": (
        "low = 0.5, high = 2.5",
        'dist = "TruncatedNormal", kwargs = { mu = 1.5, sigma = 0.5, lower = 0 }',
    ),
}


@pytest.mark.parametrize("name", [*card_names(), *OTHER_WAYS, *SECTIONS])
def test_sampling_coordinates_leave_the_prior_as_the_card_states_it(name: str) -> None:
    """Density of the sampler's coordinates = the card's density x the Jacobian between them."""
    if name in OTHER_WAYS:
        old, new = OTHER_WAYS[name]
        text = load_card("chinchilla").text
        assert old in text
        text = text[: text.index("[family")]  # families need log-normal priors
        card = parse_card(text.replace(old, new, 1))
    else:
        card = card_with(name) if name in SECTIONS else load_card(name)
    shared = {"run_id": list("uvwxyz"), "run": CHECKPOINTS} if name == "shared" else {}
    foreign = {"experts": 8.0, "vocabulary": 32_000.0, "characters": 1e10}
    runs = some_runs(unique_tokens=4e8, kept_fraction=0.5, lm_loss=3.0, **foreign, **shared)
    card = card_for(runs, card.without_drift())
    assert prior_mismatch(card, runs_for(card, runs)) < 1e-5


def _joint(terms: np.ndarray, root: float) -> float:
    return root * np.log(np.exp(terms / root).sum())


@pytest.mark.parametrize(
    ("transform", "root", "level"),
    [
        (LevelAndShares(), 1.0, lambda x: _joint(x, 1.0)),
        (RootedLevelAndShares(), 0.1, lambda x: _joint(x, 0.1)),
        (
            RootedLevelAndShares(constant=True),
            0.6,
            lambda x: np.logaddexp(x[0], _joint(x[1:], 0.6)),
        ),
    ],
)
def test_level_and_shares_is_a_volume_preserving_round_trip(
    transform: LevelAndShares, root: float, level: Callable[[np.ndarray], float]
) -> None:
    x = pytensor.tensor.dvector("x")
    given = pytensor.tensor.constant(root)
    forward = pytensor.function([x], transform.forward(x, given), mode=PLAIN)
    back = pytensor.function([x], transform.backward(x, given), mode=PLAIN)
    point = np.array([0.4, -0.3, 0.2])
    seen = forward(point)
    assert seen[0] == pytest.approx(level(point))
    np.testing.assert_allclose(back(seen), point)
    jacobian = np.array([(back(seen + 1e-6 * e) - back(seen - 1e-6 * e)) / 2e-6 for e in np.eye(3)])
    assert abs(np.linalg.det(jacobian)) == pytest.approx(1, rel=1e-6)


def test_pymc_draws_the_prior_that_the_card_draws() -> None:
    card = load_card("chinchilla")
    with build_model(some_runs(), card):
        tree = pm.sample_prior_predictive(
            4000, random_seed=1, var_names=["E", "A", "beta"], compile_kwargs={"mode": PLAIN}
        )
    ours = card.draw_prior(4000, seed=2)
    for name in ("E", "A", "beta"):
        theirs = np.log(tree["prior"][name].values.ravel())
        error = np.log(ours[name]).std() * np.sqrt(2 / 4000)
        assert abs(theirs.mean() - np.log(ours[name]).mean()) < 4 * error


def test_the_model_is_an_ordinary_one_with_the_names_of_the_field() -> None:
    model = build_model(some_runs(), load_card("chinchilla"))
    assert isinstance(model, pm.Model)
    assert {"E", "A", "alpha", "B", "beta", "sigma", "nu", "log_loss"} <= set(model.named_vars)
    assert model.observed_RVs == [model["log_loss"]]
    assert model.named_vars_to_dims["log_loss"] == ("run",)


def test_known_measurement_error_adds_to_the_residual_noise() -> None:
    """At a fixed point the likelihood is that of a wider Student-t, worked out with SciPy."""
    card = load_card("henighan_compute")
    loss_se = np.array([0.0, 0.01, 0.02, 0.05, 0.1, 0.2])
    runs = some_runs(loss_se=loss_se)
    with build_model(runs, card) as model:
        point = model.initial_point()
        pointwise = model.logp(vars=model.observed_RVs, sum=False)[0]
        quantities = [model[name] for name in ("E", "C_c", "alpha_C", "sigma", "nu")]
        outputs = [pointwise, *model.replace_rvs_by_values(quantities)]
    evaluate = pytensor.function(model.value_vars, outputs, mode=PLAIN, on_unused_input="ignore")
    ours, E, C_c, alpha_C, sigma, nu = evaluate(*[point[v.name] for v in model.value_vars])
    mean = np.log(LAWS["henighan_compute"].loss(runs["flops"], E=E, C_c=C_c, alpha_C=alpha_C))
    scale = np.sqrt(sigma**2 + (loss_se / runs["loss"]) ** 2)
    np.testing.assert_allclose(ours, stats.t.logpdf(np.log(runs["loss"]), nu, mean, scale))


COMBINED = {
    "excess": (card_with("excess"), {}),
    "normal with an excess": (card_with("excess", dist="Normal"), {}),
    "shrink": (card_with("shrink"), {"loss_se": 0.02}),
    "rounding": (card_with("rounding"), {}),
    "steps in the log": (card_with("shrink", dist="Normal"), {"loss_step": [0.1, 0.2] * 3}),
    "errors of scales": (card_with("input_errors"), {"loss_se": 0.02}),
    "errors in the log": (card_with("excess"), {"params_se": 0.1, "tokens_se": 0.2}),
    "shared": (card_with("shared", "shrink"), {"run": CHECKPOINTS, "loss_se": 0.02}),
    "normal and shared": (card_with("shared", dist="Normal"), {"run": CHECKPOINTS}),
    "nearly all": (card_with("excess", "shrink", "rounding", "input_errors"), {"loss_se": 0.03}),
    "families": (card_with("excess", "rounding"), {"family": list("aabbab")}),
}


@pytest.mark.parametrize("what", COMBINED)
def test_the_likelihood_that_is_sampled_is_the_one_that_is_kept(what: str) -> None:
    """At one point, with a walk of the drift, in PyTensor and in NumPy."""
    card, columns = COMBINED[what]
    runs = imperfect_runs(6, **columns)
    card = card_for(runs, card)
    assert not card.integrates_drift(runs)
    dims = {"drift_walk_flops": ("step",)}
    dims |= {f"{n}_by_family": ("family",) for n in card.family if "family" in runs}
    with build_model(runs, card) as model:
        names = [*card.parameters, *dims]
        total = model.logp(vars=model.observed_RVs, sum=True)
        outputs = [total, *model.replace_rvs_by_values([model[name] for name in names])]
    evaluate = pytensor.function(model.value_vars, outputs, mode=PLAIN, on_unused_input="ignore")
    rng, start = np.random.default_rng(6), model.initial_point()
    at = [np.asarray(start[value.name]) for value in model.value_vars]
    logp, *found = evaluate(*[x + 0.2 * rng.standard_normal(x.shape) for x in at])
    draws = {
        name: (("chain", "draw", *dims.get(name, ())), value[None, None])
        for name, value in zip(names, found, strict=True)
    }
    family = {"family": ["a", "b"]} if "family" in runs else {}
    dataset = xr.Dataset(draws, coords={"chain": [0], "draw": [0]} | family)
    view = View(dataset, card, runs, seed=0, drifts=card.drift is not None)
    likelihood, below, _ = densities_of_runs(view)
    assert float(likelihood.sum()) == pytest.approx(float(logp), rel=1e-9)
    assert likelihood.sizes["run"] == (len(set(CHECKPOINTS)) if "run" in columns else 6)
    assert below.sizes["run"] == 6
    assert ((below >= 0) & (below <= 1)).all()


def test_data_of_another_length_has_the_same_names_and_ranks() -> None:
    card = load_card("chinchilla")
    long, short = model_data(some_runs(9), card), model_data(some_runs(3), card)
    assert long.keys() == short.keys()
    assert [np.ndim(long[k]) for k in long] == [np.ndim(short[k]) for k in short]
    assert long["log_center_params"] == pytest.approx(np.log(some_runs(9)["params"]).mean())


def test_families_are_pooled_only_where_there_are_several() -> None:
    card = load_card("chinchilla")
    assert family_names(some_runs(), card) == ()
    assert family_names(some_runs(family=["a"] * 6), card) == ()
    assert family_names(some_runs(family=list("bbaabb")), card) == ("a", "b")
    assert family_names(some_runs(family=list("bbaabb")), card, families=False) == ()
    assert family_names(some_runs(family=list("bbaabb")), replace_family(card)) == ()


def replace_family(card: ModelCard) -> ModelCard:
    return card.model_copy(update={"family": {}})


@pytest.mark.integration
@pytest.mark.parametrize("of", [list("bbaabb"), [*"abcdef"] * 2], ids=["few", "many"])
def test_families_spread_about_the_population_as_the_card_states(of: list[str]) -> None:
    """Terms of few are normal; of many, steps that are standard normal and scaled by spreads."""
    model = build_model(some_runs(len(of), family=of), load_card("chinchilla"))
    many, n = not are_few(tuple(set(of))), len(set(of))
    spreads = [model[f"{name}_spread"] for name in ("E", "A", "B")]
    with model:
        own = model["log_terms_by_family"]
        sampled = model["family_steps"] if many else own
        density = model.logp(vars=[sampled], jacobian=False, sum=True)
        outputs = [
            density,
            *model.replace_rvs_by_values([own, model["log_terms"], *spreads]),
            *model.replace_rvs_by_values([model["A_by_family"], model["alpha"]]),
        ]
    evaluate = pytensor.function(model.value_vars, outputs, mode=PLAIN, on_unused_input="ignore")
    rng = np.random.default_rng(3)
    start = model.initial_point()
    at = [start[value.name] for value in model.value_vars]
    moved = [x + 0.3 * rng.standard_normal(np.shape(x)) for x in at]
    logp, own, population, *rest = evaluate(*moved)
    spreads, (A, alpha) = np.array(rest[:3]), rest[3:]
    assert own.shape == (n, 3)
    stated = stats.norm.logpdf(own, population, spreads).sum()
    assert float(logp) == pytest.approx(stated + many * n * np.log(spreads).sum())
    center = np.log(some_runs()["params"]).mean()
    np.testing.assert_allclose(np.log(A), own[:, 1] + alpha * center)


def test_a_law_without_terms_is_sampled_as_its_card_states_it() -> None:
    card = load_card("chinchilla")
    bare = replace(LAWS["chinchilla"], terms={}, sum_of_terms=False, name="bare")
    text = card.text[: card.text.index("[family")].replace('law = "chinchilla"', 'law = "bare"')
    text = text.replace("at = 1e9, low = 0.06, high = 1.0", "low = 50, high = 5000")
    text = text.replace("at = 2e10, low = 0.06, high = 1.0", "low = 50, high = 5000")
    model = build_model(some_runs(), parse_card(text, law=bare))
    assert "log_terms" not in model.named_vars
    assert {variable.name for variable in model.free_RVs} == {
        "E", "A", "alpha", "B", "beta", "sigma", "nu", "drift_flops", "drift_steps",
    }  # fmt: skip


# drift


def normal_card() -> ModelCard:
    """The compute law with normal noise and a walk of its level, which can be integrated out."""
    text = load_card("henighan_compute").text.replace('"StudentT"', '"Normal"')
    text = text.replace('walk = "slope"', 'walk = "level"')
    start, end = text.index("[noise.nu]"), text.index("[drift]")
    return parse_card(text[:start] + text[end:])


def test_steps_of_the_walk_are_normal_with_standard_deviation_q() -> None:
    with build_model(some_runs(), load_card("chinchilla")):
        tree = pm.sample_prior_predictive(
            2000, random_seed=1, var_names=["drift_flops", "drift_walk_flops"],
            compile_kwargs={"mode": PLAIN},
        )  # fmt: skip
    q, walk = tree["prior"]["drift_flops"], tree["prior"]["drift_walk_flops"]
    assert walk.sizes["step"] == 2 * STEPS["slope"]
    standard = (walk / q).values.ravel()
    assert stats.kstest(standard, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(abs(standard), np.repeat(q.values.ravel(), 12))[0, 1]) < 0.03


def test_drift_bends_the_mean_as_its_basis_says() -> None:
    """With the steps at zero the likelihood is the plain one; a step moves it by its reach."""
    runs, card = some_runs(), load_card("chinchilla")
    (basis,) = drift_bases(card, runs).values()
    with build_model(runs, card) as model:
        pointwise = model.logp(vars=model.observed_RVs, sum=False)[0]
        named = [model[name] for name in (*card.law.coefficients, "sigma", "nu")]
        walk = model["drift_walk_flops"]
        outputs = [pointwise, *model.replace_rvs_by_values([*named, walk])]
    evaluate = pytensor.function(model.value_vars, outputs, mode=PLAIN, on_unused_input="ignore")
    start = model.initial_point()
    start["drift_steps_diagonalwhitening__"] = np.linspace(-2, 3, basis.shape[1])
    assert len(start) == len(model.value_vars)
    logp, *values, steps = evaluate(*[start[value.name] for value in model.value_vars])
    known = dict(zip((*card.law.coefficients, "sigma", "nu"), values, strict=True))
    sigma, nu = known.pop("sigma"), known.pop("nu")
    mean = np.log(card.law.loss(runs["params"], runs["tokens"], **known)) + basis @ steps
    np.testing.assert_allclose(logp, stats.t.logpdf(np.log(runs["loss"]), nu, mean, sigma))


@pytest.mark.parametrize("name", ["kaplan_irreducible", "chinchilla"])
def test_steps_seen_from_what_is_left_are_standard_normal_whatever_the_law_is(name: str) -> None:
    """With normal noise, the density of their coordinates depends on nothing else."""
    frame, card = some_runs(9).to_frame(), card_with(dist="Normal", card=name)
    runs = read_runs(frame.assign(loss_se=frame["loss"] / 100))  # of which none is integrated out
    assert not card.integrates_drift(runs)
    with build_model(runs, card) as model:
        density = pytensor.function(model.value_vars, model.logp(), mode=PLAIN)
    rng, start = np.random.default_rng(5), model.initial_point()
    (name,) = (name for name in start if name.startswith("drift_steps_"))
    for _ in range(3):
        elsewhere = {
            key: value + 0.5 * rng.standard_normal(np.shape(value)) for key, value in start.items()
        }

        def at(steps: np.ndarray, other: dict[str, np.ndarray] = elsewhere) -> float:
            point = other | {name: steps}
            return float(density(*(point[value.name] for value in model.value_vars)))

        for steps in 3 * rng.standard_normal((4, *start[name].shape)):
            assert at(steps) - at(0 * steps) == pytest.approx(-(steps @ steps) / 2, abs=1e-6)


@pytest.mark.parametrize(("transform", "apart"), [(ConditionalWhitening(), False),
                                                  (DiagonalConditionalWhitening(), True)])  # fmt: skip # noqa: E501
def test_what_is_left_is_a_round_trip_of_the_volume_that_it_states(
    transform: ConditionalWhitening | DiagonalConditionalWhitening, apart: bool
) -> None:
    rng, pull = np.random.default_rng(6), pytensor.tensor.dvector()
    x = pytensor.tensor.dvector()
    root = pytensor.tensor.dvector() if apart else pytensor.tensor.dmatrix()
    made = [
        pytensor.function([x, root, pull], of(x, root, pull), mode=PLAIN, on_unused_input="ignore")
        for of in (transform.forward, transform.backward, transform.log_jac_det)
    ]
    square = rng.standard_normal((4, 4))
    precision = square @ square.T + np.eye(4)
    if apart:
        precision = np.diag(np.diag(precision))
    of_left = np.linalg.cholesky(precision)
    b, point = rng.standard_normal(4), rng.standard_normal(4)
    about = (np.diag(of_left) if apart else of_left), b
    forward, back, log_volume = (lambda point, of=of: of(point, *about) for of in made)
    np.testing.assert_allclose(back(forward(point)), point)
    np.testing.assert_allclose(back(np.zeros(4)), np.linalg.solve(precision, b))  # their mean
    jacobian = np.array([back(point + e) - back(point) for e in np.eye(4)])  # it is linear
    np.testing.assert_allclose(np.linalg.inv(jacobian.T @ jacobian), precision)
    assert log_volume(point) == pytest.approx(np.linalg.slogdet(jacobian)[1])


def test_drift_integrated_out_gives_the_likelihood_of_a_gaussian_process() -> None:
    runs, card = some_runs(), normal_card()
    (basis,) = drift_bases(card, runs).values()
    names = (*card.law.coefficients, "sigma", "drift_flops")
    with build_model(runs, card) as model:
        assert not any("steps" in name for name in model.named_vars)
        total = model.logp(vars=model.observed_RVs, sum=True)
        outputs = [total, *model.replace_rvs_by_values([model[name] for name in names])]
    evaluate = pytensor.function(model.value_vars, outputs, mode=PLAIN, on_unused_input="ignore")
    start = model.initial_point()
    logp, *values = evaluate(*[start[value.name] for value in model.value_vars])
    known = dict(zip(names, map(float, values), strict=True))
    sigma, q = known.pop("sigma"), known.pop("drift_flops")
    mean = np.log(card.law.loss(runs["flops"], **known))
    covariance = sigma**2 * np.eye(len(runs)) + q**2 * basis @ basis.T
    exact = stats.multivariate_normal(mean, covariance).logpdf(np.log(runs["loss"]))
    assert float(logp) == pytest.approx(exact)
    distance = abs(np.subtract.outer(np.log(runs["flops"]), np.log(runs["flops"])))
    # a walk from run to run is Brownian motion: increments grow with distance, exactly
    increments = (basis[:, None] - basis[None]) ** 2
    np.testing.assert_allclose(increments.sum(-1), distance, rtol=1e-5)


def test_the_walk_drawn_afterwards_is_the_exact_conditional_one() -> None:
    rng = np.random.default_rng(2)
    basis, residual = rng.standard_normal((5, 8)), rng.standard_normal(5)
    q, sigma = 0.7, 0.4
    n = 40_000
    drawn = _conditional_walk(np.broadcast_to(residual, (1, n, 5)), basis, q, sigma, rng)[0]
    precision = basis.T @ basis / sigma**2 + np.eye(8) / q**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ basis.T @ residual / sigma**2
    error = np.sqrt(np.diag(covariance) / n)
    assert (abs(drawn.mean(0) - mean) < 5 * error).all()
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=5 * q**2 * np.sqrt(2 / n))


def test_known_errors_two_axes_and_heavy_tails_keep_the_walk_in_the_model() -> None:
    runs = some_runs()
    assert normal_card().integrates_drift(runs)
    assert not normal_card().integrates_drift(some_runs(loss_se=[0.01] * 6))
    assert not load_card("henighan_compute").integrates_drift(runs)
    assert not load_card("kaplan_irreducible").integrates_drift(runs)


def test_what_is_left_of_each_family_is_a_round_trip_of_the_volume_that_it_states() -> None:
    rng, n, k = np.random.default_rng(7), 4, 3
    square = rng.standard_normal((n, k, k))
    precision = square @ square.transpose(0, 2, 1) + np.eye(k)
    root, b = np.linalg.cholesky(precision), rng.standard_normal((n, k))
    x, pull = pytensor.tensor.dmatrix(), pytensor.tensor.dmatrix()
    roots = [pytensor.tensor.dvector() for _ in range(k * (k + 1) // 2)]
    given = [root[:, i, j] for i in range(k) for j in range(i + 1)]
    transform = GroupedConditionalWhitening(k)
    forward, back, log_volume = (
        lambda point, of=of: pytensor.function(
            [x, *roots, pull], of(x, *roots, pull), mode=PLAIN, on_unused_input="ignore"
        )(point, *given, b)
        for of in (transform.forward, transform.backward, transform.log_jac_det)
    )
    point = rng.standard_normal((n, k))
    np.testing.assert_allclose(back(forward(point)), point)
    np.testing.assert_allclose(back(0 * point), np.linalg.solve(precision, b[..., None])[..., 0])
    for i in range(n):
        moved = [back(point + np.eye(n)[:, [i]] * e)[i] - back(point)[i] for e in np.eye(k)]
        np.testing.assert_allclose(np.linalg.inv(np.transpose(moved) @ moved), precision[i])
    assert log_volume(point) == pytest.approx(-np.linalg.slogdet(root)[1].sum())


def test_families_and_drift_are_standard_normal_given_the_rest_where_the_law_is_straight() -> None:
    """Drift as if families were free, then families: a power law's log loss is linear in them."""
    frame = some_runs(18, family=3 * list("abcdef")).to_frame()
    runs, card = read_runs(frame.assign(loss_se=frame["loss"] / 100)), card_with(
        dist="Normal", card="kaplan_compute"
    )  # fmt: skip
    with build_model(runs, card) as model:
        density = pytensor.function(model.value_vars, model.logp(), mode=PLAIN)
    rng, start = np.random.default_rng(8), model.initial_point()
    names = [n for n in start if n.startswith(("drift_steps_", "family_steps_"))]
    assert len(names) == 2
    for _ in range(3):
        elsewhere = {n: x + 0.5 * rng.standard_normal(np.shape(x)) for n, x in start.items()}

        def at(steps: dict[str, np.ndarray], other: dict[str, Any] = elsewhere) -> float:
            return float(density(*({**other, **steps}[x.name] for x in model.value_vars)))

        steps = {name: 2 * rng.standard_normal(start[name].shape) for name in names}
        squares = sum((step**2).sum() for step in steps.values())
        none = {name: 0 * step for name, step in steps.items()}
        assert at(steps) - at(none) == pytest.approx(-squares / 2, abs=1e-6)


def test_families_far_from_the_population_start_where_their_runs_put_them() -> None:
    """Nothing is left where the law, which is not straight in its terms, goes through all runs."""
    law, card = LAWS["chinchilla"], load_card("chinchilla").without_drift()
    truth = {"E": 1.7, "A": 400.0, "B": 2000.0, "alpha": 0.34, "beta": 0.36}
    away = np.array([-0.5, -0.3, -0.1, 0.1, 0.3, 0.5])
    params, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(1e8, 1e10, 4), [5.0, 20.0, 80.0]))
    each = [law.loss(params=params, tokens=params * ratio, **truth | {"A": 400 * np.exp(step)})
            for step in away]  # fmt: skip
    frame = pd.DataFrame({"params": params, "tokens": params * ratio})
    log = pd.concat([frame.assign(loss=loss, family=f"{i}") for i, loss in enumerate(each)])
    with build_model(read_runs(log), card) as model:
        terms = model.replace_rvs_by_values([model["log_terms_by_family"]])
        own = pytensor.function(model.value_vars, terms, mode=PLAIN, on_unused_input="ignore")
        value_of = {model.rvs_to_values[rv].name: rv.name for rv in model.free_RVs}
    center = {name: np.log(log[name]).mean() for name in ("params", "tokens")}
    at_center = [np.log(1.7), np.log(400) - 0.34 * center["params"],
                 np.log(2000) - 0.36 * center["tokens"]]  # fmt: skip
    places = {
        "log_terms": at_center,
        "alpha": np.log(0.34), "beta": np.log(0.36), "sigma": np.log(0.001), "nu": np.log(5.0),
        "E_spread": np.log(0.01), "A_spread": np.log(0.3), "B_spread": np.log(0.01),
        "family_steps": np.zeros((6, 3)),
    }  # fmt: skip
    start = [places[value_of[value.name]] for value in model.value_vars]
    (found,) = own(*start)
    np.testing.assert_allclose(found[:, 1] - at_center[1], away, atol=0.02)
