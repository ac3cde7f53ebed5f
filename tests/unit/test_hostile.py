"""Damaged and hostile data at every door: read, or refused in words, and never a crash."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytensor  # noqa: F401  it raises the recursion limit, and Hypothesis refuses that in a test
import pytest
from conftest import Ran
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import hostile, tracked
from support.hostile import DOORS, refuses
from support.tracked import LOSS, SMALL

from bayescale.errors import BayescaleError

SLOW = {"posterior parts": 20, "command line": 15}
"""Doors at which fewer damaged inputs are tried."""
MANY_EXAMPLES = ("command line", "planned runs", "posterior file", "posterior parts")
"""Doors whose examples take over three seconds."""
BYTES = [name for name in DOORS if name not in ("posterior file", "command line")]
"""The posterior file is read by a C library, so its damages are tried in a process apart."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doors")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.integration) if n in MANY_EXAMPLES else n for n in DOORS],
)
def test_every_example_is_taken(name: str, tmp_path: Path) -> None:
    """So that what is refused below is refused for its damage."""
    door = DOORS[name]
    for example in door.examples(tmp_path):
        assert refuses(door, example, tmp_path) is None


Damage = tuple[str, float, bytes]  # what is done, where along the data, and with what
damages = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "remove", "cut", "again"]),
        st.floats(0, 1),
        st.one_of(
            st.binary(min_size=1, max_size=6),
            st.sampled_from(
                [b"nan", b"-1", b"1e999", b"9" * 4400, b"[" * 3000, b"\0", b"\xff", b"null", b'""']
            ),
        ),
    ),
    min_size=1,
    max_size=3,
)


def damaged(data: bytes, damages: list[Damage]) -> bytes:
    for what, share, piece in damages:
        at = int(share * len(data))
        match what:
            case "replace":
                data = data[:at] + piece + data[at + len(piece) :]
            case "insert":
                data = data[:at] + piece + data[at:]
            case "remove":
                data = data[:at] + data[at + len(piece) :]
            case "cut":
                data = data[:at]
            case _:
                data = data[:at] + data[at // 2 :]
    return data


@pytest.mark.parametrize("name", BYTES)
def test_damaged_data_are_refused_in_words(name: str, folder: Path) -> None:
    door = DOORS[name]
    home = folder / name.replace(" ", "_")
    home.mkdir(exist_ok=True)
    examples = door.examples(home)

    @settings(max_examples=SLOW.get(name, 60), deadline=None)
    @given(st.sampled_from(examples), damages)
    def never_crashes(example: bytes, how: list[Damage]) -> None:
        refuses(door, damaged(example, how), home)

    never_crashes()


@pytest.mark.integration
def test_a_damaged_posterior_file_never_ends_the_process(folder: Path) -> None:
    """HDF5's library has been known to crash on such files: it must not take Python with it."""
    script = (
        "import random, sys, pathlib, warnings; from support import hostile\n"
        "warnings.simplefilter('error')\n"
        "chance, home = random.Random(1), pathlib.Path(sys.argv[1])\n"
        "whole = hostile.KEPT.read_bytes(); door = hostile.DOORS['posterior file']\n"
        "for _ in range(80):\n"
        "    data = bytearray(whole)\n"
        "    for _ in range(chance.choice([1, 3, 30])):\n"
        "        data[chance.randrange(len(data))] = chance.randrange(256)\n"
        "    hostile.refuses(door, bytes(data[:chance.choice([len(data), 9**5])]), home)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


VALUES = (
    "", "nan", "inf", "-inf", "-1", "0", "-0", "1e400", "1e308", "1e-300", "9" * 5000, "\uff11B",
    ",", "1,2,3", "70B,", "x=y", "=", "1e15,1e16,1e30", "1e3", "0.5", "tokens=0", "loss=-1", "é",
    "params=tokens", "1_000", "0x10", " 5 ", "1e9,1e9", "mean:99999999999999999999", "all",
)  # fmt: skip
PLACES = [
    (words, i)
    for words in hostile.TYPED
    for i, word in enumerate(words)
    if i and not word.startswith("--")
]


@pytest.mark.integration
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PLACES), st.sampled_from(VALUES) | st.text(max_size=8))
def test_no_option_s_value_crashes_a_command(
    folder: Path, place: tuple[tuple[str, ...], int], value: str
) -> None:
    words, i = place
    typed = "\n".join((*words[:i], value.replace("\n", ""), *words[i + 1 :]))
    refuses(DOORS["command line"], typed.encode("utf-8", errors="replace"), folder)


