"""Every door by which data come in, with sound examples, for tests that bring damaged ones."""

import contextlib
import io
import json
import sqlite3
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.cards import card_names, cards_folder, load_card
from bayescale.errors import BayescaleError
from bayescale.forecasting import forecast, forecast_table
from bayescale.inference.fit import fit
from bayescale.posterior import Fit, open_posterior, save, summarize
from bayescale.posterior.files import fit_from
from bayescale.runs import read_runs
from bayescale.runs.planned import read_planned
from bayescale.trackers import Choice, import_runs
from support import tracked
from support.tracked import LOSS, SMALL, TOKENS

KEPT = Path(__file__).parents[1] / "formats" / "format_1_version_0.1.0.nc"
BETWEEN = b"\n--next--\n"
"""What stands between records, where a door puts lengths and checksums to them itself."""


class Door(NamedTuple):
    """A reader: examples that it takes, made in a folder, and how it is called."""

    examples: Callable[[Path], list[bytes]]
    read: Callable[[bytes, Path], object]


def refuses(door: Door, data: bytes, folder: Path) -> str | None:
    """What a reader says of data that it does not take; whatever else it raises comes out."""
    try:
        door.read(data, folder)
    except BayescaleError as error:
        return str(error)
    return None


# run logs and cards


def _full_log() -> pd.DataFrame:
    log = tracked.log_of(4)
    return log.assign(
        family=["a", "a", "b", "b"],
        loss_se=0.01,
        run_id=["a", "b", "c d", "e,f"],
        layers=[4, 8, 12, 16],
        width=512,
        vocabulary=50_257,
        tied_head="yes",
        params_convention="non_embedding",
        loss_unit="bits_per_byte",
        tokens_per_byte=0.29,
        schedule_complete=["yes", "no", "1", "False"],
        unique_tokens=log["tokens"] / 2,
    )


def _logs(ending: str, folder: Path) -> list[bytes]:
    path, made = folder / f"example.{ending}", []
    for frame in (tracked.log_of(4), _full_log()):
        match ending:
            case "csv":
                frame.to_csv(path, index=False)
            case "parquet":
                frame.to_parquet(path)
            case _:
                frame.to_json(path, orient="records", lines=True)
        made.append(path.read_bytes())
    return made


def _log(ending: str, data: bytes, folder: Path) -> None:
    path = folder / f"runs.{ending}"
    path.write_bytes(data)
    read_runs(path, missing="keep")


def _plans(folder: Path) -> list[bytes]:
    return [b"name,params,tokens\na,1B,20B\nb,7e10,1.4T\n", b"flops\n1e22\n1e24\n"]


def _plan(data: bytes, folder: Path) -> None:
    path = folder / "planned.csv"
    path.write_bytes(data)
    fitted, planned = _small_fit(), read_planned(path)
    table = forecast_table(fitted, **planned.scales, allow_unconverged=True)
    planned.joined(table)


def _cards(folder: Path) -> list[bytes]:
    return [(cards_folder() / f"{name}.toml").read_bytes() for name in card_names()]


def _card(data: bytes, folder: Path) -> None:
    path = folder / "card.toml"
    path.write_bytes(data)
    card = load_card(path)
    if not any(described.prior.relative for described in card.parameters.values()):
        card.draw_prior(3, 0)


# posterior files


@cache
def _small_fit() -> Fit:
    """Two laws of params and tokens, a few draws each."""
    laws = ("chinchilla", "kaplan_irreducible")
    return fit(read_runs(tracked.log_of(12)), laws, draws=15, tune=150, chains=2)


def _fit_file(folder: Path) -> Path:
    path = folder / "pool.nc"
    return path if path.is_file() else save(_small_fit(), path)


def _posteriors(folder: Path) -> list[bytes]:
    return [KEPT.read_bytes(), _fit_file(folder).read_bytes()]


