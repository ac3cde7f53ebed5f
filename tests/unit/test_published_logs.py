"""Run logs as people publish them: read, or refused with a message that leads on."""

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.errors import RunLogError, as_options
from bayescale.laws import CHINCHILLA
from bayescale.runs import Runs, read_runs
from bayescale.runs.rules.loss import WEB_TEXT
from bayescale.trackers import Choice, import_runs

PARAMS = np.array([31e6] * 2 + [74e6] * 3 + [162e6] * 3 + [405e6] * 3 + [1020e6] * 3)
TOKENS = 1e6 * np.array(
    [372, 1860, 444, 1628, 7030, 1296, 3402, 10_370, 2025, 7695, 19_440, 4080, 20_400, 33_660]
)
IDS = [f"r{i:02}" for i in range(len(PARAMS))]
NOISE = 1 + 0.004 * np.sin(np.arange(len(PARAMS)) * 2.7)


def base() -> pd.DataFrame:
    loss = np.asarray(CHINCHILLA.loss(PARAMS, TOKENS, **WEB_TEXT)) * NOISE
    return pd.DataFrame(
        {"run_id": IDS, "params": PARAMS, "tokens": TOKENS, "loss": loss.round(4)}, dtype=object
    )


def with_column(name: str, values: Any) -> pd.DataFrame:
    return base().assign(**{name: values})


def refusal(frame: pd.DataFrame | Path, **options: Any) -> str:
    with pytest.raises(RunLogError) as caught:
        read_runs(frame, **options)
    return as_options(str(caught.value))


def notes(runs: Runs) -> dict[str, str]:
    return {found.code: as_options(found.text) for found in runs.warnings}


# scales that other columns determine


def test_tokens_follow_from_compute_and_params_as_if_they_were_written_in() -> None:
    frame = base().assign(flops=lambda log: 6.0 * log["params"] * log["tokens"])
    written = frame.assign(tokens=frame["flops"] / (6.0 * frame["params"]))
    derived = read_runs(frame.drop(columns="tokens"))
    assert derived.digest == read_runs(written).digest
    assert derived.columns["tokens"] == "flops / (6 * params)"
    assert notes(derived)["tokens_derived"] == (
        "tokens is not in the log; taken as flops / (6 * params)"
    )
    by_letters = frame.rename(columns={"params": "N", "flops": "C"}).drop(columns="tokens")
    assert read_runs(by_letters).digest == derived.digest


@pytest.mark.parametrize(
    ("columns", "formula"),
    [
        ({"tokens_per_param": TOKENS / PARAMS}, "params * tokens_per_param"),
        ({"epochs": 2.0, "unique_tokens": TOKENS / 2}, "epochs * unique_tokens"),
        ({"steps": TOKENS / 2**19, "batch_tokens": 2**19}, "steps * batch_tokens"),
        (
            {"steps": TOKENS / 2**19, "batch_size": 256, "seq_len": 2048},
            "steps * batch_size * sequence_length",
        ),
    ],
)
def test_tokens_follow_from_what_determines_them(columns: dict, formula: str) -> None:
    runs = read_runs(base().drop(columns="tokens").assign(**columns))
    np.testing.assert_allclose(runs["tokens"], TOKENS)
    assert runs.columns["tokens"] == formula
    assert notes(runs)["tokens_derived"].endswith(f"taken as {formula}")


@pytest.mark.parametrize(
    ("column", "header"),
    [
        ("flops", "compute_budget"), ("flops", "flops_budget"), ("params", "total_params"),
        ("tokens", "tokens_trained"),
    ],
)  # fmt: skip
def test_near_names_are_understood(column: str, header: str) -> None:
    frame = base().assign(flops=lambda log: 6.0 * log["params"] * log["tokens"])
    assert read_runs(frame.rename(columns={column: header})).digest == read_runs(frame).digest


def test_a_batch_that_may_be_counted_in_tokens_derives_nothing() -> None:
    frame = base().drop(columns="tokens")
    frame = frame.assign(steps=TOKENS / 2**19, batch_size=2**19, seq_len=2048)
    assert "tokens" not in read_runs(frame)
    filled = read_runs(frame, fill={"tokens": "steps*batch_size"})
    np.testing.assert_allclose(filled["tokens"], TOKENS)


def test_a_scale_that_can_be_had_in_two_ways_says_so_where_they_differ() -> None:
    ratio = TOKENS / PARAMS
    agreeing = read_runs(with_column("tokens_per_param", ratio))
    assert "scale_disagrees" not in notes(agreeing)
    ratio[3] *= 2
    text = notes(read_runs(with_column("tokens_per_param", ratio)))["scale_disagrees"]
    assert text == (
        "tokens as params * tokens_per_param is not what the column says in 1 of 14 runs, 2.0 in "
        "row 4 (r03) times; the column is used. Correct one of them, or leave the other unread "
        "with --ignore tokens_per_param"
    )
    ignored = read_runs(with_column("tokens_per_param", ratio), ignore="tokens_per_param")
    assert "scale_disagrees" not in notes(ignored)
    no_tokens = base().drop(columns="tokens")
    both = no_tokens.assign(tokens_per_param=ratio, flops=6.0 * PARAMS * TOKENS)
    text = notes(read_runs(both))["scale_disagrees"]
    assert text.endswith("is used. Take the other with --fill tokens=C/6N")
    np.testing.assert_allclose(read_runs(both, fill={"tokens": "C/6N"})["tokens"], TOKENS)


