"""The base of results: JSON, text and HTML from the fields."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.results import (
    Result,
    TextTable,
    interval_text,
    plain,
    quantiles,
    quantiles_by_rank,
    quantiles_of_columns,
    withheld,
)

DRAWS = xr.DataArray(np.arange(101.0).reshape(1, 101), dims=("chain", "draw"))


@dataclass(frozen=True, eq=False)
class Example(Result):
    law: str
    loss: xr.DataArray
    table: pd.DataFrame
    ci_prob: float = 0.5

    def _content(self) -> Iterator[str | TextTable]:
        yield f"{self.law}:"
        yield TextTable.of([{"size": "1B", "loss": "2.5"}, {"size": "100B", "loss": "<2"}])


EXAMPLE = Example("chinchilla", DRAWS, pd.DataFrame({"x": [1.0, np.inf]}))


def test_json_reduces_draws_at_the_mass_asked_for_and_has_no_infinity() -> None:
    assert EXAMPLE.to_json() == {
        "law": "chinchilla",
        "loss": {"median": 50.0, "lower": 25.0, "upper": 75.0},
        "table": [{"x": 1.0}, {"x": None}],
        "interval": 0.5,
    }


def test_terminal_and_notebook_show_the_same_content() -> None:
    assert str(EXAMPLE) == "chinchilla:\nsize  loss\n  1B   2.5\n100B    <2"
    page = EXAMPLE._repr_html_()
    assert "<td>100B</td><td>&lt;2</td>" in page
    assert "chinchilla:" in page
    assert repr(EXAMPLE) == "<Example: chinchilla>"


def test_a_long_headline_is_cut_in_the_repr() -> None:
    assert len(repr(Example("x" * 500, DRAWS, pd.DataFrame()))) == 160


def test_frames_are_copies() -> None:
    frame = EXAMPLE.to_frame()
    frame["law"] = "other"
    assert EXAMPLE.to_frame()["law"].item() == "chinchilla"


def test_numpy_values_become_plain() -> None:
    assert plain({"a": np.float64(2), "b": (np.int64(1), np.nan), "c": np.arange(2)}) == {
        "a": 2.0, "b": [1, None], "c": [0, 1],
    }  # fmt: skip


def test_quantiles_of_infinite_draws_are_taken_by_rank() -> None:
    found = quantiles_by_rank([1.0, 2.0, 3.0, np.inf, np.inf, np.nan])
    assert found == {"median": 3.0, "lower": 1.0, "upper": np.inf}
    assert np.isnan(quantiles_by_rank([np.nan])["median"])
    half = [1.0, 2.0, np.inf, np.inf]
    assert quantiles(half)["median"] == quantiles_by_rank(half)["median"] == 2.0
    columns = np.array([half, [1.0, 2.0, 3.0, 4.0]]).T
    np.testing.assert_allclose(quantiles_of_columns(columns, [0.5]), [[2.0, 2.5]])


def test_an_answer_that_is_not_given_keeps_its_keys() -> None:
    draws = xr.DataArray([[1.0]], dims=("chain", "draw"))
    nothing = {"median": None, "lower": None, "upper": None}
    assert withheld({"a": draws, "b": {"c": 1.0}, "d": [2.0]}) == {
        "a": nothing, "b": {"c": None}, "d": None,
    }  # fmt: skip


def test_an_interval_is_labeled_with_its_mass() -> None:
    text = interval_text({"median": 2, "lower": 1, "upper": 3}, lambda x: f"{x:.1f}", 0.9)
    assert text == "2.0 (90% interval 1.0 to 3.0)"
