"""Chinchilla's approaches 1 and 2 beside a posterior: exact where they are, biased as known."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Ran
from support.published import BESIROGLU, CARD, HOFFMANN, ONE, SPREAD

from bayescale.cards import load_card, parse_card
from bayescale.errors import BayescaleError, LawError, TrustError, UnconvergedError
from bayescale.laws import CHINCHILLA, compute_optimal
from bayescale.posterior import ModelAverage, Posterior, point, save
from bayescale.runs import Runs, read_runs
from bayescale.validation.approaches import Envelope, envelope, isoflop_groups, parabolas, take
from bayescale.validation.cross_check import cross_check

BUDGETS = (1e17, 1e18, 1e19, 1e20, 1e21)
TRUE_A = HOFFMANN["beta"] / (HOFFMANN["alpha"] + HOFFMANN["beta"])


def isoflop_log(
    width: float,
    n: int = 15,
    *,
    coefficients: dict[str, float] = HOFFMANN,
    budgets: Sequence[float] = BUDGETS,
    center: Any = 1.0,
    noise: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Runs:
    """Runs of each budget from the best size over ``width`` to it times ``width``."""
    best, _ = compute_optimal(CHINCHILLA, np.asarray(budgets), coefficients)
    factors = np.geomspace(1 / width, width, n)
    params = ((best * center)[:, None] * factors).ravel()
    tokens = np.repeat(budgets, n) / 6 / params
    loss = np.asarray(CHINCHILLA.loss(params, tokens, **coefficients))
    if rng is not None:
        loss = loss + noise * rng.standard_normal(len(loss))
    frame = {"params": params, "tokens": tokens, "loss": loss, "flops": np.repeat(budgets, n)}
    meant = dict.fromkeys(("params", "tokens", "flops"), "1") | {"loss": "nats"}
    return read_runs(pd.DataFrame(frame), units=meant)


def fitted(runs: Runs, posterior: Posterior = ONE) -> Posterior:
    """Say that a point estimate, which has no drift, was fitted to runs."""
    text = re.sub(r"(?ms)^\[drift.*?(?=^\[(?!drift)|\Z)", "", posterior.card.text)
    return replace(posterior, runs=runs, card=parse_card(text))


HOFFMANNS = point(CARD, HOFFMANN)


def test_a_narrow_grid_about_the_minimum_finds_it_exactly() -> None:
    result = cross_check(fitted(isoflop_log(1.2, 9), HOFFMANNS), flops=5.76e23)
    params, tokens = compute_optimal(CHINCHILLA, 5.76e23, HOFFMANN)
    assert result.of("isoflop", "a")["estimate"] == pytest.approx(TRUE_A, abs=1e-9)
    assert result.of("isoflop", "b")["estimate"] == pytest.approx(1 - TRUE_A, abs=1e-9)
    assert result.of("isoflop", "params")["estimate"] == pytest.approx(params, rel=5e-4)
    assert result.of("isoflop", "tokens")["estimate"] == pytest.approx(tokens, rel=5e-4)
    best, _ = compute_optimal(CHINCHILLA, np.array(BUDGETS), HOFFMANN)
    np.testing.assert_allclose(result.groups["params"], best, rtol=5e-4)
    np.testing.assert_allclose(result.groups["params_posterior"], best, rtol=1e-6)
    assert not result.warnings


@pytest.mark.parametrize(("width", "printed"), [(2, -0.33), (4, -1.30), (8, -2.90), (16, -5.10)])
def test_the_bias_of_parabolas_is_that_of_the_published_simulation(
    width: float, printed: float
) -> None:
    """Czech et al. 2026: tokens at 1e24 FLOP, percent, fifteen sizes at each of five budgets."""
    result = cross_check(fitted(isoflop_log(width), HOFFMANNS), flops=1e24)
    _, tokens = compute_optimal(CHINCHILLA, 1e24, HOFFMANN)
    assert tokens == pytest.approx(4.04e12, rel=2e-3)
    off = result.of("isoflop", "tokens")["estimate"] / tokens - 1
    assert 100 * off == pytest.approx(printed, abs=0.01)
    # what the posterior expects of the grid is what happens on it
    assert result.bias is not None
    assert result.bias["tokens"]["median"] == pytest.approx(off, rel=1e-6)
    assert [note.code for note in result.warnings] == ["parabola_bias"] * int(abs(off) > 0.02)


@pytest.mark.parametrize(("width", "last_center", "printed"), [(16, 1.0, -0.23), (2, 1 / 3, 0.35)])
def test_uneven_exponents_and_grids_that_drift_off_the_minimum_make_it_far_larger(
    width: float, last_center: float, printed: float, rng: np.random.Generator
) -> None:
    """The two extremes of the same simulation: alpha three times beta, drift to a third."""
    uneven = HOFFMANN | {"alpha": 0.465, "beta": 0.155}
    center = np.geomspace(1.0, last_center, 5)
    runs = isoflop_log(width, coefficients=uneven, center=center)
    frontier = parabolas(runs, isoflop_groups(runs)[0], rng).frontier
    params, _ = compute_optimal(CHINCHILLA, 1e24, uneven)
    alike = replace(frontier, weights=np.ones(5))
    tokens_off = params / np.exp(alike.log_params_at(1e24)[0]) - 1
    assert tokens_off == pytest.approx(printed, abs=0.005)


def test_a_grid_that_drifts_off_the_minimum_is_warned_of() -> None:
    runs = isoflop_log(4, center=np.geomspace(1.0, 0.4, 5))
    result = cross_check(fitted(runs, HOFFMANNS), flops=1e24)
    assert result.bias is not None
    off = max(abs(result.bias[name]["median"]) for name in ("params", "tokens"))
    assert off > 0.02
    (note,) = result.warnings
    assert note.code == "parabola_bias"
    assert note.text == (
        "a loss is no parabola in log size: with sizes that span 16 to 16 times, and not centered "
        "on the minimum alike, approach 2 is expected to miss the best split of 1e+24 FLOP by "
        f"{off:.1%}, however small the residual noise; narrower grids centered on the minimum miss "
        "it by less"
    )


def test_intervals_of_parabolas_hold_what_a_noiseless_grid_would_give(
    rng: np.random.Generator,
) -> None:
    clean = isoflop_log(4, 7)
    groups, _ = isoflop_groups(clean)
    without = take(parabolas(clean, groups, rng).frontier, np.full(5, True))
    aim = without.exponent()[0], without.log_params_at(1e24)[0]
    held, n = np.zeros(2), 200
    for _ in range(n):
        noisy = clean["loss"] + 0.01 * rng.standard_normal(len(clean))
        runs = replace(clean, frame=clean.frame.assign(loss=noisy), _arrays={})
        frontier = parabolas(runs, groups, rng, draws=300).frontier
        for i, draws in enumerate((frontier.exponent(), frontier.log_params_at(1e24))):
            low, high = np.quantile(draws[1:], [0.05, 0.95])
            held[i] += low <= aim[i] <= high
    assert (abs(held / n - 0.9) < 4 * np.sqrt(0.09 / n)).all()


def test_the_envelope_of_dense_sizes_finds_the_best_one(rng: np.random.Generator) -> None:
    params, tokens = np.meshgrid(np.geomspace(1e8, 1e10, 41), np.geomspace(1e9, 1e12, 25))
    loss = CHINCHILLA.loss(params, tokens, **HOFFMANN)
    frame = {"params": params.ravel(), "tokens": tokens.ravel(), "loss": loss.ravel()}
    runs = read_runs(pd.DataFrame(frame))
    found = envelope(runs, rng, draws=50)
    assert isinstance(found, Envelope)
    assert len(found.sizes) == 41
    assert found.frontier.exponent()[0] == pytest.approx(TRUE_A, abs=0.01)
    best, _ = compute_optimal(CHINCHILLA, 1e21, HOFFMANN)
    assert np.exp(found.frontier.log_params_at(1e21)[0]) == pytest.approx(best, rel=0.03)
    # the smallest and the largest size are never taken for the best one
    inside = found.frontier.log_params[0]
    assert np.log(1.01e8) < inside.min() < inside.max() < np.log(0.99e10)


def test_a_log_without_curves_or_budgets_is_told_what_it_lacks() -> None:
    params = np.geomspace(1e8, 1e10, 8)
    loss = CHINCHILLA.loss(params, 20 * params, **HOFFMANN)
    runs = read_runs(pd.DataFrame({"params": params, "tokens": 20 * params, "loss": loss}))
    with pytest.raises(TrustError) as caught:
        cross_check(fitted(runs))
    assert str(caught.value) == (
        "DataFrame cannot be cross-checked:\n"
        "  - approach 2, isoFLOP parabolas: 0 budgets with three sizes or more, and a power law "
        "needs two: runs of one budget are those of like compute, or of one value in a column "
        "isoflop\n"
        "  - approach 1, envelope: 0 sizes are trained to two or more budgets, and approach 1 "
        "needs 3, because it compares sizes during training"
    )


def test_runs_share_a_budget_within_the_tolerance_or_as_the_log_says() -> None:
    exact = isoflop_log(4, 5)
    frame = exact.to_frame()
    frame["flops"] *= np.tile([0.96, 1.0, 1.04, 1.01, 0.99], 5)
    spread = read_runs(frame, units={"tokens": "1"})
    groups, refused = isoflop_groups(spread)
    assert [len(group.runs) for group in groups] == [5] * 5
    assert not refused
    groups, refused = isoflop_groups(spread, tolerance=0.03)
    assert [group.runs.tolist() for group in groups] == [
        [i + 1, i + 3, i + 4] for i in range(0, 25, 5)
    ]
    assert not refused  # the others share their compute with no run
    labeled = read_runs(
        frame.assign(isoflop=[*"aaaaabbbbbccccc", *[""] * 8, "e", "e"]), units={"tokens": "1"}
    )
    groups, refused = isoflop_groups(labeled)
    assert [group.name for group in groups] == ["a", "b", "c"]
    assert [tuple(item) for item in refused] == [
        ("e", "2 distinct sizes (row 24, row 25), and a parabola needs 3")
    ]


def test_like_sizes_are_one_size(rng: np.random.Generator) -> None:
    frame = isoflop_log(4, 3, budgets=BUDGETS[:3]).to_frame()
    twice = pd.concat([frame, frame.assign(params=frame["params"] * 1.01)], ignore_index=True)
    twice["run_id"] = [f"run {i}" for i in range(len(twice))]
    twice = twice[~twice["run_id"].isin(["run 2", "run 11"])]
    groups, refused = isoflop_groups(read_runs(twice, units={"tokens": "1"}))
    assert len(groups) == 2
    assert refused[0].reason.startswith("2 distinct sizes (run 0, run 1, run 9, run 10)")


def test_a_minimum_outside_the_sizes_is_told_and_not_used() -> None:
    runs = isoflop_log(3, 5, center=[1, 1, 1, 0.2, 1])
    result = cross_check(fitted(runs, HOFFMANNS), flops=1e22)
    assert result.groups["used"].tolist() == [True, True, True, False, True]
    note = next(note for note in result.warnings if note.code == "minimum_outside")
    assert note.text == (
        "the parabola has no minimum between the sizes tried at 1e+20 FLOP, so these budgets are "
        "left out of the power law: try smaller or larger models there"
    )
    assert "outside its sizes: not used" in str(result)
    assert result.of("isoflop", "a")["estimate"] == pytest.approx(TRUE_A, abs=0.005)
    far = isoflop_log(3, 5, center=[1, 0.1, 0.1, 0.1, 0.1])
    with pytest.raises(TrustError, match=r"of 5 budgets 1 has a minimum between the sizes tried"):
        cross_check(fitted(far))


def test_a_budget_at_which_the_law_itself_has_no_minimum_costs_only_itself() -> None:
    """Its middle run has 8 % less compute, so that the law's losses bend the other way."""
    good, params = isoflop_log(3, 9).to_frame(), np.array([0.9e9, 1e9, 1.1e9])
    flops = 5e19 * np.array([1.0, 0.92, 1.0])
    bent = pd.DataFrame({"params": params, "tokens": flops / 6 / params, "flops": flops})
    bent["loss"] = [2.6, 2.5, 2.6]
    bent["run_id"] = ["b0", "b1", "b2"]
    log = pd.concat([good[["run_id", *bent.columns[:-1]]], bent])
    result = cross_check(fitted(read_runs(log), HOFFMANNS), flops=1e22)
    assert result.groups["used"].all()
    assert result.bias is not None
    assert abs(result.bias["params"]["median"]) < 0.1
    assert "nan" not in str(result)


