"""Where card and runs disagree: priors that the runs leave, and noise of another shape."""

from html import escape

import numpy as np
import pandas as pd
import pytest
from support.published import BESIROGLU
from support.refits import N_DRAWS, built, even_normal

from bayescale.cards import load_card, require_level
from bayescale.decisions.allocate import allocate
from bayescale.errors import RunLogError
from bayescale.forecasting import forecast
from bayescale.posterior import Posterior, recorded_conflicts
from bayescale.posterior.average import ModelAverage
from bayescale.posterior.conflicts import cautions, conflicts, with_conflicts
from bayescale.runs import Runs, read_runs
from bayescale.validation.notes import fit_notes

CARD, SIGMA = load_card("chinchilla"), 0.01
NORMAL = BESIROGLU | {"sigma": SIGMA, "nu": 30.0}
SCORES = even_normal()[:: N_DRAWS // 24][:24]
SHUFFLED = np.random.default_rng(3).permutation(SCORES)


def log_of(residuals: np.ndarray, **values: float | np.ndarray) -> Runs:
    """Runs of growing compute whose residuals about Besiroglu's law, or another, are known."""
    law = BESIROGLU | {name: float(np.median(values[name])) for name in BESIROGLU if name in values}
    params = np.geomspace(1e8, 1e10, len(residuals))
    tokens = 20 * params
    loss = CARD.law.loss(params, tokens, **law) * np.exp(SIGMA * residuals)
    ids = [f"r{i}" for i in range(len(residuals))]
    return read_runs(
        pd.DataFrame({"run_id": ids, "params": params, "tokens": tokens, "loss": loss})
    )


def fitted(residuals: np.ndarray = SHUFFLED, **values: float | np.ndarray) -> Posterior:
    return built(CARD, log_of(residuals, **values), NORMAL | values)


def codes(posterior: Posterior) -> list[str]:
    return [item.code for item in conflicts(posterior)]


def test_a_fit_as_the_card_expects_has_none() -> None:
    assert codes(fitted()) == []


def test_a_coefficient_outside_its_priors_interval_is_named_with_its_term() -> None:
    """A term of 1.5 nats at 1e9 params lies above 0.06 to 1, whatever A and alpha are."""
    alpha = even_normal(0.35, 0.02)
    found = conflicts(fitted(E=even_normal(2.7, 0.1), alpha=alpha, A=1.5 * 1e9**alpha))
    assert [item.code for item in found] == ["prior_conflict"]
    assert found[0].text == (
        "the runs pull out of its prior's 90% interval: E is 2.7 (2.54 to 2.86), above 0.5 to 2.5; "
        "A's term at 1e+09 params is 1.5 (1.5 to 1.5), above 0.06 to 1. Check the log's units, "
        "tokenizer and evaluation set; if they are right, give a card whose priors allow for that "
        "(`card=`)"
    )
    assert codes(fitted(E=even_normal(2.55, 0.1))) == []  # 70 % beyond the end


def test_noise_with_heavier_tails_than_the_prior_allows_is_named() -> None:
    (found,) = conflicts(fitted(nu=even_normal(1.5, 0.2)))
    assert found.code == "heavy_tails"
    assert "heavier tails than nu = 2" in found.text
    assert "nu is 1.5 (1.17 to 1.83)" in found.text
    assert found.text.startswith("a few runs lie much farther from the law than most do")


def test_answers_name_heavy_tails_in_short() -> None:
    fit = with_conflicts(fitted(nu=even_normal(1.5, 0.2)))
    (line,) = cautions(fit)
    assert line == (
        "Caution (heavy_tails): a few runs lie much farther from the law than most do; "
        "`fit.trust()` says what to do"
    )


def test_skewed_residuals_name_the_side_and_the_key() -> None:
    skewed = np.random.default_rng(0).permutation(np.exp(1.2 * SCORES) - 1)
    found = {item.code: item.text for item in conflicts(fitted(skewed, sigma=0.02))}
    assert set(found) == {"skewed_noise"}
    assert "those above the law are larger" in found["skewed_noise"]
    assert "add [noise.excess] to the card, as in card chinchilla_floor" in found["skewed_noise"]
    below = {item.code: item.text for item in conflicts(fitted(-skewed, sigma=0.02))}
    assert "those below the law are larger" in below["skewed_noise"]
    assert "noise.excess" not in below["skewed_noise"]


def test_residuals_whose_scale_falls_with_size_name_the_key() -> None:
    falling = np.where(np.arange(24) % 2, 1, -1) * np.geomspace(3.0, 0.1, 24)
    (found,) = conflicts(fitted(falling))
    assert found.code == "noise_varies_with_size"
    assert "shrinks with size" in found.text
    assert found.text.endswith("add [noise.shrink] to the card")
    (found,) = conflicts(fitted(falling[::-1]))
    assert "grows with size" in found.text
    assert "noise.shrink" not in found.text


def test_few_runs_are_not_tested() -> None:
    falling = np.where(np.arange(11) % 2, 1, -1) * np.geomspace(3.0, 0.03, 11)
    assert codes(fitted(falling)) == []


def test_answers_that_rest_on_a_conflict_say_so() -> None:
    posterior = with_conflicts(fitted(E=even_normal(2.7, 0.1)))
    answer = forecast(posterior, params=7e9, tokens=1e12)
    line = str(answer).splitlines()[-1]
    assert line.startswith(
        "Caution (prior_conflict): the runs pull out of its prior's 90% interval"
    )
    assert answer.to_json()["cautions"] == [line]
    assert escape(line) in answer._repr_html_()
    assert str(allocate(posterior, 1e23)).endswith(line)
    assert {"prior_conflict"} == {item.code for item in recorded_conflicts(posterior)}
    assert "prior_conflict" in {item.code for item in fit_notes(posterior)}
    other = built(load_card("kaplan_irreducible"), posterior.runs, {
        "E": 1.7, "N_c": 2e8, "alpha_N": 0.3, "D_c": 5e9, "alpha_D": 0.34, "sigma": 0.01, "nu": 9.0,
    })  # fmt: skip
    average = ModelAverage((posterior, other), (0.5, 0.5))
    assert [item.text.split(":")[0] for item in recorded_conflicts(average)] == ["chinchilla"]
    assert forecast(fitted(), params=7e9, tokens=1e12).to_json()["cautions"] == []


# losses far from what the card expects


def at_level(times: float) -> Runs:
    frame = log_of(SHUFFLED).frame[["run_id", "params", "tokens", "loss"]]
    return read_runs(frame.assign(loss=times * frame["loss"]), units={"loss": "nats"})


@pytest.mark.parametrize("times", [1.0, 0.025, 3.0])
def test_losses_that_the_runs_can_pull_the_prior_to_are_fitted(times: float) -> None:
    require_level(at_level(times), CARD)


def test_losses_that_the_prior_all_but_excludes_are_refused() -> None:
    with pytest.raises(RunLogError) as caught:
        require_level(at_level(1e-4), CARD)
    assert str(caught.value) == (
        "card 'chinchilla' cannot be used with DataFrame: its losses, 0.000259 on average, are 22 "
        "standard deviations from those that the priors expect of such runs (0.918 to 3.47 "
        "nats/token), so that the priors would decide and not the runs. State the unit of the "
        "losses, such as `units={'loss': 'bits'}`, or give a card whose priors are about such "
        "losses (`card=`)"
    )


def test_a_narrow_prior_is_not_refused_for_a_loss_half_as_large() -> None:
    require_level(at_level(0.5), load_card("chinchilla_published"))


def test_priors_relative_to_the_runs_follow_any_level() -> None:
    frame = at_level(1.0).frame.assign(loss=lambda f: 1e-4 * f["loss"])
    runs = read_runs(frame[["run_id", "params", "loss"]], units={"loss": "nats"})
    require_level(runs, load_card("saturating_params"))
