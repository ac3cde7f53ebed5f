"""What runs cannot tell apart: designs and posteriors whose answer is known by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import bayescale
from bayescale.cards import load_card, parse_card
from bayescale.errors import as_options
from bayescale.findings import Finding
from bayescale.inference.diagnostics import leave_one_out
from bayescale.laws import CHINCHILLA, LAWS, Law
from bayescale.posterior import ModelAverage, Posterior, point
from bayescale.posterior.residuals import log_density
from bayescale.runs import Runs, read_runs
from bayescale.validation.design import design_checks, design_notes, least_informed_direction
from bayescale.validation.identifiability import identifiability_checks, posterior_notes

FLAT = Law(
    name="flat", inputs=("params",), coefficients=("E",), loss=lambda params, *, E: E + 0 * params
)
PRODUCT = Law(
    name="product",
    inputs=("params",),
    coefficients=("a", "b"),
    loss=lambda params, *, a, b: a * b + 0 * params,
)
SIGMA = 0.5


def card_of(law: Law):
    """Standard normal priors on the logs of all coefficients, noise of about a half."""
    described = 'unit = "dimensionless"\nmeaning = "m"\nwhy = "w"\n'
    coefficients = "".join(
        f'[coefficients.{name}]\nprior = {{ dist = "LogNormal", kwargs = {{ mu = 0, sigma = 1 }} }}'
        f"\n{described}"
        for name in law.coefficients
    )
    return parse_card(
        f'name = "{law.name}"\ntitle = "t"\nlaw = "{law.name}"\nsummary = "s"\nreferences = []\n'
        f'{coefficients}[noise]\ndist = "Normal"\n[noise.sigma]\n'
        f"prior = {{ low = 0.499, high = 0.501 }}\n{described}",
        law=law,
    )


def flat_runs(n: int, log_loss: float = 0.0) -> Runs:
    params = np.geomspace(1e6, 1e8, n)
    return read_runs(pd.DataFrame({"params": params, "loss": np.exp(log_loss)}))


def constructed(law: Law, runs: Runs, logs: dict[str, np.ndarray]) -> Posterior:
    """A posterior of these draws of the logs, with the prior and the densities beside it."""
    card = card_of(law)
    draws = xr.Dataset(
        {name: (("chain", "draw"), np.exp(x)[None]) for name, x in logs.items()}
    ).assign_coords(chain=[0], draw=np.arange(len(next(iter(logs.values())))))
    draws["sigma"] = xr.full_like(draws[law.coefficients[0]], SIGMA)
    # independent standard normals, to the last digit
    q = stats.norm.ppf((np.arange(64) + 0.5) / 64)
    grid = [x.ravel()[None] for x in np.meshgrid(q / q.std(), q / q.std())]
    prior = {
        n: (("chain", "draw"), np.exp(x)) for n, x in zip(law.coefficients, grid, strict=False)
    }
    stated = {name: draws[name] for name in (*law.coefficients, "sigma")}
    log_prior = {n: (("chain", "draw"), x) for n, x in card.log_prior(stated).items()}
    record = {"diagnostics": {"passed": True, "reasons": []}, "provenance": {"seed": 0}}
    bare = Posterior(xr.DataTree.from_dict({"posterior": draws}), card, runs, record)
    log_loss = xr.DataArray(np.log(runs["loss"]), dims="run", coords={"run": runs["run_id"]})
    deviation = log_loss - xr.ufuncs.log(bare.exact.loss_of_runs())
    density = log_density(bare.draws, deviation, bare.exact.sigma())
    groups = {
        "posterior": draws,
        "prior": xr.Dataset(prior),
        "log_prior": xr.Dataset(log_prior, coords=draws.coords),
        "log_likelihood": xr.Dataset({"log_loss": density}),
    }
    return replace(bare, tree=xr.DataTree.from_dict(groups))


def normal_grid(rng: np.random.Generator, n: int = 4000) -> np.ndarray:
    """Evenly spaced quantiles of a standard normal, shuffled."""
    return rng.permutation(stats.norm.ppf((np.arange(n) + 0.5) / n))


def conjugate(information: float, log_loss: float) -> Posterior:
    """log E with prior N(0, 1) and runs whose mean is N(log E, 1 / information): n sigma^-2."""
    n = round(information * SIGMA**2)
    runs = flat_runs(n, log_loss)
    precision = 1 + information
    middle = information * log_loss / precision
    x = middle + normal_grid(np.random.default_rng(1)) / np.sqrt(precision)
    return constructed(FLAT, runs, {"E": x})


def named(checks: tuple[Finding, ...], name: str) -> Finding:
    (check,) = [check for check in checks if check.code == name]
    return check


# the design alone


def test_an_isoflop_grid_passes_every_check() -> None:
    flops, ratio = np.meshgrid(np.geomspace(1e18, 1e21, 5), np.geomspace(2, 200, 7))
    params = np.sqrt(flops / 6 / ratio).ravel()
    frame = pd.DataFrame({"params": params, "tokens": params * ratio.ravel(), "loss": 3.0})
    checks = design_checks(read_runs(frame), CHINCHILLA)
    assert [check.code for check in checks] == [
        "runs", "ranges", "compute", "tokens_per_param", "expected_contraction",
    ]  # fmt: skip
    assert all(check.passed for check in checks)
    assert checks[2].text == "compute spans a factor of 1,000"
    assert checks[3].text == "from 2 to 200, over a factor of 100 at equal compute"
    assert checks[3].table.loc["factor", "tokens_per_param"] == pytest.approx(100)
    ranges = checks[1].table
    assert ranges.loc["params", "sizes"] == len(np.unique(params.round(-5)))
    assert ranges.loc["params", "e_folds"] == pytest.approx(np.log(params.max() / params.min()))


def test_one_isoflop_curve_is_not_called_collinear() -> None:
    """Size and data trade against each other on it, which is the reverse of growing together."""
    params = np.geomspace(1e8, 1e10, 9)
    frame = pd.DataFrame({"params": params, "tokens": 1e20 / params, "loss": 3.0})
    checks = design_checks(read_runs(frame), CHINCHILLA)
    assert named(checks, "tokens_per_param").passed
    compute = named(checks, "compute")
    assert compute.passed is False
    assert compute.text == (
        "compute spans a factor of 1 only, so how loss and best split change with compute comes "
        "from the priors, and no backtest can test a larger budget: these runs support "
        "comparisons at their own budget. Train runs of a third of this compute, or of three "
        "times as much"
    )


def test_a_constant_number_of_tokens_per_parameter_fails_in_one_sentence(cerebras: Runs) -> None:
    checks = design_checks(cerebras, CHINCHILLA)
    assert [check.passed for check in checks] == [True, True, True, False, False]
    text = checks[4].text
    assert text.startswith("the runs should remove nothing of the prior's spread along one ")
    assert "alpha" in text.split("(")[1]
    assert "beta" in text.split("(")[1]
    assert text.endswith(
        "there the answer is the prior's. Train runs that vary params and tokens independently"
    )
    assert checks[4].table.attrs["condition"] > 1000
    assert [note.code for note in design_notes(cerebras, CHINCHILLA)] == [
        "collinear_design", "weak_design",
    ]  # fmt: skip
    assert all(check.passed for check in design_checks(cerebras, LAWS["henighan_compute"]))


def test_a_line_with_another_slope_fails_too() -> None:
    params = np.geomspace(1e8, 1e10, 9)
    frame = pd.DataFrame({"params": params, "tokens": 1e4 * params**0.7, "loss": 3.0})
    check = named(design_checks(read_runs(frame), CHINCHILLA), "tokens_per_param")
    assert check.passed is False
    assert check.text.startswith("tokens follow params^0.70 within a factor of 1, so size")


def test_few_runs_over_a_narrow_range_fail() -> None:
    frame = pd.DataFrame({"params": [1e8, 2e8, 3e8], "loss": [3.0, 2.9, 2.8]})
    checks = design_checks(read_runs(frame), LAWS["kaplan_params"])
    assert checks[0].text == (
        "3 runs for the 2 coefficients of kaplan_params and the residual noise: the priors in the "
        "card determine much of the answer"
    )
    assert checks[1].text == (
        "params spans a factor of 3 only: its exponent comes from the prior more than from the runs"
    )
    assert [check.passed for check in checks[:2]] == [False, False]


def test_expected_learning_of_a_mean_is_that_of_the_normal_model() -> None:
    """Prior variance 1, 12 runs of variance 1/4: posterior variance 1 / (1 + 48) = 1 / 49."""
    check = named(design_checks(flat_runs(12), FLAT, card_of(FLAT)), "expected_contraction")
    assert check.table.loc["E", "contraction"] == pytest.approx(1 - 1 / 7, abs=0.005)
    assert check.table.attrs["condition"] == 1
    assert check.text == (
        "the runs should remove at least 86% of the prior's spread of every combination of "
        "coefficients (least along E up)"
    )


def test_expected_learning_sees_what_a_law_of_ones_own_cannot_tell() -> None:
    check = named(design_checks(flat_runs(12), PRODUCT, card_of(PRODUCT)), "expected_contraction")
    assert check.passed is False
    assert check.table["least_informed_direction"].abs().to_numpy() == pytest.approx(1, abs=0.05)
    assert check.table["least_informed_direction"].prod() < 0
    assert check.table.attrs["condition"] > 1e6


def test_a_law_without_a_card_says_what_is_missing() -> None:
    check = named(design_checks(flat_runs(12), FLAT), "expected_contraction")
    assert check.passed is None
    assert check.text == (
        "law 'flat' is your own: name a card of its priors with `card=` for the contraction to "
        "expect from these runs"
    )


def test_a_law_without_a_loss_at_its_priors_says_so() -> None:
    negative = replace(FLAT, loss=lambda params, *, E: -E + 0 * params)
    check = named(design_checks(flat_runs(12), negative, card_of(negative)), "expected_contraction")
    assert check.passed is None
    assert "no positive, finite loss at the medians of the priors" in check.text


def test_expected_learning_is_near_what_240_runs_taught(chinchilla_posterior: Posterior) -> None:
    runs = chinchilla_posterior.runs
    assert runs is not None
    expected = named(design_checks(runs, CHINCHILLA), "expected_contraction").table["contraction"]
    taught = named(identifiability_checks(chinchilla_posterior), "contraction").table["contraction"]
    for name in ("E", "alpha", "beta"):
        assert expected[name] == pytest.approx(taught[name], abs=0.06)


def test_least_learned_of_two_known_covariances() -> None:
    """Prior sds 1 and 2; the runs fix x + y / 2 and leave x - y / 2 as it was."""
    prior = np.diag([1.0, 4.0])
    along, across = np.array([1, -2]) / np.sqrt(2), np.array([1, 2]) / np.sqrt(2)
    posterior = np.outer(along, along) + 0.01 * np.outer(across, across)
    contraction, direction = least_informed_direction(prior, posterior)
    assert contraction == pytest.approx(0, abs=1e-6)
    assert direction * np.sign(direction[0]) == pytest.approx([1, -1])
    assert (
        least_informed_direction(prior, 4 * prior)[0] == 0
    )  # wider than the prior: nothing learned
    assert least_informed_direction(prior, prior / 4)[0] == pytest.approx(0.5)


# a posterior


@pytest.mark.parametrize(
    ("information", "log_loss", "diagnosis"),
    [
        (16, 0.5, "fine"),
        (8, 0.2, "fine"),
        (8, 1.5, "prior and runs both decide"),
        (8, 2.5, "prior and runs disagree"),
    ],
)
def test_prior_sensitivity_of_a_normal_mean_is_the_exact_one(
    information: float, log_loss: float, diagnosis: str
) -> None:
    posterior = conjugate(information, log_loss)
    check = named(identifiability_checks(posterior), "prior_sensitivity")
    row = check.table.loc["E"]
    assert row["prior"] == pytest.approx(exact(information, log_loss, "prior"), rel=0.03)
    assert row["likelihood"] == pytest.approx(exact(information, log_loss, "runs"), rel=0.03)
    assert row["diagnosis"] == diagnosis
    assert check.passed is (diagnosis == "fine")
    assert ("out of the prior's 90% interval" in check.text) is ("disagree" in diagnosis)


def exact(information: float, log_loss: float, what: str) -> float:
    """Kallioinen et al. 2023, from distribution functions: the distance, by log2 of the power."""

    def normal(power: float):
        a, b = (power, 1.0) if what == "prior" else (1.0, power)
        precision = a + b * information
        return stats.norm(b * information * log_loss / precision, precision**-0.5)

    x = np.linspace(*normal(1).ppf([1 / 8000, 1 - 1 / 8000]), 200_001)
    step = x[1] - x[0]

    def distance(power: float, side: int) -> float:
        p, q = (normal(k).cdf(x) if side > 0 else normal(k).sf(x) for k in (1, power))
        m = (p + q) / 2
        divergence = sum(
            (f * np.log2(f / m)).sum() * step + (g - f).sum() * step / (2 * np.log(2))
            for f, g in ((p, q), (q, p))
        )
        return np.sqrt(divergence / ((p + q).sum() * step))

    return sum(
        max(distance(power, side) for side in (1, -1)) / abs(np.log2(power)) / 2
        for power in (0.99, 1.01)
    )


def test_runs_that_say_little_are_told_from_the_prior() -> None:
    """One run with noise 50 beside a prior of sd 1: the posterior is the prior."""
    posterior = constructed(FLAT, flat_runs(3), {"E": normal_grid(np.random.default_rng(1))})
    draws = posterior.draws.assign(sigma=xr.full_like(posterior.draws["E"], 50.0))
    flat_density = posterior.tree["log_likelihood"].to_dataset() / 1e4
    groups = {name: g.to_dataset() for name, g in posterior.tree.children.items()}
    groups |= {"posterior": draws, "log_likelihood": flat_density}
    checks = identifiability_checks(replace(posterior, tree=xr.DataTree.from_dict(groups)))
    assert named(checks, "prior_sensitivity").table.loc["E", "diagnosis"] == "the runs say little"
    assert named(checks, "contraction").text == (
        "E comes from the prior: the runs removed 0% of its spread. Give priors that you would "
        "defend, or train runs that inform it"
    )


def test_a_ridge_is_named_with_its_direction(rng: np.random.Generator) -> None:
    """a b is known to one percent, a / b hardly: the ridge runs along (1, -0.9)."""
    z = 0.7 * normal_grid(rng)
    posterior = constructed(
        PRODUCT, flat_runs(12), {"a": z, "b": -0.9 * z + 0.01 * normal_grid(rng)}
    )
    check = named(identifiability_checks(posterior), "ridges")
    assert check.passed is False
    assert check.text == (
        "a and b are known only jointly (correlation -1.00 of their logs); the runs removed only "
        "6% of the prior's spread along one combination (a up, b down): there the answer is the "
        "prior's. Train runs over a wider range of params"
    )  # sd along the ridge: 0.7 sqrt(1 + 0.81) = 0.94
    assert {note.code for note in posterior_notes(posterior)} == {"ridge"}


def test_well_known_coefficients_may_be_correlated(rng: np.random.Generator) -> None:
    z = 0.01 * normal_grid(rng)
    posterior = constructed(PRODUCT, flat_runs(12), {"a": z, "b": -z + 1e-4 * normal_grid(rng)})
    checks = identifiability_checks(posterior)
    assert named(checks, "ridges").passed
    assert named(checks, "ridges").table.loc[0, "correlation"] == pytest.approx(-1, abs=1e-3)
    assert named(checks, "contraction").text == (
        "the runs removed at least 99% of the prior's spread of every coefficient (least of b's)"
    )
    assert posterior_notes(posterior) == ()


def test_a_prior_dominated_coefficient_is_named(rng: np.random.Generator) -> None:
    posterior = constructed(
        PRODUCT, flat_runs(12), {"a": 0.1 * normal_grid(rng), "b": 2 + 0.9 * normal_grid(rng)}
    )
    check = named(identifiability_checks(posterior), "contraction")
    assert check.passed is False
    assert check.text.startswith("b comes from the prior: the runs removed 10% of its spread.")
    assert list(check.table["contraction"]) == pytest.approx([0.9, 0.1], abs=0.01)
    assert list(check.table["moved"]) == pytest.approx([0, 2], abs=0.01)


def test_a_run_that_pulls_the_law_is_found(rng: np.random.Generator) -> None:
    """Ten runs with noise 1/2, nine at log loss 0 and one at 3/2, beside a prior of N(0, 1).

    log E is N(40 * 0.15 / 41, 1 / 41) with the last run and N(0, 1 / 37) without it; means of E
    are exp(mean + variance / 2).
    """
    log_loss = np.append(np.zeros(9), 1.5)
    runs = flat_runs(10, log_loss)
    x = 6 / 41 + normal_grid(rng) / np.sqrt(41)
    posterior = constructed(FLAT, runs, {"E": x})
    tail = np.full((1, len(x), 10), 0.5)
    loo = leave_one_out(posterior.tree, log_loss, x[None, :, None] + 0 * tail, tail, ["E"])
    posterior.tree["leave_one_out"] = xr.DataTree(loo)
    check = named(identifiability_checks(posterior), "influential_runs")
    together, alone = np.exp(6 / 41 + 1 / 82), np.exp(1 / 74)
    shift = (alone - together) / (together * np.sqrt(np.exp(1 / 41) - 1))
    assert check.table.loc[0, "by"] == pytest.approx(shift, abs=0.03)
    assert check.table.loc[0, "run_id"] == runs["run_id"][9]
    assert check.passed is False
    assert check.text == (
        f"1 of 10 runs would move the answer if left out: {runs['run_id'][9]} (E by {shift:+.1f} "
        "sd). Look up how they were trained, and fit again without a run that is not "
        f"sound (`exclude={{'run_id': '{runs['run_id'][9]}'}}`). {runs['run_id'][9]} is the "
        "largest run by params: without it, the runs reach less far, and every forecast "
        "extrapolates further"
    )


def influenced(*which: int, params: np.ndarray | None = None) -> tuple[list[str], str]:
    """Return the runs' ids, and the finding on ten runs of which these would move a coefficient."""
    runs = flat_runs(10)
    if params is not None:
        runs = replace(runs, frame=runs.frame.assign(params=params))
    posterior = constructed(FLAT, runs, {"E": 0.1 * stats.norm.ppf((np.arange(400) + 0.5) / 400)})
    moved = np.isin(np.arange(10), which).astype(float)
    loo = {"shift": (("run", "coefficient"), moved[:, None]), "influential": ("run", moved)}
    loo |= {"pareto_k": ("run", np.full(10, 0.1))}
    posterior.tree["leave_one_out"] = xr.DataTree(xr.Dataset(loo, {"coefficient": ["E"]}))
    check = named(identifiability_checks(posterior), "influential_runs")
    return list(runs["run_id"]), check.text


