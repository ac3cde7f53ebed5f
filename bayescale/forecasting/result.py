"""The result of a forecast: draws of the loss at one or more points."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.agreement import disagreement
from bayescale.conventions import NATS, SIX_ND, FlopCount, LossUnit
from bayescale.errors import PosteriorError
from bayescale.forecasting.families import family_text
from bayescale.laws.law import INPUTS
from bayescale.posterior import MEAN
from bayescale.results import (
    Result,
    TextTable,
    interval_text,
    laws_json,
    quantiles,
    quantiles_of_columns,
    withheld,
)
from bayescale.units import format_size
from bayescale.verdict import titled

SCALES = ("params", "tokens", "flops")
OTHER_INPUTS = tuple(name for name in INPUTS if name not in SCALES)


_SHOWN = 8  # the most points that are all shown


@dataclass(frozen=True, eq=False)
class Forecast(Result):
    """Draws of the loss at one or more points.

    Attributes
    ----------
    loss, loss_new : xarray.DataArray
        Dims (chain, draw, point), in ``loss_unit``, by default the log's own: the mean over seeds
        (or the floor, see ``meaning``), and a single new run. ``loss_new`` is None for a point
        estimate without noise.
    points : pandas.DataFrame
        One row per point: ``params``, ``tokens``, ``flops`` (NaN if the law does not need them),
        ``unique_tokens`` (if the law has them), ``extrapolation_ratio`` (size relative to the
        largest training run), ``across`` (e-folds of tokens per parameter outside the runs' range),
        ``half_width`` and ``half_width_new`` (of the 90 % interval of the log of the mean loss, and
        of a single new run), ``verdict`` and ``why`` (see :mod:`bayescale.verdict`). If residual
        noise shrinks with scale, also ``noise_sd`` and ``noise_sd_at_largest``: medians of its
        scale at the point and at the largest training run, on log loss.
    target : float or None
        A loss, for the probability of a loss below it; in ``loss_unit``.
    meaning : str
        What ``loss`` is: :data:`bayescale.posterior.MEAN` or :data:`bayescale.posterior.FLOOR`.
    optimum : mapping or None
        If only a budget was given: draws of the compute-optimal ``params`` and ``tokens``. If the
        laws of an average disagree on these, no number is given: see :meth:`refusal`.
    family : str or None
        The family of the forecast; None if the fit has none.
    families : mapping
        For each family of the fit, ``n_runs``, and the ``half_width`` of its own interval at the
        first point, or None if that was not computed.
    drift : bool
        Whether the law's drift is allowed for.
    flop_count : FlopCount
        How compute is counted, which is as in the fitted log.
    others : tuple of str
        The columns of ``points`` with inputs that the package does not know.
    out_of_reach : str
        A sentence if the target is below the irreducible loss, else empty.
    by_law : tuple of Forecast
        The forecast of each law of an average at the same points; empty for one law.

    Notes
    -----
    :meth:`to_frame` has one row per point: the scales, intervals of both losses, and the
    probabilities of a loss below the target. :meth:`to_json` needs a forecast of a single point.
    """

    in_figures = True

    law: str
    points: pd.DataFrame
    loss: xr.DataArray
    loss_new: xr.DataArray | None
    ci_prob: float
    target: float | None
    optimum: Mapping[str, xr.DataArray] | None
    family: str | None
    provenance: Mapping[str, Any]
    drift: bool = True
    loss_unit: LossUnit = NATS
    by_law: tuple["Forecast", ...] = ()
    weights: tuple[float, ...] = ()
    meaning: str = MEAN
    families: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    flop_count: FlopCount = SIX_ND
    cautions: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    out_of_reach: str = ""

    @property
    def unit(self) -> str:
        """The unit of the losses: ``nats/token``, or that of the law or the log."""
        return self.loss_unit.label

    @property
    def meaning_new(self) -> str:
        """What ``loss_new`` is, in words."""
        tuned = "" if self.meaning == MEAN else ", tuned as these were"
        return f"a single new run{tuned}"

    def refusal(self, i: int) -> str | None:
        """Return how the laws disagree on the split of one point's budget, or None."""
        if self.optimum is None:
            return None
        apart = (
            disagreement(self, lambda law, name=name: law.best(i)[name], name)
            for name in ("params", "tokens")
        )
        return next(filter(None, apart), None)

    def best(self, i: int) -> dict[str, xr.DataArray]:
        """Return draws of the best split of one point's budget, dims (chain, draw)."""
        if self.optimum is None:
            raise PosteriorError("no budget was split: forecast with `flops=` alone")
        return {name: draws.isel(point=i) for name, draws in self.optimum.items()}

    @property
    def answered(self) -> bool:
        """Whether there is a number at every point."""
        return all(self.refusal(i) is None for i in range(len(self.points)))

    @property
    def _losses(self) -> dict[str, xr.DataArray]:
        losses = {"loss": self.loss, "loss_new": self.loss_new}
        return {name: draws for name, draws in losses.items() if draws is not None}

    def _table(self) -> pd.DataFrame:
        frame = self.points.reset_index(drop=True)
        at = [0.5, (1 - self.ci_prob) / 2, (1 + self.ci_prob) / 2]
        for kind, draws in self._losses.items():
            found = quantiles_of_columns(draws.transpose("chain", "draw", "point").values, at)
            for name, values in zip(("median", "lower", "upper"), found, strict=True):
                frame[f"{kind}_{name}"] = values
        frame = frame.assign(**self._p_below())
        whys = {i: why for i in range(len(frame)) if (why := self.refusal(i)) is not None}
        for i, why in whys.items():
            frame.loc[i, [name for name in frame if name != "flops"]] = None
            frame.loc[i, "why"] = why
        return frame

    def _p_below(self) -> dict[str, np.ndarray | None]:
        """Return the probabilities of a single new run and a mean below the target, by point."""
        if self.target is None:
            return {"p_below_target": None, "p_mean_below_target": None}
        below = {
            name: (draws < self.target).mean(("chain", "draw")).values
            for name, draws in self._losses.items()
        }
        return {
            "p_below_target": below.get("loss_new", below["loss"]),
            "p_mean_below_target": below["loss"],
        }

    def _json(self) -> dict[str, Any]:
        if len(self.points) != 1:
            raise PosteriorError(
                "a forecast of several points is not one JSON object: use to_frame()"
            )
        point, why = self.points.iloc[0], self.refusal(0)
        noise = {name: point[name] for name in ("noise_sd", "noise_sd_at_largest") if name in point}
        at = {"at": {name: point[name] for name in self.others}} if self.others else {}
        numbers = {
            **{name: point[name] for name in ("params", "tokens")},
            **{name: point[name] for name in OTHER_INPUTS if name in point},
            **at,
            "loss": self.loss,
            "loss_new": self.loss_new,
            **{key: None if p is None else p[0] for key, p in self._p_below().items()},
            **{n: point[n] for n in ("extrapolation_ratio", "across")},
            **{n: point[n] for n in ("half_width", "half_width_new", "verdict")},
            "noise": noise or None,
            "optimum": self.optimum or None,
        }
        return {
            "law": self.law,
            "flops": point["flops"],
            "interval": self.ci_prob,
            **(numbers if why is None else withheld(numbers)),
            "why": why or point["why"],
            "answered": why is None,
            "target": self.target,
            "target_out_of_reach": self.out_of_reach or None,
            "loss_is": self.meaning,
            "loss_new_is": self.meaning_new,
            "unit": self.unit,
            "drift": self.drift,
            "laws": laws_json(self, lambda law: law.own_values(why is None)),
            "flop_count": self.flop_count.to_json(),
            "family": self.family,
            "families": self.families,
            "provenance": self.provenance,
        }

    def own_values(self, at_one_split: bool) -> dict[str, Any]:
        """Return one law's answer by JSON key, which is its split if the laws disagree."""
        if at_one_split:
            return {"loss": self.loss, "loss_new": self.loss_new}
        return {"optimum": self.optimum}

    def brief(self) -> tuple[str, ...]:
        """Return the first point, its mean loss and its verdict."""
        row = self.to_frame().iloc[0]
        if not self.answered:
            return (str(next(self._content())), f"  {row['why']}")
        loss = _loss_text(row, "loss", self.ci_prob)
        return (
            str(next(self._content())),
            f"  {self.meaning} {loss} {self.unit}",
            *self._target_lines(row),
            f"  {titled(row['verdict'], row['why'])}",
        )

    def _shown_points(self) -> Iterator[str | TextTable]:
        """Yield a table of some of the points, and the number of points with each verdict."""
        frame, n = self.to_frame(), len(self.points)
        names = [
            name for name in (*SCALES, "lm_loss") if name in frame and frame[name].notna().any()
        ]
        yield f"{self.law} at {n:,} points; {self.meaning}, {self.unit}:"
        yield TextTable.of(
            {
                **{name: _size_cell(name, row[name]) for name in names},
                f"loss ({self.ci_prob:.0%} interval)": _loss_text(row, "loss"),
                "verdict": (row["verdict"] or "laws disagree").replace("_", " "),
            }
            for _, row in frame.iloc[np.linspace(0, n - 1, _SHOWN).round().astype(int)].iterrows()
        )
        verdicts = [
            f"{count:,} {str(state).replace('_', ' ')}"
            for state, count in frame["verdict"].value_counts().items()
        ]
        yield f"{_SHOWN} of {n:,} points are shown. Verdicts: {', '.join(verdicts)}."

    def _content(self) -> Iterator[str | TextTable]:
        if len(self.points) > _SHOWN:
            yield from self._shown_points()
            return
        tables = [(law.law, law.to_frame()) for law in self.by_law]
        for i, (_, row) in enumerate(self.to_frame().iterrows()):
            if (why := self.refusal(i)) is not None:
                yield from (f"{self.law} at {row['flops']:.3g} FLOP:", f"  {why}")
                continue
            others = [f"{name} {row[name]:.4g}" for name in self.others]
            yield f"{self.law} at {', '.join([*_size_texts(row), *others])}:"
            yield from self._loss_lines(row)
            for name, table in tables:
                yield f"    {name:<20} {_loss_text(table.iloc[i], 'loss')}  {self.meaning}"
            yield from self._target_lines(row)
            yield from _noise_lines(row)
            yield f"  {titled(row['verdict'], row['why'])}"
        if self.optimum is not None and self.answered:
            split = quantiles(self.optimum["params"], self.ci_prob)
            yield (
                "  The split is the one of least expected loss; the best one lies at "
                f"{format_size(split['lower'])} to {format_size(split['upper'])} params "
                f"({self.ci_prob:.0%} interval)."
            )
        if len(self.points) and self.points[["params", "tokens"]].notna().all(axis=None):
            yield from self.flop_count.lines
        if self.family is not None:
            counts = {name: row["n_runs"] for name, row in self.families.items()}
            yield f"  For {family_text(self.family, counts)}."
        if not self.drift:
            yield "  Without drift: these intervals take the law to hold exactly."

    def _target_lines(self, row: pd.Series) -> Iterator[str]:
        if self.target is not None:
            chance = f"{row['p_below_target']:.0%}"
            yield f"  probability that a single new run is below {self.target:g}: {chance}"
        if self.out_of_reach:
            yield f"  {self.out_of_reach}."

    def _loss_lines(self, row: pd.Series) -> Iterator[str]:
        meanings = {"loss": self.meaning, "loss_new": self.meaning_new}
        width = max(map(len, meanings.values()))
        for kind in self._losses:
            loss = _loss_text(row, kind, self.ci_prob)
            yield f"  {meanings[kind]:<{width}}  {loss}  {self.unit}"


def _size_cell(name: str, value: float) -> str:
    return format_size(value) if name in ("params", "tokens") else f"{value:.3g}"


def _loss_text(row: pd.Series, kind: str, ci_prob: float | None = None) -> str:
    values = {name: row[f"{kind}_{name}"] for name in ("median", "lower", "upper")}
    return interval_text(values, lambda x: f"{x:.4f}", ci_prob)


def _size_texts(row: pd.Series) -> Iterator[str]:
    for name in ("params", "tokens"):
        if np.isfinite(row[name]):
            yield f"{format_size(row[name])} {name}"
    if row.get("unique_tokens", row["tokens"]) < row["tokens"]:
        yield f"{format_size(row['unique_tokens'])} of them unique"
    if row.get("kept_fraction", 1.0) < 1:
        yield f"{row['kept_fraction']:.0%} of the data kept"
    if "lm_loss" in row:
        yield f"a loss of {row['lm_loss']:.4g} nats/token"
    if np.isfinite(row["flops"]):
        yield f"{row['flops']:.3g} FLOP"


def _noise_lines(row: pd.Series) -> Iterator[str]:
    """Yield what is assumed about residual noise beyond the runs, if it shrinks with scale."""
    if row.get("noise_sd", np.inf) < row.get("noise_sd_at_largest", 0.0):
        yield (
            f"  The noise of a new run is taken as {row['noise_sd']:.2%}, less than the "
            f"{row['noise_sd_at_largest']:.2%} at the largest run: it is assumed to keep shrinking."
        )