# what fuzzing has found, each refused since


def says(name: str, data: bytes, folder: Path) -> str:
    refusal = refuses(DOORS[name], data, folder)
    assert refusal is not None, "it was taken"
    return refusal


def test_a_log_of_layers_alone(tmp_path: Path) -> None:
    assert says("log jsonl", b'{"layers": 4, "loss": 3.0, "vocabulary": 50257}', tmp_path) == (
        "runs.jsonl cannot be used:\n  - it has none of params, tokens and flops, and no width to "
        "count params from the models' configuration: add it, or name a scale with, for example, "
        "`columns={'params': 'HEADER'}`"
    )


def test_a_parquet_file_whose_text_is_no_text(tmp_path: Path) -> None:
    whole = DOORS["log parquet"].examples(tmp_path)[0]
    told = says("log parquet", whole.replace(b"run0", b"\xff\xff\xff\xff"), tmp_path)
    assert told.startswith("runs.parquet is a damaged Parquet file: ")


def test_a_parquet_index_is_a_column_like_any_other(tmp_path: Path) -> None:
    from bayescale import read_runs

    log = tracked.log_of(3)
    log.set_index("run_id").to_parquet(tmp_path / "runs.parquet")
    assert list(read_runs(tmp_path / "runs.parquet")["run_id"]) == list(log["run_id"])


@pytest.mark.parametrize("step", ["1.5", "null", '"a"', "1e300", "true", "[]"])
def test_a_step_that_is_no_whole_number(step: str, tmp_path: Path) -> None:
    state = f'{{"global_step": 2, "log_history": [{{"eval_loss": 3.0, "step": {step}}}]}}'
    told = says("trainer state", state.encode(), tmp_path)
    assert told.endswith(", which is not a whole number: take it out of the folder")
    assert "trainer_state.json has the step " in told


@pytest.mark.parametrize("name", ["trainer state", "trainer config"])
def test_json_that_is_nested_without_end(name: str, tmp_path: Path) -> None:
    assert " is cut short or not JSON (" in says(name, b"[" * 200_000, tmp_path)


def test_settings_that_are_nested_deeply_are_read(tmp_path: Path) -> None:
    deep = b'{"a": ' * 2000 + b"1" + b"}" * 2000
    assert "no params at config.n_params" not in (
        refuses(DOORS["trainer config"], deep, tmp_path) or ""
    )


def test_settings_that_are_no_object(tmp_path: Path) -> None:
    assert says("trainer config", b"[1]", tmp_path).endswith(
        "config.json is not an object of settings: take it out of the folder"
    )


@pytest.mark.parametrize("name", ["wandb history csv", "wandb history jsonl", "wandb chart"])
def test_histories_that_are_no_text(name: str, tmp_path: Path) -> None:
    whole = DOORS[name].examples(tmp_path)[0]
    assert " is damaged, or not text: 'utf-8' codec" in says(name, whole + b"\xff\n", tmp_path)


@pytest.mark.parametrize("step", ["nan", "inf", "1e300", "0.5"])
def test_a_history_s_step_that_is_no_whole_number(step: str, tmp_path: Path) -> None:
    data = f"_step,{LOSS}\n{step},3.0\n".encode()
    assert says("wandb history csv", data, tmp_path).endswith(
        "has no step in row 1: it needs a column _step of whole numbers"
    )


@pytest.mark.parametrize("name", ["wandb run", "tensorboard"])
def test_records_whose_checksums_fit_but_that_say_nothing(name: str, tmp_path: Path) -> None:
    told = says(name, b"\1" + LOSS.encode() + b"\xff\xff", tmp_path)
    assert " is damaged at byte " in told
    assert told.endswith("restore the file, or take it out of the folder")


@pytest.mark.parametrize("kind", [20, 99])
def test_a_tensor_of_an_unknown_type(kind: int, tmp_path: Path) -> None:
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2")
    event = event_pb2.Event(step=1)
    event.summary.value.add(tag=LOSS).tensor.dtype = kind
    data = event.SerializeToString()
    told = says("tensorboard", b"\1" + data, tmp_path)
    assert f"a tensor of type {kind}: " in told