def test_gaps_of_compute_are_filled_where_asked_and_rows_are_kept() -> None:
    flops = 1.3 * 6 * PARAMS * TOKENS
    frame = with_column("flops", flops).assign(steps=range(1000, 2400, 100)).astype(object)
    frame.loc[[12, 13], ["flops", "steps"]] = ""
    assert "--fill flops=6ND" in refusal(frame)
    runs = read_runs(frame, fill={"flops": "6ND"})
    assert len(runs) == 14
    np.testing.assert_allclose(runs["flops"][:12], flops[:12])
    np.testing.assert_allclose(runs["flops"][12:], (6 * PARAMS * TOKENS)[12:])
    assert notes(runs)["filled"] == (
        "flops is taken as 6 * params * tokens in row 13 (r12), row 14 (r13), as --fill flops=6ND "
        "asks for"
    )
    assert "steps is missing in row 13 (r12), row 14 (r13)" in notes(runs)["column_not_read"]


def test_a_count_without_embeddings_is_the_params_of_a_log_that_has_no_other() -> None:
    runs = read_runs(base().rename(columns={"params": "params_non_embedding"}))
    np.testing.assert_array_equal(runs["params"], PARAMS)
    assert runs.conventions.params == "non_embedding"
    assert notes(runs)["params_without_embeddings"] == (
        "params are params_no_embed (column 'params_non_embedding'), without embeddings, which is "
        "the only count that the log has: forecast in that count"
    )


def test_a_column_that_may_hold_a_scale_is_proposed() -> None:
    frame = base().drop(columns=["params", "tokens"])
    frame = frame.assign(flops=6.0 * PARAMS * TOKENS, active_params=PARAMS)
    assert notes(read_runs(frame))["scale_not_read"] == (
        "params is not in the log under a known name, but column 'active_params' may hold "
        "it: if so, say --column params=active_params; if not, --ignore active_params"
    )
    runs = read_runs(frame, columns={"params": "active_params"})
    np.testing.assert_allclose(runs["tokens"], TOKENS)


def exported(prefix: str = "config/") -> pd.DataFrame:
    """Return a table as Weights & Biases exports it."""
    return pd.DataFrame(
        {
            "Name": base()["run_id"],
            "State": "finished",
            f"{prefix}model.n_params": PARAMS,
            f"{prefix}data.n_tokens": TOKENS,
            "eval/loss": base()["loss"],
        }
    )


@pytest.mark.parametrize(
    ("params", "tokens"),
    [
        ("config/model.n_params", "config/data.n_tokens"),
        ("config.n_params", "config.n_tokens"),
        ("config/n_params", "Config/Data.N Tokens"),
    ],
)
def test_scales_are_found_in_a_configuration(params: str, tokens: str) -> None:
    frame = exported().set_axis(["Name", "State", params, tokens, "eval/loss"], axis=1)
    runs = read_runs(frame)
    np.testing.assert_array_equal(runs["params"], PARAMS)
    np.testing.assert_array_equal(runs["tokens"], TOKENS)
    assert runs.columns["params"] == f"column {params!r}"
    assert runs.columns["tokens"] == f"column {tokens!r}"


def test_a_scale_in_a_configuration_gives_way_to_a_column_of_its_own() -> None:
    runs = read_runs(exported().assign(tokens=2 * TOKENS))
    np.testing.assert_array_equal(runs["tokens"], 2 * TOKENS)
    assert runs.unused == ("State (finished in all)", "config/data.n_tokens (14 values)")


@pytest.mark.parametrize("other", ["config/train.total_tokens", "perf/total_tokens"])
def test_two_columns_that_could_be_one_scale_are_named(other: str) -> None:
    frame = exported().assign(**{other: 0.9 * TOKENS})
    assert refusal(frame) == (
        f"DataFrame cannot be used:\n  - columns 'config/data.n_tokens', {other!r} could each be "
        "tokens: choose with --column tokens=config/data.n_tokens or another of them"
    )
    np.testing.assert_array_equal(read_runs(frame, columns={"tokens": other})["tokens"],
                                  0.9 * TOKENS)  # fmt: skip


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("config/model_size", "small"),
        ("config/n", 3),
        ("config/compute", 8),
        ("other/n_params", 3),
        ("config/loss", 2.0),
    ],
)
def test_settings_that_are_no_scale_are_not_read(header: str, values: Any) -> None:
    frame = exported().drop(columns="config/model.n_params").assign(**{header: values})
    runs = read_runs(frame)
    assert "params" not in runs
    assert any(text.startswith(header) for text in runs.unused)


