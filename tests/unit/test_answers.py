"""From loss to score: Schaeffer's limit, simulated answers, and a dispersion learnt from models."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.errors import ScenarioError
from bayescale.scenarios.answers import (
    Answers,
    Decoding,
    Dispersion,
    calibrate_dispersion,
    read_scores,
)


def test_tokens_that_are_all_alike_are_schaeffers() -> None:
    loss = np.array([0.05, 0.5, 2.0, 8.0])
    same = Answers()
    np.testing.assert_allclose(same.token_accuracy(loss), np.exp(-loss))
    np.testing.assert_allclose(same.exact_match(loss, 5), np.exp(-5 * loss))
    np.testing.assert_allclose(same.edit_distance(loss, 5), 5 * (1 - np.exp(-loss)))
    nearly = Answers(1e-3)
    np.testing.assert_allclose(
        nearly.exact_match(loss, 5), np.exp(-5 * loss), rtol=2e-3, atol=1e-12
    )


def test_greedy_decoding_is_right_where_the_token_beats_its_strongest_rival() -> None:
    """Even odds are enough; below them, p / (1 - p)."""
    loss = -np.log([0.9, 0.5, 0.25])
    np.testing.assert_allclose(Answers(0.0, "greedy").token_accuracy(loss), [1.0, 1.0, 1 / 3])


@pytest.mark.parametrize("decoding", ["sampled", "greedy"])
@pytest.mark.parametrize("dispersion", [0.3, 1.5, 4.0, 9.0])
def test_scores_are_those_of_simulated_answers(
    dispersion: float, decoding: Decoding, rng: np.random.Generator
) -> None:
    """Within four standard errors of a million simulated answers, whose tokens share their odds."""
    log_odds = rng.normal(-0.7, dispersion, 1_000_000)
    loss = np.logaddexp(0, -log_odds)
    p = np.exp(-loss)
    right = p if decoding == "sampled" else np.minimum(1.0, np.exp(log_odds))
    answers = Answers(dispersion, decoding)
    choice = 1 / (1 + 3 * np.exp(-2 * (1.5 - loss)))
    for simulated, computed in (
        (right, answers.token_accuracy(loss.mean())),
        (right**7, answers.exact_match(loss.mean(), 7)),
        (3 * (1 - right), answers.edit_distance(loss.mean(), 3)),
        (choice, answers.multiple_choice(loss.mean(), 2, 4, 1.5)),
    ):
        # the mean loss is itself simulated: its error moves the score by about as much
        error = simulated.std() / 1000 + loss.std() / 1000 * simulated.std() / loss.std()
        assert computed == pytest.approx(simulated.mean(), abs=4 * error + 1e-6)


def test_a_model_that_knows_nothing_of_the_answers_guesses() -> None:
    assert Answers().multiple_choice(3.0, 4, 4, 3.0) == pytest.approx(0.25)
    assert Answers().multiple_choice(0.01, 40, 4, 3.0) == pytest.approx(1.0)


def test_scores_fall_with_the_loss_and_with_the_length_of_answers() -> None:
    loss = np.linspace(0.01, 20, 300)
    for dispersion in (0.0, 0.5, 4.0):
        for decoding in ("sampled", "greedy"):
            answers = Answers(dispersion, decoding)
            one, five = answers.exact_match(loss, 1), answers.exact_match(loss, 5)
            assert (np.diff(one) <= 1e-12).all()
            assert (five <= one + 1e-12).all()
            assert ((five >= 0) & (one <= 1 + 1e-12)).all()


@pytest.mark.integration
def test_the_dispersion_that_made_the_scores_is_found(rng: np.random.Generator) -> None:
    """Its 90 % interval holds the truth in about nine of ten simulated tasks."""
    held, loss = 0, np.linspace(0.8, 8, 25)
    for _ in range(30):
        truth = float(np.exp(rng.uniform(np.log(1), np.log(6))))
        curve = Answers(truth, "greedy").exact_match(loss, 2)
        noise = 0.03 * np.sqrt(curve * (1 - curve)) * rng.standard_normal(len(loss))
        found = calibrate_dispersion(loss, (curve + noise).clip(0, 1), tokens=2)
        held += found.quantile(0.05) <= truth <= found.quantile(0.95)
    assert held >= 22  # binomial, 30 at 0.9: below with a chance of 0.8 %


@pytest.fixture(scope="module")
def lambada(real_data: Path) -> pd.DataFrame:
    """Pythia checkpoints on LAMBADA: log perplexity of the last word, and how often it is hit."""
    table = pd.read_csv(real_data / "pythia_checkpoints_downstream.csv")
    return table[(table["step"] >= 512) & (table["nonstandard_bs"] == 0)]


@pytest.fixture(scope="module")
def learnt(lambada: pd.DataFrame) -> Dispersion:
    small = lambada[lambada["params_nominal"] <= 1e9]
    return calibrate_dispersion(small["loss_lambada_ln_ppl"], small["lambada_acc"])


def test_exact_match_on_lambada_is_forecast_for_sizes_left_out(
    lambada: pd.DataFrame, learnt: Dispersion
) -> None:
    """One number, learnt on models of up to 1B, for those of 1.4B to 12B."""
    large = lambada[lambada["params_nominal"] > 1e9]
    score = large["lambada_acc"].to_numpy()
    curve, model = learnt.score(large["loss_lambada_ln_ppl"])
    lower, upper = np.quantile(model, [0.05, 0.95], axis=0)
    assert 0.82 < np.mean((score >= lower) & (score <= upper)) < 0.98
    error = np.abs(np.median(curve, axis=0) - score)
    assert error.mean() < 0.02
    independent = np.abs(np.exp(-large["loss_lambada_ln_ppl"]) - score)
    assert error.mean() < independent.mean() / 10


def test_lambada_without_dispersion_is_refuted(learnt: Dispersion) -> None:
    assert learnt.quantile(0.05) > 3
    assert learnt.quantile(0.95) < 6


# bad input


def test_answers_that_make_no_sense_are_named() -> None:
    with pytest.raises(ScenarioError) as caught:
        Answers(-1.0, "beam")  # pyright: ignore[reportArgumentType]
    assert str(caught.value) == (
        "answers cannot be scored:\n"
        "  - dispersion is -1, but must lie between 0, for tokens that are all alike, and 12\n"
        "  - decoding is 'beam', but must be one of sampled, greedy"
    )
    with pytest.raises(ScenarioError) as caught:
        Answers().exact_match(1.0, 0.5)
    assert str(caught.value) == (
        "answer tokens are 0.5, but must be finite and at least 1: count the tokens that must all "
        "be right"
    )
    with pytest.raises(
        ScenarioError, match=r"^choices is 1, but must be a whole number of at least 2"
    ):
        Answers().multiple_choice(1.0, 1, 1, 2.0)
    with pytest.raises(
        ScenarioError, match=r"^wrong_loss is -2, but must be finite and above zero"
    ):
        Answers().multiple_choice(1.0, 1, 4, -2.0)
    with pytest.raises(ScenarioError) as caught:
        Answers().token_accuracy([1.0, -1.0, np.nan])
    assert str(caught.value) == (
        "loss is -1.0, nan, but must be finite and above zero, in nats per token"
    )


def test_scores_that_make_no_sense_are_told_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        calibrate_dispersion([1.0, -1.0, 2.0], [0.1, 1.2, -0.3])
    assert str(caught.value) == (
        "the dispersion cannot be calibrated:\n"
        "  - scores are 1.2, -0.3, but must lie between 0 and 1: shares of answers that are right\n"
        "  - losses are -1.0, but must be finite and above zero"
    )
    with pytest.raises(
        ScenarioError, match="there are 2 losses but 1 scores: give one of each per model"
    ):
        calibrate_dispersion([1.0, 2.0], [0.1])
    with pytest.raises(ScenarioError, match="fewer than three models get some answers right"):
        calibrate_dispersion([1.0, 2.0, 9.0, 9.5], [0.4, 0.1, 0.0, 0.0])


def test_a_file_of_scores_needs_its_two_columns_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("ppl,acc\n1.0,0.5\n2.0,many\n")
    with pytest.raises(ScenarioError) as caught:
        read_scores(path)
    assert str(caught.value) == (
        "scores.csv cannot be used for scores:\n"
        "  - there is no column 'loss' for loss, but ppl, acc: name one with "
        "`columns={'loss': 'HEADER'}`\n"
        "  - there is no column 'score' for score, but ppl, acc: name one with "
        "`columns={'score': 'HEADER'}`"
    )
    with pytest.raises(ScenarioError) as caught:
        read_scores(path, {"loss": "ppl", "score": "acc"})
    assert str(caught.value) == (
        "scores.csv cannot be used for scores:\n  - acc must be a number: row 2 (many)"
    )
    path.write_text("ppl,acc\n1.0,0.5\n2.0,0.25\n")
    assert read_scores(path, {"loss": "ppl", "score": "acc"})["score"].tolist() == [0.5, 0.25]
