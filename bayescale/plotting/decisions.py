"""Figures of decisions: a budget's frontier and regret, data needed, and which run to buy."""

from typing import TYPE_CHECKING

import numpy as np

from bayescale.decisions.allocation import Allocation
from bayescale.decisions.next_run import NextRun
from bayescale.decisions.overfit import KAPLAN, OverfitLine
from bayescale.decisions.regret import RegretMap
from bayescale.errors import DecisionError
from bayescale.plotting.style import (
    AXIS_LABELS,
    BLACK,
    BLUE,
    COLORS,
    GREY,
    LINES,
    ORANGE,
    SKY,
    axes,
    finished,
    log_sizes,
)
from bayescale.runs import Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEFORE = {"loss": "sd", "regret": "regret"}
_REGRETS = {
    "regret": "expected regret (nats per token)",
    "wasted_share": "compute expected to be wasted (share)",
}
_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99)
_LIMITS = {
    "max_params": ("most params", "-."),
    "max_tokens": ("most tokens", ":"),
    "unique_tokens": ("unique tokens, repeated beyond", ":"),
}


def plot_allocation(result: Allocation, ax: "Axes | None" = None) -> "Axes":
    """Parameters and tokens to choose against the budget, with each draw's best split.

    Points and lines are the splits of least expected loss, one a budget; bars, and bands between
    them, hold what each draw would choose if it alone were true. Where a band is wide, the runs
    say little of the split.

    Parameters
    ----------
    result : Allocation
        Of one or, for a frontier, several budgets.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = axes(ax), result.to_frame().sort_values("flops")
    mass = f"{result.ci_prob:.0%}"
    for name, color, marker, line in (
        ("params", BLUE, "o", "-"), ("tokens", ORANGE, "s", "--")
    ):  # fmt: skip
        lower, upper = frame[f"{name}_lower"], frame[f"{name}_upper"]
        if len(frame) > 1:
            ax.fill_between(frame["flops"], lower, upper, color=color, alpha=0.2, linewidth=0)
        ax.vlines(frame["flops"], lower, upper, color=color, alpha=0.6)
        ax.plot(
            frame["flops"], frame[f"choice_{name}"], color=color, marker=marker, linestyle=line,
            label=f"{name} of least expected loss (band: each draw's best, {mass})",
        )  # fmt: skip
    log_sizes(ax, "params", "y")
    log_sizes(ax, "flops")
    ax.set_ylabel("parameters, tokens")
    ax.set_xlabel("budget (FLOP)")
    return finished(ax)


def plot_regret(result: RegretMap, ax: "Axes | None" = None, *, of: str = "regret") -> "Axes":
    """What any params and tokens about a budget's best split give up.

    Lines join splits of the same expected regret, and darker is worse. Each split is held
    against the best one of its own cost, so the valley follows the best splits from small
    budgets to large ones; along the dashed line all splits cost the budget, and the diamond is
    the one of least expected loss. How wide the valley is says how little precision matters.

    Parameters
    ----------
    result : RegretMap
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given. The map adds a color bar to its figure.
    of : {"regret", "wasted_share"}
        Nats per token, or the share of a split's own compute that the best one would save.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DecisionError
        If ``of`` is neither.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import FuncFormatter

    if of not in _REGRETS:
        raise DecisionError(f"of is {of!r}, but must be one of {', '.join(_REGRETS)}")
    ax, frame = axes(ax), result.to_frame()
    grid = frame[~frame["on_budget"]].pivot(index="tokens", columns="params", values=f"{of}_mean")
    levels = _levels(grid.to_numpy(), of)
    # from white to no darker than black words can be read on
    shades = LinearSegmentedColormap.from_list("shades", ["white", SKY])
    colors = shades(np.linspace(0, 1, len(levels) + 1))
    where = (grid.columns.to_numpy(), grid.index.to_numpy(), grid.to_numpy())
    ax.set(xscale="log", yscale="log")  # before contours are labeled, along their slopes
    filled = ax.contourf(*where, levels, colors=colors, extend="both")
    lines = ax.contour(*where, levels, colors=GREY, linewidths=0.8)
    form = FuncFormatter(lambda x, _: f"{x:.0%}" if of == "wasted_share" else f"{x:g}")
    ax.clabel(lines, fmt=form, colors=BLACK, fontsize="small")
    ax.figure.colorbar(filled, ax=ax, label=_REGRETS[of], ticks=levels, format=form)
    line = frame[frame["on_budget"]]
    ax.plot(
        line["params"], line["tokens"], color=BLACK, linestyle="--",
        label=f"{result.flops:.3g} FLOP".replace("e+", "e"),
    )  # fmt: skip
    for name, (label, style) in _LIMITS.items():
        if name in frame:
            draw = ax.axvline if name == "max_params" else ax.axhline
            at = float(frame[name].iloc[0])
            draw(at, color=ORANGE, linestyle=style, linewidth=2.5, label=label, clip_on=False)
    chosen = frame[frame["choice"]]
    ax.plot(
        chosen["params"], chosen["tokens"], "D", color=ORANGE, markersize=9, linestyle="none",
        markeredgecolor=BLACK, label="least expected loss",
    )  # fmt: skip
    log_sizes(ax, "tokens", "y")
    log_sizes(ax, "params")
    return finished(ax, loc="lower left", framealpha=0.9)