def test_a_record_that_claims_more_than_there_is_memory_for(tmp_path: Path) -> None:
    length = (2**62).to_bytes(8, "little")
    data = length + tracked._masked(length) + b"no more"
    assert "loss is missing in row 1" in says("tensorboard", b"\0" + data, tmp_path)


@pytest.mark.parametrize(("column", "value"), [("step", "a"), ("step", 1.5), ("value", "a")])
def test_a_store_s_metric_that_is_no_number(column: str, value: object, tmp_path: Path) -> None:
    path = tracked.mlflow_tables(tmp_path / "made.db", SMALL[:1])
    with closing(sqlite3.connect(path)) as store, store:
        store.execute(f"UPDATE metrics SET {column} = ?", (value,))
    told = says("mlflow", path.read_bytes(), tmp_path)
    assert told.startswith(f"MLflow store runs.db cannot be read: {LOSS!r} of run 'id-run0' is ")
    assert f"{value!r}" in told


def test_a_store_of_views_is_not_asked(tmp_path: Path) -> None:
    """A view may be a query without an end."""
    path = tracked.mlflow_tables(tmp_path / "made.db", SMALL[:1])
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("ALTER TABLE runs RENAME TO hidden")
        store.execute(
            "CREATE VIEW runs AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) "
            "SELECT x AS run_uuid, x AS name, x AS status, x AS experiment_id, x AS "
            "lifecycle_stage, x AS start_time FROM n"
        )
    assert "it has no tables experiments and runs" in says("mlflow", path.read_bytes(), tmp_path)


def changed(tmp_path: Path, **attributes: object) -> str:
    """What is said of a posterior file with these attributes at its root or its runs."""
    from bayescale.posterior.files import fit_from

    tree = hostile._trees(tmp_path)[0].copy(deep=True)
    for name, value in attributes.items():
        (tree["runs"] if name == "about" else tree).attrs[name] = value
    with pytest.raises(BayescaleError) as caught:
        fit_from(tree, (), "fit.nc")
    return str(caught.value)


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"record": "[" * 100_000}, "fit.nc cannot be understood: Invalid JSON: recursion limit"),
        ({"record": "{}"}, "fit.nc cannot be understood: diagnostics: Field required, provenance"),
        ({"record": 3}, "fit.nc cannot be understood: its record is 3, not text"),
        (
            {"card": "a = " + "[" * 100_000},
            "fit.nc cannot be understood: the card in fit.nc is not valid TOML: ",
        ),
        ({"about": '{"columns": []}'}, "fit.nc cannot be understood: columns: Input should be"),
        ({"weights": "[1.0]"}, "fit.nc cannot be understood: it lacks 'law_0'"),
        ({"weights": "7"}, "fit.nc cannot be understood: Input should be a valid array"),
        ({"bayescale_format": "x"}, "fit.nc has format 'x', which must be a whole number from 1: "),
    ],
)
def test_attributes_that_a_posterior_file_cannot_have(
    attributes: dict[str, object], told: str, tmp_path: Path
) -> None:
    assert changed(tmp_path, **attributes)[: len(told)] == told


def test_values_that_a_posterior_file_cannot_have(tmp_path: Path) -> None:
    from bayescale.posterior.files import fit_from

    tree = hostile._trees(tmp_path)[0].copy(deep=True)
    for group, name in (("posterior", "C_c"), ("leave_one_out", "expected")):
        tree[group] = hostile.xr.DataTree(tree[group].to_dataset().drop_vars(name))
    noise = tree["posterior"].to_dataset()
    tree["posterior"] = hostile.xr.DataTree(noise.assign(nu=noise["nu"].astype(str)))
    draws = tree["posterior_drifting"].to_dataset()
    short = draws["drift_walk_flops"].isel(step=slice(3))
    draws = draws.drop_dims("step").assign(
        drift_walk_flops=short, alpha_C=draws["alpha_C"].astype(str)
    )
    tree["posterior_drifting"] = hostile.xr.DataTree(draws)
    with pytest.raises(BayescaleError) as caught:
        fit_from(tree, (), "fit.nc")
    assert str(caught.value) == (
        "fit.nc does not hold what fits hold:\n"
        "  - posterior has no C_c\n"
        "  - nu of posterior is not numbers but <U32\n"
        "  - alpha_C of posterior_drifting is not numbers but <U32\n"
        "  - leave_one_out has no expected\n"
        "  - drift_walk_flops of posterior_drifting has 3 steps, not 12"
    )


