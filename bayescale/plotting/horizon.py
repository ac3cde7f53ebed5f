"""Figures of trust: how precision falls with distance, and the results of backtests."""

from typing import TYPE_CHECKING

import numpy as np

from bayescale.errors import TrustError
from bayescale.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    draw_points,
    draws_from,
    finish_axes,
    is_narrow,
    log_ratios,
    marker_size,
    new_axes,
    percents,
    write_along,
)
from bayescale.units import three_digits
from bayescale.validation.backtest_record import bins
from bayescale.validation.backtest_result import Backtest
from bayescale.validation.horizon import INTERVAL, Trust
from bayescale.verdict import LEAST_COVERAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@draws_from(Trust)
def plot_trust(result: Trust, ax: "Axes | None" = None) -> "Axes":
    """Draw how precisely the mean loss is known at each distance, with the tolerance and horizon.

    The curve is half the width of the interval, as a share of the loss. A forecast may be trusted
    where the curve is below the dashed tolerance and left of the dotted line, up to which backtests
    have tested. The thick line is the horizon, up to which both conditions hold and the coverage of
    the backtests suffices.

    Parameters
    ----------
    result : Trust
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = new_axes(ax), result.to_frame()
    label = f"half-width of the {INTERVAL:.0%} interval of the mean loss"
    ax.plot(frame["ratio"], frame["half_width"], color=BLUE, label=label)
    if frame["disagreement"].notna().any():
        label = "difference between the laws' medians"
        ax.plot(frame["ratio"], frame["disagreement"], color=GREEN, linestyle="-.", label=label)
    ax.axhline(result.tolerance, color=GREY, linestyle="--")
    place = {"xytext": (3, 3), "textcoords": "offset points", "fontsize": "small"}
    right = (0.99, result.tolerance)
    text = f"tolerance, {100 * result.tolerance:.3g}%"
    ax.annotate(text, right, xycoords=("axes fraction", "data"), ha="right", **place)
    text = "not trusted beyond"
    if result.horizon_ratio > 1:
        text = f"trusted up to {three_digits(result.horizon_ratio)} times"
    ax.axvline(result.horizon_ratio, color=ORANGE, linewidth=2)
    tested = result.tested_ratio if 1 < result.tested_ratio <= frame["ratio"].max() else None
    if tested is not None:
        ax.axvline(tested, color=GREY, linestyle=":")
    percents(ax.yaxis)
    ax.set_ylim(bottom=0.0)
    ax.set_xlim(frame["ratio"].min() * 0.9, frame["ratio"].max())
    ax.set_ylabel("share of the loss")
    log_ratios(ax)
    # the name of the line further right is written to its right if the other line is near
    beyond = tested is not None and tested < result.horizon_ratio
    level = result.tolerance
    after = tested if beyond else ax.get_xlim()[0]
    write_along(ax, result.horizon_ratio, text, after=after, level=level)
    if tested is not None:
        after = None if beyond else result.horizon_ratio
        text = f"tested to {three_digits(tested)} times"
        write_along(ax, tested, text, after=after, level=level)
    return finish_axes(ax)


@draws_from(Trust, Backtest)
def plot_coverage(result: Trust | Backtest, ax: "Axes | None" = None) -> "Axes":
    """Draw the share of held-out larger runs inside their 90 % interval, by how much larger.

    A bar is a range of extrapolation ratios, labeled with the number of forecasts whose interval
    contained the run. Its height gives all cutoffs equal weight, however many runs each has.
    Intervals are right near the dashed line, too wide above it, and overconfident below the dotted
    line, where they are marked by crosses.

    Parameters
    ----------
    result : Trust or Backtest
        Result with at least one forecast of held-out runs.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TrustError
        If the result was made without a backtest.
    """
    found = bins(result) if isinstance(result, Backtest) else list(result.bins)
    if not found:
        raise TrustError(
            "no backtest was made, so there is no coverage to draw: make one, "
            "`fit = fit.with_backtest()`"
        )
    ax = new_axes(ax)
    lower, upper, share = (
        np.array([item[name] for item in found]) for name in ("lower", "upper", "coverage90")
    )
    middle, enough = np.sqrt(lower * upper), share >= LEAST_COVERAGE
    for which, marker, color, label in (
        (enough, "o", BLUE, f"coverage {LEAST_COVERAGE:.0%} or more"),
        (~enough, "X", ORANGE, f"coverage below {LEAST_COVERAGE:.0%}"),
    ):
        if which.any():
            ax.hlines(share[which], lower[which], upper[which], color=color, linewidth=2)
            look = {"color": color, "markersize": 9, "label": label}
            draw_points(ax, middle[which], share[which], marker, **look)
    # alternately above and below, and on a phone also further away, so that neighbors do not
    # overlap
    away = (9, -17, 21, -29) if is_narrow(ax) else (9, -17)
    for i, item in enumerate(found):
        ax.annotate(
            f"{item['n_covered']}/{item['n']}",
            (middle[i], share[i]),
            xytext=(0, away[i % len(away)]),
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )
    ax.axhline(INTERVAL, color=GREY, linestyle="--", label=f"nominal, {INTERVAL:.0%}")
    ax.axhline(LEAST_COVERAGE, color=GREY, linestyle=":", label=f"required, {LEAST_COVERAGE:.0%}")
    percents(ax.yaxis, decimals=0)
    ax.set_ylim(min(0.5, share.min() - 0.15), 1.05)
    ax.set_ylabel("held-out runs inside, mean over cutoffs")
    log_ratios(ax)
    return finish_axes(ax)


@draws_from(Backtest)
def plot_errors(result: Backtest, ax: "Axes | None" = None, *, law: str | None = None) -> "Axes":
    """Draw the error of each forecast of a held-out run against how much larger the run was.

    Above zero the forecast was too high. Crosses are runs outside their 90 % interval; one in ten
    is expected. Errors that drift to one side with distance show a bias of the law.

    Parameters
    ----------
    result : Backtest
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.
    law : str, optional
        A law of the backtest; by default the model average, or the only law.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TrustError
        If the backtest has no such law.
    """
    frame, name = result.to_frame(), law or result.answer
    known = list(dict.fromkeys(frame["law"]))
    if name not in known:
        raise TrustError(f"the backtest has no law {name!r}: choose one of {', '.join(known)}")
    ax, frame = new_axes(ax), frame[frame["law"] == name]
    inside, size = frame["covered90"].astype(bool), marker_size(len(frame))
    for part, marker, color, label in (
        (frame[inside], "o", BLUE, "inside its 90% interval"),
        (frame[~inside], "x", ORANGE, "outside"),
    ):
        if len(part):
            look = {"color": color, "label": label, "markersize": size}
            draw_points(ax, part["ratio"], part["log_error"], marker, **look)
    ax.axhline(0.0, color=BLACK, linewidth=0.8)
    percents(ax.yaxis)
    ax.set_ylabel("error of the forecast (log loss)")
    log_ratios(ax)
    ax.set_title(f"{name}: {len(frame)} forecasts", loc="left", fontsize="medium")
    return finish_axes(ax)
