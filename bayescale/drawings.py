"""Figures of the pages: the function that draws each, its text alternative, caption and names."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from bayescale.decisions.allocation import Allocation
from bayescale.decisions.data_answer import DataBudget
from bayescale.decisions.next_run_answer import NextRun
from bayescale.decisions.versus_answer import Versus
from bayescale.decisions.watch_answer import Watch
from bayescale.forecasting import Forecast
from bayescale.formatting import SIZE, UNIT
from bayescale.plotting import (
    plot_allocation,
    plot_coefficients,
    plot_coverage,
    plot_data_budget,
    plot_downstream,
    plot_forecast,
    plot_next_run,
    plot_options,
    plot_slices,
    plot_trust,
)
from bayescale.plotting.fits import mark_forecasts
from bayescale.plotting.inline import Named
from bayescale.results import quantiles
from bayescale.runs import Runs
from bayescale.units import format_size, three_digits
from bayescale.validation.horizon import Trust

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayescale.posterior import Summary

MOST_NAMED = 1000
"""The most runs, those with the lowest losses, that show their names: more make a page large."""


class Drawing(NamedTuple):
    """A function that draws a figure, its text alternative, its caption, and points with names."""

    draw: Callable[["Axes"], Any]
    alt: str
    caption: str
    named: Sequence[Named] = ()


def loss_along(
    curve: Forecast,
    scale: str,
    *,
    runs: Runs | None = None,
    horizon: Trust | None = None,
    run: Forecast | None = None,
) -> Drawing:
    """Return the figure of the loss along a scale, with runs, trust horizon and forecast run."""
    frame = curve.to_frame().sort_values(scale)
    first, last = (row for _, row in frame.iloc[[0, -1]].iterrows())
    size, unit = SIZE[scale], curve.loss_unit.words
    alt = (
        f"{unit.capitalize()} against {UNIT[scale]}, both ends: {first['loss_median']:.3f} "
        f"at {size(first[scale])}, {last['loss_median']:.3f} at {size(last[scale])} "
        f"({curve.ci_prob:.0%} interval of the mean {last['loss_lower']:.3f} to "
        f"{last['loss_upper']:.3f}), with bands of the {curve.meaning} and of {curve.meaning_new}"
        + ("." if runs is None else f", and {len(runs):,} runs as points.")
    )
    caption = f"The line is the median, the bands are the {curve.meaning} and {curve.meaning_new}."
    if runs is not None and scale == "flops" and frame["params"].notna().all():
        caption += (
            " The curve is at the split that the law finds best; runs at another lie above it."
        )
    if runs is not None:
        whose = "a run" if len(runs) <= MOST_NAMED else f"one of the {MOST_NAMED} best runs"
        caption += f" The pointer on {whose} shows its name."

    def draw(ax: "Axes") -> None:
        if scale == "lm_loss":
            plot_downstream(curve, ax, runs=runs)
        else:
            plot_forecast(curve, ax, scale=scale, runs=runs, horizon=horizon)
        if run is not None:
            mark_forecasts(ax, run, scale)

    return Drawing(draw, alt, caption, () if runs is None else _runs(curve, scale, runs.frame))


def _runs(curve: Forecast, scale: str, frame: pd.DataFrame) -> list[Named]:
    """Return the runs of lowest loss as named points, with sizes and losses in the curve's unit."""
    unit = curve.loss_unit
    what = "loss" if unit.is_loss else "error"
    shown = frame.nsmallest(MOST_NAMED, "loss")
    sizes = [name for name in ("params", "tokens", "flops", "lm_loss") if name in shown]
    return [
        Named(run[scale], loss, (str(run["run_id"]), *_pairs([
            *(f"{SIZE[name](run[name])} {UNIT[name]}" for name in sizes), f"{what} {loss:.4g}"
        ])))
        for run, loss in zip(shown.to_dict(orient="records"), unit.of(shown["loss"]), strict=True)
    ]  # fmt: skip


