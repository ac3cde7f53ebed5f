"""Figures draw what result tables hold, and nothing else."""

from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from published import ONE, SPREAD

from bayescale.cards import load_card
from bayescale.forecast import forecast
from bayescale.plots import (
    plot_downstream,
    plot_emergence,
    plot_forecast,
    plot_perceptron,
    plot_pruning,
)
from bayescale.posterior import point
from bayescale.scenarios.emergence import emergence
from bayescale.scenarios.perceptron import prune_perceptron
from bayescale.scenarios.pruning import prune

PATH = np.geomspace(1e20, 1e24, 9)


@pytest.fixture(autouse=True)
def without_a_screen() -> Iterator[None]:
    with mpl.rc_context({"backend": "agg"}):
        yield
        import matplotlib.pyplot as plt

        plt.close("all")


def labels(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax, label: str):
    return next(x for x in ax.get_lines() if x.get_label() == label)


def test_a_forecast_is_drawn_as_its_table_says() -> None:
    result = forecast(SPREAD, flops=PATH)
    ax = plot_forecast(result)
    median = line(ax, "chinchilla, median")
    np.testing.assert_allclose(median.get_ydata(), result.to_frame()["loss_median"])
    assert "mean of runs, 90% interval" in labels(ax)
    assert ax.get_xscale() == "log"


def test_pruning_is_drawn_with_its_choice_and_its_label() -> None:
    result = prune(SPREAD, params=7e9, tokens=1.4e11)
    ax, frame = plot_pruning(result), result.to_frame()
    np.testing.assert_allclose(line(ax, "chinchilla, median").get_ydata(), frame["gain_median"])
    assert line(ax, "chinchilla, median").get_ydata()[-1] == 0.0
    assert ax.get_title(loc="left") == "Scenario: the metric's quality is a prior"
    chosen = frame.iloc[result.choice]
    assert f"least expected loss: keep {chosen['kept_fraction']:.0%}" in labels(ax)
    known = load_card("repetition").published_values("muennighoff_2023")
    fitted = point(load_card("pruned"), known | {"quality": 2.0, "floor": 0.1})
    assert not plot_pruning(prune(fitted, params=7e9, tokens=1.4e11)).get_title(loc="left")


def test_emergence_shows_the_smooth_and_the_sharp_curve() -> None:
    result = emergence(SPREAD, flops=PATH, answer_tokens=[1, 5])
    ax, frame = plot_emergence(result), result.to_frame()
    assert labels(ax) == ["token accuracy", "exact match 5", "loss (right-hand axis)"]
    exact = frame[frame["metric"] == "exact_match_5"]
    np.testing.assert_allclose(line(ax, "exact match 5").get_ydata(), exact["median"])
    (right,) = [other for other in ax.figure.axes if other is not ax]
    np.testing.assert_allclose(right.get_lines()[0].get_ydata(), exact["loss_median"])
    only = plot_emergence(result, metrics=["exact_match_5"])
    assert labels(only) == ["exact match 5", "loss (right-hand axis)"]


def test_a_perceptron_is_drawn_by_what_it_is_trained_on() -> None:
    result = prune_perceptron([1, 10, 100], [0.2, 1.0], kept=("hard",))
    ax, frame = plot_perceptron(result), result.to_frame()
    assert labels(ax) == ["20% kept, hard", "all kept"]
    part = frame[frame["kept_fraction"] == 0.2]
    drawn = line(ax, "20% kept, hard")
    np.testing.assert_allclose(drawn.get_xdata(), part["examples_per_param"] * 0.2)
    np.testing.assert_allclose(drawn.get_ydata(), part["error"])


def test_downstream_error_is_drawn_against_a_falling_loss() -> None:
    law = point(load_card("downstream"), {"epsilon": 0.86, "k": 2.1, "gamma": 0.7})
    result = forecast(law, lm_loss=np.linspace(2.2, 5, 20))
    held = pd.DataFrame({"lm_loss": [2.4], "loss": [0.47]})
    ax = plot_downstream(result, held_out=held)
    assert ax.xaxis_inverted()
    assert ax.get_ylabel() == "mean error over tasks"
    assert line(ax, "runs held out").get_xdata() == [2.4]


def test_figures_go_where_they_are_asked_to() -> None:
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2)
    assert plot_pruning(prune(ONE, params=7e9, tokens=1.4e11), right) is right
    assert plot_emergence(emergence(ONE, flops=PATH), left) is left
