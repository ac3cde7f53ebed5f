"""Figures of decisions: a budget's frontier and regret, and data needed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayescale.decisions.allocation import Allocation
from bayescale.decisions.overfit import KAPLAN, OverfitLine
from bayescale.decisions.regret import RegretMap
from bayescale.errors import DecisionError
from bayescale.plotting.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    SKY,
    color_and_line,
    draw_band,
    draw_points,
    draws_from,
    finish_axes,
    log_sizes,
    marker_size,
    new_axes,
)
from bayescale.results import quantiles
from bayescale.runs import Runs
from bayescale.units import format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_REGRETS = {
    "regret": "expected regret ({unit})",
    "wasted_share": "compute expected to be wasted (share)",
    "wasted_dollars": "dollars expected to be wasted",
}
_COSTS = {
    "dollars": "budget (dollars)",
    "days": "budget (days of all GPUs)",
    "gpu_hours": "budget (GPU-hours)",
    "flops": "budget (FLOP)",
}
_SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99)
_LIMITS = {
    "max_params": ("most params", "-."),
    "max_tokens": ("most tokens", ":"),
    "unique_tokens": ("unique tokens, repeated beyond", ":"),
}


@draws_from(Allocation)
def plot_allocation(result: Allocation, ax: "Axes | None" = None) -> "Axes":
    """Draw the parameters and tokens to choose against the budget, with each draw's best split.

    Points and lines are the splits of least expected loss, one per budget. Bars, and the bands
    between them, are intervals of the draws' best splits. Where a band is wide, the runs say little
    about the split.

    Parameters
    ----------
    result : Allocation
        Allocation of one budget or, for a frontier, of several.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = new_axes(ax), result.to_frame().sort_values("flops")
    x, band = frame["flops"], f"band: each draw's best, {result.ci_prob:.0%}"
    for name, color, style in (("params", BLUE, "o-"), ("tokens", ORANGE, "s--")):
        if len(frame) > 1:
            draw_band(ax, x, frame, name, color=color, alpha=0.2)
        ax.vlines(x, frame[f"{name}_lower"], frame[f"{name}_upper"], color=color, alpha=0.6)
        label = f"{name} of least expected loss ({band})"
        ax.plot(x, frame[f"choice_{name}"], style, color=color, label=label)
    log_sizes(ax, "params", "y")
    log_sizes(ax, "flops")
    ax.set_ylabel("parameters, tokens")
    ax.set_xlabel("budget (FLOP)")
    return finish_axes(ax)


@draws_from(Allocation)
def plot_frontier(
    result: Allocation, ax: "Axes | None" = None, *, against: str | None = None
) -> "Axes":
    """Draw the loss that budgets reach against what they cost, with the size of each choice.

    Parameters
    ----------
    result : Allocation
        Allocation of several budgets.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.
    against : {"dollars", "days", "gpu_hours", "flops"}, optional
        The horizontal axis; by default the first of these that is known.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DecisionError
        If the allocation is of one budget, or does not know the cost.
    """
    frame = result.to_frame()
    known = [name for name in _COSTS if name in frame]
    against = known[0] if against is None else against
    if len(frame) < 2 or against not in known:
        raise DecisionError(
            "a frontier needs several budgets: allocate a list of them"
            if len(frame) < 2
            else f"against is {against!r}, but this allocation knows its cost in "
            f"{', '.join(known)}: allocate with `cluster=` or `price=` for more"
        )
    ax, frame = new_axes(ax), frame.sort_values(against)
    x, label = frame[against], f"loss at the choice, {result.meaning}"
    draw_band(ax, x, frame, "loss", color=BLUE, alpha=0.2, label=f"{result.ci_prob:.0%} interval")
    ax.plot(x, frame["loss_median"], "o-", color=BLUE, label=label)
    for place, loss, params in zip(x, frame["loss_median"], frame["choice_params"], strict=True):
        if np.isfinite(params):
            ax.annotate(
                format_size(params), (place, loss), (0, 7), textcoords="offset points",
                ha="center", fontsize="small",
            )  # fmt: skip
    log_sizes(ax, "flops" if against == "flops" else "params")  # written as sizes are
    ax.set_xlabel(_COSTS[against])
    ax.set_ylabel(f"loss ({result.loss_unit.words})")
    return finish_axes(ax)