def _pairs(parts: list[str]) -> list[str]:
    """Return lines of two parts each."""
    return [", ".join(parts[i : i + 2]) for i in range(0, len(parts), 2)]


def slices_drawing(result: Forecast) -> Drawing:
    """Return the figure of the loss against parameters at fixed tokens."""
    frame = result.to_frame()
    ends = "; ".join(
        f"{part['loss_median'].iloc[0]:.3f} to {part['loss_median'].iloc[-1]:.3f} on "
        f"{format_size(tokens)} tokens"  # pyright: ignore[reportArgumentType]
        for tokens, part in frame.groupby("tokens")
    )
    low, high = (format_size(size) for size in (frame["params"].min(), frame["params"].max()))
    return Drawing(
        lambda ax: plot_slices(result, ax, scale="params", by="tokens"),
        f"Loss against parameters from {low} to {high}, a curve for each number of tokens: {ends}.",
        "The loss against parameters at fixed tokens: where a curve is flat, data limit it. "
        f"Bands are {result.ci_prob:.0%} intervals; bayescale slices has the numbers.",
    )


def frontier(result: Allocation) -> Drawing:
    """Return the figure of the splits of several budgets."""
    ends = " to ".join(
        f"{format_size(row['choice_params'])} params on {format_size(row['choice_tokens'])} tokens "
        f"at {row['flops']:.3g} FLOP"
        for row in result.to_frame().iloc[[0, -1]].to_dict(orient="records")
    )
    return Drawing(
        lambda ax: plot_allocation(result, ax),
        f"Parameters and tokens of least expected loss against the budget: {ends}.",
        "Parameters and tokens to choose; the bands hold each draw's own best split.",
    )


def options(result: Allocation) -> Drawing:
    """Return the figure of the regret of other splits of one budget."""
    assert result.options is not None
    frame = result.options.to_frame(result.ci_prob).sort_values("params")
    best, first, last = result.best(0)["params"], frame.iloc[0], frame.iloc[-1]
    ends = quantiles(best, result.ci_prob)
    unit = result.loss_unit.short
    alt = (
        f"Regret against the size of the model, all of the budget spent: "
        f"{float(result.choice.regret.mean()):.2g} {unit} expected at the choice, "
        f"{format_size(result.choice.split(0)['params'])} params; {first['regret_mean']:.2g} at "
        f"{format_size(first['params'])} and {last['regret_mean']:.2g} at "
        f"{format_size(last['params'])}. Each draw's best size lies between "
        f"{format_size(ends['lower'])} and {format_size(ends['upper'])} "
        f"({result.ci_prob:.0%} interval)."
    )
    named = [
        Named(
            row["params"],
            row["regret_mean"],
            (
                f"{format_size(row['params'])} params, {format_size(row['tokens'])} tokens",
                f"expected regret {row['regret_mean']:.2g} {unit}",
            ),
        )
        for row in frame.to_dict(orient="records")
    ]
    caption = "What other sizes of the model give up, all of the budget spent."
    return Drawing(lambda ax: plot_options(result, ax), alt, caption, named)


def data_need(result: DataBudget) -> Drawing:
    """Return the figure of the distribution of the tokens that a model needs."""
    q = result.quantiles
    ends = " to ".join(format_size(q[end]) for end in ("lower", "upper"))
    alt = (
        f"The distribution of the {result.wanted} that {format_size(result.value)} {result.given} "
        f"need: median {format_size(q['median'])}, {result.ci_prob:.0%} interval {ends}."
    )
    caption = f"The {result.wanted} needed; shaded, the {result.ci_prob:.0%} interval."
    return Drawing(lambda ax: plot_data_budget(result, ax), alt, caption)