def test_three_sizes_a_budget_leave_no_residuals_and_no_intervals() -> None:
    result = cross_check(fitted(isoflop_log(2, 3), HOFFMANNS))
    assert np.isnan(result.of("isoflop", "a")["lower"])
    assert [note.code for note in result.warnings] == ["no_residuals"]
    assert "(no interval)" in str(result)
    assert result.to_json()["approaches"]["isoflop"]["a"]["lower"] is None


def test_a_law_that_says_otherwise_is_told_of(rng: np.random.Generator) -> None:
    runs = isoflop_log(2, 9, noise=0.001, rng=rng)
    agrees = cross_check(fitted(runs, HOFFMANNS), flops=1e22)
    assert "disagrees" not in [note.code for note in agrees.warnings]
    differs = cross_check(fitted(runs, point(CARD, BESIROGLU)), flops=1e22)
    (note,) = (note for note in differs.warnings if note.code == "disagrees")
    truth, _ = compute_optimal(CHINCHILLA, 1e22, HOFFMANN)
    wrong, _ = compute_optimal(CHINCHILLA, 1e22, BESIROGLU)
    told = float(note.text.split("puts the best params at ")[1].split()[0])
    assert told == pytest.approx(float(truth / wrong), rel=0.1)


def test_exponents_of_the_posterior_are_the_laws_draw_by_draw() -> None:
    result = cross_check(fitted(isoflop_log(4), SPREAD), flops=1e23, ci_prob=0.5)
    exponents = [BESIROGLU["beta"] / (a + BESIROGLU["beta"]) for a in (0.25, 0.3, 0.35, 0.4)]
    told = result.of("posterior", "a")
    assert told["estimate"] == pytest.approx(np.median(exponents), rel=1e-6)
    assert told["lower"] == pytest.approx(np.quantile(exponents, 0.25), rel=1e-6)
    log, kaplan = isoflop_log(4), load_card("kaplan")
    other = point(kaplan, kaplan.published_values("kaplan_2020"))
    both = ModelAverage((fitted(log), fitted(log, other)), (0.0, 1.0))
    power = 0.076 / 0.103  # of params beside tokens in Kaplan's joint law
    assert cross_check(both).of("posterior", "a")["estimate"] == pytest.approx(1 / (1 + power))