def _levels(values: np.ndarray, of: str) -> list[float]:
    """Round levels of a map, three decades of them at most.

    None so low that their two lines would meet between points of the map, in its valley.
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


def plot_overfit(
    result: OverfitLine, ax: "Axes | None" = None, *, runs: Runs | None = None
) -> "Axes":
    """The tokens that a model needs, against its params, so that finite data hardly cost it.

    On the line, endless data would lower the loss by the bound on overfit; below it by more.
    The band is where the line may lie. Kaplan's published rule is dashed, where the bound is its
    own; its params leave embeddings out.

    Parameters
    ----------
    result : OverfitLine
        Of a pool, each law's median is drawn as well.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.
    runs : Runs, optional
        Fitted runs, where they lie.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame, mass = axes(ax), result.to_frame(), f"{result.ci_prob:.0%}"
    x, each = frame["params"], [str(name) for name in frame if str(name).startswith("tokens_")]
    known = frame[each].to_numpy()
    ceiling = 10 * known[np.isfinite(known)].max()  # where no amount is enough, the band is open
    y = frame[each].where(np.isfinite(frame[each]), ceiling)
    opened = f"; open above: {frame['p_reachable'].min():.0%} of draws have an end"
    label = f"{mass} interval" + ("" if frame["p_reachable"].min() == 1 else opened)
    ax.fill_between(
        x, y["tokens_lower"], y["tokens_upper"], color=BLUE, alpha=0.25, linewidth=0, label=label
    )
    ax.plot(
        x, frame["tokens_median"], color=BLUE,
        label=f"{result.law}, overfit of {result.overfit:.3g}, median",
    )  # fmt: skip
    for i, law in enumerate(result.by_law, 1):
        ax.plot(
            x, frame[f"tokens_{law.law}"], color=COLORS[i % 6], linestyle=LINES[i % 6],
            linewidth=1.2, label=f"{law.law} alone, median",
        )  # fmt: skip
    if frame["kaplan"].notna().any():
        factor, power = KAPLAN
        ax.plot(
            x, frame["kaplan"], color=BLACK, linestyle=(0, (6, 3)),
            label=f"Kaplan et al. 2020: {factor:.0e} N^{power:g}".replace("e+0", "e"),
        )  # fmt: skip
    if runs is not None:
        ax.plot(
            runs["params"], runs["tokens"], "o", color=GREY, markersize=4, linestyle="none",
            label="runs fitted",
        )  # fmt: skip
    if (known > ceiling).any():
        ax.set_ylim(top=ceiling)
    log_sizes(ax, "tokens", "y")
    log_sizes(ax, "params")
    return finished(ax)


def plot_next_run(result: NextRun, ax: "Axes | None" = None) -> "Axes":
    """Candidate runs by what buying each would leave of the uncertainty.

    A point is a run that could be bought, darker (in the map) or lower (against the price) where
    less would be left; squares are those to buy, numbered in their order. Colors that hardly
    differ say that no candidate teaches much, whatever their order.

    Parameters
    ----------
    result : NextRun
        For laws of params and tokens a map of both, darker where less is left; else what is
        left against the price.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given. The map adds a color bar to its figure.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = axes(ax), result.to_frame()
    kind = _BEFORE[result.target]
    left, before = frame[f"{kind}_after"], float(frame[f"{kind}_before"].iloc[0])
    told = "sd of log loss" if result.target == "loss" else "expected regret, nats per token"
    dear = ~frame["affordable"].astype(bool)
    batch = result.batch
    if {"params", "tokens"} <= set(frame.columns):
        x, y = "params", "tokens"
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        norm = Normalize(float(left.min()), max(before, float(left.max())))
        colors = ScalarMappable(norm, "cividis")
        for which, marker, size in ((~dear, "o", 90), (dear, "X", 40)):
            label = "candidate within the budget" if marker == "o" else "beyond the budget"
            if which.any():
                ax.scatter(
                    frame.loc[which, x], frame.loc[which, y], c=left[which], cmap="cividis",
                    norm=norm, marker=marker, s=size, edgecolors=GREY, linewidths=1.0, label=label,
                )  # fmt: skip
        ax.figure.colorbar(colors, ax=ax, label=f"left of {before:.3g}: {told}")
        places = [(row[x], row[y]) for row in batch.to_dict(orient="records")]
        log_sizes(ax, y, "y")
    else:
        x = "flops"
        for which, marker in ((~dear, "o"), (dear, "X")):
            label = "candidate within the budget" if marker == "o" else "beyond the budget"
            if which.any():
                ax.plot(
                    frame.loc[which, x], left[which], marker, color=BLUE, linestyle="none",
                    label=label,
                )  # fmt: skip
        ax.axhline(before, color=GREY, linestyle="--", label=f"now, {before:.3g}")
        ax.set_ylabel(f"left: {told}")
        alone = dict(zip(frame[x], left, strict=True))
        places = [(row[x], alone[row[x]]) for row in batch.to_dict(orient="records")]
    if places:
        ax.plot(
            *np.array(places).T, "s", markerfacecolor="none", markeredgecolor=ORANGE,
            markeredgewidth=2, markersize=13, linestyle="none", label="to buy, in this order",
        )  # fmt: skip
    seen: dict[tuple[float, float], list[str]] = {}
    for i, place in enumerate(places, 1):
        seen.setdefault(place, []).append(str(i))
    for place, order in seen.items():
        ax.annotate(
            ", ".join(order), place, xytext=(10, 8), textcoords="offset points", color=BLACK,
            fontweight="bold",
        )  # fmt: skip
    log_sizes(ax, x)
    if x == "flops":
        ax.set_xlabel(f"price of the run: {AXIS_LABELS['flops']}")
    return finished(ax)
