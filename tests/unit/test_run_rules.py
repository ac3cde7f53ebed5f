"""Logs in wrong units or under wrong conventions: refused or flagged, and sound ones left alone."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.conventions import Configuration
from bayescale.errors import RunLogError, as_options
from bayescale.runs import read_runs
from bayescale.runs.rules.compute import audit_compute
from bayescale.units import from_nats

SIGNS = {
    "flops_forward_only", "flops_inconsistent", "tokens_below_params", "configuration_mismatch",
    "loss_level", "loss_beside", "loss_rounded", "loss_groups", "loss_unrelated",
}  # fmt: skip

# public logs, and what each is told as it stands

LOGS = {
    "chinchilla_epoch": set(),
    "gadre_overtraining": set(),
    "datablations": set(),
    "porian_refinedweb": set(),
    "cerebras_pythia_pile": {"flops_convention"},  # its publisher's own count, up to 1.76 * 6 N D
}

Corrupt = Callable[[pd.DataFrame], pd.DataFrame]


def column(name: str, change: Callable[[pd.Series], object]) -> Corrupt:
    return lambda log: log.assign(**{name: change(log[name])})


def half(name: str, change: Callable[[pd.Series], object]) -> Corrupt:
    def corrupt(log: pd.DataFrame) -> pd.DataFrame:
        every_other = np.arange(len(log)) % 2 == 0
        return log.assign(**{name: np.where(every_other, change(log[name]), log[name])})

    return corrupt


def fourth(name: str, change: Callable[[pd.Series], object]) -> Corrupt:
    def corrupt(log: pd.DataFrame) -> pd.DataFrame:
        return log.assign(
            **{name: np.where(np.arange(len(log)) == 3, change(log[name]), log[name])}
        )

    return corrupt


def dealt(values: pd.Series) -> np.ndarray:
    return np.random.default_rng(20_240_415).permutation(values.to_numpy())


def two_tokenizers(log: pd.DataFrame) -> pd.DataFrame:
    every_other = np.arange(len(log)) % 2 == 0
    return log.assign(
        tokenizer=np.where(every_other, "gpt2", "llama"),
        loss=np.where(every_other, log["loss"], 1.15 * log["loss"]),
    )


def state(word: str) -> Corrupt:
    return lambda log: log.assign(State=["finished"] * 3 + [word] + ["finished"] * (len(log) - 4))


def row_of_means(log: pd.DataFrame) -> pd.DataFrame:
    means = log.mean(numeric_only=True).to_frame().T.assign(run_id="mean")
    return pd.concat([log, means.dropna(axis=1)], ignore_index=True)


def without_tokens(log: pd.DataFrame) -> pd.DataFrame:
    log = log.dropna(subset=["params", "tokens"])
    kept = log.drop(columns=["tokens", "unique_tokens", "epochs"], errors="ignore")
    return kept.assign(flops=6 * log["params"] * log["tokens"])


def learning_rates(log: pd.DataFrame) -> pd.DataFrame:
    parts = [log.assign(lr=lr, loss=log["loss"] * (1 + 10 * lr)) for lr in (1e-3, 3e-3, 1e-2)]
    return pd.concat(parts, ignore_index=True).drop(columns="run_id")


def checkpoints(log: pd.DataFrame) -> pd.DataFrame:
    """Each run at four steps, with the losses of a law, under a name that repeats."""
    log = log.dropna(subset=["params", "tokens"])
    parts = [
        log.assign(
            model=log["run_id"], step=round(1000 * share), tokens=share * log["tokens"],
            loss=log["loss"] * share**-0.05, flops=6 * share * log["params"] * log["tokens"],
        )
        for share in (0.2, 0.4, 0.7, 1.0)
    ]  # fmt: skip
    unread = ["run_id", "unique_tokens", "epochs"]
    return pd.concat(parts, ignore_index=True).drop(columns=unread, errors="ignore")


HIGH = ("loss is above 15", "loss_level", "loss_rounded", "the median loss of")
SMALL = ("is below", "in another unit")
# each with what may tell of it: a note's code, or words of the refusal
CORRUPTIONS: dict[str, tuple[Corrupt, tuple[str, ...]]] = {
    "loss in bits": (column("loss", lambda x: from_nats(x, "bits")), HIGH),
    "loss in perplexity": (column("loss", np.exp), HIGH),
    "loss in bits per byte": (
        column("loss", lambda x: from_nats(x, "bits_per_byte", tokens_per_byte=0.29335)),
        ("loss_level",),
    ),
    "loss in percent": (column("loss", lambda x: 100 * x), HIGH),
    "half of losses in bits": (
        half("loss", lambda x: from_nats(x, "bits")), ("loss_groups", "loss is above 15"),
    ),
    "a negative loss": (fourth("loss", lambda x: -x), ("loss must be greater than zero",)),
    "a model of zero params": (fourth("params", lambda x: 0 * x), ("params must be greater",)),
    "losses shuffled": (column("loss", dealt), ("loss_unrelated",)),
    "tokens in billions": (column("tokens", lambda x: x / 1e9), SMALL),
    "tokens in thousands": (column("tokens", lambda x: x / 1e3), SMALL),
    "half of tokens in billions": (half("tokens", lambda x: x / 1e9), SMALL),
    "tokens shuffled": (column("tokens", dealt), ("mixed up", "flops_inconsistent")),
    "params in millions": (column("params", lambda x: x / 1e6), SMALL),
    "params and tokens swapped": (
        lambda log: log.rename(columns={"params": "tokens", "tokens": "params"}),
        ("tokens_below_params", "unique_tokens is above tokens"),
    ),
    "flops in PF-days": (column("flops", lambda x: x / 8.64e19), SMALL),
    "flops in EFLOP": (column("flops", lambda x: x / 1e18), SMALL),
    "flops in TFLOP": (column("flops", lambda x: x / 1e12), SMALL),
    "flops of the forward pass": (column("flops", lambda x: x / 3), ("flops_forward_only",)),
    "two tokenizers": (two_tokenizers, ("losses per token of different tokenizers",)),
    "one id twice": (
        lambda log: log.assign(run_id=["same", "same", *log["run_id"][2:]]),
        ("stands for more than one run",),
    ),
    "a run that crashed": (state("crashed"), ("have not finished",)),
    "a state that nobody knows": (state("limbo"), ("are not known as finished or unfinished",)),
    "a row of means": (row_of_means, ("has the name of a summary of other rows",)),
    "no tokens beside params and compute": (without_tokens, ("tokens_derived",)),
    "three learning rates for each run": (learning_rates, ("sweep",)),
    "checkpoints of each run": (checkpoints, ("checkpoints",)),
    "copies without ids": (
        lambda log: pd.concat([log, log.head(2)]).drop(columns="run_id"),
        ("an earlier one in every value",),
    ),
    "a score": (column("loss", lambda x: 1 - x / 20), ("as a score does",)),
    "tokens for each parameter that are not so": (
        lambda log: log.assign(tpp=2 * log["tokens"] / log["params"]), ("scale_disagrees",),
    ),
    "sizes in words": (
        column("params", lambda x: [f"{n / 1e6:.6g}M" for n in x]), ("sizes_as_written",),
    ),
    "a decimal comma": (
        column("loss", lambda x: [f"{y:.4f}".replace(".", ",") for y in x]), ("decimal comma",),
    ),
    "a logarithm of params": (column("params", np.log10), ("is below",)),
    "billions in the header alone": (
        lambda log: log.rename(columns={"params": "Params (B)"}),
        ("which no run has reached",),
    ),
}  # fmt: skip


@cache
def log_of(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv")


def told(log: pd.DataFrame) -> set[str]:
    return {note.code for note in read_runs(log, missing="keep").warnings}


@pytest.mark.parametrize("name", LOGS)
def test_sound_logs_raise_no_alarm(real_data: Path, name: str) -> None:
    assert told(log_of(real_data, name)) == LOGS[name]


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("name", LOGS)
def test_no_corruption_passes_in_silence(real_data: Path, name: str, corruption: str) -> None:
    corrupt, signs = CORRUPTIONS[corruption]
    log = corrupt(log_of(real_data, name))
    try:
        text = " ".join(told(log) - LOGS[name])
    except RunLogError as error:
        text = str(error)
    assert any(sign in text for sign in signs), text


# each sign by itself, on logs made for it


def law(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return 1.8172 + 482.01 / params**0.3478 + 2085.43 / tokens**0.3658


@pytest.fixture
def sound(rng: np.random.Generator) -> pd.DataFrame:
    """Sixty runs of a law with residual noise of one percent."""
    params = np.exp(rng.uniform(np.log(3e7), np.log(3e9), 60))
    tokens = params * np.exp(rng.uniform(np.log(5), np.log(100), 60))
    loss = law(params, tokens) * np.exp(rng.normal(0, 0.01, 60))
    frame = pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})
    return frame.assign(flops=6 * params * tokens)


def note_of(log: pd.DataFrame, code: str, **options) -> str:
    (text,) = [
        as_options(note.text) for note in read_runs(log, **options).warnings if note.code == code
    ]
    return text


def test_a_sound_log_has_no_signs(sound: pd.DataFrame) -> None:
    assert not told(sound)


@pytest.mark.integration
def test_signs_are_rare_in_sound_logs(rng: np.random.Generator) -> None:
    """Scatter of a third of a percent to three, with tails of any weight."""
    alarms = 0
    for i in range(100):
        n = int(rng.integers(20, 60))
        params = np.exp(rng.uniform(np.log(3e7), np.log(5e9), n))
        tokens = params * np.exp(rng.uniform(np.log(5), np.log(200), n))
        noise = (0.003, 0.01, 0.03)[i % 3] * rng.standard_t((2, 4, 30)[i // 3 % 3], n)
        loss = law(params, tokens) * np.exp(noise)
        alarms += bool(
            told(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})) & SIGNS
        )
    assert alarms <= 2


def test_forward_pass_alone(sound: pd.DataFrame) -> None:
    assert note_of(sound.assign(flops=sound["flops"] / 3), "flops_forward_only") == (
        "flops differs from 6 * params * tokens by more than 20% in 60 of 60 runs: their ratio "
        "goes from 0.333 to 0.333, median 0.333; as if compute were 2 N D, the forward pass alone"
    )


@pytest.mark.parametrize(
    ("factor", "cause"),
    [
        (2 / 3, "as if compute were 4 N D, the backward pass alone"),
        (1 / 6, "as if compute were N D, without the factor of 6"),
        (1 / 2, "as if a multiplication and its addition counted as one"),
        (4 / 3, "as if compute were 8 N D, activations computed twice"),
    ],
)
def test_other_known_ratios(sound: pd.DataFrame, factor: float, cause: str) -> None:
    audit = audit_compute(sound.assign(flops=sound["flops"] * factor))
    assert audit is not None
    assert audit.cause == cause
    assert audit.median == pytest.approx(factor)


def test_ratios_that_change_with_size_name_embeddings_and_attention(sound: pd.DataFrame) -> None:
    head = 40_000 * np.cbrt(sound["params"])  # of width ~ N^(1/3)
    more = note_of(sound.assign(flops=sound["flops"] * (1 + head / sound["params"])),
                   "flops_convention")  # fmt: skip
    assert more.endswith(
        "for the larger, as where compute counts attention and the output head, or params leaves "
        "embeddings out"
    )
    assert "the ratio falls from 1." in more
    less = note_of(sound.assign(flops=sound["flops"] / (1 + head / sound["params"])),
                   "flops_convention")  # fmt: skip
    assert less.endswith(
        "for the larger, as where compute leaves embeddings and head out and params counts them"
    )
    kaplan = sound.assign(params_no_embed=sound["params"] - head)
    kaplan["flops"] = 6 * kaplan["params_no_embed"] * kaplan["tokens"]
    assert note_of(kaplan, "flops_convention").endswith(
        "; compute is 6 times the other count of params times tokens"
    )


def test_compute_of_unique_tokens_only(sound: pd.DataFrame) -> None:
    log = sound.assign(unique_tokens=sound["tokens"] / np.tile([1, 2, 4], 20))
    log["flops"] = 6 * log["params"] * log["unique_tokens"]
    assert note_of(log, "flops_convention").endswith(
        "; compute counts each unique token once, not once per epoch"
    )


def test_compute_that_the_configuration_explains(rng: np.random.Generator) -> None:
    layers, width = np.arange(4, 16, dtype=float), 64.0 * np.arange(4, 16)
    models = Configuration(
        layers=layers, width=width, heads=width / 64, feed_forward=4 * width, vocabulary=32000.0,
        sequence_length=2048.0,
    )  # fmt: skip
    params = models.params("non_embedding")
    tokens = 50 * params * rng.uniform(0.5, 2, len(params))
    log = pd.DataFrame(
        {
            "params": params, "tokens": tokens, "flops": models.hoffmann_flops(tokens),
            "loss": law(params, tokens), "layers": layers, "width": width, "heads": width / 64,
            "feed_forward": 4 * width, "vocabulary": 32000, "sequence_length": 2048,
        }
    )  # fmt: skip
    assert note_of(log, "flops_convention").endswith(
        "; compute is that of Hoffmann et al. (2022), appendix F, for these models: say "
        "--convention flops=hoffmann_f"
    )


def test_rows_that_are_mixed_up(sound: pd.DataFrame) -> None:
    mixed = sound["tokens"] * np.tile([0.2, 1, 5], 20)
    note = note_of(sound.assign(tokens=mixed), "flops_inconsistent")
    assert note.endswith(
        "the ratio follows no way of counting: rows may be mixed up, or in different units"
    )
    thousands = sound["tokens"].where(np.arange(60) != 4, sound["tokens"] / 1e3)
    with pytest.raises(RunLogError) as caught:
        read_runs(sound.assign(tokens=thousands), units={"tokens": "1"})
    assert as_options(str(caught.value)) == (
        "DataFrame cannot be used:\n"
        "  - flops is 1 times 6 * params * tokens in most runs (median), but not in 1 of 60, "
        "1000.0 in row 5 times: these rows are in another unit or mixed up; correct them, or leave "
        "them out with --exclude 'run_id=row 5'"
    )


def test_the_unit_that_fits_is_named(sound: pd.DataFrame) -> None:
    with pytest.raises(RunLogError) as caught:
        read_runs(sound.assign(params=sound["params"] / 1e3))
    assert as_options(str(caught.value)) == (
        "DataFrame cannot be used:\n"
        "  - flops is 1e+03 times 6 * params * tokens (median), so one of the three is in another "
        "unit: params in thousands, perhaps; if so, say --unit params=1e3"
    )
    with pytest.raises(RunLogError, match=r"unit: flops in PF-days, perhaps; if so, say `units="):
        read_runs(sound.assign(flops=sound["flops"] / 8.64e19), units={"flops": "1"})


def test_more_params_than_tokens(sound: pd.DataFrame) -> None:
    swapped = sound.rename(columns={"params": "tokens", "tokens": "params"})
    text = note_of(swapped, "tokens_below_params")
    ratio = float((sound["params"] / sound["tokens"]).median())
    assert text == (
        f"tokens are {ratio:.3g} times params (median), and models are trained on more tokens than "
        "they have parameters: the two may be swapped, or one in another unit"
    )


def test_losses_off_the_level_of_language_models(sound: pd.DataFrame) -> None:
    bits = sound.assign(loss=sound["loss"] / np.log(2))
    text = note_of(bits, "loss_level")
    assert text.startswith("the best losses are 1.4")
    assert text.endswith(
        "times what language models reach in nats per token with as much compute, as they would be "
        "in bits per token: if they are, say --unit loss=bits; if nats are meant, --unit loss=nats"
    )
    assert "loss_level" not in told(bits.assign(loss_unit="nats"))
    assert not told(bits.assign(loss_unit="bits")) & SIGNS
    assert "in bits per byte: if they are, say --unit loss=bits_per_byte" in note_of(
        sound.assign(loss=sound["loss"] * 0.42), "loss_level"
    )


def test_a_loss_in_another_unit_than_the_one_beside_it(sound: pd.DataFrame) -> None:
    log = sound.assign(train_loss=sound["loss"] * np.log(2) * 1.001)
    assert note_of(log, "loss_beside") == (
        "loss is 1.441 times column 'train_loss' throughout, as if it were in bits and that one in "
        "nats: say which with --unit loss=bits, or --unit loss=nats if both are"
    )
    assert "loss_beside" not in told(sound.assign(train_loss=sound["loss"] * 0.97))


def test_losses_that_are_round_in_nats(sound: pd.DataFrame) -> None:
    log = sound.assign(loss=sound["loss"].round(3) / np.log(2))
    assert note_of(log, "loss_rounded") == (
        "times ln 2, every loss has 3 decimals, and as they stand they have more: they seem to "
        "have been converted from nats to bits; if so, say --unit loss=bits; if nats are meant, "
        "--unit loss=nats"
    )
    assert "loss_rounded" not in told(sound.assign(loss=sound["loss"].round(3)))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_two_groups_of_losses(sound: pd.DataFrame, rng: np.random.Generator, share: float) -> None:
    upper = rng.permutation(60) < share * 60
    text = note_of(sound.assign(loss=np.where(upper, 1 / np.log(2), 1) * sound["loss"]),
                   "loss_groups")  # fmt: skip
    assert f"in {int(upper.sum())} of 60 the loss is 1.4" in text
    assert text.endswith(
        "as if they were in bits and the others in nats; convert or leave out one group"
    )
    other = note_of(sound.assign(loss=np.where(upper, 1.15, 1) * sound["loss"]), "loss_groups")
    assert other.endswith(
        "at the same scale, as with another unit, tokenizer or evaluation set; convert or leave "
        "out one group"
    )


def test_groups_that_are_families_may_differ(sound: pd.DataFrame) -> None:
    family = np.where(np.arange(60) < 30, "old", "new")
    apart = sound.assign(family=family, loss=np.where(family == "old", 1.15, 1) * sound["loss"])
    assert "loss_groups" not in told(apart)
    in_bits = apart.assign(loss=np.where(family == "old", 1.4427, 1) * sound["loss"])
    assert "(families old)" in note_of(in_bits, "loss_groups")


def test_losses_dealt_out_at_random(sound: pd.DataFrame) -> None:
    assert note_of(sound.assign(loss=dealt(sound["loss"])), "loss_unrelated") == (
        "loss is no more related to scale than shuffled losses would be: check that each row "
        "holds one run's own numbers"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "family",
            "family holds a line break, tab or other control character: 'a\\nb' in row 3; "
            "write it on one line, without tabs",
        ),
        (
            "run_id",
            "run_id holds a line break, tab or other control character: 'a\\nb'; "
            "write it on one line, without tabs",
        ),
    ],
)
def test_names_stand_on_one_line(name: str, text: str) -> None:
    log = pd.DataFrame({"params": np.geomspace(1e8, 1e10, 4), "tokens": 1e10, "loss": 2.0})
    names = ["a", "b", "a\nb", "d" if name == "run_id" else "b"]
    with pytest.raises(RunLogError) as caught:
        read_runs(log.assign(**{name: names}))
    assert text in str(caught.value)
    read_runs(log.assign(**{name: ["a", "b", "é ß\u00a0ü", "d" if name == "run_id" else "b"]}))
