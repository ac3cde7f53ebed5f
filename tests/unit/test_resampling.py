"""Posteriors against fresh logs: wide enough where the model is right, widened where not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayescale.cards import load_card
from bayescale.errors import PosteriorError
from bayescale.inference.fit import fit
from bayescale.laws import CHINCHILLA, LAWS
from bayescale.posterior import Posterior, point
from bayescale.posterior.resampling import resampling_notes, resampling_ratio, widen
from bayescale.runs import read_runs
from bayescale.simulation import simulate

TRUTH = {"C_c": 1e24, "alpha_C": 0.06}
LAW = LAWS["kaplan_compute"]


def compute_log(copies: int, seed: int = 0):
    """120 runs; with copies, groups of that many share one deviation from the law."""
    flops = np.repeat(np.geomspace(1e18, 1e22, 120 // copies), copies)
    log = simulate(LAW, TRUTH, {"flops": flops}, sigma=0, seed=0)
    rng = np.random.default_rng(seed)
    shared = np.repeat(rng.standard_normal(120 // copies), copies)
    own = 0.1 * rng.standard_normal(120)
    return read_runs(log.assign(loss=log["loss"] * np.exp(0.01 * (shared + own))))


def test_independent_runs_need_no_widening() -> None:
    posterior = fit(compute_log(copies=1), LAW)
    for ratio in resampling_ratio(posterior).values():
        assert ratio == pytest.approx(1, abs=0.2)
    assert resampling_notes(posterior) == ()
    wide = widen(posterior)
    for name in LAW.coefficients:
        grown = np.log(wide.draws[name]).std() / np.log(posterior.draws[name]).std()
        assert 1 <= float(grown) < 1.2


@pytest.mark.integration
def test_one_corner_that_scatters_more_is_seen_and_allowed_for() -> None:
    """Ten times the residual noise at both ends, where the exponent is decided."""
    flops = np.geomspace(1e18, 1e22, 120)
    log = simulate(LAW, TRUTH, {"flops": flops}, sigma=0)
    ends = np.abs(np.log(flops) - np.log(flops).mean()) > 3.5
    rng = np.random.default_rng(2)
    noise = np.where(ends, 0.01, 0.001) * rng.standard_normal(120)
    text = load_card("kaplan_compute").text.replace('"StudentT"', '"Normal"')
    before, after = text.split("[noise.nu]")
    text = before + after[after.index("[family") :]
    from bayescale.cards import parse_card

    runs = read_runs(log.assign(loss=log["loss"] * np.exp(noise)))
    posterior = fit(runs, card=parse_card(text))
    ratio = resampling_ratio(posterior)["alpha_C"]
    assert ratio > 1.2
    (note,) = resampling_notes(posterior)
    assert note.code == "overconfident"
    assert f"alpha_C {ratio:.1f}" in note.text
    grown = (
        np.log(widen(posterior).draws["alpha_C"]).std() / np.log(posterior.draws["alpha_C"]).std()
    )
    assert float(grown) == pytest.approx(ratio, rel=0.05)


def test_240_chinchilla_runs_are_less_certain_than_their_posterior(
    chinchilla_posterior: Posterior,
) -> None:
    """The published bootstrap gives beta / (alpha + beta) a standard error of 0.020."""

    def width(posterior: Posterior) -> float:
        share = posterior.draws["beta"] / (posterior.draws["alpha"] + posterior.draws["beta"])
        return float(np.diff(np.quantile(share, [0.05, 0.95])).item())

    assert width(chinchilla_posterior) < 0.04
    assert 0.04 < width(widen(chinchilla_posterior)) < 0.09
    assert {note.code for note in resampling_notes(chinchilla_posterior)} == {"overconfident"}


def test_a_robust_summary_is_that_of_the_widened_fit(chinchilla_posterior: Posterior) -> None:
    plain, robust = (chinchilla_posterior.summary(robust=value) for value in (False, True))
    widened = widen(chinchilla_posterior).summary()
    pd.testing.assert_frame_equal(robust.to_frame(), widened.to_frame())
    assert "`robust=True`" in str(plain)
    assert robust.to_frame()["upper"]["beta"] > plain.to_frame()["upper"]["beta"]


def test_widening_keeps_the_middle_and_all_that_stands_beside(
    chinchilla_posterior: Posterior,
) -> None:
    wide = widen(chinchilla_posterior)
    for name in CHINCHILLA.coefficients:
        before = np.log(chinchilla_posterior.draws[name])
        after = np.log(wide.draws[name])
        assert float(after.mean()) == pytest.approx(float(before.mean()))
        assert float(after.std()) >= float(before.std()) * 0.999
    assert wide.draws["sigma"].equals(chinchilla_posterior.draws["sigma"])
    assert set(wide.tree.children) == set(chinchilla_posterior.tree.children)


def test_too_few_runs_cannot_tell(cerebras_posterior: Posterior) -> None:
    with pytest.raises(PosteriorError) as caught:
        widen(cerebras_posterior)
    assert str(caught.value) == (
        "5 runs are too few to estimate the spread of the coefficients over fresh logs: at least "
        "30 are needed"
    )
    assert resampling_notes(cerebras_posterior) == ()
    card = load_card("kaplan_compute")
    with pytest.raises(PosteriorError, match=r"^0 runs are too few"):
        widen(point(card, card.published_values("kaplan_2020")))


def test_pooled_families_are_refused(chinchilla_posterior: Posterior) -> None:
    draws = chinchilla_posterior.draws.assign_coords(family=["a", "b"])
    tree = chinchilla_posterior.tree.copy()
    tree["posterior"] = type(tree)(draws)
    with pytest.raises(PosteriorError, match="not defined for a fit with families"):
        widen(replace(chinchilla_posterior, tree=tree))
