"""Figures of several laws: what each forecasts, and how well each forecast held-out runs."""

from typing import TYPE_CHECKING

import numpy as np

from bayescale.errors import PosteriorError
from bayescale.forecasting import Forecast
from bayescale.plotting.style import (
    AXIS_LABELS,
    BLACK,
    BLUE,
    COLORS,
    GREY,
    ORANGE,
    color_and_line,
    draw_band,
    draw_runs,
    draws_from,
    finish_axes,
    label_rows,
    log_sizes,
    loss_label,
    new_axes,
)
from bayescale.published import PublishedComparison
from bayescale.runs import Runs
from bayescale.validation.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@draws_from(Forecast)
def plot_laws(
    result: Forecast,
    ax: "Axes | None" = None,
    *,
    scale: str = "flops",
    runs: Runs | None = None,
) -> "Axes":
    """Draw each law's own forecast of the mean over seeds beside the model average.

    A colored line and band are the median and interval of one law. The black line and the thin
    black edges are those of the model average. Where the bands separate, the choice of law matters
    more than the uncertainty within any law, and the average's interval covers all bands.

    Parameters
    ----------
    result : Forecast
        Forecast of a model average, over points that differ in ``scale``.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.
    scale : {"flops", "params", "tokens", "lm_loss"}
        Horizontal axis, logarithmic except for ``lm_loss``.
    runs : Runs, optional
        Fitted runs, drawn as filled points.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    PosteriorError
        If the forecast is of one law.
    """
    if not result.by_law:
        raise PosteriorError(
            f"the forecast is of {result.law} alone, so there are no laws to be compared: fit two "
            "or more, `law=['A', 'B']`"
        )
    ax = new_axes(ax)
    for i, (law, weight) in enumerate(zip(result.by_law, result.weights, strict=True)):
        own = law.to_frame().sort_values(scale)
        draw_band(ax, own[scale], own, "loss", color=COLORS[i % len(COLORS)], alpha=0.25)
        style = color_and_line(i, shift=1)
        ax.plot(own[scale], own["loss_median"], label=f"{law.law}, weight {weight:.0%}", **style)
    average = result.to_frame().sort_values(scale)
    ax.plot(average[scale], average["loss_median"], color=BLACK, label="model average, median")
    interval = f"model average, {result.ci_prob:.0%} interval"
    for end, label in (("lower", interval), ("upper", None)):
        ax.plot(average[scale], average[f"loss_{end}"], color=BLACK, linewidth=0.8, label=label)
    draw_runs(ax, runs, scale, result.loss_unit)
    if scale == "lm_loss":
        ax.set_xlabel(AXIS_LABELS[scale])
        ax.set_ylabel("mean error over tasks")
    else:
        log_sizes(ax, scale)
        ax.set_ylabel(loss_label(result.loss_unit))
    return finish_axes(ax)


@draws_from(Comparison)
def plot_comparison(result: Comparison, ax: "Axes | None" = None) -> "Axes":
    """Draw how well each law, and each model average, forecast held-out larger runs.

    The point of a row is its log predictive density: the further right, the better. The bar is one
    standard error to each side; rows whose bars overlap cannot be ranked. Each label also gives the
    stacking weight and the share of held-out runs inside the 90 % interval. Weights other than
    equal ones were chosen on these same runs, which makes their rows look better.

    Parameters
    ----------
    result : Comparison
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = new_axes(ax), result.to_frame()
    rows = np.arange(len(frame))
    is_law = frame["law"].isin(list(result.weights)).to_numpy()
    kinds = [(is_law, "o", BLUE, "single law"), (~is_law, "s", ORANGE, "model average")]
    for which, marker, color, label in kinds:
        part = frame[which]
        ax.errorbar(
            part["lpd"].to_numpy(),
            rows[which],
            xerr=part["lpd_se"].to_numpy(),
            color=color,
            marker=marker,
            linestyle="none",
            markersize=8,
            linewidth=2.5,
            label=label,
        )
    names = []
    for row in frame.to_dict(orient="records"):
        weight = "" if np.isnan(row["weight"]) else f"weight {row['weight']:.2f}, "
        names.append(f"{row['law']}\n{weight}covers {row['coverage90']:.0%}")
    label_rows(ax, names, room=0.5)
    ax.grid(axis="x", color=GREY, alpha=0.25)
    ax.set_xlabel("mean log density of held-out larger runs (nats), with one standard error")
    return finish_axes(ax)


@draws_from(PublishedComparison)
def plot_published(result: PublishedComparison, ax: "Axes | None" = None) -> "Axes":
    """Draw a fit's mean loss along a scale, with published laws beside it.

    The black line and gray band are the fit's median and interval; points are its runs. A published
    law is a line without a band, because papers state no interval of it. Lines can be compared only
    if the papers count params, tokens and loss in the same way; see the comparison's warnings.

    Parameters
    ----------
    result : PublishedComparison
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, scale = new_axes(ax), result.scale
    curves = dict(list(result.to_frame().groupby("law", sort=False)))
    own = curves.pop(result.law)
    interval = f"{result.law}, {result.ci_prob:.0%} interval"
    draw_band(ax, own[scale], own, "loss", color=GREY, alpha=0.3, label=interval)
    ax.plot(own[scale], own["loss_median"], color=BLACK, label=f"{result.law}, median")
    for i, (name, curve) in enumerate(curves.items()):
        style = color_and_line(i, shift=1)
        ax.plot(curve[scale], curve["loss_median"], label=str(name), **style)
    draw_runs(ax, result.runs, scale)
    log_sizes(ax, scale)
    ax.set_ylabel(loss_label(result.loss_unit))
    return finish_axes(ax)