def test_no_command_leaves_out_all_influential_runs() -> None:
    _, text = influenced(2, 3, 4)
    assert text.endswith("fit again without a run that is not sound (`exclude={'run_id': 'NAME'}`)")
    assert as_options(text).endswith("(--exclude run_id=NAME)")


def test_leaving_out_the_largest_run_shortens_the_reach() -> None:
    ids, text = influenced(2, 9)
    assert text.endswith(
        f"(`exclude={{'run_id': 'NAME'}}`). {ids[9]} is the largest run by params: without it, "
        "the runs reach less far, and every forecast extrapolates further"
    )
    assert "largest" not in influenced(2, 3)[1]
    as_large = np.append(np.geomspace(1e6, 1e8, 9), 1e8)
    assert "largest" not in influenced(2, 9, params=as_large)[1]


def test_240_runs_tell_every_coefficient_and_none_decides(
    chinchilla_posterior: Posterior,
) -> None:
    checks = identifiability_checks(chinchilla_posterior)
    assert [(check.code, check.passed) for check in checks] == [
        ("runs", True), ("ranges", True), ("compute", True), ("tokens_per_param", True),
        ("contraction", True),
        ("ridges", True), ("prior_sensitivity", True), ("influential_runs", True),
    ]  # fmt: skip
    assert all(check.table is not None for check in checks[1:])