def test_compute_is_counted_as_in_the_log() -> None:
    frame = isoflop_log(1.2, 9).to_frame()
    frame["flops"] *= 1.1
    result = cross_check(fitted(read_runs(frame, units={"tokens": "1"}), HOFFMANNS), flops=1e22)
    params, _ = compute_optimal(CHINCHILLA, 1e22 / 1.1, HOFFMANN)
    for approach in ("isoflop", "posterior"):
        assert result.of(approach, "params")["estimate"] == pytest.approx(params, rel=5e-4)
    assert [note.text for note in result.warnings] == [
        "compute is counted as 1.1 times 6 N D, as in the log, whatever the model's size"
    ]


def test_questions_that_make_no_sense_are_refused() -> None:
    card = load_card("kaplan_params")
    one_scale = point(card, card.published_values("kaplan_2020"))
    with pytest.raises(LawError, match="cannot split a budget"):
        cross_check(replace(one_scale, runs=isoflop_log(4)))
    for message, options in {
        "a point estimate was not fitted to any runs: there is nothing to check": {},
        "flops is -1.0, but it must be finite and greater than zero": {"flops": -1.0},
        "tolerance is 2, but must lie between 0 and 1": {"tolerance": 2.0},
        "family 'x' is not among those of this fit: it does not tell families apart": {
            "family": "x"
        },
    }.items():
        with pytest.raises(BayescaleError) as caught:
            cross_check(fitted(isoflop_log(4)) if options else ONE, **options)
        assert str(caught.value) == message
    failed = {**ONE.record, "diagnostics": {"passed": False, "reasons": ["few draws"]}}
    with pytest.raises(UnconvergedError):
        cross_check(replace(fitted(isoflop_log(4)), record=failed))


