"""Figures of trust: how precision wears off, and what backtests found."""

from typing import TYPE_CHECKING

import numpy as np

from bayescale.errors import TrustError
from bayescale.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    axes,
    finished,
    log_ratios,
)
from bayescale.validation.backtest import Backtest
from bayescale.validation.backtest_record import bins
from bayescale.validation.horizon import INTERVAL, Trust
from bayescale.verdict import LEAST_COVERAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_trust(result: Trust, ax: "Axes | None" = None) -> "Axes":
    """How precisely the mean loss is known the farther out, with tolerance and horizon.

    The curve is half of the interval's width, as a share of the loss. It may be trusted as long
    as it is below the dashed tolerance and left of what backtests reach, the dotted line; the
    thick line is how far that holds together with what they covered.

    Parameters
    ----------
    result : Trust
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from matplotlib.ticker import PercentFormatter

    ax, frame = axes(ax), result.to_frame()
    ax.plot(
        frame["ratio"], frame["half_width"], color=BLUE,
        label=f"half the {INTERVAL:.0%} interval of the mean loss",
    )  # fmt: skip
    if frame["disagreement"].notna().any():
        ax.plot(
            frame["ratio"], frame["disagreement"], color=GREEN, linestyle="-.",
            label="difference of the laws' medians",
        )  # fmt: skip
    ax.axhline(
        result.tolerance, color=GREY, linestyle="--", label=f"tolerance, {result.tolerance:.1%}"
    )
    if result.tested_ratio > 1:
        ax.axvline(
            result.tested_ratio, color=GREY, linestyle=":",
            label=f"backtests reach {result.tested_ratio:.3g} times",
        )  # fmt: skip
    ax.axvline(
        result.horizon_ratio, color=ORANGE, linewidth=2,
        label=f"trusted up to {result.horizon_ratio:.3g} times"
        if result.horizon_ratio > 1
        else "not trusted beyond the largest run",
    )  # fmt: skip
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel("share of the loss")
    log_ratios(ax)
    return finished(ax)


def plot_coverage(result: Trust | Backtest, ax: "Axes | None" = None) -> "Axes":
    """Share of held-out larger runs inside their 90 % interval, by how many times larger.

    A bar is a range of extrapolation, with the number of forecasts inside their interval out of
    all of them; its height counts each cutoff alike, whatever its number. Near the dashed line
    intervals are right, above it too wide, and below the dotted one, at the crosses, too sure.

    Parameters
    ----------
    result : Trust or Backtest
        With any forecast of held-out runs.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TrustError
        If no backtest stands behind the result.
    """
    from matplotlib.ticker import PercentFormatter

    found = bins(result) if isinstance(result, Backtest) else list(result.bins)
    if not found:
        raise TrustError("no backtest was made, so there is no coverage to draw: bayescale trust")
    ax = axes(ax)
    lower, upper, share = (
        np.array([item[name] for item in found]) for name in ("lower", "upper", "coverage90")
    )
    passed = share >= LEAST_COVERAGE
    looks = {
        True: ("o", BLUE, f"covered as needed, {LEAST_COVERAGE:.0%} or more"),
        False: ("X", ORANGE, "covered too few"),
    }
    for state, (marker, color, label) in looks.items():
        if (passed == state).any():
            which = passed == state
            middle = np.sqrt(lower * upper)[which]
            ax.hlines(share[which], lower[which], upper[which], color=color, linewidth=2)
            ax.plot(
                middle, share[which], marker, color=color, markersize=9, linestyle="none",
                label=label,
            )  # fmt: skip
    for i, item in enumerate(found):  # above and below by turns, so that neighbors are apart
        ax.annotate(
            f"{item['n_covered']} of {item['n']}", (np.sqrt(item["lower"] * item["upper"]),
            item["coverage90"]), xytext=(0, -17 if i % 2 else 9), textcoords="offset points",
            ha="center", fontsize="small",
        )  # fmt: skip
    ax.axhline(INTERVAL, color=GREY, linestyle="--", label=f"nominal, {INTERVAL:.0%}")
    ax.axhline(LEAST_COVERAGE, color=GREY, linestyle=":", label=f"needed, {LEAST_COVERAGE:.0%}")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_ylim(min(0.5, share.min() - 0.15), 1.05)
    ax.set_ylabel("held-out runs inside, averaged over cutoffs")
    log_ratios(ax)
    return finished(ax, loc="lower left")


def plot_errors(result: Backtest, ax: "Axes | None" = None, *, law: str | None = None) -> "Axes":
    """Error of each forecast of a held-out run, against how many times larger the run was.

    Above zero the forecast was too high; crosses are runs outside their 90 % interval, of which
    one in ten is right. Errors that drift to one side with distance are a bias of the law.

    Parameters
    ----------
    result : Backtest
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.
    law : str, optional
        One of its laws; the pool, or the only law, where not given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TrustError
        If the backtest has no such law.
    """
    from matplotlib.ticker import PercentFormatter

    frame, name = result.to_frame(), law or result.answer
    known = list(dict.fromkeys(frame["law"]))
    if name not in known:
        raise TrustError(f"the backtest is of {', '.join(known)}, and not of {name!r}")
    ax, frame = axes(ax), frame[frame["law"] == name]
    inside, size = frame["covered90"].astype(bool), 6 if len(frame) < 100 else 3
    for part, marker, color, label in (
        (frame[inside], "o", BLUE, "inside its 90% interval"),
        (frame[~inside], "x", ORANGE, "outside"),
    ):
        if len(part):
            ax.plot(
                part["ratio"], part["log_error"], marker, color=color, linestyle="none",
                label=label, markersize=size,
            )  # fmt: skip
    ax.axhline(0.0, color=BLACK, linewidth=0.8)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_ylabel("forecast above what was reached (of log loss)")
    log_ratios(ax)
    ax.set_title(f"{name}: {len(frame)} forecasts", loc="left", fontsize="medium")
    return finished(ax)
