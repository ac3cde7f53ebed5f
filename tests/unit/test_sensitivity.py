"""What params counts moves a law, and the tool says so unasked where the log can tell."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayescale.cards import ModelCard, load_card
from bayescale.errors import TrustError
from bayescale.laws import CHINCHILLA, LAWS, compute_optimal
from bayescale.posterior import Posterior, open_posterior, point, save
from bayescale.runs import Runs, read_runs
from bayescale.validation.design import layout_checks
from bayescale.validation.sensitivity import (
    alternatives,
    counting_notes,
    sensitivity,
    split_exponent,
)

WIDTH = 64.0 * np.arange(4, 16)
LAYERS = np.arange(4.0, 16)
BLOCKS = 12 * LAYERS * WIDTH**2
MATRIX = 32000 * WIDTH


@pytest.fixture
def log() -> pd.DataFrame:
    """Losses that are a law of all params, embeddings included."""
    all_params, ratio = np.repeat(BLOCKS + 2 * MATRIX, 6), np.tile([3, 8, 20, 50, 130, 300], 12)
    tokens = np.round(ratio * all_params)
    loss = 1.8 + 480 / all_params**0.35 + 2100 / tokens**0.37
    return pd.DataFrame(
        {
            "params": all_params + 1.0,  # not the exact count of any shape
            "tokens": tokens,
            "loss": loss,
            "layers": np.repeat(LAYERS, 6),
            "width": np.repeat(WIDTH, 6),
            "feed_forward": 4 * np.repeat(WIDTH, 6),
            "vocab_size": 32000,
            "tied_head": 0,
        }
    )


def bare(log: pd.DataFrame) -> pd.DataFrame:
    return log[["params", "tokens", "loss"]]


def notes(runs: Runs, law=CHINCHILLA) -> list[str]:
    return [note.text for note in counting_notes(runs, law, layout_checks(runs, law))]


def least_squares(runs: Runs, card: ModelCard) -> Posterior:
    """The truth of the log, where it is fitted in its own count; else a law that differs."""
    alpha = 0.35 if runs["params"][0] > (BLOCKS + 1.5 * MATRIX)[0] else 0.25
    return point(card, {"E": 1.8, "A": 480.0, "alpha": alpha, "B": 2100.0, "beta": 0.37})


def test_exponent_by_hand(log: pd.DataFrame) -> None:
    params, tokens, loss = (log[name].to_numpy() for name in ("params", "tokens", "loss"))
    assert split_exponent(params, tokens, loss) == pytest.approx(0.37 / 0.72, abs=2e-3)
    doubled = split_exponent(np.sqrt(params), tokens, loss)  # alpha twice as large
    assert doubled == pytest.approx(0.37 / (0.70 + 0.37), abs=2e-3)


def test_a_log_that_cannot_tell_is_told_nothing(log: pd.DataFrame) -> None:
    assert notes(read_runs(bare(log))) == []
    assert notes(read_runs(log), LAWS["henighan_tokens"]) == []


def test_a_second_count_is_used(log: pd.DataFrame) -> None:
    frame = bare(log).assign(params_no_embed=np.repeat(BLOCKS, 6))
    (text,) = notes(read_runs(frame))
    smallest, largest = (BLOCKS / (BLOCKS + 2 * MATRIX))[[0, -1]]
    (other,) = alternatives(read_runs(frame), CHINCHILLA)
    np.testing.assert_allclose(other.runs["flops"], 6 * np.repeat(BLOCKS, 6) * frame["tokens"])
    moved = split_exponent(other.runs["params"], other.runs["tokens"], other.runs["loss"])
    assert moved > 0.55
    assert text == (
        "the law depends on what params counts. From column 'params_no_embed'. With params by "
        f"column params_no_embed: {smallest:.3g} times params for the smallest model, "
        f"{largest:.3g} for the largest, and the exponent a of the best N ~ C^a goes from about "
        f"0.51 to about {moved:.2f} (least squares). State what params counts with "
        "`conventions=`, forecast in that count only, and see `bayescale.sensitivity`"
    )


def test_a_configuration_is_used(log: pd.DataFrame) -> None:
    names = ["params no_input_embedding", "params non_embedding"]
    stated = read_runs(log, conventions={"params": "all"})
    assert [one.name for one in alternatives(stated, CHINCHILLA)] == names
    assert "Params are stated to be all: forecast in that count only" in notes(stated)[0]
    unstated = read_runs(log)
    found = alternatives(unstated, CHINCHILLA)
    assert [one.name for one in found] == names
    assert found[0].known_from == "the models' configuration, by which params are those of all"
    np.testing.assert_allclose(found[1].runs["params"], np.repeat(BLOCKS, 6) + 1)
    assert unstated.conventions.params == "unknown"  # nothing is taken for granted


def test_a_law_of_compute_has_other_counts_of_compute(log: pd.DataFrame) -> None:
    runs = read_runs(log.assign(heads=4, seq_len=1024), conventions={"params": "all"})
    names = [one.name for one in alternatives(runs, LAWS["kaplan_compute"])]
    assert names == ["flops 6ND_non_embedding", "flops hoffmann_f", "flops hoffmann_blocks"]


def test_where_size_and_data_grow_together_no_exponent_is_told(log: pd.DataFrame) -> None:
    frame = bare(log).iloc[::6].assign(params_no_embed=BLOCKS)
    (text,) = notes(read_runs(frame))
    assert "exponent" not in text
    assert "times params for the smallest model" in text


def test_refits_are_laid_side_by_side(log: pd.DataFrame) -> None:
    runs = read_runs(log, conventions={"params": "all"})
    result = sensitivity(runs, load_card("chinchilla"), least_squares)
    table = result.to_frame().set_index(["convention", "quantity"])["median"]
    assert table["as it is", "alpha"] == 0.35
    assert table["as it is", "a"] == pytest.approx(0.37 / 0.72)
    assert table["params non_embedding", "a"] == pytest.approx(0.37 / 0.62)
    truth = {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37}
    params, tokens = compute_optimal(CHINCHILLA, runs["flops"].max(), truth)
    assert table["as it is", "tokens_per_param"] == pytest.approx(tokens / params)
    known = "the models' configuration; params stated to be all"
    names = ("params no_input_embedding", "params non_embedding")
    assert result.to_json()["known_from"] == dict.fromkeys(names, known)
    text = str(result)
    assert text.startswith("chinchilla refitted under each convention; median, 90% interval\n")
    assert "exponent a of the best N ~ C^a" in text
    assert text.endswith(
        "params no_input_embedding, params non_embedding: from the models' configuration; params "
        "stated to be all"
    )


def test_nothing_to_refit_under(log: pd.DataFrame) -> None:
    with pytest.raises(TrustError) as caught:
        sensitivity(read_runs(bare(log)), load_card("chinchilla"), least_squares)
    assert str(caught.value) == (
        "DataFrame implies no other convention to refit chinchilla under: add a second count of "
        "params as column params_no_embed, or the models' configuration (columns layers, width, "
        "vocabulary) and state what params counts with `convention=`"
    )


# published runs


def test_porian_is_told_unasked_in_the_published_direction(real_data: Path) -> None:
    """Porian et al. (2024): .706 with the output head counted, .835 without, on RefinedWeb."""
    runs = read_runs(real_data / "porian_refinedweb.csv")
    (text,) = notes(runs)
    assert (
        "exactly those of 3 to 30 layers of width 96 to 1504 with one matrix for 50432 tokens"
        in text
    )
    by_name = {one.name: one.runs for one in alternatives(runs, CHINCHILLA)}
    now, without, both = (
        split_exponent(one["params"], one["tokens"], one["loss"])
        for one in (runs, by_name["params non_embedding"], by_name["params all"])
    )
    assert now == pytest.approx(0.571, abs=0.03)  # theirs for these runs, with the head
    assert without > now + 0.1
    assert both < now


def test_check_and_fit_files_keep_what_was_stated(
    bayescale, cerebras_posterior: Posterior, log: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    log.assign(tokenizer="gpt2").to_csv(path, index=False)
    ran = bayescale("check", path, "--convention", "params=all", "--json")
    assert ran.json["conventions"] == {
        "params": "all", "flops": "6ND", "loss": "unknown", "evaluation_set": "unknown",
        "tokenizer": "gpt2", "tokens_per_byte": None,
    }  # fmt: skip
    assert ran.json["compute"]["median"] == pytest.approx(1.0)
    assert "params_counting" in [note["code"] for note in ran.json["warnings"]]
    told = bayescale("check", path, "--convention", "params=all")
    assert "  params          all: every parameter, embeddings included\n" in told.out
    assert "  unknown         evaluation_set, tokens_per_byte\n" in told.out
    assert "Note (params_counting): the law depends on what params counts" in told.out
    converted = bayescale(
        "check", path, "--convention", "params=all", "--convert", "params=non_embedding", "--json"
    )
    assert converted.json["conventions"]["params"] == "non_embedding"

    runs = read_runs(path, conventions={"params": "all"})
    draws = xr.DataTree.from_dict({"posterior": cerebras_posterior.draws})  # of other runs
    kept = replace(cerebras_posterior, runs=replace(runs, _arrays={}), tree=draws)
    assert open_posterior(save(kept, tmp_path / "fit.nc")).runs.conventions == runs.conventions


@pytest.mark.slow
def test_refits_of_porian_move_as_published(bayescale, real_data: Path) -> None:
    ran = bayescale("check", real_data / "porian_refinedweb.csv", "--sensitivity", "--json")
    rows = {
        row["convention"]: row for row in ran.json["sensitivity"]["rows"] if row["quantity"] == "a"
    }
    with_head, without = rows["as it is"], rows["params non_embedding"]
    assert with_head["lower"] < 0.571 < with_head["upper"]
    assert without["lower"] > with_head["upper"]
    assert ran.code == 0
