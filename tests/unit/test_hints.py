"""Every option that a message about a log names is tried as it stands, and leads on."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.cli.options import LogOptions, Missing, Repeats
from bayescale.errors import BayescaleError, as_options
from bayescale.laws import CHINCHILLA
from bayescale.runs.rules.loss import WEB_TEXT
from bayescale.validation.run_quality import log_checks

N = 1e6 * np.array([31, 31, 74, 74, 74, 162, 162, 162, 405, 405, 405, 1020, 1020, 1020])
D = N * np.array([12, 60, 6, 22, 95, 8, 21, 64, 5, 19, 48, 4, 20, 33])
LOSS = np.asarray(CHINCHILLA.loss(N, D, **WEB_TEXT)) * (1 + 0.004 * np.sin(2.7 * np.arange(14)))
BASE = pd.DataFrame(
    {"run_id": [f"r{i:02}" for i in range(14)], "params": N, "tokens": D, "loss": LOSS.round(4)}
).astype(object)

NAMES = "column|unit|exclude|only|ignore|fill|missing|repeats|convention|convert"
HINT = re.compile(rf"--({NAMES}) ('[^']*'|[^\s'`]+)")
PLACEHOLDERS = {"HEADER": "hidden", "VALUE": "0.25", "NAME": "all"}
"""What stands for a value that only the reader of the message knows."""


def set_in(column: str, rows: dict[int, object], frame: pd.DataFrame = BASE) -> pd.DataFrame:
    frame = frame.astype(object).copy()
    for row, value in rows.items():
        frame.loc[row, column] = value
    return frame


def without(*columns: str) -> pd.DataFrame:
    return BASE.drop(columns=list(columns))


def with_flops(factor: float = 1.0) -> pd.DataFrame:
    return BASE.assign(flops=factor * 6.0 * N * D)


def stated(column: str, first: object, second: object) -> pd.DataFrame:
    return BASE.assign(**{column: [first] * 7 + [second] * 7})


def sweep() -> pd.DataFrame:
    parts = [without("run_id").assign(lr=lr, loss=LOSS * (1 + 9 * lr)) for lr in (1e-3, 1e-2)]
    return pd.concat(parts, ignore_index=True)


def groups() -> pd.DataFrame:
    wobble = 1 + 0.003 * np.sin(1.9 * np.arange(42))
    mixed = pd.concat([without("run_id")] * 3, ignore_index=True)
    mixed = mixed.assign(source=np.repeat(["a", "b", "c"], 14))
    mixed["params"] = mixed["params"] * np.repeat([1.0, 1.05, 1.1], 14)
    mixed["loss"] = mixed["loss"] * wobble * np.repeat([1.0, 1.0, 1.3], 14)
    return mixed


def steps() -> pd.DataFrame:
    parts = [
        BASE.assign(model=BASE["run_id"], step=round(1000 * s), tokens=s * D, loss=LOSS * s**-0.05)
        for s in (0.2, 0.5, 1.0)
    ]
    return pd.concat(parts, ignore_index=True).drop(columns="run_id")


TINY = BASE.assign(steps=[500] * 2 + [5000] * 12)
SHAPES = {"layers": 12, "width": 768, "heads": 12, "feed_forward": 3072, "vocab": 50257}

LOGS: dict[str, tuple[pd.DataFrame, dict[str, list[str]]]] = {
    "words": (set_in("loss", {3: "OOM", 7: "ran away"}), {}),
    "a gap in the loss": (set_in("loss", {3: ""}), {}),
    "an infinite loss": (set_in("loss", {3: "inf"}), {}),
    "a gap in tokens": (set_in("tokens", {3: ""}), {}),
    "a gap in compute": (set_in("flops", {3: ""}, with_flops()), {}),
    "a gap in errors": (set_in("loss_se", {3: ""}, BASE.assign(loss_se=0.01)), {}),
    "a gap in families": (set_in("family", {3: ""}, stated("family", "a", "b")), {}),
    "two losses": (without("loss").assign(val_loss=LOSS, test_loss=LOSS), {}),
    "no loss by name": (without("loss").assign(hidden=LOSS), {}),
    "a likely loss": (without("loss").assign(ce_nll=LOSS), {}),
    "no scale by name": (without("params", "tokens").assign(hidden=N), {}),
    "likely scales": (without("params").assign(model_params=N), {}),
    "logs of scales": (without("params", "tokens").assign(log10_params=np.log10(N)), {}),
    "logs under our name": (BASE.assign(log_n=np.log10(N)), {"column": ["params=log_n"]}),
    "tokens in billions": (BASE.assign(tokens=D / 1e9), {}),
    "params in millions": (BASE.assign(params=N / 1e6), {}),
    "compute in PF-days": (with_flops(1 / 8.64e19), {}),
    "params in thousands": (with_flops().assign(params=N / 1e3), {}),
    "rows in other units": (
        set_in("tokens", {4: D[4] / 1e3}, with_flops()), {"unit": ["tokens=1"]},
    ),
    "names and ids": (without("run_id").assign(Name=range(14), ID=range(14)), {}),
    "names that repeat beside ids": (
        without("run_id").assign(Name=[0, *range(13)], ID=range(14)), {},
    ),
    "checkpoints with names and ids": (
        steps().assign(Name=lambda log: log["model"], ID=lambda log: log["model"]), {},
    ),
    "ids read as runs": (
        steps().assign(Name=lambda log: log["model"], ID=lambda log: log["model"]),
        {"column": ["run=Name"]},
    ),
    "raw tokens with a unit": (BASE, {"unit": ["tokens=1e9"]}),
    "one cell in millions": (set_in("params", {4: N[4] / 1e6}), {}),
    "one raw cell among billions": (
        set_in("tokens", {4: D[4]}, BASE.assign(tokens=D / 1e9)), {"unit": ["tokens=1e9"]},
    ),
    "logs in columns of counts": (BASE.assign(params=np.log10(N), tokens=np.log10(D)), {}),
    "bits per byte by name": (
        without("loss").assign(val_bpb=0.42 * LOSS), {"column": ["loss=val_bpb"]},
    ),
    "bits by name": (
        without("loss").assign(bits=LOSS / np.log(2)), {"column": ["loss=bits"]},
    ),
    "perplexity by name": (without("loss").assign(ppl=np.exp(LOSS)), {"column": ["loss=ppl"]}),
    "an error rate by name": (
        without("loss").assign(error_rate=LOSS / 9, hidden=LOSS), {"column": ["loss=error_rate"]},
    ),
    "perplexity": (BASE.assign(loss=np.exp(LOSS) + 10), {}),
    "bits": (BASE.assign(loss=LOSS / np.log(2)), {}),
    "bits per byte": (BASE.assign(loss=0.42 * LOSS), {}),
    "a logarithm of the loss": (
        without("loss").assign(log_loss=np.log(LOSS)), {"column": ["loss=log_loss"]},
    ),
    "losses in two units": (BASE.assign(nll=LOSS * np.log(2)), {}),
    "states": (set_in("State", {3: "crashed", 5: "running"}, BASE.assign(State="finished")), {}),
    "an unknown state": (set_in("status", {3: "limbo"}, BASE.assign(status="finished")), {}),
    "only unknown states": (stated("state", "CA", "TX"), {}),
    "all unfinished": (BASE.assign(State="failed"), {}),
    "marked unfinished": (BASE.assign(finished=[1] * 13 + [0]), {}),
    "a row of means": (set_in("run_id", {13: "mean"}), {}),
    "copies": (pd.concat([without("run_id")] * 2, ignore_index=True), {}),
    "copies with ids": (
        pd.concat([BASE, BASE.assign(run_id=[f"s{i}" for i in range(14)])], ignore_index=True), {},
    ),
    "ids that repeat": (set_in("run_id", {1: "r00"}), {}),
    "rows logged twice": (pd.concat([BASE.assign(run_id=range(len(BASE)))] * 2), {}),
    "a sweep": (sweep(), {}),
    "groups": (groups(), {}),
    "checkpoints": (steps(), {}),
    "train and val": (BASE.assign(val_loss=LOSS * 1.02), {}),
    "a score": (BASE.assign(accuracy=1 - LOSS / 9, hidden=LOSS), {"column": ["loss=accuracy"]}),
    "tokens per parameter": (BASE.assign(tpp=3 * D / N), {}),
    "two ways to tokens": (with_flops().assign(tpp=3 * D / N).drop(columns="tokens"), {}),
    "two tokenizers": (
        stated("tokenizer", "gpt2", "llama").assign(tokens_per_byte=[0.25] * 7 + [0.3] * 7), {},
    ),
    "two unit names": (stated("loss_unit", "bpb", "nats").assign(tokens_per_byte=0.25), {}),
    "two evaluation sets": (stated("eval_set", "c4", "pile"), {}),
    "two tokens per byte": (stated("tokens_per_byte", 0.25, 0.3), {}),
    "bits per byte alone": (BASE.assign(loss=0.3 * LOSS), {"unit": ["loss=bits_per_byte"]}),
    "active params": (
        without("params", "tokens").assign(active_params=N, flops=6.0 * N * D), {},
    ),
    "counted params": (without("params").assign(tied_head=1, **SHAPES), {}),
    "a fill without its columns": (without("tokens").assign(hidden=D), {"fill": ["flops=6ND"]}),
    "short runs": (TINY, {}),
    "a run that diverged": (set_in("loss", {13: 3.9}), {}),
}  # fmt: skip


def ask(path: Path, options: dict[str, list[str]]) -> tuple[bool, str]:
    """Whether a log is read with these options, and all that is said of it."""
    kinds = {"missing": Missing, "repeats": Repeats}
    single = {k: kinds[k](v[-1]) if k in kinds else v for k, v in options.items()}
    try:
        runs = LogOptions(**single).read(path)  # type: ignore[arg-type]
    except BayescaleError as error:
        return False, as_options(str(error))
    failed = [check.text for check in log_checks(runs) if check.passed is False]
    texts = [as_options(found) for found in [*(f.text for f in runs.warnings), *failed]]
    return True, "\n".join(texts)


def hints(text: str) -> list[tuple[str, str]]:
    """Options that a message names, as a shell would take them."""
    found = []
    for name, word in HINT.findall(text):
        value = shlex.split(word.rstrip(".,;:)") if not word.startswith("'") else word)[0]
        for placeholder, known in PLACEHOLDERS.items():
            value = re.sub(rf"={placeholder}$", f"={known}", value)
        found.append((name, value))
    return list(dict.fromkeys(found))


def added(options: dict[str, list[str]], name: str, value: str) -> dict[str, list[str]]:
    """Options with one more, which replaces another for the same column."""
    key = value.partition("=")[0]
    before = options.get(name, [])
    if name not in ("exclude", "only", "ignore"):
        before = [old for old in before if old.partition("=")[0] != key]
    return options | {name: [*before, value]}


def leads_on(path: Path, options: dict[str, list[str]], name: str, value: str, depth: int) -> bool:
    """Whether an option is taken, and what was said of it no more; or leads to one that is."""
    _, before = ask(path, options)
    more = added(options, name, value)
    read, after = ask(path, more)
    if read:
        advice = {line for line in before.splitlines() if (name, value) in hints(line)}
        return not advice & set(after.splitlines())
    if after == before or depth == 0:
        return False
    return any(leads_on(path, more, *hint, depth - 1) for hint in hints(after))


@pytest.mark.parametrize("name", LOGS)
def test_hints_can_be_followed(name: str, tmp_path: Path) -> None:
    frame, options = LOGS[name]
    path = tmp_path / "log.csv"
    frame.to_csv(path, index=False)
    _, text = ask(path, options)
    given = [(kind, value) for kind, values in options.items() for value in values]
    found = [hint for hint in hints(text) if hint not in given]
    assert found, text
    for hint in found:
        assert leads_on(path, options, *hint, depth=2), (hint, text)


def test_a_card_that_a_message_names_is_there(bayescale, tmp_path: Path) -> None:
    sweep().to_csv(tmp_path / "log.csv", index=False)
    ran = bayescale("check", tmp_path / "log.csv")
    assert "--card chinchilla_floor" in ran.out
    assert bayescale("check", tmp_path / "log.csv", "--card", "chinchilla_floor").code == 0
