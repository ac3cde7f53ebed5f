"""Arguments of a wrong type are refused by name, with what is needed."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pandas as pd
import pytest
from support.published import ONE

import bayescale as bs
from bayescale.arguments import require_kind
from bayescale.errors import ArgumentError, BayescaleError

LOG = pd.DataFrame({"params": [1e8, 1e9], "tokens": [2e9, 2e10], "loss": [3.4, 2.8]})
WRONG = (-1.0, "2%", float("nan"), [], {}, object(), True)
ONES: dict[str, Callable[..., Any]] = {
    "read_runs": lambda **given: bs.read_runs(**{"source": LOG} | given),
    "forecast": lambda **given: bs.forecast(ONE, **{"params": 7e9, "tokens": 1e12} | given),
    "forecast_table": lambda **given: bs.forecast_table(
        **{"fit": ONE, "params": [7e9], "tokens": [1e12]} | given
    ),
    "allocate": lambda **given: bs.allocate(ONE, **{"flops": 1e22} | given),
    "data_budget": lambda **given: bs.data_budget(ONE, **{"params": 7e9} | given),
    "next_run": lambda **given: bs.next_run(
        ONE, **{"budget": 1e21, "target_flops": 1e22} | given
    ),
    "trust": lambda **given: bs.trust(ONE, **given),
    "emergence": lambda **given: bs.emergence(ONE, **{"flops": [1e22, 1e23]} | given),
    "Cluster.of": lambda **given: bs.Cluster.of(**{"gpu": "h100", "gpus": 8} | given),
    "load_card": lambda **given: bs.load_card(**{"source": "chinchilla"} | given),
    "open_posterior": lambda **given: bs.open_posterior(**{"path": "no.nc"} | given),
    "simulate": lambda **given: bs.simulate(
        **{
            "law": "henighan_compute",
            "coefficients": {"E": 1.8, "C_c": 1e20, "alpha_C": 0.1},
            "scales": {"flops": [1e20, 1e21]},
        }
        | given
    ),
    "with_backtest": lambda **given: ONE.with_backtest(**given),
}  # fmt: skip
ARGUMENTS = {
    "read_runs": ("source", "columns", "units", "exclude", "only", "fill", "missing", "convert"),
    "forecast": ("tolerance", "target", "ci_prob", "family", "at", "loss_unit", "params"),
    "forecast_table": ("fit", "tolerance", "target", "family", "params"),
    "allocate": (
        "flops", "max_tokens", "max_params", "sizes", "inference_tokens", "price", "options",
        "family", "tolerance", "cluster", "ci_prob", "loss_unit",
    ),
    "data_budget": ("params", "overfit", "target", "family"),
    "next_run": ("budget", "target_flops", "target", "candidates"),
    "trust": ("backtest", "tolerance"),
    "emergence": ("answer_tokens",),
    "Cluster.of": ("gpu", "gpus", "utilization", "price"),
    "load_card": ("source", "law"),
    "open_posterior": ("path", "law"),
    "simulate": ("law", "coefficients", "scales", "sigma", "nu", "seed"),
    "with_backtest": ("backtest",),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name, of in ARGUMENTS.items() for argument in of]
)
def test_wrong_values_end_in_an_error_of_the_package(name: str, argument: str) -> None:
    """Each value is an answer, or an error of the package; never one from deep inside."""
    for value in WRONG:
        with suppress(BayescaleError):
            ONES[name](**{argument: value})


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("tolerance", "2%", "`tolerance=` is '2%', but must be a share of the loss, such as 0.02 "
         "for 2 %"),
        ("tolerance", None, "`tolerance=` is None, but must be a share of the loss, such as 0.02 "
         "for 2 %"),
        ("family", [], "`family=` is [], but must be the name of a family"),
        ("options", "7B", "`options=` is '7B', but must be a list of pairs of params and tokens: "
         "[(7e9, 1e12)]"),
        ("backtest", {}, "`backtest=` is {}, but must be a backtest of the fit, such as "
         "fit.backtest()"),
    ],
)  # fmt: skip
def test_a_wrong_type_is_named_with_what_is_needed(kind: str, value: object, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        require_kind(kind, value)
    assert str(caught.value) == message


def test_trust_and_read_runs_name_their_arguments() -> None:
    with pytest.raises(ArgumentError, match="`tolerance=` is '2%'"):
        bs.trust(ONE, tolerance="2%")  # type: ignore[arg-type]
    with pytest.raises(BayescaleError) as caught:
        bs.read_runs(None)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "a run log is given as NoneType: give a pandas.DataFrame, or the path of a .csv, .parquet "
        "or .jsonl file"
    )