def test_every_column_that_may_hold_a_scale_is_proposed_together_with_unfinished_runs() -> None:
    frame = exported("hparams/").assign(dtype_of_params="bf16")
    frame.loc[[2, 5], "State"] = "crashed"
    assert refusal(frame) == (
        "DataFrame cannot be used:\n  - it has none of params, tokens and flops: name all that it "
        "has, for example with --column params=hparams/model.n_params "
        "--column tokens=hparams/data.n_tokens\n  - column 'State' says that 2 of 14 runs have not "
        "finished: 'crashed' in row 3 (r02), 'crashed' in row 6 (r05); leave them out with "
        "--exclude State=crashed, or count them as finished with --ignore State"
    )
    assert "State" not in refusal(frame, exclude={"State": "crashed"})
    with pytest.raises(RunLogError) as caught:
        read_runs(frame)
    assert (
        "`columns={'params': 'hparams/model.n_params', 'tokens': 'hparams/data.n_tokens'}`"
    ) in str(caught.value)
    text = refusal(frame.drop(columns="eval/loss"), exclude={"State": "carshed"})
    assert "it has no loss" in text
    assert "matches no row of DataFrame: State there is 'finished' (12), 'crashed' (2)" in text


def test_a_scale_that_was_not_read_is_said_before_what_it_may_explain(
    bayescale, tmp_path: Path
) -> None:
    path = tmp_path / "export.csv"
    frame = exported("hparams/").assign(batch_size=[32, 64] * 7)
    frame.to_csv(path, index=False)
    named = "--column", "params=hparams/model.n_params"
    ran = bayescale("check", path, *named)
    assert ran.code == 0
    text = " ".join(ran.out.split())
    place = text.index("Note (scale_not_read): tokens is not in the log under a known name")
    assert place < text.index("params from column") < text.index("WEAK divergence")
    assert text.count("Note (scale_not_read)") == 1
    assert (
        "The scale that was not read may explain them (note scale_not_read): read it before leaving"
    ) in text
    assert "or runs that differ in the scale that was not read" in text
    assert "--repeats best" not in text
    assert "--exclude" not in text
    warnings = bayescale("check", path, *named, "--json").json["warnings"]
    assert warnings[0]["code"] == "scale_not_read"
    ignored = " ".join(
        bayescale("check", path, *named, "--ignore", "hparams/data.n_tokens").out.split()
    )
    assert "fit again without them (--exclude" in ignored
    assert "keep the best of each cell with --repeats best" in ignored


# columns that are not read


def test_unread_columns_are_listed_with_what_they_hold() -> None:
    state = ["on"] * 12 + ["off"] * 2
    runs = read_runs(base().assign(arch=["a", "b"] * 7, ctx=2048, note=IDS, mode=state))
    assert runs.unused == ("arch (a 7, b 7)", "ctx (2048 in all)", "note (14 values)",
                           "mode (on 12, off 2)")  # fmt: skip


@pytest.mark.parametrize(
    ("header", "values", "what"),
    [
        ("vocab", "32.0K", "vocabulary (column 'vocab') has text instead of numbers: '32.0K'"),
        ("depth", "-", "layers (column 'depth') has text instead of numbers: '-'"),
        ("epochs", ["1"] * 13 + ["1 epoch"], "epochs has text instead of numbers: '1 epoch'"),
        ("steps", [*range(1000, 1013), None], "steps is missing in row 14 (r13)"),
    ],
)
def test_a_column_that_no_law_needs_costs_a_note(header: str, values: Any, what: str) -> None:
    runs = read_runs(with_column(header, values))
    assert len(runs) == 14
    text = notes(runs)["column_not_read"]
    assert text.startswith(what)
    assert text.endswith(": the column is not read, and no law of the runs needs it")
    assert runs.unused[0].startswith(header)
    assert "column_not_read" not in notes(read_runs(with_column(header, values), ignore=header))


def test_a_column_on_which_the_law_depends_is_never_left_out() -> None:
    repeated = with_column("epochs", ["4"] * 13 + ["4 epochs"])
    assert "epochs has text instead of numbers: '4 epochs' in row 14 (r13)" in refusal(repeated)


def test_what_cannot_be_ignored_or_filled_says_why() -> None:
    assert "`ignore='vocab'` names no column" not in refusal(base(), ignore="vocab")
    assert "--ignore vocab names no column; it has run_id, params" in refusal(
        base(), ignore="vocab"
    )
    assert "is to be ignored as well: leave out --ignore tokens" in refusal(
        base(), ignore="tokens", columns={"tokens": "tokens"}
    )
    assert "--fill tokens=7: tokens is filled by one of params*tokens_per_param" in refusal(
        base(), fill={"tokens": "7"}
    )
    assert "--fill tokens=C/6N needs flops, which the log does not have" in refusal(
        base(), fill={"tokens": "C/6N"}
    )
    assert "--fill flops=6ND fills nothing: flops has no gaps" in refusal(
        with_column("flops", 6 * PARAMS * TOKENS), fill={"flops": "6ND"}
    )


