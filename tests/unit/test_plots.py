"""Figures draw what result tables hold, and nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from support.explored import chinchilla
from support.published import ONE, SPREAD

from bayescale.cards import load_card
from bayescale.decisions.allocate import allocate
from bayescale.decisions.next_run import next_run
from bayescale.decisions.overfit import overfit_line
from bayescale.decisions.regret import regret_map
from bayescale.errors import DecisionError, FigureError, PosteriorError, TrustError
from bayescale.forecasting import forecast
from bayescale.plotting import (
    plot_allocation,
    plot_best_split,
    plot_coefficients,
    plot_comparison,
    plot_coverage,
    plot_downstream,
    plot_emergence,
    plot_errors,
    plot_forecast,
    plot_laws,
    plot_next_run,
    plot_options,
    plot_overfit,
    plot_perceptron,
    plot_pruning,
    plot_regret,
    plot_result,
    plot_slices,
    plot_trust,
)
from bayescale.plotting.fonts import naming_fonts
from bayescale.plotting.inline import inline
from bayescale.plotting.style import name_ends, new_axes, write_beside
from bayescale.posterior import ModelAverage, Posterior, point, summarize
from bayescale.scenarios.emergence import emergence
from bayescale.scenarios.perceptron import prune_perceptron
from bayescale.scenarios.pruning import prune
from bayescale.splits.hardware import Cluster
from bayescale.splits.utilization import Utilization
from bayescale.units import format_size
from bayescale.validation.backtest_record import bins
from bayescale.validation.backtest_result import Backtest
from bayescale.validation.comparison import Comparison
from bayescale.validation.horizon import Trust, trust

PATH = np.geomspace(1e20, 1e24, 9)


@pytest.fixture(autouse=True)
def without_a_screen() -> Iterator[None]:
    with mpl.rc_context({"backend": "agg"}):
        yield
        import matplotlib.pyplot as plt

        plt.close("all")


def labels(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def written(ax) -> list[str]:
    """The names that stand in the figure, each on one line."""
    return [" ".join(text.get_text().split()) for text in ax.texts]


def line(ax, label: str):
    return next(x for x in ax.get_lines() if x.get_label() == label)


def named_at(ax, start: str) -> tuple[float, float]:
    """Where what a text in the figure names stands."""
    return next(text.xy for text in ax.texts if text.get_text().startswith(start))


def test_a_forecast_is_drawn_as_its_table_says() -> None:
    result = forecast(SPREAD, flops=PATH)
    ax = plot_forecast(result)
    median = line(ax, "chinchilla, median")
    np.testing.assert_allclose(median.get_ydata(), result.to_frame()["loss_median"])
    assert "dark band: mean over seeds, 90% interval" in written(ax)
    assert ax.get_legend() is None
    assert ax.get_xscale() == "log"


def band(ax, label: str) -> np.ndarray:
    """The corners of a shaded band, shape (corner, 2)."""
    return next(c for c in ax.collections if c.get_label() == label).get_paths()[0].vertices


def bars(ax, label: str) -> np.ndarray:
    """Both ends of each bar, shape (bar, 2, 2)."""
    return np.array(next(c for c in ax.collections if c.get_label() == label).get_segments())


BINS = [
    {
        "lower": lower, "upper": 2 * lower, "n": 20, "n_covered": n, "n_cutoffs": 4,
        "coverage90": n / 20, "largest": 1.9 * lower,
    }
    for lower, n in ((1.0, 19), (2.0, 18), (4.0, 12))
]  # fmt: skip


@pytest.fixture(scope="module")
def trusted(cerebras_posterior: Posterior) -> Trust:
    kept = {
        "bins": BINS, "laws": [cerebras_posterior.name], "n": 60, "cutoffs": [1.0, 2.0, 3.0],
        "refits": 3, "unconverged": 0, "missing": [],
        "runs_sha256": cerebras_posterior.runs.digest,
    }  # fmt: skip
    return trust(cerebras_posterior, kept, tolerance=0.5)


def test_bands_are_the_intervals_of_the_table(cerebras_posterior: Posterior) -> None:
    result = forecast(cerebras_posterior, flops=PATH)
    ax, frame = plot_forecast(result), result.to_frame()
    bands = {"loss": "dark band: mean over seeds", "loss_new": "light band: a single new run"}
    for kind, label in bands.items():
        corners = band(ax, f"{label}, 90% interval")
        at = corners[corners[:, 0] == PATH[3], 1]
        ends = frame[[f"{kind}_lower", f"{kind}_upper"]].iloc[3]
        np.testing.assert_allclose(sorted(set(at)), sorted(ends))


def test_the_horizon_is_marked(cerebras_posterior: Posterior, trusted: Trust) -> None:
    assert trusted.horizon_ratio == pytest.approx(4.0)
    curve = forecast(cerebras_posterior, flops=PATH)
    ax = plot_forecast(curve, runs=cerebras_posterior.runs, horizon=trusted)
    largest = cerebras_posterior.runs["flops"].max()
    assert named_at(ax, "largest fitted run")[0] == largest
    assert named_at(ax, "trust horizon, 4 times")[0] == pytest.approx(4.0 * largest)
    assert {"not trusted", "fitted runs"} <= set(written(ax))
    assert ax.get_legend() is None  # all is named where it stands
    np.testing.assert_array_equal(
        line(ax, "fitted runs").get_ydata(), cerebras_posterior.runs["loss"]
    )
    nowhere = plot_forecast(curve, horizon=replace(trusted, horizon_ratio=1.0))
    assert written(nowhere)[:2] == ["largest fitted run", "not trusted"]
    both = forecast(SPREAD, params=[1e9, 1e10], tokens=[1e11, 1e11])
    with pytest.raises(TrustError) as error:
        plot_forecast(both, scale="params", horizon=trusted)
    assert str(error.value) == (
        "the horizon is counted in flops and the figure in params: draw against flops, or leave "
        "the horizon out"
    )


KAPLAN_CARD = load_card("kaplan_irreducible")
VALUES = {"E": 1.7, "N_c": 1e9, "alpha_N": 0.3, "D_c": 1e10, "alpha_D": 0.3}
POOL = ModelAverage((SPREAD, point(KAPLAN_CARD, VALUES)), (0.8, 0.2))


def test_each_averaged_law_has_its_median() -> None:
    result = forecast(POOL, flops=PATH)
    ax = plot_forecast(result)
    own = result.by_law[1].to_frame()["loss_median"]
    drawn = line(ax, "kaplan_irreducible alone, median").get_ydata()
    np.testing.assert_allclose(drawn, own)


def test_laws_are_drawn_beside_their_pool() -> None:
    result = forecast(POOL, flops=PATH)
    ax = plot_laws(result)
    assert labels(ax) == [
        "chinchilla, weight 80%",
        "kaplan_irreducible, weight 20%",
        "model average, median",
        "model average, 90% interval",
    ]
    for law, name in zip(result.by_law, labels(ax), strict=False):
        np.testing.assert_allclose(line(ax, name).get_ydata(), law.to_frame()["loss_median"])
    own = result.by_law[0].to_frame()
    corners = ax.collections[0].get_paths()[0].vertices
    ends = corners[corners[:, 0] == PATH[3], 1]
    np.testing.assert_allclose(sorted(set(ends)), own[["loss_lower", "loss_upper"]].iloc[3])
    frame = result.to_frame()
    np.testing.assert_allclose(line(ax, "model average, median").get_ydata(), frame["loss_median"])
    np.testing.assert_allclose(
        line(ax, "model average, 90% interval").get_ydata(), frame["loss_lower"]
    )
    with pytest.raises(PosteriorError) as error:
        plot_laws(forecast(SPREAD, flops=PATH))
    assert str(error.value) == (
        "the forecast is of chinchilla alone, so there are no laws to be compared: fit two or "
        "more, `law=['A', 'B']`"
    )


def compared() -> Comparison:
    names = ["mine", "yours", "average, equal"]
    table = pd.DataFrame(
        {
            "law": names, "lpd": [1.9, 1.6, 1.8], "lpd_se": [0.02, 0.1, 0.05], "rmsle": 0.01,
            "coverage50": 0.5, "coverage90": [0.91, 0.7, 0.88], "elpd_loo": np.nan,
            "se": np.nan, "weight": [0.8, 0.2, np.nan], "weight_loo": np.nan,
        }
    )  # fmt: skip
    return Comparison(
        weights={"mine": 0.8, "yours": 0.2}, weights_loo=None, table=table, n_held_out=40,
        n_cutoffs=4, warnings=(),
    )  # fmt: skip


def test_a_comparison_is_drawn_row_by_row() -> None:
    ax = plot_comparison(compared())
    for at, bar, label in (
        ([1.9, 1.6], [[1.88, 1.92], [1.5, 1.7]], "single law"),
        ([1.8], [[1.75, 1.85]], "model average"),
    ):
        drawn = next(c for c in ax.containers if c.get_label() == label)
        np.testing.assert_allclose(drawn.lines[0].get_xdata(), at)
        ends = [segment[:, 0] for segment in drawn.lines[2][0].get_segments()]
        np.testing.assert_allclose(ends, bar)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "mine\nweight 0.80, covers 91%",
        "yours\nweight 0.20, covers 70%",
        "average, equal\ncovers 88%",
    ]


def test_sizes_are_written_as_people_write_them() -> None:
    result = forecast(SPREAD, params=[1e9, 1e10, 1e11], tokens=[1e11] * 3)
    ax = plot_forecast(result, scale="params")
    ax.figure.canvas.draw()
    assert {"1B", "10B", "100B"} <= {tick.get_text() for tick in ax.get_xticklabels()}
    assert ax.get_xlabel() == "parameters"


def test_slices_are_curves_of_equal_compute_with_the_best_sizes() -> None:
    budgets, sizes = np.array([1e21, 1e22]), np.geomspace(1e9, 1e11, 7)
    flops, params = (grid.ravel() for grid in np.meshgrid(budgets, sizes))
    result = forecast(SPREAD, params=params, tokens=flops / 6 / params)
    best = allocate(SPREAD, budgets)
    ax, frame, table = plot_slices(result, best=best), result.to_frame(), best.to_frame()
    assert written(ax) == ["1e22 FLOP", "1e21 FLOP"]  # from below
    of_one = frame[np.isclose(frame["flops"], 1e22)]
    np.testing.assert_allclose(line(ax, "1e22 FLOP").get_xdata(), of_one["params"])
    np.testing.assert_allclose(line(ax, "1e22 FLOP").get_ydata(), of_one["loss_median"])
    ends = bars(ax, "best size, 90% interval")[:, :, 0]
    np.testing.assert_allclose(ends, table[["params_lower", "params_upper"]])
    for budget, x, y in zip(budgets, *line(ax, "least expected loss").get_data(), strict=True):
        curve = frame[np.isclose(frame["flops"], budget)]
        beside = curve["loss_median"].iloc[np.searchsorted(curve["params"], x) - np.array([1, 0])]
        assert beside.min() <= y <= beside.max()  # a mark is on its own curve
    same_data = forecast(SPREAD, params=list(sizes) * 2, tokens=[1e10] * 7 + [1e12] * 7)
    by_tokens = plot_slices(same_data, by="tokens")
    assert written(by_tokens) == ["1T tokens", "10B tokens"]
    assert by_tokens.get_legend() is None


def test_a_frontier_is_drawn_with_its_bands() -> None:
    result = allocate(SPREAD, [1e21, 1e22, 1e23])
    ax, frame = plot_allocation(result), result.to_frame()
    for name in ("params", "tokens"):
        label = f"{name} of least expected loss (band: each draw's best, 90%)"
        np.testing.assert_allclose(line(ax, label).get_ydata(), frame[f"choice_{name}"])
    bands = {
        round(float(np.log10(c.get_paths()[0].vertices[:, 1].max())), 3)
        for c in ax.collections[::2]
    }
    upper = np.log10([frame["params_upper"].max(), frame["tokens_upper"].max()])
    assert bands == {round(float(value), 3) for value in upper}
    assert len(plot_allocation(allocate(ONE, 1e22)).get_lines()) == 2


def test_one_budget_is_drawn_by_its_best_sizes_and_the_choice() -> None:
    result = allocate(SPREAD, 1e22)
    ax, row = result.plot(), result.to_frame().iloc[0]
    params, tokens = format_size(row["choice_params"]), format_size(row["choice_tokens"])
    choice = line(ax, f"least expected loss: {params} params on {tokens} tokens")
    assert set(choice.get_xdata()) == {row["choice_params"]}
    inside = ax.collections[0].get_paths()[0].vertices[:, 0]
    assert row["params_lower"] <= inside.min() < inside.max() <= row["params_upper"]
    # where draws meet at a limit, a density would go beyond it
    assert len(allocate(SPREAD, 1e22, max_params=1e10).plot().get_lines()) == 2
    with pytest.raises(FigureError, match="draws one budget, and this allocation has 2"):
        plot_best_split(allocate(SPREAD, [1e22, 1e23]))


def test_regret_is_drawn_over_sizes_with_the_budget_and_limits() -> None:
    result = regret_map(SPREAD, 1e22, max_tokens=2e11, max_params=2e10)
    frame = result.to_frame()
    ax = plot_regret(result, of="regret")
    filled = ax.collections[0]
    grid = frame[~frame["on_budget"]]
    assert (
        grid["regret_mean"].min() < filled.levels[0] < filled.levels[-1] < grid["regret_mean"].max()
    )
    # every split lies in the band of color that its regret says
    row = grid.iloc[5 * grid["tokens"].nunique() + 7]
    band_of = int(np.searchsorted(filled.levels, row["regret_mean"]))
    assert filled.get_paths()[band_of].contains_point((row["params"], row["tokens"]))
    budget = frame[frame["on_budget"]]
    np.testing.assert_allclose(line(ax, "1e22 FLOP").get_xdata(), budget["params"])
    np.testing.assert_allclose(line(ax, "1e22 FLOP").get_ydata(), budget["tokens"])
    chosen = frame[frame["choice"]].iloc[0]
    mark = line(ax, "least expected loss")
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (chosen["params"], chosen["tokens"])
    assert line(ax, "most params").get_xdata()[0] == 2e10
    assert line(ax, "most tokens").get_ydata()[0] == 2e11
    wasted = plot_regret(result)
    levels = [f"{100 * level:.3g}%" for level in wasted.collections[0].levels]
    assert {"3%", "10%", "30%"} <= set(levels)
    assert {text.get_text() for text in wasted.texts} <= set(levels)
    with pytest.raises(DecisionError) as error:
        plot_regret(result, of="money")
    assert str(error.value) == (
        "of is 'money', but must be one of regret, wasted_share, wasted_dollars"
    )


def test_regret_is_drawn_in_dollars_and_up_to_the_memory_of_the_gpus() -> None:
    shares = Utilization.of({"1B": 0.45, "70B": 0.3})
    gpus = Cluster(64, 989e12, utilization=shares, price=2.0, memory=10e9)
    result = regret_map(SPREAD, days=60, cluster=gpus)
    frame = result.to_frame()
    ax = plot_regret(result, of="wasted_dollars")
    budget = frame[frame["on_budget"]]
    np.testing.assert_allclose(line(ax, "60 days, $184,320").get_xdata(), budget["params"])
    np.testing.assert_allclose(line(ax, "60 days, $184,320").get_ydata(), budget["tokens"])
    assert line(ax, "most params").get_xdata()[0] == 64 * 10e9 / 16
    filled = ax.collections[0]
    assert {1_000, 10_000, 100_000} <= set(filled.levels)
    row = frame[~frame["on_budget"]].iloc[60]
    band_of = int(np.searchsorted(filled.levels, row["wasted_dollars_mean"]))
    assert filled.get_paths()[band_of].contains_point((row["params"], row["tokens"]))
    with pytest.raises(DecisionError, match="this map knows no price: make it with `price=`"):
        plot_regret(regret_map(SPREAD, 1e22), of="wasted_dollars")


@pytest.mark.integration
def test_data_needed_are_drawn_beside_kaplans_line() -> None:
    result = overfit_line(POOL, [1e8, 1e9, 1e10])
    ax, frame = plot_overfit(result), result.to_frame()
    for name, label in (
        ("tokens_median", f"{result.law}, overfit of 0.02, median"),
        ("tokens_kaplan_irreducible", "kaplan_irreducible alone, median"),
        ("kaplan", "Kaplan et al. 2020: 5e3 N^0.74"),
    ):
        np.testing.assert_allclose(line(ax, label).get_xdata(), frame["params"])
        np.testing.assert_allclose(line(ax, label).get_ydata(), frame[name])
    spread = overfit_line(SPREAD, [1e8, 1e9, 1e10])
    corners = band(plot_overfit(spread), "90% interval")
    at = corners[corners[:, 0] == 1e8, 1]
    ends = spread.to_frame().loc[0, ["tokens_lower", "tokens_upper"]].astype(float)
    np.testing.assert_allclose(sorted(set(at)), ends)
    assert "Kaplan" not in " ".join(labels(plot_overfit(overfit_line(ONE, [1e9], overfit=0.1))))
    unlimited = replace(spread, needed=spread.needed.where(spread.needed.draw > 0, np.inf))
    assert "90% interval; open above: 75% of draws are finite" in labels(plot_overfit(unlimited))


def test_candidates_are_drawn_where_they_lie(chinchilla_posterior: Posterior) -> None:
    result = next_run(chinchilla_posterior, 1e22, target_flops=5.76e23)
    ax, frame = plot_next_run(result), result.to_frame()
    points = ax.collections[0]
    affordable = frame[frame["affordable"]]
    np.testing.assert_allclose(points.get_offsets(), affordable[["params", "tokens"]])
    np.testing.assert_allclose(points.get_array(), affordable["sd_after"])
    bought = line(ax, "runs to buy, in order, and what each removes")
    np.testing.assert_allclose(bought.get_xdata(), result.batch["params"])
    bought_first = result.batch.iloc[0][["params", "tokens"]]
    (first,) = frame[(frame[["params", "tokens"]] == bought_first).all(axis=1)].to_dict("records")
    removed = 1 - first["sd_after"] / first["sd_before"]
    shown = ax.texts[0].get_text().partition(": ")[2]
    assert float(shown.removesuffix("%")) == pytest.approx(100 * removed, abs=0.6)


def test_the_color_bar_of_candidates_stands_beside_them(
    chinchilla_posterior: Posterior,
) -> None:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6.2, 4.0), layout="constrained")
    plot_next_run(next_run(chinchilla_posterior, 1e22, target_flops=5.76e23), ax)
    figure.canvas.draw()
    points, bar = (each.get_position() for each in figure.axes)
    assert 0.0 < bar.x0 - points.x1 < 0.1
    assert points.width > 0.5


def test_candidates_that_teach_nothing_have_one_color(chinchilla_posterior: Posterior) -> None:
    result = next_run(chinchilla_posterior, 1e22, target_flops=5.76e23)
    before, after = result.candidates["sd_before"], result.candidates["sd_after"]
    near = result.candidates.assign(sd_after=before + 1e-4 * (after - before))
    ax = plot_next_run(replace(result, candidates=near))
    shades = [points.to_rgba(points.get_array())[:, :3] for points in ax.collections[:2]]
    assert np.ptp(np.concatenate(shades), axis=0).max() < 0.02


def test_other_splits_of_a_budget_are_drawn_by_what_they_give_up() -> None:
    found = allocate(SPREAD, 5.76e23, options=[(3e10, 3.2e12), (7e10, 1.37e12), (2e11, 4.8e11)])
    ax, frame = plot_options(found), found.options.to_frame(0.9).sort_values("params")
    curve = line(ax, "expected regret")
    np.testing.assert_allclose(curve.get_xdata(), frame["params"])
    np.testing.assert_allclose(curve.get_ydata(), frame["regret_mean"])
    with pytest.raises(DecisionError, match="no other splits of one budget to draw"):
        plot_options(allocate(SPREAD, 5.76e23))
    without = plot_options(replace(found, at_choice=None))  # `losses=False`
    np.testing.assert_allclose(line(without, "expected regret").get_xdata(), frame["params"])


def test_candidates_of_one_scale_are_drawn_against_their_price(
    cerebras_posterior: Posterior,
) -> None:
    given = pd.DataFrame({"flops": [1e20, 1e21, 1e24]})
    result = next_run(cerebras_posterior, 1e22, target_flops=1e23, candidates=given)
    ax, frame = plot_next_run(result), result.to_frame()
    dear = line(ax, "beyond the budget")
    assert list(dear.get_xdata()) == [1e24]
    assert dear.get_ydata()[0] == frame.loc[frame["flops"] == 1e24, "sd_after"].item()


def test_precision_is_drawn_with_tolerance_and_horizon(trusted: Trust) -> None:
    ax, frame = plot_trust(trusted), trusted.to_frame()
    width = line(ax, "half-width of the 90% interval of the mean loss")
    np.testing.assert_allclose(width.get_ydata(), frame["half_width"])
    assert named_at(ax, "tolerance, 50%")[1] == 0.5
    assert named_at(ax, "trusted up to 4 times")[0] == pytest.approx(4.0)
    disagreeing = replace(trusted, path=trusted.path.assign(disagreement=0.01))
    assert (
        line(plot_trust(disagreeing), "difference between the laws' medians").get_ydata()[0] == 0.01
    )


def test_coverage_is_drawn_by_bin(trusted: Trust) -> None:
    ax = plot_coverage(trusted)
    np.testing.assert_allclose(line(ax, "coverage 80% or more").get_ydata(), [0.95, 0.9])
    np.testing.assert_allclose(line(ax, "coverage below 80%").get_ydata(), [0.6])
    assert [text.get_text() for text in ax.texts] == ["19/20", "18/20", "12/20"]
    with pytest.raises(TrustError, match="no backtest was made, so there is no coverage to draw"):
        plot_coverage(replace(trusted, bins=()))


def test_errors_of_a_backtest_are_drawn_one_by_one(cerebras_posterior: Posterior) -> None:
    runs = cerebras_posterior.runs
    frame = pd.DataFrame(
        {
            "law": "mine", "cutoff": 1e20, "ratio": [1.5, 3.0, 8.0],
            "log_error": [0.001, -0.002, 0.05], "covered90": [True, True, False],
        }
    )  # fmt: skip
    result = Backtest(
        laws=("mine",), weights=(1.0,), scale="flops", cutoffs=(1e20,), forecasts=frame,
        splits=pd.DataFrame({"law": []}), across=pd.DataFrame({"law": []}),
        missing=(), samples={}, runs=runs, seed=0,
    )  # fmt: skip
    ax = plot_errors(result)
    np.testing.assert_allclose(line(ax, "inside its 90% interval").get_ydata(), [0.001, -0.002])
    np.testing.assert_allclose(line(ax, "outside").get_xdata(), [8.0])
    drawn = plot_coverage(result)
    assert [text.get_text() for text in drawn.texts] == [
        f"{item['n_covered']}/{item['n']}" for item in bins(result)
    ]
    with pytest.raises(TrustError, match="the backtest has no law 'yours': choose one of mine"):
        plot_errors(result, law="yours")


def test_coefficients_are_drawn_within_their_priors(cerebras_posterior: Posterior) -> None:
    result = summarize(cerebras_posterior)
    ax, frame = plot_coefficients(result), result.to_frame().dropna(subset="prior_lower")
    ends = bars(ax, "posterior, 90% interval and median")[:, :, 0]
    start, width = np.log(frame["prior_lower"]), np.log(frame["prior_upper"] / frame["prior_lower"])
    for i, name in enumerate(("lower", "upper")):
        np.testing.assert_allclose(start + ends[:, i] * width, np.log(frame[name]))
    assert [text.get_text().split()[0] for text in ax.get_yticklabels()] == list(frame.index)
    with pytest.raises(PosteriorError) as error:
        plot_coefficients(summarize(ONE))
    assert str(error.value) == (
        "the summary of chinchilla holds no prior to be drawn beside its coefficients"
    )


def test_coefficients_have_digits_that_tell_the_ends_of_an_interval_apart(
    cerebras_posterior: Posterior,
) -> None:
    result = summarize(cerebras_posterior)
    frame = result.frame.copy()
    frame.loc["E", ["median", "lower", "upper"]] = 1.692, 1.691, 1.693
    ax = plot_coefficients(replace(result, frame=frame))
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert "E  1.692 (1.691 to 1.693)" in names


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
    names = written(ax)
    assert sorted(names)[::2] == ["exact match 5", "token accuracy"]
    exact = frame[frame["metric"] == "exact_match_5"]
    np.testing.assert_allclose(line(ax, "exact match 5").get_ydata(), exact["median"])
    ends = exact["loss_median"].iloc[[0, -1]]
    loss = f"loss, {ends.iloc[0]:.3g} to {ends.iloc[1]:.3g} nats per token"
    assert loss in names
    drawn = np.polyfit(exact["loss_median"], line(ax, loss).get_ydata(), 1, full=True)
    assert drawn[1] == pytest.approx(0.0, abs=1e-12)  # the loss, over the height of the axes
    only = plot_emergence(result, metrics=["exact_match_5"])
    assert sorted(written(only)) == ["exact match 5", loss]


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
    assert line(ax, "held-out runs").get_xdata() == [2.4]


def test_figures_go_where_they_are_asked_to() -> None:
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2)
    assert plot_pruning(prune(ONE, params=7e9, tokens=1.4e11), right) is right
    assert plot_emergence(emergence(ONE, flops=PATH), left) is left


def test_names_stand_beside_the_data_and_never_on_them_or_each_other() -> None:
    ax = plot_forecast(forecast(POOL, flops=PATH))
    ax.set_ylim(top=20.0)  # the ends of all lines come close
    ax.figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert len(boxes) == 4
    assert all(box.x0 >= ax.get_window_extent().x1 for box in boxes)
    edges = sorted((box.y0, box.y1) for box in boxes)
    assert all(below[1] <= above[0] for below, above in pairwise(edges))
    assert edges[0][0] >= ax.get_window_extent().y0


def test_the_name_of_two_held_out_runs_is_apart_from_the_names_of_bands() -> None:
    held = pd.DataFrame({"flops": [6e21, 2.3e22], "loss": [2.06, 2.0]})
    ax = plot_forecast(forecast(SPREAD, flops=np.geomspace(1e18, 1e23, 60)), held_out=held)
    ax.figure.canvas.draw()
    (own,) = (text for text in ax.texts if text.get_text() == "held-out runs")
    assert Text.get_window_extent(own).x1 < ax.get_window_extent().x1 - 20


def test_on_a_phone_nearly_equal_candidates_have_numbers_that_do_not_overlap() -> None:
    import matplotlib.pyplot as plt

    result = next_run(chinchilla(), 1e22, target_flops=5.76e23)
    before, after = result.candidates["sd_before"], result.candidates["sd_after"]
    near = result.candidates.assign(sd_after=before + 1e-3 * (after - before))
    figure, small = plt.subplots(figsize=(3.6, 3.4), layout="constrained")
    plot_next_run(replace(result, candidates=near), small)
    figure.canvas.draw()
    bar = figure.axes[1].xaxis
    low, high = sorted(bar.get_view_interval())
    ticks = [tick.label1 for tick in bar.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = sorted((Text.get_window_extent(tick).extents for tick in ticks), key=lambda b: b[0])
    assert all(left[2] < right[0] for left, right in pairwise(boxes))


def test_on_a_phone_names_stand_above_the_data() -> None:
    import matplotlib.pyplot as plt

    _, small = plt.subplots(figsize=(3.6, 3.4), layout="constrained")
    ax = plot_forecast(forecast(POOL, flops=PATH), small)
    ax.figure.canvas.draw()
    assert len(labels(ax)) == 4
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1


def test_the_share_of_a_run_to_buy_stands_where_no_candidate_is() -> None:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    place = (0.5, 0.5)
    write_beside(ax, place, "1: 62%", np.array([place, (0.56, 0.52)]))
    assert (ax.texts[0].get_ha(), ax.texts[0].get_va()) == ("right", "bottom")
    write_beside(ax, place, "1: 62%", np.array([place]))
    assert ax.texts[1].get_ha() == "left"


@pytest.mark.parametrize(
    ("draw", "given", "message"),
    [
        (plot_trust, 3, "plot_trust draws a Trust, but an int was given"),
        (
            plot_forecast,
            pd.DataFrame({"flops": [1.0]}),
            "plot_forecast draws a Forecast, but a DataFrame was given: give the result itself, "
            "not its table, which holds no draws",
        ),
        (plot_coverage, SPREAD, "plot_coverage draws a Trust or a Backtest, but a Posterior was "
                                "given"),
    ],
)  # fmt: skip
def test_the_wrong_object_is_named(draw, given: object, message: str) -> None:
    with pytest.raises(FigureError) as caught:
        draw(given)
    assert str(caught.value) == message


def test_every_result_draws_itself_or_says_that_it_has_no_figure(trusted: Trust) -> None:
    one = SPREAD.forecast(params=1e10, tokens=2e11, target=2.0)
    assert labels(one.plot())[0].startswith("mean over seeds: ")
    assert one.plot().texts[0].get_text().startswith(" target 2: below with ")
    grid = SPREAD.forecast(
        params=np.tile([1e9, 3e9, 1e10], 9), tokens=np.repeat([1e10, 1e11, 1e12], 9)
    )
    assert written(grid.plot()) == ["1T tokens", "100B tokens", "10B tokens"]
    assert trusted.plot().get_ylabel() == "share of the loss"
    assert SPREAD.allocate([1e21, 1e22]).plot().get_xlabel() == "budget (FLOP)"
    needed = SPREAD.data_budget(params=1e10)
    assert needed.plot().get_xlabel() == "training tokens for 10B params"
    assert '<img alt="' in trusted._repr_html_()
    with pytest.raises(FigureError) as caught:
        plot_result(3)
    assert str(caught.value) == "there is no figure of a int"
    with pytest.raises(FigureError, match="a point estimate has no runs to be drawn"):
        SPREAD.plot()


def test_a_fit_is_drawn_with_its_runs_and_a_forecast(cerebras_posterior: Posterior) -> None:
    answer = cerebras_posterior.forecast(flops="1e23")
    ax = cerebras_posterior.plot(point=answer)
    assert named_at(ax, "largest fitted run")[0] == cerebras_posterior.runs["flops"].max()
    row = answer.to_frame().iloc[0]
    assert named_at(ax, f"mean loss {row['loss_median']:.3f}")[0] == 1e23
    far = 1e23 / cerebras_posterior.runs["flops"].max()
    assert (
        ax.get_title(loc="left")
        == f"1e23 FLOP\nNot precise enough, at {far:.3g} times the largest run"
    )
    assert "target" not in " ".join(written(ax))
    target = row["loss_median"] + 0.01
    near = cerebras_posterior.forecast(flops="1e23", target=target)
    ax = cerebras_posterior.plot(point=near)
    chance = f"target {target:g}: below with {near.to_frame()['p_below_target'][0]:.0%}"
    assert named_at(ax, chance)[1] == target


def test_a_few_runs_far_above_the_law_do_not_flatten_the_figure() -> None:
    curve = forecast(SPREAD, flops=PATH)
    frame = curve.to_frame()
    losses = frame["loss_median"].to_numpy().copy()
    losses[2] *= 3
    runs = pd.DataFrame({"flops": PATH, "loss": losses})
    ax = plot_forecast(curve, runs=runs)
    assert ax.get_ylim()[1] < 1.5 * frame["loss_upper"].max()
    assert named_at(ax, f"1 run above, up to {losses[2]:.3g}") == (PATH[2], 1.0)
    ax.set_ylim(0, 20)
    assert not any(text.get_visible() for text in ax.texts if "above" in text.get_text())
    losses[2] /= 3
    whole = plot_forecast(curve, runs=runs.assign(loss=losses))
    assert not any("above" in text for text in written(whole))


@pytest.mark.parametrize(("ratio", "end"), [(1.3, 3.0), (1.3, 20.0), (4.0, 900.0)])
@pytest.mark.parametrize("size", [(3.6, 3.4), (7, 4.5)])
def test_names_of_the_horizon_do_not_overlap(
    cerebras_posterior: Posterior,
    trusted: Trust,
    ratio: float,
    end: float,
    size: tuple[float, float],
) -> None:
    from matplotlib.figure import Figure

    canvas = Figure(figsize=size, layout="constrained")
    sizes = cerebras_posterior.runs["flops"]
    path = np.geomspace(sizes.min(), end * sizes.max(), 9)
    curve = forecast(cerebras_posterior, flops=path)
    ax = plot_forecast(curve, canvas.subplots(), horizon=replace(trusted, horizon_ratio=ratio))
    canvas.draw_without_rendering()
    names = ("largest fitted run", "trust horizon", "not")
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text().startswith(names)]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_what_no_backtest_has_tested_is_not_called_distrusted(
    cerebras_posterior: Posterior, trusted: Trust
) -> None:
    curve = forecast(cerebras_posterior, flops=PATH)
    untested = replace(trusted, bins=(), horizon_ratio=1.0)
    assert "not tested" in written(plot_forecast(curve, horizon=untested))
    assert "not trusted" in written(
        plot_forecast(curve, horizon=replace(untested, bins=trusted.bins))
    )


# fonts


def test_a_font_family_that_is_missing_is_named_once_and_replaced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with mpl.rc_context({"font.family": ["No Such Sans"]}):
        drawn = inline(lambda ax: ax.set(title="losses", xlabel="compute"), "fonts", "a figure")
    assert "losses" in drawn
    found = [each.getMessage() for each in caplog.records if "font" in each.name]
    assert found == ["findfont: Font family 'No Such Sans' not found."]


def test_fonts_that_are_missing_altogether_are_told() -> None:
    gone = Path(mpl.get_data_path()) / "fonts" / "ttf" / "Gone.ttf"
    with pytest.raises(FigureError) as caught, naming_fonts():
        gone.read_bytes()
    assert str(caught.value) == (
        f"no figure can be drawn: matplotlib's own font Gone.ttf is missing from {gone.parent}. "
        "Install matplotlib again: python -m pip install --force-reinstall --no-deps matplotlib"
    )
    with pytest.raises(FileNotFoundError), naming_fonts():
        Path("elsewhere.ttf").read_bytes()


@pytest.mark.parametrize(("horizon", "tested"), [(4.0, 4.0), (4.0, 5.0), (4.0, 3.6), (30.0, 4.0)])
def test_names_of_the_horizon_and_of_what_was_tested_do_not_overlap(
    trusted: Trust, horizon: float, tested: float
) -> None:
    ax = plot_trust(replace(trusted, horizon_ratio=horizon, tested_ratio=tested))
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts if "times" in text.get_text()]
    assert len(boxes) == 2
    assert not boxes[0].overlaps(boxes[1])


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.98])
def test_the_tolerance_crosses_no_name(trusted: Trust, share: float) -> None:
    """Wherever it lies between the bottom and the top of the axes."""
    _, top = plot_trust(trusted).get_ylim()
    wide = replace(trusted, tolerance=share * top, horizon_ratio=20.0, tested_ratio=200.0)
    ax = plot_trust(wide)
    ax.figure.canvas.draw()
    across = ax.transData.transform((1.0, wide.tolerance))[1]
    names = [text for text in ax.texts if "times" in text.get_text()]
    assert len(names) == 2
    for box in map(Text.get_window_extent, names):
        assert not box.y0 < across < box.y1
        assert box.y0 > ax.get_window_extent().y0


@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_names_stand_further_apart_than_the_lines_of_one_name(at: float) -> None:
    ax = new_axes(None)
    names = ("loss, 2.92 to 1.86 nats per token", "exact match 5", "exact match 1")
    name_ends(ax, [(1.0, at, name, "k") for name in names])
    ax.figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in ax.texts]  # without their lines
    one, two = (min(box.height for box in boxes), max(box.height for box in boxes))
    between_lines = two - 2 * one
    (long,) = np.flatnonzero([box.height == two for box in boxes])
    for i, (lower, upper) in enumerate(pairwise(boxes)):
        gap = upper.y0 - lower.y1
        assert gap > 0
        if long in (i, i + 1):
            assert gap > between_lines + 0.3 * one
