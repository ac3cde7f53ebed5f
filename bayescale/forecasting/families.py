"""How the families of a fit explain the width of a forecast for a new family."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.posterior import Fit, View

MOST_FAMILIES, MOST_POINTS = 20, 50
"""The most families and points with which each family is forecast, to explain a width."""

MOSTLY = 0.5
"""A known family is much narrower if its width is below this share of that of a new family."""


def family_widths(
    fit: Fit, sources: Sequence[View], inputs: Mapping[str, xr.DataArray]
) -> pd.DataFrame | None:
    """Return half the width of the 90 % interval of log mean loss for each known family.

    Returns
    -------
    pandas.DataFrame or None
        One row per family, one column per point; None without families, or with very many points.
    """
    n_points = next(iter(inputs.values())).size
    if not fit.families or n_points > MOST_POINTS:
        return None
    rows = {}
    for name in fit.families[:MOST_FAMILIES]:
        each = [p.loss(inputs, name).transpose("chain", "draw", "point") for p in sources]
        log_loss = np.log(fit.mix(each).values)
        lower, upper = np.quantile(log_loss, [0.05, 0.95], axis=(0, 1))
        rows[name] = (upper - lower) / 2
    return pd.DataFrame.from_dict(rows, orient="index")


def with_reasons(points: pd.DataFrame, widths: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """Return the points with a reason for those that are too wide because families differ."""
    why = points["why"].tolist()
    for i, (state, width) in enumerate(zip(points["verdict"], points["half_width"], strict=True)):
        own = widths[i]
        if state != "too_wide" or own.median() > MOSTLY * width:
            continue
        best = str(own.idxmin())
        why[i] = (
            "Too wide for a family that is not in the log: its mean loss is known within "
            f"{width:.1%}, and {tolerance:.1%} is asked for, because the families differ. For "
            f"those of the log it is known within {own.min():.1%} to {own.max():.1%} here: name "
            f"one, such as `family={best!r}`."
        )
    return points.assign(why=why)


NEW_FAMILY = "a new family"
"""The family of a forecast that names none."""


def family_text(family: str, counts: Mapping[str, int]) -> str:
    """Return the family of a forecast as text; for a new family, with those it is drawn from."""
    if family != NEW_FAMILY or not counts:
        return family
    shown = [f"{name} ({_runs(n)})" for name, n in list(counts.items())[:MOST_FAMILIES]]
    rest = len(counts) - len(shown)
    return (
        f"{family}, drawn from the spread between those of the log: {', '.join(shown)}"
        f"{f' and {rest} more' if rest else ''}; for one of them, name it with `family=`"
    )


def _runs(n: int) -> str:
    return f"{n} run{'' if n == 1 else 's'}"
