"""Logs in other units than they seem to be in are refused, with the option that settles it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.errors import RunLogError, as_options
from bayescale.laws import CHINCHILLA
from bayescale.runs import read_runs
from bayescale.runs.rules.loss import WEB_TEXT

N = 1e6 * np.array([70.0, 70, 162, 162, 405, 405, 1020, 1020])
D = N * np.array([12.0, 60, 8, 64, 5, 48, 20, 33])
LOSS = np.asarray(CHINCHILLA.loss(N, D, **WEB_TEXT))
LOG = pd.DataFrame({"params": N, "tokens": D, "loss": LOSS})


def refusal(log: pd.DataFrame, **options: Any) -> str:
    with pytest.raises(RunLogError) as caught:
        read_runs(log, **options)
    return as_options(str(caught.value)).removeprefix("DataFrame cannot be used:\n  - ")


def with_cell(column: str, value: float) -> pd.DataFrame:
    log = LOG.copy()
    log.loc[2, column] = value
    return log


def test_raw_counts_that_a_unit_multiplies() -> None:
    assert refusal(LOG, units={"tokens": "1e9"}) == (
        "tokens is up to 3.37e+19 in the unit 1e9, above 1e+16 in 8 of 8 runs, row 1, row 2, row "
        "3, row 4, row 5 and 3 more, which no run has reached: if tokens holds raw counts of "
        "tokens, such as 1.4e12, say --unit tokens=1 instead"
    )
    assert "params is up to inf in the unit log10" in refusal(LOG, units={"params": "log10"})
    assert read_runs(LOG, units={"tokens": "1"})["tokens"].max() == D.max()


def test_more_than_any_run_without_a_unit() -> None:
    text = refusal(LOG.assign(params=1e12 * N))
    assert "params is up to 1.02e+21, above 1e+15 in 8 of 8 runs" in text
    assert text.endswith("say --unit params=1")


def test_one_cell_in_another_unit() -> None:
    assert refusal(with_cell("params", 162)) == (
        "params is 162.0 in row 3, where the others are 7e+07 to 1.02e+09: correct it if it is in "
        "another unit, or leave it out with --exclude 'run_id=row 3'; if that is meant, say "
        "--unit params=1"
    )
    assert read_runs(with_cell("params", 162), units={"params": "1"})["params"].min() == 162
    raw_among_billions = LOG.assign(tokens=D / 1e9)
    raw_among_billions.loc[2, "tokens"] = D[2]
    text = refusal(raw_among_billions, units={"tokens": "1e9"})
    assert "row 3, where the others are 8.4e+08 to 3.37e+10: correct it" in text
    assert "--unit" not in text


def test_a_few_small_runs_of_a_wide_log_are_no_exception() -> None:
    """Sizes that rise in steps of less than a thousand are all of one unit."""
    wide = LOG.assign(params=np.geomspace(2e4, 1e9, 8))
    assert len(read_runs(wide)) == 8


def test_logs_in_columns_of_counts() -> None:
    """Losses tell 63M from 7.8B, and both are offered."""
    text = refusal(LOG.assign(params=np.log10(N)))
    assert text.endswith(
        "raw counts of parameters, such as 7e9; if they are logs to base 10, say --unit "
        "params=log10; if they are in billions, say --unit params=1e9; if they are meant, say "
        "--unit params=1"
    )
    read = read_runs(LOG.assign(params=np.log10(N)), units={"params": "log10"})
    np.testing.assert_allclose(read["params"], N)
    in_billions = LOG.assign(params=[7.0, 7, 8, 8, 13, 13, 14, 14], loss=LOSS - 0.9)
    assert "if they are in billions, say --unit params=1e9; if they are logs" in refusal(
        in_billions
    )


@pytest.mark.parametrize(
    ("header", "words", "unit"),
    [
        ("val_bpb", "bits per byte", "bits_per_byte"),
        ("bits_per_byte", "bits per byte", "bits_per_byte"),
        ("eval/loss_bits", "bits", "bits"),
        ("ppl", "perplexity", "perplexity"),
    ],
)
def test_headers_that_name_another_unit_than_nats(header: str, words: str, unit: str) -> None:
    log = LOG.rename(columns={"loss": header})
    assert refusal(log, columns={"loss": header}) == (
        f"loss (column {header!r}) seems to be in {words}, and without a unit it is taken as nats "
        f"per token: if it is in {words}, say --unit loss={unit}; if nats are meant, --unit "
        "loss=nats"
    )
    read = read_runs(log, columns={"loss": header}, units={"loss": "nats"})
    np.testing.assert_array_equal(read["loss"], LOSS)


@pytest.mark.parametrize("header", ["error_rate", "accuracy"])
def test_shares_are_no_losses(header: str) -> None:
    log = LOG.assign(loss=LOSS / 9).rename(columns={"loss": header})
    text = refusal(log, columns={"loss": header})
    assert f"loss (column {header!r}) seems to be a share of right or wrong answers" in text
    assert text.endswith("or, to fit the numbers as they stand, say --unit loss=1")
    read = read_runs(log, columns={"loss": header}, units={"loss": "1"})
    np.testing.assert_allclose(read["loss"], LOSS / 9)
    downstream = log.assign(lm_loss=LOSS)
    assert len(read_runs(downstream, columns={"loss": header})) == 8


def test_a_loss_that_is_not_found_is_named_with_its_unit() -> None:
    text = refusal(LOG.rename(columns={"loss": "val_bpb"}))
    assert text.endswith("name it with --column loss=val_bpb and --unit loss=bits_per_byte")


def test_a_run_of_many_tokens_beside_small_ones_is_sound() -> None:
    log = pd.DataFrame({"params": [1e7, 2e7, 4e7, 8e9], "tokens": [1e8, 2e8, 4e8, 1.5e13]})
    runs = read_runs(log.assign(loss=[4.5, 4.3, 4.1, 2.0]))
    assert runs["tokens"].max() == 1.5e13
