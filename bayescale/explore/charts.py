"""The page's figures as Vega-Lite, made from its answers' tables, with a description in words.

The browser draws them in its own colors and width: Matplotlib takes longer than all answers.
"""

from typing import Any

import numpy as np
import pandas as pd

from bayescale.explore.answers import Answers, scale_of
from bayescale.forecasting import Forecast
from bayescale.plotting.style import AMBER, AXIS_LABELS, BLUE, GREEN, ORANGE, PURPLE, SKY
from bayescale.posterior import Fit, quantiles
from bayescale.units import format_size

GREY = "#808080"  # readable on white and on black
LAW_COLORS, LAW_LINES = (GREEN, PURPLE, AMBER, SKY), ([6, 3], [2, 2], [8, 3, 2, 3], [4, 4])
HEIGHT, LEGEND_ROW = 330, 29
MOST_RUNS = 2000
_SIZES = "replace(format(datum.value, '~s'), 'G', 'B')"  # Vega would write 70G


class _Layers:
    """Layered marks, each named in one legend."""

    def __init__(self, x: dict[str, Any], y: dict[str, Any]) -> None:
        self.x, self.y = x, y
        self.layers: list[dict[str, Any]] = []
        self.colors: dict[str, str] = {}

    def add(
        self, table: pd.DataFrame, mark: dict[str, Any], label: str, color: str, **places: str
    ) -> None:
        """Draw the rows whose coordinates are all finite."""
        rows = table[list(dict.fromkeys(places.values()))]
        rows = rows.astype(float)
        rows = rows[np.isfinite(rows).all(axis=1)]
        self.colors[label] = color
        axes = {"x": self.x, "y": self.y}
        encoding = {way: {"field": name, **axes.get(way, {})} for way, name in places.items()}
        for way in {"x", "y"} & set(places):
            encoding[way]["type"] = "quantitative"
        self.layers.append(
            {
                "data": {"values": rows.to_dict(orient="records")},
                "mark": {**mark, "tooltip": mark["type"] != "area"},
                "encoding": encoding | {"color": {"datum": label}},
            }
        )

    def spec(self, alt: str) -> dict[str, Any]:
        """Return the figure, with its text alternative."""
        scale = {"domain": list(self.colors), "range": list(self.colors.values())}
        legend = {
            "orient": "bottom", "direction": "vertical", "labelLimit": 400, "title": None,
            "symbolOpacity": 1,
        }  # fmt: skip
        for layer in self.layers:
            layer["encoding"]["color"] |= {"scale": scale, "legend": legend}
        # the legend takes part of the height
        height = HEIGHT + LEGEND_ROW * len(self.colors)
        return {"height": height, "description": alt, "layer": self.layers}


def splits_chart(answers: Answers) -> dict[str, Any]:
    """Draw regret against the size of the model, along one budget."""
    allocation = answers.allocation
    assert allocation is not None
    assert answers.splits is not None
    mass, frame = f"{allocation.ci_prob:.0%}", answers.splits
    best = allocation.to_frame().iloc[[0]]
    layers = _Layers(_axis("params", log=True), _axis(f"regret ({allocation.loss_unit.words})"))
    layers.add(
        best, {"type": "rect", "opacity": 0.2}, f"each draw's best size, {mass} interval", AMBER,
        x="params_lower", x2="params_upper",
    )  # fmt: skip
    layers.add(
        frame, {**_SMOOTH, "type": "area", "opacity": 0.25}, f"regret, {mass} interval", SKY,
        x="params", y="regret_lower", y2="regret_upper",
    )  # fmt: skip
    layers.add(
        frame, {**_SMOOTH, "type": "line"}, "expected regret", BLUE, x="params", y="regret_mean",
    )  # fmt: skip
    layers.add(
        best, _POINT, "choice: least expected loss", ORANGE, x="choice_params", y="regret_mean"
    )
    return layers.spec(splits_text(answers))