def test_refinedweb_runs_give_the_papers_exponent(
    real_data: Path, rng: np.random.Generator
) -> None:
    """Porian et al. 2024: 0.571 at this stage of their correction of Kaplan's."""
    runs = read_runs(real_data / "porian_refinedweb.csv")
    groups, _ = isoflop_groups(runs)
    assert len(groups) == 12
    found = parabolas(runs, groups, rng)
    assert found.inside.all()
    assert found.frontier.exponent()[0] == pytest.approx(0.571, abs=0.01)


def test_chinchillas_runs_give_an_exponent_within_the_papers_interval(
    chinchilla_runs: Runs, rng: np.random.Generator
) -> None:
    """Hoffmann et al. 2022, approach 2: 0.49, 10th to 90th percentile 0.462 to 0.534."""
    groups, _ = isoflop_groups(chinchilla_runs)
    found = parabolas(chinchilla_runs, groups, rng)
    assert 0.462 < take(found.frontier, found.inside).exponent()[0] < 0.534
    led = envelope(chinchilla_runs, rng)
    assert isinstance(led, Envelope)
    low, high = np.quantile(led.frontier.exponent()[1:], [0.05, 0.95])
    assert low < 0.50 < high  # approach 1, as printed


def test_the_command_tells_all_in_words_json_and_a_figure(
    bayescale: Callable[..., Ran], tmp_path: Path, rng: np.random.Generator
) -> None:
    scattering = point(CARD, HOFFMANN, sigma=0.005)  # as every fit to runs does
    posterior = fitted(isoflop_log(4, 7, noise=0.005, rng=rng), scattering)
    file, figure = save(posterior, tmp_path / "fit.nc"), tmp_path / "isoflop.png"
    ran = bayescale("cross-check", file, "--flops", "1e24", "--figure", figure, "--json")
    assert ran.code == 0
    answer = ran.json
    assert answer["interval"] == 0.9
    assert set(answer["approaches"]) == {"posterior", "isoflop"}
    assert set(answer["approaches"]["isoflop"]) == {"a", "b", "params", "tokens"}
    assert len(answer["groups"]) == 5
    assert set(answer["missing"]) == {"envelope"}
    assert figure.stat().st_size > 10_000
    text = bayescale("cross-check", file, "--flops", "1e24").out
    assert "approach 2, isoFLOP parabolas" in text
    assert "On this grid, if chinchilla is right" in text
    half = bayescale("cross-check", file, "--flops", "1e24", "--ci-prob", 0.5, "--json").json
    assert half["interval"] == 0.5
    whole = answer["approaches"]["isoflop"]["a"]
    assert whole["lower"] < half["approaches"]["isoflop"]["a"]["lower"]
    assert bayescale("cross-check", file, "--tolerance", "3").err == (
        "error: tolerance is 3, but must lie between 0 and 1\n"
    )


def test_the_figure_draws_what_the_table_holds() -> None:
    import matplotlib.pyplot as plt

    from bayescale.plotting.isoflop import plot_isoflop_parabolas

    result = cross_check(fitted(isoflop_log(4, 7), HOFFMANNS))
    ax = plot_isoflop_parabolas(result)
    at = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "D"]
    assert sorted(at) == pytest.approx(sorted(result.groups["params"]))
    plt.close(ax.figure)
    bare = replace(result, groups=result.groups.iloc[:0], missing={"isoflop": "no budgets"})
    with pytest.raises(TrustError, match=r"^there are no parabolas to draw: no budgets$"):
        plot_isoflop_parabolas(bare)