@draws_from(Allocation)
def plot_options(result: Allocation, ax: "Axes | None" = None) -> "Axes":
    """Draw the regret of other sizes of the model, each trained with one whole budget.

    The line is the expected regret and its band the interval over draws. The diamond is the split
    with the least expected loss; the gray area is the interval of the draws' best sizes.

    Parameters
    ----------
    result : Allocation
        Allocation of one budget, with splits of it as options.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DecisionError
        If the allocation is of several budgets or has no options.
    """
    if result.options is None or len(result.flops) != 1:
        raise DecisionError(
            "there are no other splits of one budget to draw: allocate one budget, and name "
            "splits with `options=`"
        )
    ax, params = new_axes(ax), result.choice.split(0)["params"]
    best = quantiles(result.best(0)["params"], result.ci_prob)
    frame = result.options.to_frame(result.ci_prob).sort_values("params")
    mass = f"{result.ci_prob:.0%} interval"
    draw_band(ax, frame["params"], frame, "regret", color=BLUE, alpha=0.2, label=f"regret, {mass}")
    ax.plot(frame["params"], frame["regret_mean"], color=BLUE, label="expected regret")
    chosen = float(result.choice.regret.mean())
    draw_points(
        ax, [params], [chosen], "D", color=ORANGE, markeredgecolor=BLACK,
        markersize=8, zorder=4, label=f"the choice, {format_size(params)} params",
    )  # fmt: skip
    log_sizes(ax, "params")
    ax.set_ylim(bottom=0.0)
    ends = best["lower"], best["upper"]
    ax.axvspan(*ends, facecolor=GREY, alpha=0.12, linewidth=0, zorder=0)
    look: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": "small"}
    text = f"each draw's best,\n{mass}"
    ax.text((ends[0] * ends[1]) ** 0.5, 0.99, text, transform=ax.get_xaxis_transform(), **look)
    ax.set_ylabel(f"regret ({result.loss_unit.words})")
    return finish_axes(ax)