# rows


def test_any_number_of_rows_is_left_out_or_kept() -> None:
    frame = with_column("dataset", ["c4"] * 8 + ["dclm"] * 3 + ["nemotron"] * 3)
    for several in (["dclm", "nemotron"], "dclm,nemotron", ("dclm", "nemotron")):
        assert len(read_runs(frame, exclude={"dataset": several})) == 8
        assert len(read_runs(frame, only={"dataset": several})) == 6
    assert refusal(frame, exclude={"dataset": "dclmm"}) == (
        "--exclude dataset=dclmm matches no row of DataFrame: dataset there is 'c4' (8), "
        "'dclm' (3), 'nemotron' (3); did you mean 'dclm'?"
    )
    assert refusal(frame, only={"dataset": ["c4", "x"]}) == (
        "--only dataset=x matches no row of DataFrame: dataset there is 'c4' (8), 'dclm' (3), "
        "'nemotron' (3)"
    )
    dropped = read_runs(frame, only={"dataset": "c4"}).dropped
    assert dropped[0] == ("r08", "dataset is not c4, left out on request")
    commas = with_column("who", ["a, b"] * 7 + ["c"] * 7)
    assert len(read_runs(commas, exclude={"who": "a, b"})) == 7


def test_rows_without_ids_are_named_as_notes_name_them() -> None:
    frame = base().drop(columns="run_id")
    runs = read_runs(frame, exclude={"run_id": ["row 12", "row 3"]})
    assert len(runs) == 12
    assert {left.id for left in runs.dropped} == {"row 3", "row 12"}


def test_unfinished_runs_are_refused_by_name(bayescale, tmp_path: Path) -> None:
    frame = base().assign(State=["finished"] * 14)
    frame.loc[[3, 9, 12], "State"] = ["crashed", "running", "failed"]
    assert refusal(frame) == (
        "DataFrame cannot be used:\n"
        "  - column 'State' says that 3 of 14 runs have not finished: 'crashed' in row 4 (r03), "
        "'running' in row 10 (r09), 'failed' in row 13 (r12); leave them out with --exclude "
        "State=crashed,running,failed, or count them as finished with --ignore State"
    )
    assert len(read_runs(frame, exclude={"State": "crashed,running,failed"})) == 11
    assert len(read_runs(frame, only={"State": "finished"})) == 11
    assert len(read_runs(frame, ignore="State")) == 14
    everything = refusal(base().assign(status="FAILED"))
    assert "14 of 14 runs have not finished" in everything
    assert "--exclude" not in everything


def test_states_that_nobody_knows_are_named() -> None:
    frame = base().assign(state=["finished"] * 13 + ["limbo"])
    assert "states that are not known as finished or unfinished: 'limbo' in row 14" in refusal(
        frame
    )
    assert len(read_runs(frame, exclude={"state": "limbo"})) == 13
    place = base().assign(state=["CA"] * 7 + ["TX"] * 7)
    assert "no state that is known as finished" in notes(read_runs(place))["unknown_state"]


def test_rows_with_seeds_or_settings_of_their_own_are_runs() -> None:
    twice = pd.concat([base().assign(seed=1), base().assign(seed=2)], ignore_index=True)
    twice["loss"] = twice["loss"].astype(float).round(1)
    twice["run_id"] = [
        f"{run}_s{seed}" for run, seed in zip(twice["run_id"], twice["seed"], strict=True)
    ]
    runs = read_runs(twice)
    assert len(runs) == 28
    assert (
        "14 runs are equal to an earlier one in every number, and differ in seed"
        in (notes(runs)["runs_alike"])
    )
    assert len(read_runs(twice.drop(columns="run_id"))) == 28
    copies = twice.drop(columns=["run_id", "seed"])
    assert "14 runs repeat an earlier one in every value: row 15" in refusal(copies)
    assert len(read_runs(copies, repeats="keep")) == 28
    assert len(read_runs(copies, repeats="drop")) == 14
    named = read_runs(twice.drop(columns="seed"))
    assert "leave them out with --repeats drop" in notes(named)["run_repeated"]
    assert len(read_runs(twice.drop(columns="seed"), repeats="drop")) == 14