def loss_chart(fit: Fit, answers: Answers) -> dict[str, Any]:
    """Draw loss against compute, or the law's own scale, with the runs and the trust horizon."""
    scale, run, curve = scale_of(fit), answers.forecast, answers.curve.forecast
    mass, frame = f"{curve.ci_prob:.0%}", answers.curve.table
    x = _axis(scale, log=scale != "lm_loss")
    layers = _Layers(x, _axis(f"{_what(curve).lower()} ({curve.unit})", zero=False))
    if answers.trust is not None and scale != "lm_loss":
        largest, ratio = answers.trust.largest, answers.trust.horizon_ratio
        edges = pd.DataFrame({"largest": [largest], "horizon": ratio * largest})
        edges["end"] = max(float(frame[scale].iloc[-1]), ratio * largest)
        layers.add(
            edges, {"type": "rect", "opacity": 0.15}, "shaded: beyond what is trusted", GREY,
            x="horizon", x2="end",
        )  # fmt: skip
        dotted = {"type": "rule", "strokeDash": [2, 2], "size": 2}
        layers.add(edges, dotted, "dotted line: largest run", GREY, x="largest")
        if ratio > 1:
            dashed = {"type": "rule", "strokeDash": [8, 4], "size": 2}
            layers.add(
                edges,
                dashed,
                f"dashed line: trust horizon, {ratio:.3g} times it",
                AMBER,
                x="horizon",
            )
    if curve.loss_new is not None:
        layers.add(
            frame, {"type": "area", "opacity": 0.25},
            f"{curve.meaning_new}, {mass} interval", SKY,
            x=scale, y="loss_new_lower", y2="loss_new_upper",
        )  # fmt: skip
    layers.add(
        frame, {"type": "area", "opacity": 0.3}, f"{curve.meaning}, {mass} interval", BLUE,
        x=scale, y="loss_lower", y2="loss_upper",
    )  # fmt: skip
    layers.add(frame, {"type": "line"}, "line: median", BLUE, x=scale, y="loss_median")
    for i, (law, own) in enumerate(answers.curve.by_law.items()):
        line = {"type": "line", "strokeDash": LAW_LINES[i % 4], "strokeWidth": 1.5}
        layers.add(own, line, f"{law} alone, median", LAW_COLORS[i % 4], x=scale, y="loss_median")
    if fit.runs is not None and scale in fit.runs:
        seen = fit.runs.frame[[scale, "loss"]].nsmallest(MOST_RUNS, "loss")
        seen = seen.assign(loss=curve.loss_unit.of(seen["loss"]))
        dots = {"type": "point", "filled": True, "size": 28, "opacity": 0.7}
        layers.add(seen, dots, _runs_text(fit), GREY, x=scale, y="loss")
    here = answers.run.to_frame().T
    label = f"the run asked for, {run.ci_prob:.0%} interval"
    layers.add(
        here, {"type": "rule", "size": 3}, label, ORANGE, x=scale, y="loss_lower", y2="loss_upper"
    )
    layers.add(here, _POINT, label, ORANGE, x=scale, y="loss_median")
    if run.target is not None:
        level = pd.DataFrame({"target": [run.target]})
        dashes = {"type": "rule", "strokeDash": [8, 3, 2, 3], "size": 2}
        layers.add(level, dashes, f"target, {run.target:g}", GREEN, y="target")
    return layers.spec(loss_text(fit, answers))


_SMOOTH = {"interpolate": "monotone"}
_POINT = {"type": "point", "shape": "diamond", "filled": True, "size": 140, "opacity": 1}


def _axis(what: str, *, log: bool = False, zero: bool = True) -> dict[str, Any]:
    axis: dict[str, Any] = {"grid": False, "labelOverlap": True, "tickCount": 7}
    if what in ("params", "tokens"):
        axis["labelExpr"] = _SIZES
    elif what == "flops":
        axis["format"] = "~e"
    scale: dict[str, Any] = {"type": "log", "nice": False} if log else {"zero": zero}
    if what == "lm_loss":
        scale = {"zero": False, "reverse": True}
    return {"title": AXIS_LABELS.get(what, what), "axis": axis, "scale": scale}


# in words, for those who do not see the figures


def splits_text(answers: Answers) -> str:
    """Describe what :func:`splits_chart` shows."""
    allocation = answers.allocation
    assert allocation is not None
    assert answers.splits is not None
    first, last = answers.splits.iloc[0], answers.splits.iloc[-1]
    choice = allocation.choice.points.iloc[0]
    best = quantiles(allocation.params.isel(budget=0), allocation.ci_prob)
    return (
        f"Regret against the size of the model, all of the budget spent: "
        f"{float(allocation.choice.regret.mean()):.2g} {allocation.loss_unit.short} expected at "
        f"the choice, "
        f"{format_size(choice['params'])} params; {first['regret_mean']:.2g} at "
        f"{format_size(first['params'])} and {last['regret_mean']:.2g} at "
        f"{format_size(last['params'])}. Each draw's best size lies between "
        f"{format_size(best['lower'])} and {format_size(best['upper'])} "
        f"({allocation.ci_prob:.0%} interval)."
    )


def loss_text(fit: Fit, answers: Answers) -> str:
    """Describe what :func:`loss_chart` shows."""
    scale, run, curve = scale_of(fit), answers.run, answers.curve
    ends = [
        f"{row['loss_median']:.3f} at {row[scale]:.3g}"
        for _, row in curve.table.iloc[[0, -1]].iterrows()
    ]
    path = "at compute-optimal splits, " if answers.allocation is not None else ""
    text = (
        f"{_what(curve.forecast)} against {AXIS_LABELS[scale]}, {path}median from {ends[0]} to "
        f"{ends[1]}. The run asked for: {run['loss_median']:.4f} at {run[scale]:.3g}."
    )
    if answers.trust is None or scale == "lm_loss":
        return text
    ratio = answers.trust.horizon_ratio
    far = f"Trusted up to {ratio:.3g} times that." if ratio > 1 else "Not trusted beyond."
    return f"{text} The largest run is at {answers.trust.largest:.3g}. {far}"


def _runs_text(fit: Fit) -> str:
    assert fit.runs is not None
    n = len(fit.runs)
    return (
        "points: runs fitted"
        if n <= MOST_RUNS
        else f"points: {MOST_RUNS} fitted runs of lowest loss, of {n}"
    )


def _what(curve: Forecast) -> str:
    return "Loss" if curve.loss_unit.is_loss else "Error"