def test_losses_that_a_posterior_file_cannot_have(tmp_path: Path) -> None:
    from bayescale.posterior.files import fit_from

    tree = hostile._trees(tmp_path)[0].copy(deep=True)
    tree["runs"] = hostile.xr.DataTree(-tree["runs"].to_dataset()[["loss"]])
    tree["runs"].attrs = hostile._trees(tmp_path)[0]["runs"].attrs
    with pytest.raises(BayescaleError, match="its runs have no run_id"):
        fit_from(tree, (), "fit.nc")


def test_a_run_whose_shift_of_coefficients_is_unknown(tmp_path: Path) -> None:
    """Draws of one value have no standard deviation, in which a shift could be counted."""
    from bayescale.posterior import outliers
    from bayescale.posterior.files import fit_from

    tree = hostile._trees(tmp_path)[0].copy(deep=True)
    found = tree["leave_one_out"].to_dataset()
    found["shift"] = found["shift"] * float("nan")
    found["surprising"] = abs(found["surprising"]) > -1
    tree["leave_one_out"] = hostile.xr.DataTree(found)
    flagged = outliers(fit_from(tree, (), "fit.nc"))
    assert len(flagged) == found.sizes["run"]
    assert flagged["moves"].isna().all()


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000])
def test_a_card_whose_numbers_or_nesting_have_no_end(text: str, tmp_path: Path) -> None:
    told = says("card", b"low = " + text.encode(), tmp_path)
    assert told.startswith(f"{tmp_path / 'card.toml'} is not valid TOML: ")


@pytest.mark.parametrize("size", ["1e-300", "1e308"])
def test_sizes_that_nothing_has(size: str, tmp_path: Path) -> None:
    typed = f"forecast\n--params\n{size}\n--tokens\n1T"
    assert says("command line", typed.encode(), tmp_path) == (
        f"--params is '{size}', but it must be from 1e-06 to 1e+60: check its unit"
    )


def test_noise_that_leaves_no_losses(tmp_path: Path) -> None:
    typed = "simulate\n--law\nkaplan_compute\n--set\nC_c=1e24\n--set\nalpha_C=0.05\n--flops\n1e20"
    assert says("command line", f"{typed}\n--sigma\n1e308".encode(), tmp_path) == (
        "with these coefficients, scales, sigma and nu some losses are not finite and above zero: "
        "choose others"
    )


def test_json_has_no_infinity(bayescale: Callable[..., Ran], tmp_path: Path) -> None:
    asked = ["--allow-unconverged", "--flops", "1e22", "--target", "inf", "--json"]
    assert bayescale("forecast", hostile.KEPT, *asked).json["target"] is None


def test_a_log_of_numbers_without_end(tmp_path: Path) -> None:
    told = says("log jsonl", b'{"params": ' + b"9" * 5000 + b', "loss": 3}', tmp_path)
    assert told.startswith("runs.jsonl is not JSON lines: row 1 is not a JSON object (Exceeds the ")


ROWS = ("params,tokens,loss", "2e7,4e8,4.6", "1e8,2e9,3.4", "1e9,2e10,2.6")


def test_a_run_of_more_parameters_than_anything_has(tmp_path: Path) -> None:
    data = "\n".join((*ROWS, "1e308,1e8,5.7")).encode()
    assert says("log csv", data, tmp_path) == (
        "runs.csv cannot be used:\n  - params must be from 1e-06 to 1e+60, and is 1e+308 in row 4: "
        "correct it, or leave out with `exclude={'run_id': 'row 4'}`"
    )


def test_sizes_whose_product_overflows(tmp_path: Path) -> None:
    data = b"params,tokens_per_param,loss\n" + b"1e10,1e200,3\n2e10,1e200,2\n"
    assert "tokens must be from 1e-06 to 1e+60" in says("log csv", data, tmp_path)


def test_a_quote_that_is_never_closed(tmp_path: Path) -> None:
    data = "\n".join((*ROWS, '"3e9,6e10,2.4', *ROWS[1:] * 20_000)).encode()
    assert says("log csv", data, tmp_path) == (
        "runs.csv is not CSV: line 5 opens a quote that is never closed, before '3e9,6e10,2.4': "
        "close the quote, or remove it"
    )


