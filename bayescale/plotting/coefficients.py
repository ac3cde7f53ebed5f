"""Figures of coefficients: what was believed, and what the runs made of it."""

from typing import TYPE_CHECKING

import numpy as np

from bayescale.errors import PosteriorError
from bayescale.plotting.style import BLUE, GREY, axes, finished
from bayescale.posterior import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_coefficients(result: Summary, ax: "Axes | None" = None) -> "Axes":
    """Prior against posterior of each coefficient, a row each.

    A row has a logarithmic scale of its own: 0 is the lower end of the prior's interval, 1 its
    upper end. What is narrower has been learnt, what lies outside was not believed before.

    Parameters
    ----------
    result : Summary
        Of a fit with draws of its prior.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    PosteriorError
        If the summary holds no prior, as that of a point estimate.
    """
    frame = result.to_frame()
    frame = frame[frame["prior_lower"].notna()]
    if not len(frame):
        raise PosteriorError(
            f"the summary of {result.law} holds no prior to be drawn beside its coefficients"
        )
    ax, rows, mass = axes(ax), np.arange(len(frame)), f"{result.ci_prob:.0%}"
    start = np.log(frame["prior_lower"])
    width = np.log(frame["prior_upper"]) - start
    at = {
        name: (np.log(frame[name]) - start) / width
        for name in ("prior_median", "lower", "median", "upper")
    }
    ax.hlines(rows, 0, 1, color=GREY, alpha=0.35, linewidth=10, label=f"prior, {mass} interval")
    ax.plot(at["prior_median"], rows, "|", color=GREY, markersize=12, linestyle="none")
    ax.hlines(
        rows, at["lower"], at["upper"], color=BLUE, linewidth=4,
        label=f"posterior, {mass} interval and median",
    )  # fmt: skip
    ax.plot(at["median"], rows, "o", color=BLUE, markersize=7, linestyle="none")
    names = [
        f"{name}  {row['median']:.4g} ({row['lower']:.4g} to {row['upper']:.4g})"
        for name, row in frame.iterrows()
    ]
    ax.set_yticks(rows, names)
    ax.set_ylim(len(frame) - 0.5, -1.9)  # the first on top, with room for the legend
    ax.set_xticks([0, 1], ["lower end\nof the prior", "upper end"])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("on a log scale, each row its own")
    return finished(ax, loc="upper left")
