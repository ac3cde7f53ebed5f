"""Figures of the report: what draws each, its text alternative and its caption."""

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from bayescale.plotting import (
    plot_allocation,
    plot_coefficients,
    plot_coverage,
    plot_downstream,
    plot_forecast,
    plot_next_run,
    plot_slices,
    plot_trust,
)
from bayescale.plotting.fits import mark_forecasts
from bayescale.plotting.inline import NARROW, Named, inline
from bayescale.questions import Questions, lowest_losses
from bayescale.reporting.formatting import SIZE, UNIT
from bayescale.units import format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayescale.posterior import Summary

MOST_NAMED = 1000
"""Runs, of lowest loss, that show their names in a figure: more would fill the page."""


class Drawing(NamedTuple):
    """What draws a figure on axes, its text alternative, its caption, and points with names."""

    draw: Callable[["Axes"], Any]
    alt: str
    caption: str
    named: Sequence[Named] = ()


def html(name: str, questions: Questions, *more: Any) -> str:
    """Draw a figure of :data:`DRAWINGS` as an HTML element."""
    drawing = DRAWINGS[name](questions, *more)
    identity = "".join(filter(str.isalnum, f"{name}{''.join(item.law for item in more)}"))
    svg = inline(drawing.draw, identity, drawing.alt, named=drawing.named)
    caption = escape(drawing.caption)
    return (
        f'<figure>\n<div class="wide" role="region" tabindex="0" aria-label="{caption}">'
        f"{svg}</div>\n<figcaption>{caption}</figcaption>\n</figure>"
    )


def answer_html(questions: Questions) -> str:
    """Draw the figure of the first screen, once for wide pages and once for phones."""
    drawing, caption = _forecast(questions), ""
    svgs = [
        f'<div class="{name}">'
        + inline(drawing.draw, name, drawing.alt, named=drawing.named, **size)
        + "</div>"
        for name, size in (("roomy", {}), ("slim", {"size": NARROW}))
    ]
    caption = escape(drawing.caption)
    return f"<figure>\n{svgs[0]}\n{svgs[1]}\n<figcaption>{caption}</figcaption>\n</figure>"


def _forecast(questions: Questions) -> Drawing:
    runs, curve, scale = questions.fit.runs, questions.curve, questions.scale
    horizon = None if runs is None else questions.trust[0]
    frame = curve.to_frame().sort_values(scale)
    first, last = (row for _, row in frame.iloc[[0, -1]].iterrows())
    size, unit = SIZE[scale], questions.unit
    alt = (
        f"{unit.capitalize()} against {UNIT[scale]}, both ends: {first['loss_median']:.3f} "
        f"at {size(first[scale])}, {last['loss_median']:.3f} at {size(last[scale])} "
        f"(90% interval of the mean {last['loss_lower']:.3f} to {last['loss_upper']:.3f}), with "
        f"bands of the {curve.meaning} and of {curve.meaning_new}"
        + ("." if runs is None else f", and {len(runs)} runs as points.")
    )
    caption = f"The line is the median, the bands are the {curve.meaning} and {curve.meaning_new}."
    if questions.split and runs is not None:
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
        if not questions.refusal:
            mark_forecasts(ax, questions.forecast[0], scale)

    return Drawing(draw, alt, caption, () if runs is None else _runs(questions, runs.frame))


def _runs(questions: Questions, frame: pd.DataFrame) -> list[Named]:
    """Name the runs of lowest loss, with their sizes and losses in the unit of the page."""
    scale, unit = questions.scale, questions.loss_unit
    what = "loss" if unit.is_loss else "error"
    shown = lowest_losses(frame, MOST_NAMED)
    sizes = [name for name in ("params", "tokens", "flops", "lm_loss") if name in shown]
    return [
        Named(run[scale], loss, (str(run["run_id"]), *_pairs([
            *(f"{SIZE[name](run[name])} {UNIT[name]}" for name in sizes), f"{what} {loss:.4g}"
        ])))
        for run, loss in zip(shown.to_dict(orient="records"), unit.of(shown["loss"]), strict=True)
    ]  # fmt: skip


def _pairs(parts: list[str]) -> list[str]:
    """Write two parts a line."""
    return [", ".join(parts[i : i + 2]) for i in range(0, len(parts), 2)]


def _slices(questions: Questions) -> Drawing:
    result = questions.slices
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


def _allocation(questions: Questions) -> Drawing:
    result, _ = questions.allocation
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


def _next_run(questions: Questions) -> Drawing:
    result, _ = questions.next_run
    left = result.candidates["sd_after"]
    x, y = ("params", "tokens") if questions.split else ("flops", "sd_after")
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


def _trust(questions: Questions) -> Drawing:
    result, _ = questions.trust
    far = result.path.iloc[-1]
    return Drawing(
        lambda ax: plot_trust(result, ax),
        f"Half the width of the interval of the mean loss against how many times larger: "
        f"{result.path['half_width'].iloc[0]:.1%} at the largest run, {far['half_width']:.1%} at "
        f"{far['ratio']:g} times. Tolerance {result.tolerance:.1%}; horizon "
        f"{result.horizon_ratio:.3g} times.",
        "How precisely the mean loss is known, by how many times larger the run is.",
    )


def _coverage(questions: Questions) -> Drawing:
    result, _ = questions.trust
    covered = "; ".join(
        f"{b['n_covered']} of {b['n']} at {b['lower']:g} to {b['upper']:g} times"
        for b in result.bins
    )
    return Drawing(
        lambda ax: plot_coverage(result, ax),
        f"Held-out larger runs inside their 90% interval: {covered}.",
        "Held-out larger runs inside their 90% interval, by how many times larger they are.",
    )


def _coefficients(questions: Questions, summary: "Summary") -> Drawing:
    rows = [
        f"{name} {row['median']:.4g}, {row['lower']:.4g} to {row['upper']:.4g}, before "
        f"{row['prior_lower']:.4g} to {row['prior_upper']:.4g}"
        for name, row in summary.to_frame().iterrows()
        if row["prior_lower"] == row["prior_lower"]
    ]
    law = f"{summary.law}: " if len(questions.fit.members) > 1 else ""
    return Drawing(
        lambda ax: plot_coefficients(summary, ax),
        f"Posterior intervals of {summary.law} beside their priors. {'; '.join(rows)}.",
        f"{law}Posterior beside prior. Each row has a log scale of its own: the gray bar is the "
        "prior's interval.",
    )


DRAWINGS: dict[str, Callable[..., Drawing]] = {
    "forecast": _forecast,
    "slices": _slices,
    "allocation": _allocation,
    "next_run": _next_run,
    "trust": _trust,
    "coverage": _coverage,
    "coefficients": _coefficients,
}
"""What draws each figure, by the name under which templates know it."""