@draws_from(RegretMap)
def plot_regret(result: RegretMap, ax: "Axes | None" = None, *, of: str = "wasted_share") -> "Axes":
    """Draw the regret of any params and tokens around a budget's best split.

    Lines join splits of equal expected regret; darker is worse. Each split is compared with the
    best split of the same cost, so the valley follows the best splits from small budgets to large
    ones. All splits on the dashed line cost the budget, and the diamond is the split with the least
    expected loss. The wider the valley, the less a precise split matters.

    Parameters
    ----------
    result : RegretMap
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given. The map adds a color bar to its figure.
    of : {"wasted_share", "wasted_dollars", "regret"}
        The share of a split's compute that the best split would save, this in dollars, or the
        regret in the map's unit of loss.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DecisionError
        If ``of`` is none of these, or in dollars without a price.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import FuncFormatter

    if of not in _REGRETS:
        raise DecisionError(f"of is {of!r}, but must be one of {', '.join(_REGRETS)}")
    ax, frame = new_axes(ax), result.to_frame()
    if of == "wasted_dollars" and "dollars" not in frame:
        raise DecisionError(
            "this map knows no price: make it with `price=`, or with a `cluster=` that has one"
        )
    grid = frame[~frame["on_budget"]].pivot(index="tokens", columns="params", values=f"{of}_mean")
    levels = _levels(grid.to_numpy(), of)
    # from white to a shade on which black text can still be read
    shades = LinearSegmentedColormap.from_list("shades", ["white", SKY])
    colors = shades(np.linspace(0, 1, len(levels) + 1))
    where = (grid.columns.to_numpy(), grid.index.to_numpy(), grid.to_numpy())
    ax.set(xscale="log", yscale="log")  # first, because labels follow the slopes of contours
    filled = ax.contourf(*where, levels, colors=colors, extend="both")
    lines = ax.contour(*where, levels, colors=GREY, linewidths=0.8)
    texts: dict[str, Callable[[float], str]] = {
        "wasted_share": lambda x: f"{100 * x:.3g}%",
        "wasted_dollars": lambda x: f"${x:,.0f}",
        "regret": lambda x: f"{x:g}",
    }
    form = FuncFormatter(lambda x, _: texts[of](x))
    ax.clabel(lines, fmt=form, colors=BLACK, fontsize="small")
    ax.figure.colorbar(
        filled,
        ax=ax,
        label=_REGRETS[of].format(unit=result.allocation.loss_unit.words),
        ticks=levels,
        format=form,
    )
    budget, chosen = frame[frame["on_budget"]], frame[frame["choice"]]
    label = _budget_text(result, budget)
    ax.plot(budget["params"], budget["tokens"], color=BLACK, linestyle="--", label=label)
    for name, (label, style) in _LIMITS.items():
        if name in frame:
            draw = ax.axvline if name == "max_params" else ax.axhline
            at = float(frame[name].iloc[0])
            draw(at, color=ORANGE, linestyle=style, linewidth=2.5, label=label, clip_on=False)
    look = {"color": ORANGE, "markeredgecolor": BLACK, "markersize": 9}
    draw_points(ax, chosen["params"], chosen["tokens"], "D", label="least expected loss", **look)
    log_sizes(ax, "tokens", "y")
    log_sizes(ax, "params")
    return finish_axes(ax)


def _budget_text(result: RegretMap, spent: pd.DataFrame) -> str:
    """Return the budget in the units in which all splits that spend it are equal."""
    text, cluster = f"{result.flops:.3g} FLOP".replace("e+", "e"), result.allocation.cluster
    known = [name for name in ("flops", "dollars") if name in spent]
    equal = [name for name in known if np.allclose(spent[name], spent[name].iloc[0])]
    if cluster is not None and "flops" not in equal:
        days = cluster.cost(result.flops, result.allocation.choice.split(0)["params"])["days"]
        text = f"{days:.3g} days"
    if "dollars" in equal:
        text += f", ${spent['dollars'].iloc[0]:,.0f}"
    return text


def _levels(values: np.ndarray, of: str) -> list[float]:
    """Return round levels of a map, over at most three decades.

    The lowest is high enough that its two lines do not meet between points of the map's valley.
    """
    high = float(values.max())
    low = max(2 * float(np.median(values.min(axis=0))), high / 1000)
    if of == "wasted_share":
        found = [share for share in _SHARES if low < share < high]
    else:
        tens = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        every = [float(f"{step}e{ten}") for ten in tens for step in (1, 3)]
        found = [level for level in every if low < level < high]
    return found if len(found) > 1 else [low, high]


@draws_from(OverfitLine)
def plot_overfit(
    result: OverfitLine, ax: "Axes | None" = None, *, runs: Runs | None = None
) -> "Axes":
    """Draw the tokens with which finite data raise a model's loss by no more than a bound.

    On the line, infinite data would lower the loss by the bound on overfit; below the line, by
    more. The band is the interval of the line. Kaplan's published rule is dashed, and drawn if the
    bound is Kaplan's own; its params exclude embeddings.

    Parameters
    ----------
    result : OverfitLine
        For a model average, each law's median is drawn as well.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.
    runs : Runs, optional
        Fitted runs, at their params and tokens.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = new_axes(ax), result.to_frame()
    x, columns = frame["params"], [name for name in frame if str(name).startswith("tokens_")]
    known = frame[columns].to_numpy()
    ceiling = 10 * known[np.isfinite(known)].max()  # the band is open if no amount is enough
    y = frame[columns].where(~np.isinf(frame[columns]), ceiling)  # gaps where laws disagree
    finite = frame["p_reachable"].min()
    label = f"{result.ci_prob:.0%} interval"
    label += f"; open above: {finite:.0%} of draws are finite" if finite < 1 else ""
    draw_band(ax, x, y, "tokens", color=BLUE, alpha=0.25, label=label)
    label = f"{result.law}, overfit of {result.overfit:.3g}, median"
    ax.plot(x, frame["tokens_median"], color=BLUE, label=label)
    for i, law in enumerate(result.by_law, 1):
        look = color_and_line(i) | {"linewidth": 1.2, "label": f"{law.law} alone, median"}
        ax.plot(x, frame[f"tokens_{law.law}"], **look)
    if frame["kaplan"].notna().any():
        factor, power = KAPLAN
        label = f"Kaplan et al. 2020: {factor:.0e} N^{power:g}".replace("e+0", "e")
        ax.plot(x, frame["kaplan"], color=BLACK, linestyle=(0, (6, 3)), label=label)
    if runs is not None:
        look = {"color": GREY, "markersize": min(4, marker_size(len(runs))), "label": "fitted runs"}
        draw_points(ax, runs["params"], runs["tokens"], **look)
    if (known > ceiling).any():
        ax.set_ylim(top=ceiling)
    log_sizes(ax, "tokens", "y")
    log_sizes(ax, "params")
    return finish_axes(ax)