def test_sweeps_are_named_with_the_ways_to_deal_with_them() -> None:
    rates = [3e-4, 1e-3, 3e-3]
    parts = [
        base().assign(lr=lr, loss=base()["loss"] * (1 + 0.05 * abs(i - 1)))
        for i, lr in enumerate(rates)
    ]
    sweep = pd.concat(parts, ignore_index=True).drop(columns="run_id")
    text = notes(read_runs(sweep))["sweep"]
    assert text == (
        "42 rows are 14 cells of equal params and tokens that differ in lr, with losses up to 5% "
        "apart (median 5.0%): a sweep. A law describes tuned runs: keep the best of each cell with "
        "--repeats best, or take the law as the floor of all with --card chinchilla_floor"
    )
    assert not {"loss_groups", "run_repeated"} & set(notes(read_runs(sweep)))
    best = read_runs(sweep, repeats="best")
    np.testing.assert_array_equal(best["loss"], base()["loss"].astype(float))
    assert "sweep" not in notes(best)


def checkpoints() -> pd.DataFrame:
    rows = [
        {"model": run, "step": round(steps * share), "params": n, "tokens": d * share}
        for run, n, d, steps in zip(IDS, PARAMS, TOKENS, TOKENS / 2**18, strict=True)
        for share in (0.1, 0.3, 0.7, 1.0)
    ]
    frame = pd.DataFrame(rows)
    loss = np.asarray(CHINCHILLA.loss(frame["params"], frame["tokens"], **WEB_TEXT))
    return frame.assign(loss=loss * (1 + 0.003 * np.sin(np.arange(len(frame)) * 1.7)))


def test_checkpoints_of_several_runs_of_a_size_are_named() -> None:
    runs = read_runs(checkpoints())
    assert notes(runs)["checkpoints"] == (
        "56 rows look like checkpoints of 14 runs: column 'model' repeats while column 'step' "
        "grows. So that they do not count as 56 runs, say which column is the run with --column "
        "run=model, or keep the last row of each"
    )
    assert "checkpoints" not in notes(read_runs(checkpoints(), columns={"run": "model"}))


def test_rows_that_a_tracker_calls_finished_are_runs_of_their_own() -> None:
    """W&B's table has a column _step too: the last step of each run."""
    log = checkpoints().assign(Name=[f"r{i}" for i in range(56)], State="finished")
    assert "checkpoints" not in notes(read_runs(log))
    assert "checkpoints" in notes(read_runs(log.assign(State="")))
    assert "checkpoints" in notes(read_runs(log.drop(columns="Name")))


def test_check_calls_checkpoints_absent_only_where_no_size_has_several_rows(
    bayescale, tmp_path: Path
) -> None:
    checkpoints().to_csv(tmp_path / "log.csv", index=False)
    ran = bayescale("check", tmp_path / "log.csv", "--law", "chinchilla", "--json")
    verdicts = {check["name"]: check["passed"] for check in ran.json["checks"]}
    assert verdicts["checkpoints"] is None
    assert "checkpoints" in {warning["code"] for warning in ran.json["warnings"]}


def test_a_score_is_no_loss() -> None:
    score = base().assign(accuracy=1 - base()["loss"].astype(float) / 5).drop(columns="loss")
    text = refusal(score, columns={"loss": "accuracy"})
    assert "loss (column 'accuracy') rises with params and tokens (rank correlation 1.00)" in text
    assert "of a score such as accuracy write 1 - accuracy" in text


def test_another_loss_that_is_there_is_mentioned() -> None:
    both = base().rename(columns={"loss": "val_loss"}).assign(loss=base()["loss"] * 0.93)
    assert notes(read_runs(both))["other_losses"] == (
        "the loss is column 'loss', and 'val_loss' is not read: if that is the loss to fit, say "
        "--column loss=val_loss; if not, --column loss=loss"
    )
    for header in ("loss", "val_loss"):
        chosen = read_runs(both, columns={"loss": header})
        assert "other_losses" not in notes(chosen)
        assert chosen.columns["loss"] == f"column {header!r}"


def test_the_column_that_separates_groups_is_named() -> None:
    parts = []
    for i, source in enumerate("abc"):
        part = base().drop(columns="run_id").assign(source=source)
        loss = part["loss"].astype(float) * (1 + 0.002 * np.sin(7 * i + np.arange(14) * 1.3))
        parts.append(part.assign(params=part["params"] * (1 + 0.05 * i), loss=loss))
    mixed = pd.concat(parts, ignore_index=True)
    mixed.loc[mixed["source"] == "c", "loss"] *= 1.3
    text = notes(read_runs(mixed))["loss_groups"]
    assert "Column 'source' separates them (c from a, b): keep one with --only source=a,b" in text
    assert "loss_groups" not in notes(read_runs(mixed, only={"source": "a,b"}))
    assert len(read_runs(mixed, exclude={"source": ["a", "b"]})) == 14
    logs = mixed[mixed["source"] != "b"].groupby("source").head(9).reset_index(drop=True)
    logs["loss"] = logs["loss"].astype(float)
    logs.loc[logs["source"] == "c", "loss"] = np.log(logs["loss"])
    text = notes(read_runs(logs))["loss_unrelated"]
    assert "Each value of column 'source' (a, c) has losses that follow scale by themselves" in text
    assert text.endswith("keep one with --only source=a")


