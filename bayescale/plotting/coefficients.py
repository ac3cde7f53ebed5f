"""The figure of coefficients: posterior beside prior."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bayescale.errors import PosteriorError
from bayescale.plotting.style import (
    BLUE,
    GREY,
    draw_points,
    draws_from,
    finish_axes,
    is_narrow,
    label_rows,
    new_axes,
)
from bayescale.posterior import Summary
from bayescale.posterior.summary import rounded
from bayescale.units import three_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@draws_from(Summary)
def plot_coefficients(result: Summary, ax: "Axes | None" = None) -> "Axes":
    """Draw the prior and the posterior of each coefficient, one row each.

    Each row has its own logarithmic scale: 0 is the lower end of the prior's interval, 1 its upper
    end. A posterior narrower than the prior shows what was learned from the runs; a posterior
    outside the prior's interval contradicts the prior.

    Parameters
    ----------
    result : Summary
        The summary of a fit with draws of its prior.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    PosteriorError
        If the summary holds no prior, for example that of a point estimate.
    """
    frame = result.to_frame()
    frame = frame[frame["prior_lower"].notna()]
    if not len(frame):
        raise PosteriorError(
            f"the summary of {result.law} holds no prior to be drawn beside its coefficients"
        )
    ax, rows, mass = new_axes(ax), np.arange(len(frame)), f"{result.ci_prob:.0%}"
    start = np.log(frame["prior_lower"])
    width = np.log(frame["prior_upper"]) - start
    at = {
        name: (np.log(frame[name]) - start) / width
        for name in ("prior_median", "lower", "median", "upper")
    }
    ax.hlines(rows, 0, 1, color=GREY, alpha=0.35, linewidth=10, label=f"prior, {mass} interval")
    draw_points(ax, at["prior_median"], rows, "|", color=GREY, markersize=12)
    label = f"posterior, {mass} interval and median"
    ax.hlines(rows, at["lower"], at["upper"], linewidth=4, color=BLUE, label=label)
    draw_points(ax, at["median"], rows, color=BLUE, markersize=7)
    texts = [rounded(values) for _, values in frame.iterrows()]
    names = [
        f"{name}\n{median}" if is_narrow(ax) else f"{name}  {median} ({ends})"
        for name, (median, ends) in zip(frame.index, texts, strict=True)
    ]
    label_rows(ax, names, room=0.8)
    place: dict[str, Any] = {"xytext": (0, 6), "textcoords": "offset points"}
    for row, (_, values) in zip(rows, frame.iterrows(), strict=True):
        for at_end, name, side in ((0, "prior_lower", "left"), (1, "prior_upper", "right")):
            ax.annotate(
                three_digits(values[name]),
                (at_end, row),
                fontsize="small",
                ha=side,
                va="bottom",
                **place,
            )
    ax.set_xticks([])
    ax.spines[["left", "bottom"]].set_visible(False)
    between = "\n" if is_narrow(ax) else " "
    ax.set_xlabel(f"log scale of each row;{between}numbers: the prior's ends")
    return finish_axes(ax, ncols=1)