def test_half_of_a_character(tmp_path: Path) -> None:
    data = b'{"run_id": "a\\ud800", "params": 1e9, "tokens": 2e10, "loss": 3}'
    told = says("log jsonl", data, tmp_path)
    assert told.startswith("runs.jsonl is not JSON lines: row 1 is not a JSON object ('utf-8'")


def test_a_log_of_many_columns_lists_a_few(bayescale: Callable[..., Ran], tmp_path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(500))
    rows = [f"{row},{names if i == 0 else names.replace('c', '1')}" for i, row in enumerate(ROWS)]
    (tmp_path / "wide.csv").write_text("\n".join(rows))
    told = bayescale("check", tmp_path / "wide.csv").out
    assert "c19 (119 in all) and 480 more" in told


def test_control_characters_of_a_log_reach_no_terminal(
    bayescale: Callable[..., Ran], tmp_path: Path
) -> None:
    rows = [f"{row},{'who\x1b[2J\u202e' if i == 0 else '\x07'}" for i, row in enumerate(ROWS)]
    (tmp_path / "log.csv").write_text("\n".join(rows), encoding="utf-8")
    told = bayescale("check", tmp_path / "log.csv").out
    assert r"Not read: who\x1b[2J\u202e (\x07 in all)" in told
    refused = bayescale("check", tmp_path / "a\x1b[2J.csv")
    assert (refused.code, "\x1b" in refused.err) == (2, False)


def test_output_that_cannot_be_written(
    bayescale: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device that is always full")
    with full.open("w", encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        ran = bayescale("summary", hostile.KEPT)
        assert (ran.code, ran.err) == (
            2,
            "error: standard output cannot be written: No space left on device; write it "
            "elsewhere\n",
        )
    monkeypatch.setattr("sys.stdout", None)
    ran = bayescale("summary", hostile.KEPT)
    assert (ran.code, ran.err) == (
        2,
        "error: standard output is closed: give it a file, or /dev/null\n",
    )


def test_numbers_that_changed_on_the_disk_are_noticed(tmp_path: Path) -> None:
    from bayescale.posterior import open_posterior, save

    path = save(open_posterior(hostile.KEPT), tmp_path / "fit.nc")
    data = bytearray(path.read_bytes())
    draws = open_posterior(path).members[0].draws["alpha_C"].values.tobytes()
    place = data.index(draws[:64]) + 8
    data[place] ^= 1  # the last bit of one draw
    path.write_bytes(data)
    with pytest.raises(BayescaleError, match=r"fit\.nc is damaged or cut short"):
        open_posterior(path)


@pytest.mark.parametrize(
    ("factor", "told"), [(float("nan"), "not finite"), (-1.0, "not above zero")]
)
def test_draws_that_a_posterior_file_cannot_have(factor: float, told: str, tmp_path: Path) -> None:
    from bayescale.posterior.files import fit_from

    tree = hostile._trees(tmp_path)[0].copy(deep=True)
    tree["posterior/alpha_C"] = tree["posterior/alpha_C"] * factor
    with pytest.raises(BayescaleError, match=f"alpha_C of posterior is {told} throughout"):
        fit_from(tree, (), "fit.nc")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied", "log.csv"), "log.csv: Permission denied"),
        (
            MemoryError(),
            "there is not enough memory: allow more, or ask with fewer draws, rows or points",
        ),
        (
            ImportError("libx.so: cannot map zero-fill pages"),
            "there is not enough memory: allow more, or ask with fewer draws, rows or points",
        ),
    ],
)
def test_what_the_system_refuses_is_one_message(
    error: Exception,
    told: str,
    bayescale: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def refuse(path: Path) -> bytes:
        raise error

    log = tmp_path / "log.csv"
    log.write_text("\n".join(ROWS))
    monkeypatch.setattr(Path, "read_bytes", refuse)
    ran = bayescale("check", log)
    assert (ran.code, ran.err) == (2, f"error: {told}\n")


def test_missing_memory_is_told_even_if_there_is_none_to_wrap_the_message() -> None:
    code = (
        "import bayescale.cli.application as application\n"
        "def no_memory(*arguments, **options): raise MemoryError\n"
        "application.app = application.lay_out = no_memory\n"
        "application.main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "error: there is not enough memory: allow more, or ask with fewer draws, rows or points\n"
    )