# numbers and units as people write them


def test_sizes_are_read_as_people_write_them() -> None:
    suffixed = base().assign(
        params=[f"{n / 1e6:g}M" for n in PARAMS], tokens=[f"{d / 1e9:g}B" for d in TOKENS]
    )
    runs = read_runs(suffixed)
    np.testing.assert_allclose(runs["params"], PARAMS)
    np.testing.assert_allclose(runs["tokens"], TOKENS)
    assert notes(runs)["sizes_as_written"] == (
        "sizes are read as people write them: params in 14 rows ('31M': 3.1e+07), tokens in 14 "
        "rows ('0.372B': 3.72e+08)"
    )
    grouped = base().assign(
        params=[f"{int(n):,}" for n in PARAMS], tokens=[f"{int(d):,}" for d in TOKENS]
    )
    assert read_runs(grouped).digest == read_runs(base()).digest
    assert "states a unit in its cells ('31M'), and --unit params=M states another" in refusal(
        suffixed, units={"params": "M"}
    )


def test_decimal_commas_are_told() -> None:
    frame = base().assign(loss=[f"{x:.4f}".replace(".", ",") for x in base()["loss"]])
    text = refusal(frame)
    assert "a comma may be a decimal comma or stand between thousands" in text
    assert "write decimal points, as in 4.1168" in text


def test_dots_between_thousands_are_told() -> None:
    millions = [f"{d / 1e6:,.0f}".replace(",", ".") for d in TOKENS]
    frame = base().assign(params=PARAMS / 1e6, tokens=millions)
    text = refusal(frame, units={"params": "M", "tokens": "M"})
    assert "tokens mixes '1.860' in row 2 (r01)" in text
    assert "as where dots separate thousands" in text
    plain = base().assign(tokens=[f"{d / 1e9:.3f}" for d in TOKENS])
    np.testing.assert_allclose(read_runs(plain, units={"tokens": "B"})["tokens"], TOKENS, rtol=1e-2)


def test_units_are_taken_from_headers() -> None:
    frame = pd.DataFrame(
        {"Params (M)": PARAMS / 1e6, "Tokens [B]": TOKENS / 1e9, "Val Loss (nats)": base()["loss"]}
    )
    runs = read_runs(frame)
    np.testing.assert_allclose(runs["params"], PARAMS)
    np.testing.assert_allclose(runs["tokens"], TOKENS)
    assert runs.conventions.loss == "nats"
    assert notes(runs)["units_in_headers"] == (
        "units are read from headers: params in M ('Params (M)'), tokens in B ('Tokens [B]'), loss "
        "in nats ('Val Loss (nats)')"
    )
    other = read_runs(frame, units={"params": "B"})
    np.testing.assert_allclose(other["params"], 1e3 * PARAMS)


def test_the_unit_that_is_proposed_is_the_one_that_makes_sense() -> None:
    assert "if they are in millions, say --unit params=1e6" in refusal(
        base().assign(params=PARAMS / 1e6)
    )
    assert "if they are in billions, say --unit tokens=1e9" in refusal(
        base().assign(tokens=TOKENS / 1e9)
    )


def test_logs_are_recognized() -> None:
    frame = (
        base()
        .assign(log10_params=np.log10(PARAMS), log10_tokens=np.log10(TOKENS))
        .drop(columns=["params", "tokens"])
    )
    assert (
        "name all that it has, for example with --column params=log10_params "
        "--column tokens=log10_tokens and --unit params=log10 --unit tokens=log10"
    ) in refusal(frame)
    assert (
        "name at least one with, for example, --column params=log10_params and --unit params=log10"
    ) in refusal(frame.drop(columns="log10_tokens"))
    named = {"params": "log10_params", "tokens": "log10_tokens"}
    text = refusal(frame, columns=named)
    assert "if they are logs to base 10, say --unit params=log10" in text
    runs = read_runs(frame, columns=named, units={"params": "log10", "tokens": "log10"})
    np.testing.assert_allclose(runs["params"], PARAMS)
    logs = base().assign(log_loss=np.log(base()["loss"].astype(float))).drop(columns="loss")
    text = notes(read_runs(logs, columns={"loss": "log_loss"}))["loss_level"]
    assert "says log: if it is the natural log of the loss, say --unit loss=ln" in text
    read = read_runs(logs.assign(loss_se=0.01), columns={"loss": "log_loss"}, units={"loss": "ln"})
    np.testing.assert_allclose(read["loss"], base()["loss"].astype(float))
    np.testing.assert_allclose(read["loss_se"], 0.01 * read["loss"])


def test_words_for_numbers_are_left_out_by_the_hint() -> None:
    frame = base()
    frame.loc[[3, 7], "loss"] = ["OOM", "diverged"]
    assert "or leave such rows out with --exclude loss=OOM,diverged" in refusal(frame)
    assert len(read_runs(frame, exclude={"loss": ["OOM", "diverged"]})) == 12