def use(fitted: Fit) -> None:
    """What later commands ask of a fit: what was opened must also answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numbers that are no draws of anything
        str(summarize(fitted))
        str(forecast(fitted, **dict.fromkeys(fitted.inputs, 1e22), allow_unconverged=True))


def _posterior(data: bytes, folder: Path) -> None:
    path = folder / "fit.nc"
    path.write_bytes(data)
    use(open_posterior(path))


@cache
def _trees(folder: Path) -> list[xr.DataTree]:
    trees = []
    for path in (KEPT, _fit_file(folder)):
        with xr.open_datatree(path, engine="netcdf4") as opened:
            trees.append(opened.load())
    return trees


def _attributes(tree: xr.DataTree) -> list[tuple[str, str]]:
    return [(group, str(name)) for group in tree.groups for name in tree[group].attrs]


def _parts(folder: Path) -> list[bytes]:
    """Every attribute as it is: which file, which change, which place, its value."""
    examples = []
    for number, tree in enumerate(_trees(folder)):
        for place, (group, name) in enumerate(_attributes(tree)):
            value = str(tree[group].attrs[name]).encode()
            examples.append(bytes((number, name == "bayescale_format", place)) + value)
    return examples


def _part(data: bytes, folder: Path) -> None:
    """A posterior with one attribute, variable or group changed, as a file could hold it."""
    data = data.ljust(4, b"\0")
    trees = _trees(folder)
    tree = trees[data[0] % len(trees)].copy(deep=True)
    change, place, rest = data[1] % 8, data[2], data[3:]
    group, attribute = (places := _attributes(tree))[place % len(places)]
    match change:
        case 0:
            tree[group].attrs[attribute] = rest.decode("utf-8", errors="replace")
        case 1:
            tree[group].attrs[attribute] = rest[0] - ord("0")
        case 2:
            del tree[group].attrs[attribute]
        case 3:
            tree[(groups := tree.groups[1:])[place % len(groups)]].orphan()
        case _:
            holding = [g for g in tree.groups[1:] if tree[g].data_vars]
            group = holding[place % len(holding)]
            dataset = tree[group].to_dataset(inherit=False)
            name = (names := sorted(map(str, dataset.data_vars)))[rest[0] % len(names)]
            changed = _changed(dataset[name], rest[-1])
            dataset = dataset.drop_vars(name)
            with contextlib.suppress(ValueError):  # dims that another variable has otherwise
                dataset = dataset if changed is None else dataset.assign({name: changed})
            tree[group] = xr.DataTree(dataset)
    use(fit_from(tree, (), "fit.nc"))


def _changed(variable: xr.DataArray, how: int) -> xr.DataArray | None:
    if variable.dtype.kind not in "fiu":
        return None
    match how % 8:
        case 0:
            return variable.astype(str)
        case 1:
            return variable * np.nan
        case 2:
            return variable.isel(dict.fromkeys(variable.dims[:1], 0), drop=True)
        case 3:
            return -variable
        case 4:
            return xr.DataArray(variable.values, dims=[f"{dim}_" for dim in variable.dims])
        case 5:
            return variable * np.inf
        case 6:
            return variable.isel(dict.fromkeys(variable.dims[:1], slice(0)))
    return None


# trackers


def _import(
    source: Path,
    tracker: Any,
    metric: str,
    columns: dict[str, str],
    last: bool = False,
    **more: Any,
) -> None:
    """Runs as they end, and, where histories are there, at a step and as a mean."""
    for step, smooth in ((None, None), (400, "ema:0.5"))[: 1 if last else 2]:
        choice = Choice(
            metric=metric, columns=columns, step=step, smooth=smooth,
            unfinished="keep", repeated="last", missing="keep",
        )  # fmt: skip
        import_runs(source, choice, tracker=tracker, **more).runs()


def _states(folder: Path) -> list[bytes]:
    return [tracked.trainer_state(folder / "made", run).read_bytes() for run in SMALL[:2]]


def _configs(folder: Path) -> list[bytes]:
    return [json.dumps({"n_params": 1e8, "model": {"layers": [1, 2], "tied": True}}).encode()]


def _state(file: str, data: bytes, folder: Path) -> None:
    home = folder / "trainer"
    if not home.exists():
        tracked.trainer_state(home, SMALL[0])
    (home / SMALL[0].name / file).write_bytes(data)
    columns = {"params": "config.n_params", "flops": "state.total_flos"}
    _import(home, "huggingface", "eval_loss", columns)


TABLE = {"params": "table.n_params"}


def _tables(folder: Path) -> list[bytes]:
    return [tracked.wandb_table(folder / "example.csv", SMALL[:3]).read_bytes()]


def _table(data: bytes, folder: Path) -> None:
    path = folder / "table.csv"
    path.write_bytes(data)
    _import(path, "wandb", LOSS, TABLE, last=True)


def _histories(ending: str, folder: Path) -> list[bytes]:
    made = tracked.wandb_histories(folder / f"made_{ending}", SMALL[:2], ending)
    return [path.read_bytes() for path in sorted(made.iterdir())]


def _history(ending: str, data: bytes, folder: Path) -> None:
    table = tracked.wandb_table(folder / "one.csv", SMALL[:1])
    home = folder / f"history_{ending}"
    home.mkdir(exist_ok=True)
    (home / f"{SMALL[0].key}.{ending}").write_bytes(data)
    _import(table, "wandb", LOSS, TABLE | {"tokens": f"history.{TOKENS}"}, history=home)


def _charts(folder: Path) -> list[bytes]:
    return [tracked.wandb_chart(folder / "example.csv", SMALL[:1]).read_bytes()]


def _chart(data: bytes, folder: Path) -> None:
    table = tracked.wandb_table(folder / "one.csv", SMALL[:1])
    path = folder / "chart.csv"
    path.write_bytes(data)
    _import(table, "wandb", LOSS, TABLE, history=path)


def _records(path: Path, frames: Callable[..., Any]) -> list[bytes]:
    """A file as it is, after an even byte, and its records alone, after an odd one."""
    with path.open("rb") as stream:
        return [b"\0" + path.read_bytes(), b"\1" + BETWEEN.join(frames(stream))]


def _framed(data: bytes, framed: Callable[[list[bytes]], bytes]) -> bytes:
    return framed(data[1:].split(BETWEEN)) if data[:1] and data[0] % 2 else data[1:]


def _run_files(folder: Path) -> list[bytes]:
    from bayescale.trackers.records import run_frames

    return _records(tracked.wandb_file(folder / "made", SMALL[0]), run_frames)


def _run_file(data: bytes, folder: Path) -> None:
    home = folder / "wandb" / "offline-run-1"
    home.mkdir(parents=True, exist_ok=True)
    (home / "run-1.wandb").write_bytes(_framed(data, tracked.leveldb))
    columns = {"params": "config.n_params", "tokens": f"history.{TOKENS}"}
    _import(folder / "wandb", "wandb", LOSS, columns)


def _event_files(folder: Path) -> list[bytes]:
    from bayescale.trackers.records import event_frames

    made = (tracked.event_file(folder / f"made{t}", SMALL[0], tensors=t) for t in (False, True))
    return [example for path in made for example in _records(path, event_frames)]


def _event_file(data: bytes, folder: Path) -> None:
    home = folder / "events" / "run"
    home.mkdir(parents=True, exist_ok=True)
    whole = _framed(data, lambda records: b"".join(map(tracked.frame, records)))
    (home / "events.out.tfevents.0.host").write_bytes(whole)
    columns = {"params": "hparams.n_params", "tokens": f"scalars.{TOKENS}"}
    _import(folder / "events", "tensorboard", LOSS, columns)


STORE = {"params": "params.n_params", "tokens": f"metrics.{TOKENS}"}


def _stores(folder: Path) -> list[bytes]:
    path = folder / "example.db"
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.execute("PRAGMA page_size = 512")
        store.execute("VACUUM")  # which writes it in small pages
    return [tracked.mlflow_tables(path, SMALL[:2]).read_bytes()]


def _store(data: bytes, folder: Path) -> None:
    path = folder / "runs.db"
    path.write_bytes(data)
    _import(path, "mlflow", LOSS, STORE)


CELLS = tuple(
    (table, column)
    for table, columns in {
        "experiments": "name",
        "runs": "run_uuid name status",
        "metrics": "key value step is_nan",
        "latest_metrics": "key",
        "params": "key value",
        "tags": "key value",
    }.items()
    for column in columns.split()
)
VALUES = (None, 1.5, -1, 2**62, "", "400", "a", b"a\xff", float("inf"), "1e999")


def _cells(folder: Path) -> list[bytes]:
    return [bytes((CELLS.index(("runs", "name")), VALUES.index("400")))]


def _cell(data: bytes, folder: Path) -> None:
    """An MLflow store, a column of which holds a value of another type."""
    data = data.ljust(2, b"\0")
    path = folder / "cells.db"
    path.unlink(missing_ok=True)
    tracked.mlflow_tables(path, SMALL[:1])
    table, column = CELLS[data[0] % len(CELLS)]
    with contextlib.closing(sqlite3.connect(path)) as store, store:
        store.execute(f"UPDATE {table} SET {column} = ?", (VALUES[data[1] % len(VALUES)],))
    _import(path, "mlflow", LOSS, STORE)


# the command line


ASKED = {
    # by command: what it needs
    "check": ["{log}"],
    "summary": ["{fit}"],
    "forecast": ["{fit}", "--allow-unconverged"],
    "allocate": ["{fit}", "--allow-unconverged"],
    "data": ["{fit}", "--allow-unconverged"],
    "next-run": ["{fit}", "--allow-unconverged"],
    "prune": ["{fit}", "--allow-unconverged"],
    "emerge": ["{fit}", "--allow-unconverged"],
    "slices": ["{fit}", "--allow-unconverged"],
    "cross-check": ["{fit}", "--allow-unconverged"],
    "watch": ["{history}"],
    "simulate": [],
    "import": ["{table}", "--metric", LOSS],
}
OPTIONS = frozenset(  # those that neither write files, nor read them, nor sample
    """
    --column --unit --exclude --only --ignore --fill --repeats --missing --convention --convert
    --params --tokens --flops
    --unique-tokens --kept-fraction --lm-loss --target --family --tolerance --law --no-drift
    --robust --json --max-tokens --max-params --sizes --inference-tokens --option --price --overfit
    --budget --target-flops --target-params --target-tokens --regret --keep --train-tokens
    --quality --floor --repeat-worth --answer-tokens --choices --wrong-loss --dispersion --greedy
    --published --set --tokens-per-param --sigma --nu --seed --theory --examples-per-param
    --gpus --gpu --gpu-flops --gpu-memory --gpu-price --utilization --days --by --held --along
    --metric --rate --run --restarts --schedule --final-step --warm-up --decay-from --final-share
    --then
    --probe-angle --step --smooth --unfinished --repeated --run-id --from --experiment
    """.split()  # noqa: SIM905
)
TYPED = (
    ("check", "--unit", "tokens=1", "--column", "loss=loss", "--missing", "keep"),
    ("check", "--convention", "flops=6ND", "--convert", "params=all", "--json"),
    ("check", "--exclude", "run_id=a", "--convention", "evaluation_set=pile"),
    ("check", "--repeats", "keep", "--missing", "drop"),
    ("summary", "--json"),
    ("forecast", "--params", "70B", "--tokens", "1.4T", "--target", "1.95", "--json"),
    ("forecast", "--flops", "5.76e23", "--no-drift", "--tolerance", "0.1"),
    ("allocate", "--flops", "1e22,1e23", "--option", "70B,1.4T", "--price", "1e-18"),
    ("allocate", "--flops", "1e22", "--sizes", "1B,70B", "--inference-tokens", "1B"),
    ("allocate", "--flops", "1e22", "--max-tokens", "10T", "--max-params", "1B", "--json"),
    ("allocate", "--gpus", "512", "--gpu", "h100", "--days", "14,30", "--gpu-price", "2"),
    ("allocate", "--flops", "1e22", "--gpus", "8", "--gpu-flops", "989e12", "--utilization", "0.4"),
    ("slices", "--by", "params", "--held", "1B,10B", "--along", "1B,100B"),
    ("watch", "--schedule", "cosine", "--final-step", "50000", "--warm-up", "1000"),
    ("watch", "--schedule", "cosine", "--final-step", "50K", "--target", "2.8", "--then",
     "linear:60000"),
    ("watch", "--schedule", "cosine", "--final-step", "50000", "--final-share", "0.1", "--json"),
    ("data", "--params", "7B", "--overfit", "0.02", "--json"),
    ("data", "--tokens", "1T", "--target", "2.5"),
    ("next-run", "--target-flops", "1e22", "--budget", "1e20", "--regret"),
    ("next-run", "--target-params", "7B", "--target-tokens", "1T", "--budget", "1e20"),
    ("prune", "--params", "7B", "--tokens", "140B", "--keep", "0.5", "--quality", "1,2"),
    ("prune", "--params", "7B", "--tokens", "140B", "--floor", "0.1,0.2", "--repeat-worth", "5,9"),
    ("emerge", "--flops", "1e19,1e25", "--answer-tokens", "1,5", "--choices", "4", "--json"),
    ("emerge", "--params", "1e8,1e11", "--tokens", "1e10,1e13", "--choices", "4",
     "--wrong-loss", "9"),
    ("simulate", "--law", "chinchilla", "--published", "hoffmann_2022", "--params", "1B,2B",
     "--tokens", "10B", "--sigma", "0.01", "--seed", "1"),
    ("simulate", "--law", "kaplan_compute", "--set", "C_c=1e24", "--set", "alpha_C=0.05",
     "--flops", "1e20,1e21", "--nu", "3"),
    ("prune", "--theory", "--examples-per-param", "3", "--keep", "0.3,1", "--probe-angle", "10"),
    ("import", "--column", "params=table.n_params", "--step", "last", "--json"),
    ("import", "--column", "params=table.n_params", "--repeated", "last", "--from", "wandb"),
)  # fmt: skip


def _typed(folder: Path) -> list[bytes]:
    return ["\n".join(words).encode() for words in TYPED]


def _curve() -> pd.DataFrame:
    """The first 20,000 steps of a run whose loss falls as a power of steps."""
    steps = np.arange(100, 20_001, 100, dtype=float)
    rates = 3e-4 * np.minimum(steps / 1000, 0.55 + 0.45 * np.cos(np.pi * steps / 50_000))
    return pd.DataFrame({"step": steps, "lr": rates, "loss": 2.7 + 2.0 * (steps / 100) ** -0.5})


def _command(data: bytes, folder: Path) -> None:
    """A command with options, a word a line; options that are not among OPTIONS are left out."""
    from bayescale.cli import app

    files = {"log": folder / "asked.csv", "table": folder / "table.csv", "fit": _fit_file(folder)}
    if not files["log"].exists():
        _full_log().to_csv(files["log"], index=False)
    tracked.wandb_table(files["table"], SMALL)
    files["history"] = folder / "history.csv"
    _curve().to_csv(files["history"], index=False)
    command, *words = data.decode("utf-8", errors="replace").replace("\0", "").split("\n")
    if command not in ASKED:
        command = list(ASKED)[len(data) % len(ASKED)]
    given = [w for w in words if w in OPTIONS or not w.startswith("-") or w[1:2].isdigit()]
    if any(".py" in word for word in given):
        return  # a law of the user's own is code, and is run
    needed = [] if "--theory" in given else ASKED[command]  # which needs no fit
    arguments = [command, *(part.format(**files) for part in needed), *given]
    quiet = io.StringIO()
    with (
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
        contextlib.suppress(SystemExit),  # what was typed wrong is told so
    ):
        app(arguments)


DOORS: dict[str, Door] = {
    "log csv": Door(partial(_logs, "csv"), partial(_log, "csv")),
    "log jsonl": Door(partial(_logs, "jsonl"), partial(_log, "jsonl")),
    "log parquet": Door(partial(_logs, "parquet"), partial(_log, "parquet")),
    "planned runs": Door(_plans, _plan),
    "card": Door(_cards, _card),
    "posterior file": Door(_posteriors, _posterior),
    "posterior parts": Door(_parts, _part),
    "trainer state": Door(_states, partial(_state, "trainer_state.json")),
    "trainer config": Door(_configs, partial(_state, "config.json")),
    "wandb table": Door(_tables, _table),
    "wandb history csv": Door(partial(_histories, "csv"), partial(_history, "csv")),
    "wandb history jsonl": Door(partial(_histories, "jsonl"), partial(_history, "jsonl")),
    "wandb history parquet": Door(partial(_histories, "parquet"), partial(_history, "parquet")),
    "wandb chart": Door(_charts, _chart),
    "wandb run": Door(_run_files, _run_file),
    "tensorboard": Door(_event_files, _event_file),
    "mlflow": Door(_stores, _store),
    "mlflow cells": Door(_cells, _cell),
    "command line": Door(_typed, _command),
}
