"""Questions put to something that is no fit."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from bayescale import (
    allocate,
    cross_check,
    data_budget,
    emergence,
    forecast,
    next_run,
    overfit_line,
    prune,
    regret_map,
    save,
    slices,
    summarize,
    trust,
)
from bayescale.errors import NoFitError


@pytest.mark.parametrize(
    "ask",
    [
        allocate, cross_check, data_budget, emergence, forecast, next_run, overfit_line, prune,
        regret_map, save, slices, summarize, trust,
    ],
    ids=lambda ask: ask.__name__,
)  # fmt: skip
def test_a_question_to_what_is_no_fit_says_what_to_give(ask: Callable[..., Any]) -> None:
    for given, kind in ((pd.DataFrame({"loss": [2.0]}), "DataFrame"), ("runs.csv", "str")):
        with pytest.raises(NoFitError) as caught:
            ask(given)
        assert str(caught.value) == (
            f"{ask.__name__} needs a fit, and a {kind} was given: make one with "
            "bayescale.fit(runs), or open one with bayescale.open_posterior(path)"
        )