def test_infinity_is_missing() -> None:
    frame = base()
    frame.loc[[3, 7], "loss"] = ["NaN", "Infinity"]
    runs = read_runs(frame, missing="drop")
    assert {tuple(left) for left in runs.dropped} == {
        ("r03", "loss is missing"), ("r07", "loss is infinite"),
    }  # fmt: skip
    assert "loss is infinite: inf in row 8 (r07); correct it, or leave such rows out with " in (
        refusal(frame)
    )


# files


def write_csv(path: Path, before: str = "", after: str = "", mark: str = ",") -> Path:
    table = (
        base().infer_objects().to_csv(index=False, sep=mark, decimal="," if mark == ";" else ".")
    )
    path.write_text(before + table + after, encoding="utf-8")
    return path


def test_cells_of_any_length_are_read(tmp_path: Path) -> None:
    with_column("config", "x" * 140_000).to_csv(tmp_path / "big.csv", index=False)
    assert read_runs(tmp_path / "big.csv").digest == read_runs(base()).digest
    assert csv.field_size_limit() == 131_072


def test_lines_about_the_table_are_told(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for before, after in (("# cosine, all of them\n", ""), ("", "# r03 restarted\n")):
        runs = read_runs(write_csv(path, before, after))
        assert runs.digest == read_runs(base()).digest
        assert notes(runs)["comment_lines"].startswith(
            "log.csv has lines that are comments, not rows: '# "
        )
    assert read_runs(write_csv(path, "sep=,\n")).digest == read_runs(base()).digest
    empty = read_runs(write_csv(path, "", ",,,\n,,,\n"))
    assert [tuple(left) for left in empty.dropped] == [
        (f"row {i}", "every cell of the row is empty") for i in (15, 16)
    ]
    text = refusal(write_csv(path, "", "mean,360357142,8121428571,2.9\n"))
    assert "row 15 (mean) has the name of a summary of other rows" in text
    assert len(read_runs(path, exclude={"run_id": "mean"})) == 14


def test_tables_of_spreadsheets_say_how_to_export_them(tmp_path: Path) -> None:
    text = refusal(write_csv(tmp_path / "euro.csv", mark=";"))
    assert text == (
        "euro.csv is separated by semicolons, and its numbers have commas for points: export it "
        "again with commas between cells and points in numbers, or read it with "
        "pandas.read_csv('euro.csv', sep=';', decimal=',') and give the frame"
    )
    frame = pd.read_csv(tmp_path / "euro.csv", sep=";", decimal=",")
    assert read_runs(frame).digest == read_runs(base()).digest


@pytest.mark.parametrize("name", ["array.json", "array.jsonl", "utf16.csv", "separators.csv"])
def test_more_ways_to_write_a_table_are_read(name: str, tmp_path: Path) -> None:
    path, frame = tmp_path / name, base()
    records = json.loads(frame.to_json(orient="records"))
    match path.stem:
        case "array":
            path.write_text(json.dumps(records))
        case "utf16":
            path.write_text(frame.to_csv(index=False), encoding="utf-16")
        case _:
            frame["note"] = "one\u2028two\nthree"
            frame.to_csv(path, index=False)
    np.testing.assert_array_equal(read_runs(path)["loss"], base()["loss"].astype(float))


# trackers


def test_tables_of_the_api_of_wandb_are_imported(bayescale, tmp_path: Path) -> None:
    rows = [
        {
            "summary": str({"_step": 10, "eval/loss": x, "tokens": int(d), "_wandb": {"r": 1}}),
            "config": str({"n_params": int(n), "bad": float("nan"), "m": {"n_layer": 8}}),
            "name": run,
        }
        for run, n, d, x in base().itertuples(index=False)
    ]
    path = tmp_path / "api.csv"
    pd.DataFrame(rows).to_csv(path)
    hint = refusal(path)
    assert "make a run log of it with bayescale import" in hint
    options = shlex.split(hint.split("such as ")[1])
    out = tmp_path / "log.csv"
    assert bayescale("import", path, *options, "-o", out).code == 0
    np.testing.assert_allclose(read_runs(out)["params"], PARAMS)
    assert read_runs(out)["loss"].tolist() == base()["loss"].tolist()


def test_charts_over_tokens_are_read(bayescale, tmp_path: Path) -> None:
    pd.DataFrame({"Name": ["a", "b"], "params": [31e6, 74e6]}).to_csv(
        tmp_path / "table.csv", index=False
    )
    chart = {"throughput/total_tokens": [10**9, 2 * 10**9]}
    for run, losses in (("a", [4.9, 4.8]), ("b", [4.7, 4.5])):
        chart |= {f"{run} - loss{end}": losses for end in ("", "__MIN", "__MAX")}
    pd.DataFrame(chart).to_csv(tmp_path / "chart.csv", index=False)
    columns = {"params": "table.params", "tokens": "history.throughput/total_tokens"}
    choice = Choice(metric="loss", columns=columns)
    log = import_runs(tmp_path / "table.csv", choice, history=tmp_path / "chart.csv")
    assert log.frame["tokens"].tolist() == [2e9, 2e9]
    assert log.frame["loss"].tolist() == [4.8, 4.5]
    assert "steps are values of 'throughput/total_tokens'" in log.notes[-1].text
    ran = bayescale("import", tmp_path / "chart.csv", "--metric", "loss", "--column", "params=N.n")
    assert "is a chart, which has histories and no table of runs" in ran.err
    assert "--history chart.csv" in ran.err


def test_a_mean_over_training_is_no_final_loss(bayescale, tmp_path: Path) -> None:
    for name, losses in (("a", (6.0, 3.7)), ("b", (5.5, 3.2))):
        (tmp_path / "hf" / name).mkdir(parents=True)
        history = [{"step": 1, "loss": losses[0]}, {"step": 2, "loss": losses[1]}]
        history.append({"step": 2, "train_loss": sum(losses) / 2})
        state = {"global_step": 2, "max_steps": 2, "total_flos": 1e18, "log_history": history}
        (tmp_path / "hf" / name / "trainer_state.json").write_text(json.dumps(state))
    arguments = ["import", tmp_path / "hf", "--column", "flops=state.total_flos", "--metric"]
    ran = bayescale(*arguments, "train_loss")
    assert "train_loss of the Hugging Face Trainer is the mean over the whole training" in ran.err
    assert "--metric loss" in ran.err
    assert "mean over" not in bayescale(*arguments, "loss").err


# options beside the log


def test_options_beside_the_log_are_honored(bayescale, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    frame = base().assign(suspect=[0] * 12 + [1, 2], seen=TOKENS / 1e9).drop(columns="tokens")
    frame.to_csv(log, index=False)
    given = ["--column", "tokens=seen", "--unit", "tokens=B", "--exclude", "suspect=1,2"]
    assert "--write keeps these options in runs.toml" in bayescale("check", log, *given).out
    wrote = bayescale("check", log, *given, "--write", "--json")
    assert wrote.code == 0
    assert "--write" not in bayescale("check", log, *given).out
    assert wrote.json["settings"] == str(tmp_path / "runs.toml")
    runs = read_runs(log)
    assert runs.source == "log.csv with runs.toml"
    assert len(runs) == 12
    np.testing.assert_allclose(runs["tokens"], TOKENS[:12])
    assert bayescale("check", log, "--json").json["sha256"] == wrote.json["sha256"]
    more = bayescale("check", log, "--convention", "params=all", "--write", "--json")
    assert more.code == 0
    assert read_runs(log).conventions.params == "all"
    assert len(read_runs(log)) == 12
    assert "contradicts units.tokens = 'B' there" in refusal(log, units={"tokens": "M"})
    other = tmp_path / "other.csv"
    base().to_csv(other, index=False)
    assert read_runs(other).source == "other.csv"
    ran = bayescale("check", other, "--unit", "loss=nats", "--write")
    assert ran.code == 2
    assert "exists already, for log.csv" in ran.err
    assert "there is nothing to write into runs.toml" in bayescale("check", other, "--write").err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss = ", "is not valid TOML"),
        ('missing = "maybe"', "--missing maybe is none of error, drop, keep"),
        ('[units]\ntokns = "B"', "column 'tokns' is not one of params"),
        ("[exclud]\na = 1", "exclud is an unknown key; keys are log, columns, units, exclude"),
        ("columns = 3", "columns is 3"),
        ('[exclude]\nrun_id = "zz"', "--exclude run_id=zz matches no row"),
        ('ignore = ["zz"]', "--ignore zz names no column"),
    ],
)
def test_faults_of_options_beside_the_log(text: str, message: str, tmp_path: Path) -> None:
    base().to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "runs.toml").write_text(text)
    assert message in refusal(tmp_path / "log.csv")


def test_an_import_writes_the_units_it_is_given(bayescale, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    frame = pd.DataFrame({"Name": IDS, "loss": base()["loss"], "n": PARAMS / 1e6, "d": TOKENS})
    frame.to_csv(table, index=False)
    arguments = ["import", table, "--metric", "loss", "--column", "params=table.n"]
    arguments += ["--column", "tokens=table.d", "--unit", "params=M"]
    assert "name a file with -o" in bayescale(*arguments).err
    assert bayescale(*arguments, "-o", tmp_path / "log.csv").code == 0
    np.testing.assert_allclose(read_runs(tmp_path / "log.csv")["params"], PARAMS)
    wrong = [*arguments, "--unit", "tokens=furlong", "-o", tmp_path / "log.csv"]
    assert "unit 'furlong' of column 'tokens' is unknown" in bayescale(*wrong).err
