"""Figures of laws side by side: what each forecasts, and how each did on held-out runs."""

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
    LINES,
    LOSS_LABEL,
    ORANGE,
    axes,
    finished,
    log_sizes,
)
from bayescale.published import PublishedComparison
from bayescale.runs import Runs
from bayescale.validation.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_laws(
    result: Forecast,
    ax: "Axes | None" = None,
    *,
    scale: str = "flops",
    runs: Runs | None = None,
) -> "Axes":
    """Each law's own forecast of the mean over seeds beside the pool's, along one scale.

    A colored line and band are the median and interval of one law, the black line and the thin
    black edges those of the pool. Where bands part, the choice of law matters more than what is
    uncertain within any; the pool's interval then holds them all.

    Parameters
    ----------
    result : Forecast
        Of a pool, over points that differ in ``scale``.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.
    scale : {"flops", "params", "tokens", "lm_loss"}
        The horizontal axis, logarithmic but for ``lm_loss``.
    runs : Runs, optional
        Fitted runs, as filled points.

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
            "or more, bayescale fit --law A --law B"
        )
    ax, mass = axes(ax), f"{result.ci_prob:.0%}"
    each = zip(result.by_law, result.weights, strict=True)
    for i, (law, weight) in enumerate(each):
        own, color = law.to_frame().sort_values(scale), COLORS[i % 6]
        ax.fill_between(
            own[scale], own["loss_lower"], own["loss_upper"], color=color, alpha=0.25, linewidth=0
        )
        ax.plot(
            own[scale], own["loss_median"], color=color, linestyle=LINES[(i + 1) % 6],
            label=f"{law.law}, {weight:.0%} of the pool",
        )  # fmt: skip
    pool = result.to_frame().sort_values(scale)
    ax.plot(pool[scale], pool["loss_median"], color=BLACK, label="pool, median")
    for end, label in (("lower", f"pool, {mass} interval"), ("upper", None)):
        ax.plot(pool[scale], pool[f"loss_{end}"], color=BLACK, linewidth=0.8, label=label)
    if runs is not None:
        size = 6 if len(runs) < 100 else 3
        ax.plot(
            runs[scale], runs["loss"], "o", color=GREY, markersize=size, linestyle="none",
            label="runs fitted",
        )  # fmt: skip
    if scale == "lm_loss":
        ax.set_xlabel(AXIS_LABELS[scale])
        ax.set_ylabel("mean error over tasks")
    else:
        log_sizes(ax, scale)
        ax.set_ylabel(LOSS_LABEL)
    return finished(ax)


def plot_comparison(result: Comparison, ax: "Axes | None" = None) -> "Axes":
    """How well each law, and each pool of them, forecast held-out larger runs.

    A row has its log predictive density as a point, the more to the right the better, with one
    standard error to each side: rows whose bars overlap are not told apart. Beside each stand
    its weight by stacking and how many held-out runs its 90 % interval covered. Weights other
    than equal ones were chosen on these very runs, which flatters their rows.

    Parameters
    ----------
    result : Comparison
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = axes(ax), result.to_frame()
    rows = np.arange(len(frame))
    is_law = frame["law"].isin(list(result.weights)).to_numpy()
    for which, marker, color, label in (
        (is_law, "o", BLUE, "a law alone"), (~is_law, "s", ORANGE, "a pool of all")
    ):  # fmt: skip
        part = frame[which]
        ax.errorbar(
            part["lpd"].to_numpy(), rows[which], xerr=part["lpd_se"].to_numpy(), color=color,
            marker=marker, linestyle="none", markersize=8, linewidth=2.5, label=label,
        )  # fmt: skip
    names = []
    for row in frame.to_dict(orient="records"):
        weight = "" if np.isnan(row["weight"]) else f"weight {row['weight']:.2f}, "
        names.append(f"{row['law']}\n{weight}covers {row['coverage90']:.0%}")
    ax.set_yticks(rows, names)
    ax.set_ylim(len(frame) - 0.5, -1.4)  # the first on top, with room for the legend
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color=GREY, alpha=0.25)
    ax.set_xlabel("log density of held-out larger runs (mean, nats), one standard error")
    return finished(ax, loc="upper left", ncols=2)


def plot_published(result: PublishedComparison, ax: "Axes | None" = None) -> "Axes":
    """A fit's mean loss along a scale, with published laws beside it.

    The black line and grey band are the fit's median and interval, points its runs. A published
    law is a line without a band: papers print no interval that could be drawn. Distance between
    lines tells of the laws only where they count alike; see the comparison's warnings.

    Parameters
    ----------
    result : PublishedComparison
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, scale = axes(ax), result.scale
    curves = dict(list(result.to_frame().groupby("law", sort=False)))
    own = curves.pop(result.law)
    ax.fill_between(
        own[scale], own["loss_lower"], own["loss_upper"], color=GREY, alpha=0.3, linewidth=0,
        label=f"{result.law}, {result.ci_prob:.0%} interval",
    )  # fmt: skip
    ax.plot(own[scale], own["loss_median"], color=BLACK, label=f"{result.law}, median")
    for i, (name, curve) in enumerate(curves.items()):
        ax.plot(
            curve[scale], curve["loss_median"], color=COLORS[i % 6],
            linestyle=LINES[(i + 1) % 6], label=str(name),
        )  # fmt: skip
    size = 6 if len(result.runs) < 100 else 3
    ax.plot(
        result.runs[scale], result.runs["loss"], "o", color=GREY, markersize=size,
        linestyle="none", label="runs fitted",
    )  # fmt: skip
    log_sizes(ax, scale)
    ax.set_ylabel(LOSS_LABEL)
    return finished(ax)
