"""Conventions: counted as the papers count, converted both ways, and never mixed or guessed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayescale.conventions import Configuration, Conventions
from bayescale.conventions.recognize import recognize
from bayescale.errors import RunLogError, UnitError, as_options
from bayescale.runs import Runs, convert, read_runs
from bayescale.units import LOSS_UNITS, from_nats, to_nats

# Hoffmann et al. (2022), arXiv 2203.15556, table A9: millions of parameters, d_model, ffw_size,
# kv_size, n_heads, n_layers
TABLE_A9 = np.array(
    [
        (44, 512, 2048, 64, 8, 8), (57, 576, 2304, 64, 9, 9), (74, 640, 2560, 64, 10, 10),
        (117, 768, 3072, 64, 12, 12), (175, 896, 3584, 64, 14, 14), (251, 1024, 4096, 64, 16, 16),
        (425, 1280, 5120, 128, 10, 18), (509, 1408, 5632, 128, 11, 18),
        (632, 1536, 6144, 128, 12, 19), (893, 1792, 7168, 128, 14, 20),
        (1266, 2048, 8192, 128, 16, 22), (1424, 2176, 8704, 128, 17, 22),
        (2298, 2560, 10240, 128, 20, 26), (3530, 2688, 10752, 128, 22, 36),
        (4084, 2944, 11776, 128, 22, 36), (6796, 3584, 14336, 128, 28, 40),
        (9293, 4096, 16384, 128, 32, 42), (12295, 4608, 18432, 128, 36, 44),
        (12569, 4608, 18432, 128, 32, 47), (16183, 5120, 20480, 128, 40, 47),
    ],
    dtype=float,
)  # fmt: skip

# the same, table A4: layers, d_model, ffw_size, heads, k/q size, FLOP of appendix F over 6 N D
TABLE_A4 = [
    (10, 640, 2560, 10, 64, 1.03), (20, 1024, 4096, 16, 64, 1.10), (24, 1280, 5120, 10, 128, 1.08),
    (26, 1792, 7168, 14, 128, 1.04), (28, 2048, 8192, 16, 128, 1.03),
    (40, 3584, 14336, 28, 128, 0.99),
]  # fmt: skip

# Kaplan et al. (2020), arXiv 2001.08361, figure 9 and section 3.1: layers, d_model, N as printed
KAPLAN = [
    (2, 128, 393.2e3), (4, 256, 3e6), (8, 512, 25e6), (12, 768, 85e6), (24, 1024, 302e6),
    (36, 1280, 708e6), (48, 1600, 1.5e9),
]  # fmt: skip


def gopher_like(**shape) -> Configuration:
    """Runs like those of Hoffmann et al.: 32,000 tokens, tied, with relative positions."""
    return Configuration(
        vocabulary=32000, sequence_length=2048, tied_head=1.0, relative_positions=1.0, **shape
    )


def test_hoffmanns_parameter_counts() -> None:
    millions, width, feed_forward, head_size, heads, layers = TABLE_A9.T
    models = gopher_like(
        layers=layers, width=width, heads=heads, head_size=head_size, feed_forward=feed_forward
    )
    np.testing.assert_allclose(models.params("all") / 1e6, millions, rtol=0.01)


@pytest.mark.parametrize(("layers", "width", "printed"), KAPLAN)
def test_kaplans_parameter_counts(layers: int, width: int, printed: float) -> None:
    model = Configuration(layers=layers, width=width, feed_forward=4 * width, vocabulary=50257)
    assert model.params("non_embedding") == 12 * layers * width**2
    digits = {393.2e3: 4, 302e6: 3, 708e6: 3}.get(printed, 2 if printed > 1e7 else 1)
    assert float(f"{model.params('non_embedding'):.{digits - 1}e}") == printed


@pytest.mark.parametrize(("layers", "width", "inner", "heads", "size", "ratio"), TABLE_A4)
def test_hoffmanns_flops(
    layers: int, width: int, inner: int, heads: int, size: int, ratio: float
) -> None:
    """Their table shows blocks alone; embedding and head, which their text lists, add to it."""
    model = gopher_like(layers=layers, width=width, feed_forward=inner, heads=heads, head_size=size)
    by_params = 6 * model.params("all") * 1e9
    assert round(model.hoffmann_flops(1e9, blocks_only=True) / by_params, 2) == ratio
    beside = model.hoffmann_flops(1e9) - model.hoffmann_flops(1e9, blocks_only=True)
    assert beside == pytest.approx(3 * 4 * 32000 * width * 1e9)


def test_gated_layers_have_a_third_matrix_and_learned_positions_count() -> None:
    model = Configuration(layers=2, width=8, feed_forward=16, vocabulary=100, gated=1.0)
    assert model.params("non_embedding") == 2 * (4 * 64 + 3 * 8 * 16)
    assert model.params("no_input_embedding") - model.params("non_embedding") == 800
    gpt2 = Configuration(
        layers=12, width=768, feed_forward=3072, vocabulary=50257, sequence_length=1024,
        tied_head=1.0, learned_positions=1.0,
    )  # fmt: skip
    assert gpt2.params("all") == pytest.approx(124e6, rel=0.01)  # Radford et al. 2019, as released


# units of loss


@given(st.floats(0.05, 20.0), st.sampled_from(LOSS_UNITS), st.floats(0.05, 1.0))
def test_losses_come_back_from_every_unit(loss: float, unit: str, per_byte: float) -> None:
    there = from_nats(loss, unit, tokens_per_byte=per_byte)
    back = to_nats(there, unit, tokens_per_byte=per_byte)
    assert abs(back - loss) <= 2 * np.spacing(max(loss, 1.0 if unit == "perplexity" else loss))


def test_units_of_loss_computed_manually() -> None:
    assert from_nats(np.log(2.0), "bits") == 1.0
    assert from_nats(np.log(8.0), "perplexity") == pytest.approx(8.0)
    # GPT-2 tokenizer on the Pile: Gao et al. 2020, arXiv 2101.00027, .29335 tokens a byte
    assert from_nats(2.0, "bits_per_byte", tokens_per_byte=0.29335) == pytest.approx(0.846429)


def test_bits_per_byte_need_tokens_per_byte() -> None:
    with pytest.raises(UnitError) as caught:
        to_nats(0.9, "bits_per_byte")
    assert as_options(str(caught.value)) == (
        "bits per byte need tokens_per_byte, tokens divided by bytes of the evaluation set: give "
        "it, such as 0.29335 for the GPT-2 tokenizer on the Pile"
    )
    with pytest.raises(UnitError) as caught:
        from_nats(0.9, "decibels")
    assert as_options(str(caught.value)) == (
        "unit 'decibels' of a loss is unknown: use nats, bits, bits_per_byte, perplexity"
    )


# logs

LOG = pd.DataFrame(
    {
        "run_id": ["a", "b", "c"],
        "params": [1e8, 4e8, 1e9],
        "tokens": [2e9, 8e9, 2e10],
        "loss": [3.6, 3.0, 2.7],
        "n_layer": [12, 24, 24],
        "d_model": [768, 1024, 1600],
        "n_head": [12, 16, 25],
        "d_ff": [3072, 4096, 6400],
        "vocab_size": 50257,
        "seq_len": 1024,
        "tie_word_embeddings": True,
    }
)


def wrong(frame: pd.DataFrame, **options) -> str:
    with pytest.raises(RunLogError) as caught:
        read_runs(frame, **options)
    head, *problems = as_options(str(caught.value)).splitlines()
    assert head == "DataFrame cannot be used:"
    return "\n".join(problems)


def test_what_is_not_stated_is_unknown() -> None:
    runs = read_runs(LOG.drop(columns="tokens"))
    assert runs.conventions == Conventions()
    assert read_runs(LOG).conventions == Conventions(flops="6ND")  # derived so


def test_conventions_are_stated_by_column_and_by_option() -> None:
    frame = LOG.assign(eval_set="C4", tokenizer="gpt2", loss_unit="Nats per token")
    runs = read_runs(frame, conventions={"params": "Non-embedding", "tokens_per_byte": 0.25})
    assert runs.conventions == Conventions(
        params="non_embedding", flops="6ND", loss="nats", evaluation_set="C4", tokenizer="gpt2",
        tokens_per_byte=0.25,
    )  # fmt: skip
    assert runs.take([True, True, False]).conventions == runs.conventions


def test_usual_names_of_a_configuration_are_understood() -> None:
    runs = read_runs(LOG)
    assert runs.columns["heads"] == "column 'n_head'"
    np.testing.assert_array_equal(runs["tied_head"], [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(runs["vocabulary"], [50257.0] * 3)


def test_a_configuration_may_have_gaps_until_it_is_needed() -> None:
    runs = read_runs(LOG.assign(d_model=[768, None, 1600]), conventions={"params": "all"})
    with pytest.raises(RunLogError) as caught:
        convert(runs, params="non_embedding")
    assert as_options(str(caught.value)) == (
        "DataFrame cannot be converted:\n"
        "  - --convert params=non_embedding lacks a part of the configuration in row 2 (b): add it"
    )


def test_params_convert_both_ways() -> None:
    runs = read_runs(LOG, conventions={"params": "all"})
    without = convert(runs, params="non_embedding")
    matrix = 50257.0 * LOG["d_model"]
    np.testing.assert_allclose(without["params"], LOG["params"] - matrix)
    np.testing.assert_allclose(without["flops"], 6 * without["params"] * LOG["tokens"])
    assert without.conventions.params == "non_embedding"
    assert without.columns["params"] == "column 'params', converted from all to non_embedding"
    back = convert(without, params="all")
    np.testing.assert_allclose(back["params"], LOG["params"], rtol=1e-15)
    untied = read_runs(LOG.assign(tie_word_embeddings=0), conventions={"params": "all"})
    head = convert(untied, params="no_input_embedding")
    np.testing.assert_allclose(head["params"], LOG["params"] - matrix)


def test_compute_converts_both_ways() -> None:
    runs = read_runs(LOG, conventions={"params": "all"})
    full = convert(runs, flops="hoffmann_f")
    models = Configuration(
        layers=LOG["n_layer"], width=LOG["d_model"], heads=LOG["n_head"],
        feed_forward=LOG["d_ff"], vocabulary=50257, sequence_length=1024,
    )  # fmt: skip
    np.testing.assert_allclose(full["flops"], models.hoffmann_flops(LOG["tokens"]))
    np.testing.assert_allclose(convert(full, flops="6ND")["flops"], runs["flops"])
    kaplan = convert(runs, flops="6ND_non_embedding")
    assert kaplan.conventions == Conventions(params="all", flops="6ND_non_embedding")
    np.testing.assert_allclose(
        kaplan["flops"], 6 * (LOG["params"] - 50257 * LOG["d_model"]) * LOG["tokens"]
    )


def test_params_are_counted_where_the_log_has_none() -> None:
    frame = LOG.drop(columns="params")
    runs = read_runs(frame, conventions={"params": "non_embedding"})
    np.testing.assert_array_equal(runs["params"], 12 * LOG["n_layer"] * LOG["d_model"] ** 2.0)
    assert runs.columns["params"] == "the models' configuration"
    assert wrong(frame) == (
        "  - it has no params; to have them counted from the models' configuration, say what they "
        "are to count with --convention params=NAME, one of all, no_input_embedding and "
        "non_embedding"
    )
    assert wrong(frame.drop(columns="d_ff"), conventions={"params": "all"}) == (
        "  - it has no params, and feed_forward are missing to count them from the models' "
        "configuration: add such columns, or name the column of params with --column params=HEADER"
    )


@pytest.mark.parametrize("unit", LOSS_UNITS)
def test_losses_of_every_unit_are_put_in_nats(unit: str) -> None:
    loss = from_nats(LOG["loss"].to_numpy(), unit, tokens_per_byte=0.25)
    frame = LOG.assign(loss=loss)
    by_option = read_runs(frame, units={"loss": unit}, conventions={"tokens_per_byte": 0.25})
    by_column = read_runs(frame.assign(loss_unit=unit, tokens_per_byte=0.25))
    for runs in (by_option, by_column):
        np.testing.assert_allclose(runs["loss"], LOG["loss"], rtol=1e-15)
        assert runs.conventions.loss == unit


def test_bits_per_byte_without_tokens_per_byte() -> None:
    assert wrong(LOG, units={"loss": "bpb"}) == (
        "  - losses in bits per byte need tokens_per_byte, the tokenizer's on the evaluation set, "
        "to be put in nats per token, and it is not stated in row 1 (a), row 2 (b), row 3 (c): "
        "state it with --convention tokens_per_byte=VALUE or a column of that name; with "
        "tokens_per_byte=1 the law is one of nats per byte"
    )


# what does not mix

MIXED = {
    "tokenizer": (
        ["gpt2", "gpt2", "llama"],
        "  - tokenizer says 'gpt2' in 2 (row 1 (a), row 2 (b)); 'llama' in 1 (row 3 (c)): losses "
        "per token of different tokenizers do not compare; convert them with --convert "
        "tokenizer=gpt2, which needs tokens_per_byte for each, or fit them apart, as with --only "
        "tokenizer=gpt2",
    ),
    "eval_set": (
        ["c4", "pile", "pile"],
        "  - eval_set says 'c4' in 1 (row 1 (a)); 'pile' in 2 (row 2 (b), row 3 (c)): losses on "
        "different texts do not compare and cannot be converted; fit them apart, as with --only "
        "eval_set=c4",
    ),
    "params_convention": (
        ["all", "all", "non_embedding"],
        "  - params_convention says 'all' in 2 (row 1 (a), row 2 (b)); 'non_embedding' in 1 (row 3 "
        "(c)): different counts do not mix in one law; convert them with --convert params=all, "
        "which needs each model's configuration, or fit them apart, as with --only "
        "params_convention=all",
    ),
    "loss_unit": (
        ["nats", "nats", "bits"],
        "  - loss_unit says 'nats' in 2 (row 1 (a), row 2 (b)); 'bits' in 1 (row 3 (c)): different "
        "units do not mix; convert them with --convert loss=nats, or fit them apart, as with "
        "--only loss_unit=nats",
    ),
    "flops_convention": (
        ["6ND", "", ""],
        "  - flops_convention says '6ND' in 1 (row 1 (a)); 'nothing' in 2 (row 2 (b), row 3 (c)): "
        "runs that state different things do not mix; fill in the empty cells",
    ),
    "tokens_per_byte": (
        [0.25, 0.25, 0.3],
        "  - tokens_per_byte says 0.25 in 2 (row 1 (a), row 2 (b)); 0.3 in 1 (row 3 (c)): so there "
        "are several tokenizers, whose losses per token do not compare; convert them with "
        "--convert tokens_per_byte=0.25, or fit them apart, as with --only tokens_per_byte=0.25",
    ),
}


@pytest.mark.parametrize("column", MIXED)
def test_different_conventions_do_not_mix(column: str) -> None:
    cells, message = MIXED[column]
    assert wrong(LOG.assign(**{column: cells})) == message


def test_one_kind_alone_is_read() -> None:
    frame = LOG.assign(tokenizer=["gpt2", "gpt2", "llama"])
    runs = read_runs(frame, exclude={"tokenizer": "llama"})
    assert runs.conventions.tokenizer == "gpt2"
    assert len(runs) == 2


def test_mixed_params_and_units_are_converted_on_request() -> None:
    kinds = ["all", "all", "non_embedding"]
    runs = read_runs(LOG.assign(params_convention=kinds), convert={"params": "all"})
    np.testing.assert_allclose(runs["params"], LOG["params"] + [0, 0, 50257 * 1600.0])
    frame = LOG.assign(loss_unit=["nats", "nats", "bits"], loss=[3.6, 3.0, 2.7 / np.log(2)])
    runs = read_runs(frame, convert={"loss": "nats"})
    np.testing.assert_allclose(runs["loss"], LOG["loss"])


def test_tokenizers_are_converted_by_way_of_bytes() -> None:
    frame = LOG.assign(
        tokenizer=["gpt2", "gpt2", "llama"], tokens_per_byte=[0.25, 0.25, 0.30], loss_se=0.01
    )
    runs = read_runs(frame, convert={"tokenizer": "gpt2"})
    np.testing.assert_allclose(runs["loss"], [3.6, 3.0, 2.7 * 0.30 / 0.25])
    np.testing.assert_allclose(runs["loss_se"], [0.01, 0.01, 0.012])
    assert runs.conventions.tokenizer == "gpt2"
    assert runs.conventions.tokens_per_byte == 0.25
    note = next(note for note in runs.warnings if note.code == "tokens_as_counted")
    assert note.text == (
        "losses are per token of gpt2; tokens stay as each run's own tokenizer counted them"
    )
    per_byte = read_runs(frame, convert={"tokens_per_byte": 1})
    np.testing.assert_allclose(per_byte["loss"], [3.6 * 0.25, 3.0 * 0.25, 2.7 * 0.30])
    message = wrong(frame, convert={"tokenizer": "t5"})
    assert (
        "--convert tokenizer=t5: no run under that name, among gpt2, llama; name another, or a "
        "number with --convert tokens_per_byte=VALUE"
    ) in message
    message = wrong(frame.drop(columns="tokens_per_byte"), convert={"tokenizer": "gpt2"})
    assert (
        "--convert tokenizer=gpt2 needs tokens_per_byte of each run's tokenizer on the evaluation "
        "set, which is missing in row 1 (a), row 2 (b), row 3 (c): add a column of that name"
    ) in message


# statements that are wrong

WRONG_OPTIONS = [
    (
        {"conventions": {"params": "most"}},
        "  - --convention params=most: params is one of all, no_input_embedding, non_embedding",
    ),
    (
        {"conventions": {"tokens_per_byte": "-1"}},
        "  - --convention tokens_per_byte=-1: tokens_per_byte is a number above zero, tokens "
        "divided by bytes of the evaluation set, such as 0.29",
    ),
    (
        {"conventions": {"weights": "all"}},
        "  - --convention weights=all: 'weights' is not a convention; they are params, flops, "
        "loss, evaluation_set, tokenizer, tokens_per_byte",
    ),
    (
        {"conventions": {"loss": "nats"}, "units": {"loss": "bits"}},
        "  - --unit loss=bits and --convention loss=nats contradict each other: keep one",
    ),
    (
        {"conventions": {"loss": "nats"}, "units": {"loss": "0.5"}},
        "  - --unit loss=0.5 is a factor, and the unit is stated as well: keep one",
    ),
    (
        {"convert": {"evaluation_set": "c4"}},
        "  - --convert evaluation_set=c4: 'evaluation_set' cannot be converted; params, flops, "
        "loss, tokenizer, tokens_per_byte can",
    ),
    (
        {"convert": {"loss": "bits"}},
        "  - --convert loss=bits: laws are fitted to nats per token, so losses are converted to "
        "nats only; state what they are in with --unit loss=bits",
    ),
    (
        {"convert": {"params": "all"}},
        "  - --convert params=all needs to know what params counts, which is not stated in row 1 "
        "(a), row 2 (b), row 3 (c): state it with --convention params=NAME or a column "
        "params_convention",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
def test_statements_that_make_no_sense(options: dict, message: str) -> None:
    assert wrong(LOG, **options) == message


def test_a_column_and_an_option_that_contradict_each_other() -> None:
    frame = LOG.assign(params_convention=["all", "all", "non_embedding"])
    assert wrong(frame, conventions={"params": "all"}) == (
        "  - params_convention says 'non_embedding' in row 3 (c), and --convention params=all "
        "contradicts it: leave that out, or correct the column"
    )
    assert wrong(LOG.assign(params_convention="some")) == (
        "  - params_convention says 'some' in row 1 (a), 'some' in row 2 (b), 'some' in row 3 (c), "
        "which is not one of all, no_input_embedding, non_embedding"
    )


def test_a_configuration_that_lacks_what_a_conversion_takes() -> None:
    bare = LOG[["run_id", "params", "tokens", "loss"]]
    assert wrong(bare, conventions={"params": "all"}, convert={"params": "non_embedding"}) == (
        "  - --convert params=non_embedding needs layers, width, vocabulary, tied_head of each "
        "model: add such columns"
    )


def test_embeddings_larger_than_the_model() -> None:
    frame = LOG.assign(params=[1e7, 4e8, 1e9])
    assert wrong(frame, conventions={"params": "all"}, convert={"params": "non_embedding"}) == (
        "  - --convert params=non_embedding: embeddings of vocabulary times width are more than "
        "all params in row 1 (a), so params counts something else than was stated, or the "
        "configuration is another model's: correct one of them"
    )


ABSURD = [
    ({"n_layer": [-3, 24, 24]}, "  - layers must be a whole number of one or more: -3 in row 1 "
     "(a); correct it, or leave the column unread with --ignore n_layer"),
    ({"vocab_size": 0}, "  - vocabulary must be a whole number of one or more: 0 in row 1 (a), 0 "
     "in row 2 (b), 0 in row 3 (c); correct it, or leave the column unread with --ignore "
     "vocab_size"),
    ({"d_ff": [3072.5, 4096, 6400]}, "  - feed_forward must be a whole number of one or more: "
     "3072.5 in row 1 (a); correct it, or leave the column unread with --ignore d_ff"),
    ({"n_layer": [12, 24, 10**6]}, "  - layers is above 10000: 1000000 in row 3 (c); no model has "
     "so many, so correct it, or rename the column if it holds something else"),
    ({"n_head": [12, 15, 25]}, "  - width is not divisible by heads: 1024 in row 2 (b), the first "
     "with 15 heads of 68.267; correct them, or name the size of one head in column head_size"),
    ({"tie_word_embeddings": [1, 2, 0]}, "  - tied_head must be 0 or 1: 2 in row 2 (b); write 1 "
     "for yes"),
]  # fmt: skip


@pytest.mark.parametrize(("cells", "message"), ABSURD)
def test_absurd_configurations(cells: dict, message: str) -> None:
    assert wrong(LOG.assign(**cells)) == message


def test_two_absurdities_are_reported_together() -> None:
    message = wrong(LOG.assign(n_layer=-3, vocab_size=0))
    assert "layers must be" in message
    assert "vocabulary must be" in message
    frame = LOG.drop(columns="seq_len").assign(learned_positions=1)
    assert wrong(frame) == (
        "  - learned_positions is 1, but there is no sequence_length to count them by: add it"
    )
    assert wrong(LOG.drop(columns="n_head").assign(head_size=64)) == (
        "  - head_size is there without heads: add column heads, or leave it out"
    )


# configuration against count


def test_a_statement_that_the_configuration_contradicts() -> None:
    frame = LOG.assign(params=12.0 * LOG["n_layer"] * LOG["d_model"] ** 2)
    assert codes(read_runs(frame, conventions={"params": "non_embedding"})) == {"flops_derived"}
    runs = read_runs(frame, conventions={"params": "all"})
    (text,) = [n.text for n in runs.warnings if n.code == "configuration_mismatch"]
    assert text == (
        "params are stated to be all, but the configuration gives counts 15.7% from them (median) "
        "and 0.0% for non_embedding: correct the statement or the configuration"
    )
    runs = read_runs(frame.assign(params=3 * frame["params"]))
    (text,) = [n.text for n in runs.warnings if n.code == "configuration_mismatch"]
    assert text.startswith("params are 156% from what the configuration gives under any convention")


def codes(runs: Runs) -> set[str]:
    return {note.code for note in runs.warnings}


# counts that give away what they count


def shapes(n: int = 10) -> tuple[np.ndarray, np.ndarray]:
    return 32 * np.arange(4, 4 + 3 * n, 3), np.arange(3, 3 + n)


@pytest.mark.parametrize("matrices", [1, 2])
def test_exact_counts_are_recognized(matrices: int) -> None:
    width, layers = shapes()
    params = 12.0 * layers * width**2 + matrices * 50304 * width
    found = recognize(np.tile(params, 2))
    assert found is not None
    assert (found.matrices, found.vocabulary) == (matrices, 50304)
    np.testing.assert_array_equal(found.shapes.layers, np.tile(layers, 2))
    np.testing.assert_allclose(found.shapes.params(found.convention), np.tile(params, 2))


def test_counts_that_are_not_exact_are_not_recognized(rng: np.random.Generator) -> None:
    width, layers = shapes()
    params = 12.0 * layers * width**2 + 50304 * width
    assert recognize(params + rng.integers(1, 1000, len(params))) is None
    assert recognize(params[:7]) is None  # too few sizes
    assert recognize(np.round(params, -6)) is None
    for _ in range(50):
        assert recognize(1024.0 * rng.integers(5e3, 5e6, 8)) is None