def candidates(result: NextRun) -> Drawing:
    """Return the figure of candidate runs, with the uncertainty that each would leave."""
    left = result.candidates["sd_after"]
    x, y = ("params", "tokens") if "params" in result.candidates else ("flops", "sd_after")
    named = [
        Named(
            row[x],
            row[y],
            (
                f"{row['flops']:.3g} FLOP".replace("e+", "e"),
                ", ".join(f"{format_size(row[n])} {n}" for n in ("params", "tokens") if n in row),
                f"leaves {row['sd_after']:.2%} of {row['sd_before']:.2%}",
            ),
        )
        for row in result.candidates.to_dict(orient="records")
    ]
    return Drawing(
        lambda ax: plot_next_run(result, ax),
        f"{len(left)} candidate runs by the uncertainty that buying each would leave: from "
        f"{left.min():.2%} to {left.max():.2%}; {len(result.batch)} marked to buy.",
        "Candidate runs, and the uncertainty about the next scale that each would leave.",
        named,
    )


def recipes(result: Versus) -> Drawing:
    """Return the figure of recipes relative to the one that is most probably best."""
    best = result.recipes[int(result.p_best().argmax())]
    chances = zip(result.recipes, result.p_best(), strict=True)
    shares = ", ".join(f"{name} {p:.0%}" for name, p in chances)
    return Drawing(
        result.plot,
        f"The loss of each recipe relative to {best} from {result.scales[0]:.2g} to "
        f"{result.scales[-1]:.2g} FLOP; probability of the lowest loss at the target: {shares}.",
        f"Loss relative to {best} by compute, median and {result.ci_prob:.0%} interval; the dashed "
        "line is the largest run.",
    )


def watched(result: Watch) -> Drawing:
    """Return the figure of a run in progress and of its forecast."""
    final = quantiles(result.final_loss, result.ci_prob)
    return Drawing(
        result.plot,
        f"Losses of {result.name} against steps, {result.fraction_done:.0%} of "
        f"{result.last_step:,.0f} done; final loss {final['median']:.4g} ({result.ci_prob:.0%} "
        f"interval {final['lower']:.4g} to {final['upper']:.4g}).",
        "Losses so far, the 90% interval of the mean loss to come, and the "
        f"{result.ci_prob:.0%} interval of the final loss.",
    )


def precision(result: Trust) -> Drawing:
    """Return the figure of how precisely the loss is known at each distance."""
    far = result.path.iloc[-1]
    return Drawing(
        lambda ax: plot_trust(result, ax),
        f"Half the width of the interval of the mean loss against how many times larger: "
        f"{result.path['half_width'].iloc[0]:.1%} at the largest run, {far['half_width']:.1%} at "
        f"{far['ratio']:g} times. Tolerance {result.tolerance:.1%}; horizon "
        f"{result.horizon_ratio:.3g} times.",
        "How precisely the mean loss is known, by how many times larger the run is.",
    )


def coverage(result: Trust) -> Drawing:
    """Return the figure of the coverage of intervals in backtests."""
    covered = "; ".join(
        f"{b['n_covered']} of {b['n']} at {b['lower']:g} to {b['upper']:g} times"
        for b in result.bins
    )
    return Drawing(
        lambda ax: plot_coverage(result, ax),
        f"Held-out larger runs inside their 90% interval: {covered}.",
        "Held-out larger runs inside their 90% interval, by how many times larger they are.",
    )


def coefficients(summary: "Summary", *, named: bool = False) -> Drawing:
    """Return the figure of posteriors beside priors; ``named`` adds the law to the caption."""
    rows = [
        f"{name} {three_digits(row['median'])}, {three_digits(row['lower'])} to "
        f"{three_digits(row['upper'])}, before {three_digits(row['prior_lower'])} to "
        f"{three_digits(row['prior_upper'])}"
        for name, row in summary.to_frame().iterrows()
        if row["prior_lower"] == row["prior_lower"]
    ]
    law = f"{summary.law}: " if named else ""
    return Drawing(
        lambda ax: plot_coefficients(summary, ax),
        f"Posterior intervals of {summary.law} beside their priors. {'; '.join(rows)}.",
        f"{law}Posterior beside prior. Each row has a log scale of its own: the gray bar is the "
        "prior's interval.",
    )
