"""Tables of planned runs: read as people write them, and forecast row by row."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale import forecast_table
from bayescale.errors import RunLogError
from bayescale.posterior import Posterior, save
from bayescale.runs.planned import read_planned


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    path = tmp_path / "planned.csv"
    path.write_text("name,params,tokens\nsmall,1B,20B\nlarge,70B,1.4e12\n")
    return path


@pytest.fixture
def fit_file(chinchilla_posterior: Posterior, tmp_path: Path) -> Path:
    return save(chinchilla_posterior, tmp_path / "fit.nc")


# read


def test_sizes_are_read_as_people_write_them(planned: Path) -> None:
    table = read_planned(planned)
    scales = {name: list(values) for name, values in table.scales.items()}
    assert scales == {"params": [1e9, 7e10], "tokens": [2e10, 1.4e12]}
    assert table.others.to_dict(orient="list") == {"name": ["small", "large"]}


def told(path: Path) -> str:
    with pytest.raises(RunLogError) as caught:
        read_planned(path)
    return str(caught.value)


def test_every_cell_that_is_no_size_is_named(planned: Path) -> None:
    planned.write_text("params,tokens\n1B,many\n-2,20B\n,20B\n")
    assert told(planned) == (
        "planned.csv cannot be used:\n"
        "  - row 2, params is '-2', but it must be finite and greater than zero\n"
        "  - row 3, params is '', which is not a size: write a number, with K, M, B or T after it "
        "if you like, for example 70B, 1.4T or 5.76e23\n"
        "  - row 1, tokens is 'many', which is not a size: write a number, with K, M, B or T after "
        "it if you like, for example 70B, 1.4T or 5.76e23"
    )


def test_a_table_without_scales(planned: Path) -> None:
    planned.write_text("size,data\n1B,2B\n")
    assert told(planned) == (
        "planned.csv has none of the columns params, tokens, flops, unique_tokens, kept_fraction, "
        "lm_loss, but size, data: rename its columns"
    )


# forecast


def test_each_row_has_its_forecast_beside_what_it_came_with(
    bayescale: Callable[..., object],
    planned: Path,
    fit_file: Path,
    chinchilla_posterior: Posterior,
    tmp_path: Path,
) -> None:
    output = tmp_path / "table.csv"
    ran = bayescale(
        "forecast-many", fit_file, planned, "-o", output, "--target", 2.0, "--json"
    ).json
    written = pd.read_csv(output)
    assert list(written["name"]) == ["small", "large"]
    pd.testing.assert_frame_equal(
        written.drop(columns="name"),
        forecast_table(chinchilla_posterior, params=[1e9, 7e10], tokens=[2e10, 1.4e12], target=2.0),
        rtol=1e-12,
    )
    assert sum(ran["verdicts"].values()) == ran["n_points"] == 2
    assert (ran["scales"], ran["carried_along"]) == (["params", "tokens"], ["name"])
    assert (ran["drift"], ran["target"], ran["output"]) == (True, 2.0, str(output))


def test_what_is_printed_counts_the_verdicts(
    bayescale: Callable[..., object], planned: Path, fit_file: Path, tmp_path: Path
) -> None:
    ran = bayescale("forecast-many", fit_file, planned, "-o", tmp_path / "table.csv", "--no-drift")
    lines = ran.out.splitlines()
    assert lines[0] == f"2 forecasts by params, tokens, written to {tmp_path / 'table.csv'}"
    carried = lines.index("Further columns kept: name")
    assert sum(int(line.split()[0]) for line in lines[1:carried]) == 2


def test_a_budget_alone_is_split(
    bayescale: Callable[..., object], planned: Path, fit_file: Path, tmp_path: Path
) -> None:
    planned.write_text("flops\n1e20\n1e22\n")
    assert bayescale("forecast-many", fit_file, planned, "-o", tmp_path / "table.csv").code == 0
    table = pd.read_csv(tmp_path / "table.csv")
    np.testing.assert_allclose(6 * table["params"] * table["tokens"], [1e20, 1e22], rtol=1e-12)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "params,tokens,verdict",
            "error: planned.csv has a column 'verdict', which the answer has too: rename it, or "
            "leave it out\n",
        ),
        (
            "params,data,name",
            "error: law 'chinchilla' is a function of params and tokens, but params is given: give "
            "--params and --tokens, or --flops alone, for the compute-optimal split\n",
        ),
    ],
)
def test_tables_that_cannot_be_answered_leave_nothing_behind(
    header: str,
    message: str,
    bayescale: Callable[..., object],
    planned: Path,
    fit_file: Path,
    tmp_path: Path,
) -> None:
    planned.write_text(f"{header}\n1B,20B,1\n")
    ran = bayescale("forecast-many", fit_file, planned, "-o", tmp_path / "table.csv")
    assert (ran.code, ran.err) == (2, message)
    assert not (tmp_path / "table.csv").exists()
