"""Run logs: every format, every way to be wrong, and nothing changed in silence."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayescale.errors import BayescaleError, RunLogError, as_options
from bayescale.laws import CHINCHILLA, LAWS
from bayescale.runs import Runs, as_runs, read_runs, require_runs_for

GOOD = pd.DataFrame(
    {
        "run_id": ["a", "b", "c"],
        "params": [1e8, 1e9, 1e9],
        "tokens": [2e9, 2e10, 8e10],
        "flops": [1.2e18, 1.2e20, 4.8e20],
        "loss": [3.6, 2.7, 2.5],
    }
)
HEAD = "GOOD cannot be used:"


def wrong(frame: pd.DataFrame, **options) -> str:
    with pytest.raises(RunLogError) as caught:
        read_runs(frame, **options)
    return as_options(str(caught.value))


def changed(column: str, row: int, value: object) -> pd.DataFrame:
    frame = GOOD.astype(object)
    frame.loc[row, column] = value
    return frame


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "parquet": lambda frame, path: frame.to_parquet(path),
    "jsonl": lambda frame, path: path.write_text(
        "\n".join(json.dumps(row) for row in frame.to_dict("records"))
    ),
}


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format_gives_the_same_runs(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"runs.{ending}"
    WRITERS[ending](GOOD, path)
    runs = read_runs(path)
    assert runs.digest == read_runs(GOOD).digest
    assert runs.source == f"runs.{ending}"
    assert runs["params"].dtype == np.float64
    np.testing.assert_array_equal(runs["loss"], GOOD["loss"])


def test_aliases_and_spellings_are_understood() -> None:
    frame = pd.DataFrame(
        {
            "Model Size": [1e8, 1e9],
            "D": [2e9, 2e10],
            "Training FLOP": [1e18, 1e20],
            "val-loss": [3, 2],
        }
    )
    runs = read_runs(frame)
    assert runs.columns["params"] == "column 'Model Size'"
    assert runs.columns["loss"] == "column 'val-loss'"


def test_own_column_names_are_given_by_option() -> None:
    runs = read_runs(GOOD.rename(columns={"tokens": "seen"}), columns={"tokens": "seen"})
    np.testing.assert_array_equal(runs["tokens"], GOOD["tokens"])


def test_compute_is_derived_where_absent_and_that_is_recorded() -> None:
    runs = read_runs(GOOD.drop(columns="flops"))
    np.testing.assert_allclose(runs["flops"], 6 * GOOD["params"] * GOOD["tokens"])
    assert runs.columns["flops"] == "6 * params * tokens"
    assert [note.code for note in runs.warnings] == ["flops_derived"]


def test_large_counts_do_not_overflow() -> None:
    frame = pd.DataFrame({"params": [70_000_000_000, 1_000_000_000_000], "loss": [2.0, 1.9]})
    frame["tokens"] = [1_400_000_000_000, 20_000_000_000_000]
    assert read_runs(frame)["flops"][1] == pytest.approx(1.2e26)


def test_another_convention_of_compute_is_reported_with_its_numbers() -> None:
    frame = GOOD.assign(flops=GOOD["flops"] * [1.0, 1.3, 1.5])
    (note,) = read_runs(frame).warnings
    assert note.code == "flops_convention"
    assert note.text == (
        "flops differs from 6 * params * tokens by more than 20% in 2 of 3 runs: their ratio goes "
        "from 1 to 1.5, median 1.3; check how compute, embeddings and repeated data were counted"
    )


@pytest.mark.parametrize(
    ("column", "unit", "factor"),
    [("tokens", "1e9", 1e9), ("params", "B", 1e9), ("flops", "PF-day", 8.64e19)],
)
def test_units_are_converted_at_the_door(column: str, unit: str, factor: float) -> None:
    runs = read_runs(GOOD.assign(**{column: GOOD[column] / factor}), units={column: unit})
    np.testing.assert_allclose(runs[column], GOOD[column])


def test_losses_in_bits_and_perplexity_become_nats() -> None:
    bits = read_runs(
        GOOD.assign(loss=GOOD["loss"] / np.log(2), loss_se=0.01), units={"loss": "bits"}
    )
    np.testing.assert_allclose(bits["loss"], GOOD["loss"])
    np.testing.assert_allclose(bits["loss_se"], 0.01 * np.log(2))
    perplexity = read_runs(GOOD.assign(loss=np.exp(GOOD["loss"])), units={"loss": "perplexity"})
    np.testing.assert_allclose(perplexity["loss"], GOOD["loss"])


def test_rows_left_out_are_listed_with_their_reason() -> None:
    frame = GOOD.assign(suspect=[0, 1, 0], tokens=[2e9, 2e10, np.nan])
    runs = read_runs(frame, exclude={"suspect": "1"}, missing="drop")
    assert list(runs["run_id"]) == ["a"]
    assert [tuple(item) for item in runs.dropped] == [
        ("b", "suspect = 1, excluded on request"),
        ("c", "tokens is missing"),
    ]


def test_a_row_that_lacks_two_values_is_left_out_once() -> None:
    frame = GOOD.assign(tokens=[2e9, 2e10, np.nan], flops=[1.2e18, 1.2e20, np.nan])
    runs = read_runs(frame, missing="drop")
    assert [tuple(item) for item in runs.dropped] == [("c", "tokens is missing")]


def test_rows_are_numbered_as_in_the_file_whatever_was_left_out() -> None:
    frame = changed("tokens", 0, "").assign(loss=[3.6, 2.7, 99.0])
    for options in ({"missing": "drop"}, {"exclude": {"run_id": "a"}}):
        message = wrong(frame, **options)
        assert "loss is above 15 in 1 of 2 runs, 99.0 in row 3 (c)" in message


def test_missing_scales_may_be_kept_for_laws_that_do_not_need_them() -> None:
    runs = read_runs(GOOD.assign(tokens=[2e9, np.nan, 8e10]), missing="keep")
    require_runs_for(LAWS["henighan_compute"], runs)
    with pytest.raises(RunLogError) as caught:
        require_runs_for(CHINCHILLA, runs)
    assert as_options(str(caught.value)) == (
        "law 'chinchilla' cannot be fitted to DataFrame:\n"
        "  - tokens is missing for b: leave such runs out with --missing drop, or choose a law "
        "that does not need it"
    )


def test_runs_do_not_change_and_do_not_follow_the_callers_frame() -> None:
    frame = GOOD.copy()
    runs = read_runs(frame)
    before = runs.digest
    frame["loss"] = 1.0
    copy = runs.to_frame()
    copy.loc[0, "loss"] = 9.0
    assert runs.digest == before
    with pytest.raises(ValueError, match="read-only"):
        runs["loss"][0] = 1.0


# bad input: one message each, in full


def test_text_in_place_of_numbers() -> None:
    assert wrong(changed("tokens", 1, "20 bn")) == (
        "DataFrame cannot be used:\n"
        "  - tokens has text instead of numbers: '20 bn' in row 2 (b); write plain numbers such "
        "as 1.4e12, or leave such rows out with --exclude 'tokens=20 bn'"
    )


def test_missing_value() -> None:
    assert wrong(changed("loss", 0, "")) == (
        "DataFrame cannot be used:\n"
        "  - loss is missing in row 1 (a): fill it in, leave such rows out with --missing drop"
    )


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_zero_and_negative_values(value: float) -> None:
    assert wrong(changed("loss", 2, value)) == (
        f"DataFrame cannot be used:\n  - loss must be greater than zero: {value} in row 3 (c); "
        "correct it, or leave such rows out (--exclude run_id=c)"
    )


def test_infinite_value() -> None:
    assert wrong(changed("flops", 2, np.inf)) == (
        "DataFrame cannot be used:\n"
        "  - flops is infinite: inf in row 3 (c); correct it, or leave such rows out with "
        "--missing drop"
    )


def test_tokens_in_billions() -> None:
    frame = GOOD.drop(columns="flops").assign(tokens=GOOD["tokens"] / 1e9)
    assert wrong(frame) == (
        "DataFrame cannot be used:\n"
        "  - tokens is below 1e+06 in 3 of 3 runs, 2.0 in row 1 (a), 20.0 in row 2 (b), 80.0 in "
        "row 3 (c): raw counts of tokens, such as 1.4e12; if they are in billions, say --unit "
        "tokens=1e9; if they are meant, say --unit tokens=1"
    )


def test_tokens_in_thousands_are_caught_by_the_compute_column() -> None:
    frame = GOOD.assign(tokens=GOOD["tokens"] / 1e3)
    assert "flops is 1e+03 times 6 * params * tokens (median)" in wrong(frame)


def test_losses_in_perplexity() -> None:
    frame = GOOD.assign(loss=np.exp(GOOD["loss"]))
    assert wrong(frame) == (
        "DataFrame cannot be used:\n"
        f"  - loss is above 15 in 1 of 3 runs, {float(np.exp(3.6))!r} in row 1 (a): that is not "
        "nats per token; if it is perplexity, say --unit loss=perplexity"
    )


def test_small_perplexities_of_large_runs() -> None:
    frame = GOOD.assign(loss=[14.0, 12.1, 9.7])
    assert wrong(frame) == (
        "DataFrame cannot be used:\n"
        "  - the median loss of the 2 runs with flops of 1e+19 or more is 10.9, where language "
        "models reach below 4 nats per token; if it is perplexity, say --unit loss=perplexity; if "
        "nats are meant, --unit loss=nats"
    )


def test_small_runs_pass_when_their_unit_is_said_to_be_meant() -> None:
    frame = GOOD.drop(columns="flops").assign(tokens=GOOD["tokens"] / 1e9)
    assert read_runs(frame, units={"tokens": "1"})["tokens"][0] == 2.0


def test_one_run_twice() -> None:
    frame = pd.concat([GOOD, GOOD.iloc[[1]]]).drop(columns="run_id")
    assert wrong(frame) == (
        "DataFrame cannot be used:\n"
        "  - 1 run repeats an earlier one in every value: row 4 (the first is row 2); a run "
        "counted twice makes the fit overconfident, so leave copies out with --repeats drop, or "
        "count them as runs with --repeats keep"
    )
    assert [tuple(left) for left in read_runs(frame, repeats="drop").dropped] == [
        ("row 4", "it repeats an earlier row in every value")
    ]
    assert len(read_runs(frame, repeats="keep")) == 4
    assert "run_id 'b' stands for more than one run" in wrong(GOOD.assign(run_id=["a", "b", "b"]))


def test_seed_repeats_are_not_duplicates() -> None:
    frame = pd.concat([GOOD, GOOD.assign(run_id=["d", "e", "f"], loss=GOOD["loss"] * 1.001)])
    assert len(read_runs(frame)) == 6


def test_one_run_alone() -> None:
    with pytest.raises(RunLogError) as caught:
        require_runs_for(CHINCHILLA, read_runs(GOOD.iloc[[0]]))
    assert as_options(str(caught.value)) == (
        "DataFrame holds 1 run, and a law of scale needs at least two of different size: add runs"
    )


def test_all_runs_at_one_size() -> None:
    runs = read_runs(GOOD.iloc[1:])
    with pytest.raises(RunLogError) as caught:
        require_runs_for(CHINCHILLA, runs)
    assert as_options(str(caught.value)) == (
        "law 'chinchilla' cannot be fitted to DataFrame:\n"
        "  - all 2 runs have one size, params = 1e+09, so nothing can be learned about how loss "
        "depends on params: add runs of another size, or choose a law of what varies"
    )
    require_runs_for(LAWS["henighan_tokens"], runs)


def test_missing_columns() -> None:
    assert wrong(GOOD.drop(columns="loss")) == (
        "DataFrame cannot be used:\n"
        "  - it has no loss among its columns run_id, params, tokens, flops: name it with --column "
        "loss=HEADER"
    )
    assert "it has none of params, tokens and flops" in wrong(GOOD[["run_id", "loss"]])
    with pytest.raises(RunLogError, match="it has no tokens: name its column with `columns="):
        require_runs_for(CHINCHILLA, read_runs(GOOD[["params", "loss"]]))


def test_columns_that_could_be_the_same_thing() -> None:
    frame = GOOD.drop(columns="loss").assign(val_loss=GOOD["loss"], test_loss=GOOD["loss"])
    assert "columns 'val_loss', 'test_loss' could each be loss: choose with --column" in wrong(
        frame
    )
    runs = read_runs(frame, columns={"loss": "test_loss"})
    assert runs.columns["loss"] == "column 'test_loss'"


def test_unknown_columns_and_units_in_options() -> None:
    message = wrong(GOOD, columns={"tokns": "tokens", "loss": "lss"}, units={"flops": "furlong"})
    assert "column 'tokns' is not one of params, tokens" in message
    assert "column 'lss', named for loss, is not there; it has run_id, params" in message
    assert "unit 'furlong' of column 'flops' is unknown: use FLOP" in message


def test_all_problems_are_reported_together_and_many_are_counted() -> None:
    frame = pd.concat([GOOD] * 4, ignore_index=True).astype(object)
    frame["run_id"] = [f"r{i}" for i in range(12)]
    frame["loss"] = "x"
    frame.loc[3, "params"] = -1.0
    message = wrong(frame)
    assert "params must be greater than zero: -1.0 in row 4 (r3)" in message
    assert "'x' in row 5 (r4) and 7 more; write plain numbers" in message


BAD_FILES = {
    "empty.csv": (b"", "empty.csv is empty: a run log has a header and one row per run"),
    "blank.csv": (b"\n \n", "blank.csv is empty: a run log has a header and one row per run"),
    "header.csv": (b"params,loss\n", "header.csv has a header but no rows"),
    "twice.csv": (b"params,loss,loss\n1e9,2,3\n", "has more than one column named 'loss'"),
    "tabs.csv": (b"params\tloss\n1e9\t2.5\n", "tabs.csv is separated by tabs: use commas"),
    "ragged.csv": (b"params,loss\n1e9,2.5\n1e9\n", "has 2 columns, but row 2 has 1"),
    "json.csv": (b'{"params": 1e9}\n', "json.csv is not CSV but JSON inside"),
    "page.csv": (b"<html></html>", "page.csv is not CSV but HTML or XML inside"),
    "excel.csv": (b"PK\x03\x04rest", "excel.csv is not CSV but Excel or zip inside"),
    "binary.csv": (b"a\xff\xfe\x00", "binary.csv is not CSV: byte 1 is not UTF-8 text"),
    "arrow.csv": (b"PAR1....", "arrow.csv is not CSV but Parquet inside"),
    "text.parquet": (b"params,loss\n", "text.parquet is not a Parquet file"),
    "cut.parquet": (b"PAR1cutshort", "cut.parquet is a damaged Parquet file"),
    "csv.jsonl": (b"params,loss\n1,2\n", "csv.jsonl is not JSON lines: row 1 is not a JSON object"),
    "list.jsonl": (b"[1, 2]\n", "list.jsonl is not JSON lines: row 1 is not a JSON object"),
    "again.jsonl": (b'{"loss": 1, "loss": 2}\n', "row 1 has more than one column named 'loss'"),
    "fit.nc": (b"\x89HDF", "fit.nc is no run log, but perhaps a fit: open it with"),
    "runs.txt": (b"params,loss\n1e9,2\n", "runs.txt ends in '.txt': run logs are read from .csv"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_each_unreadable_file_has_its_own_message(name: str, tmp_path: Path) -> None:
    content, message = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RunLogError) as caught:
        read_runs(path)
    assert message in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunLogError, match=r"does not exist: give a .csv, .parquet or .jsonl file$"):
        read_runs(tmp_path / "nowhere.csv")
    with pytest.raises(RunLogError, match="is a folder"):
        read_runs(tmp_path)


# properties

cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=8),
)
headers = st.sampled_from(
    ["params", "N", "tokens", "D", "flops", "loss", "run_id", "family", "x", ""]
)


@given(
    st.lists(st.lists(cells, min_size=3, max_size=3), max_size=4),
    st.lists(headers, min_size=3, max_size=3),
)
def test_any_table_is_read_or_refused_but_never_crashes(rows: list, names: list) -> None:
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    try:
        runs = read_runs(frame)
    except BayescaleError:
        return
    assert isinstance(runs, Runs)
    assert np.isfinite(runs["loss"]).all()


@given(st.binary(max_size=60), st.sampled_from([".csv", ".parquet", ".jsonl"]))
def test_any_bytes_are_read_or_refused_but_never_crash(
    tmp_path_factory, data: bytes, ending: str
) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"runs{ending}"
    path.write_bytes(data)
    try:
        read_runs(path)
    except BayescaleError:
        return


@given(
    st.lists(
        st.tuples(
            st.floats(1e6, 1e12), st.floats(1e8, 1e14), st.floats(0.5, 4.0, exclude_max=True)
        ),
        min_size=2,
        max_size=6,
        unique=True,
    )
)
def test_sound_values_come_through_unchanged(rows: list[tuple[float, float, float]]) -> None:
    frame = pd.DataFrame(rows, columns=["params", "tokens", "loss"])
    runs = read_runs(frame)
    for column in frame:
        np.testing.assert_array_equal(runs[column], frame[column])


# what is known of errors, checkpoints and schedules


def test_errors_and_steps_of_the_loss_take_its_unit() -> None:
    """Errors and steps of losses in bits are in bits; errors of scales are those of their logs."""
    log = GOOD.assign(loss_se=0.01, loss_step=0.02, params_se=0.05)
    runs = read_runs(log, units={"loss": "bits"})
    np.testing.assert_allclose(runs["loss_step"], 0.02 * np.log(2))
    np.testing.assert_allclose(runs["loss_se"], 0.01 * np.log(2))
    np.testing.assert_array_equal(runs["params_se"], [0.05] * len(GOOD))
    perplexity = read_runs(log.assign(loss=20.0 + log["loss"]), units={"loss": "perplexity"})
    np.testing.assert_allclose(perplexity["loss_step"], 0.02 / (20.0 + GOOD["loss"]))


def test_a_step_is_above_zero_and_an_error_not_below() -> None:
    text = wrong(GOOD.assign(loss_step=[0.0, 0.01, 0.01], flops_se=[-0.1, 0.0, 0.1]))
    assert "loss_step must be greater than zero: 0.0 in row 1 (a)" in text
    assert "flops_se must not be negative: -0.1 in row 1 (a)" in text


def test_checkpoints_name_their_run_and_schedules_are_complete_or_not() -> None:
    runs = read_runs(GOOD.assign(run_id=list("xyz"), run=["a", "a", "b"], steps=[1, 2, 3]))
    assert list(runs["run"]) == ["a", "a", "b"]
    assert list(read_runs(GOOD.assign(run=list("abc")))["run_id"]) == list("abc")
    for said in ([True, False, True], ["yes", "no", "Yes"], [1, 0, 1], [1.0, 0.0, 1.0]):
        runs = read_runs(GOOD.assign(schedule_complete=said))
        assert list(runs["schedule_complete"]) == ["yes", "no", "yes"]


def test_a_schedule_is_never_guessed() -> None:
    assert (
        "schedule_complete is neither yes nor no: 'maybe' in row 2 (b); write yes for runs that "
        "were trained to the end of their learning-rate schedule, and no for the others"
    ) in wrong(GOOD.assign(schedule_complete=["yes", "maybe", "no"]))
    assert "schedule_complete is missing in row 3 (c)" in wrong(
        GOOD.assign(schedule_complete=["yes", "no", None])
    )


def test_a_log_that_needs_arguments_names_the_function_that_takes_them(tmp_path: Path) -> None:
    unknown = GOOD.rename(columns={"loss": "score_at_end"})
    unknown.to_csv(tmp_path / "log.csv", index=False)
    for source, named in ((tmp_path / "log.csv", "log.csv'"), (unknown, "the table")):
        with pytest.raises(RunLogError, match=r"`columns=(?s:.)*bayescale\.read_runs\(") as told:
            as_runs(source)
        assert named in str(told.value).rsplit("read_runs(", 1)[1]
    assert as_runs(read_runs(unknown, columns={"loss": "score_at_end"})).frame["loss"].size == len(
        GOOD
    )


def test_runs_are_taken_as_runs_frame_or_path(tmp_path: Path) -> None:
    runs = read_runs(GOOD)
    assert as_runs(runs) is runs
    GOOD.to_csv(tmp_path / "log.csv", index=False)
    for source in (GOOD, tmp_path / "log.csv", str(tmp_path / "log.csv")):
        assert as_runs(source).digest == runs.digest
    with pytest.raises(RunLogError, match="runs are given as list: give Runs"):
        as_runs([GOOD])  # type: ignore[arg-type]
