"""The figure of the learning rates and batch sizes to choose."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from bayescale.decisions.tuning_answer import Tune
from bayescale.errors import FigureError
from bayescale.plotting.style import (
    BLUE,
    ORANGE,
    SKY,
    draws_from,
    finish_axes,
    new_axes,
)
from bayescale.units import format_size, three_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMES = {"lr": "learning rate", "batch_size": "batch size"}


@draws_from(Tune)
def plot_tune(
    result: Tune, ax: "Axes | None" = None, *, of: Literal["lr", "batch_size"] = "lr"
) -> "Axes":
    """Draw which learning rates, or batch sizes, lie within 0.1, 0.3 and 1 % of the best loss.

    Parameters
    ----------
    result : Tune
        Dark bars are settings that lie within the share with a probability above 0.9, light bars
        those with a probability above 0.1; the line is the choice. The other setting is free along
        a bar.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.
    of : {"lr", "batch_size"}

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    FigureError
        If ``of`` is neither, or the sweep has no batch size.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    draws = {"lr": result.lr, "batch_size": result.batch_size}.get(of)
    if draws is None:
        known = " and ".join(_NAMES) if result.batch_size is not None else "lr"
        raise FigureError(f"`of={of!r}` cannot be drawn: this sweep has {known}")
    ax, shares = new_axes(ax), list(dict.fromkeys(result.regions["within"]))
    looks = {"rim": (SKY, 12, "possibly (probability above 0.1)")}
    looks["core"] = (BLUE, 7, "surely (above 0.9)")
    for part, (color, width, label) in looks.items():
        rows = result.regions[result.regions["part"] == part]
        ax.hlines(
            [shares.index(share) for share in rows["within"]], rows[f"{of}_low"],
            rows[f"{of}_high"], color=color, linewidth=width, label=label,
        )  # fmt: skip
    chosen = f"least expected loss: {three_digits(result.choice[of])}"
    ax.axvline(result.choice[of], color=ORANGE, linewidth=2, label=chosen)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: three_digits(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks(np.arange(len(shares)), [f"within {share:.1%}" for share in shares])
    ax.set_ylim(len(shares) - 0.5, -0.5)
    ax.set_xlabel(_NAMES[of])
    sizes = f"{format_size(result.params)} params, {format_size(result.tokens)} tokens"
    ax.set_title(f"{sizes}: settings near the best loss", loc="left", fontsize="medium")
    return finish_axes(ax)