def test_five_runs_lean_on_their_priors(cerebras_posterior: Posterior) -> None:
    check = named(identifiability_checks(cerebras_posterior), "prior_sensitivity")
    assert check.passed is False
    assert check.table.loc["E", "prior"] > 0.05


def test_each_averaged_law_is_checked(rng: np.random.Generator) -> None:
    few = constructed(PRODUCT, flat_runs(2), {name: normal_grid(rng) for name in "ab"})
    flat = constructed(FLAT, flat_runs(2), {"E": 0.1 * normal_grid(rng)})
    pool = ModelAverage((few, flat), (0.5, 0.5))
    names = [check.code for check in identifiability_checks(pool)]
    each = ["runs", "ranges", "contraction", "ridges", "prior_sensitivity", "influential_runs"]
    assert names == [f"product.{name}" for name in each] + [f"flat.{name}" for name in each]
    notes = posterior_notes(pool)
    assert notes[0].code == "few_runs"
    assert notes[0].text.startswith("product: 2 runs for the 2 coefficients")
    assert any(note.text.startswith("flat: 2 runs for the 1 coefficients") for note in notes)


def test_pooled_families_are_checked(rng: np.random.Generator) -> None:
    posterior = constructed(FLAT, flat_runs(12), {"E": 0.1 * normal_grid(rng)})
    draws = posterior.draws.assign_coords(family=["a", "b"])
    draws["E_by_family"] = draws["E"].expand_dims(family=["a", "b"], axis=-1)
    draws["E_spread"] = draws["E"]
    groups = {name: g.to_dataset() for name, g in posterior.tree.children.items()}
    pooled = replace(posterior, tree=xr.DataTree.from_dict(groups | {"posterior": draws}))
    assert pooled.families
    for ours, theirs in zip(
        identifiability_checks(pooled), identifiability_checks(posterior), strict=True
    ):
        assert ours == theirs


def test_a_point_estimate_has_nothing_to_tell() -> None:
    card = load_card("chinchilla")
    checks = identifiability_checks(point(card, card.published_values("besiroglu_2024")))
    assert [(check.code, check.passed) for check in checks] == [
        ("contraction", None), ("ridges", None), ("prior_sensitivity", None),
        ("influential_runs", None),
    ]  # fmt: skip
    assert {check.text for check in checks} == {"a point estimate has no draws to check"}


def test_a_missing_group_is_named() -> None:
    posterior = conjugate(16, 0.5)
    del posterior.tree["log_prior"]
    checks = identifiability_checks(posterior)
    assert named(checks, "prior_sensitivity") == Finding.check(
        "prior_sensitivity", None, "this posterior holds no log_prior: fit again for this check"
    )
    assert named(checks, "influential_runs").text == (
        "this posterior holds no leave_one_out: fit again for this check"
    )
    assert named(checks, "contraction").passed


def test_the_checks_are_public() -> None:
    assert bayescale.design_checks is design_checks
    assert bayescale.identifiability_checks is identifiability_checks
