"""Metrics that seem to emerge although the loss is smooth: Schaeffer et al. 2023, 2304.15004.

Each draw of the loss at each scale becomes a score, so that scores have the loss's uncertainty.
How sudden a score's climb looks is then set beside how sudden the loss's own fall is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import ScenarioError, collected
from bayescale.forecasting import Forecast
from bayescale.forecasting import forecast as forecast_loss
from bayescale.posterior import (
    DEFAULT_CI_PROB,
    Fit,
    Posterior,
    View,
    finite,
    quantiles,
    quantiles_by_rank,
)
from bayescale.random import Purpose
from bayescale.scenarios.answers import Answers, Decoding, Dispersion, scored
from bayescale.units import format_size
from bayescale.verdict import size_scale

VISIBLE = 0.05
"""Share of a metric's range by which it must stand out to be seen to have emerged."""

_OF_POINT = ("params", "tokens", "flops", "loss_median", "loss_lower", "loss_upper", "verdict")
_OPTIMIZER = (
    "visible_at", "half_at", "hidden_share", "loss_hidden_share", "due_to_metric",
    "steepest_share", "loss_steepest_share",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Metric:
    """Draws of one score along the path.

    Attributes
    ----------
    name : str
    draws : xarray.DataArray
        Dims (chain, draw, point).
    start, best : float
        The score of a model that has learnt nothing, and of a perfect one.
    """

    name: str
    draws: xr.DataArray
    start: float
    best: float

    @property
    def risen(self) -> xr.DataArray:
        """How much of the way from ``start`` to ``best`` is gone, dims (chain, draw, point)."""
        return (self.draws - self.start) / (self.best - self.start)


@dataclass(frozen=True, eq=False)
class Emergence:
    """Scores along a path of scale, and how sudden each looks.

    Attributes
    ----------
    forecast : Forecast
        The loss at the points of the path: its law, scales and intervals.
    metrics : tuple of Metric
    decoding : {"sampled", "greedy"}
    dispersion : mapping
        Quantiles of the dispersion of answers, and where they come from.
    downstream : str or None
        The law of downstream error, where one was given.
    """

    forecast: Forecast
    metrics: tuple[Metric, ...]
    scale: str
    decoding: Decoding
    dispersion: Mapping[str, Any]
    downstream: str | None = None

    @property
    def ci_prob(self) -> float:
        """Mass of the central intervals."""
        return self.forecast.ci_prob

    def to_frame(self) -> pd.DataFrame:
        """One row a point and metric: its scales, the loss there, and the score's quantiles."""
        losses = self.forecast.to_frame()
        rows = []
        for metric in self.metrics:
            for i, point in enumerate(losses.to_dict("records")):
                score = quantiles(metric.draws.isel(point=i), self.ci_prob)
                named = {name: point[name] for name in _OF_POINT}
                rows.append({**named, "metric": metric.name, **score})
        return pd.DataFrame(rows)

    def climbs(self) -> pd.DataFrame:
        """One row a metric: where it becomes visible, is half way, and how sudden it looks.

        ``visible_at`` and ``half_at`` are sizes on the path's scale, infinite where the path ends
        before. ``hidden_share`` is the share of the path, on a log scale, in which the metric
        shows less than a twentieth of its whole change along it, and ``due_to_metric`` how much
        more that is than the loss's median share. ``steepest_share`` is the share of the change
        that the steepest tenfold of scale brings; NaN where the path is shorter than that.
        """
        size = self.forecast.points[self.scale].to_numpy()
        fallen = -self.forecast.loss.transpose(..., "point").values
        of_loss = {"hidden_share": _hidden(size, fallen), "steepest_share": _steepest(size, fallen)}
        rows = []
        for metric in self.metrics:
            risen = metric.risen.transpose(..., "point").values
            hidden = _hidden(size, risen)
            told = {
                "visible_at": _reached(size, risen, VISIBLE),
                "half_at": _reached(size, risen, 0.5),
                "hidden_share": hidden,
                "due_to_metric": hidden - np.nanmedian(of_loss["hidden_share"]),
                "steepest_share": _steepest(size, risen),
                **{f"loss_{name}": draws for name, draws in of_loss.items()},
            }
            row: dict[str, Any] = {"metric": metric.name, "p_half": np.mean(risen[..., -1] >= 0.5)}
            for name, draws in told.items():
                row |= {f"{name}_{q}": x for q, x in quantiles_by_rank(draws, self.ci_prob).items()}
            rows.append(row)
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""
        losses = self.forecast.to_frame()
        points = [
            {
                **{n: finite(row[n]) for n in ("params", "tokens", "flops")},
                "loss": {q: row[f"loss_{q}"] for q in ("median", "lower", "upper")},
                "verdict": row["verdict"],
                "metrics": {
                    m.name: quantiles(m.draws.isel(point=i), self.ci_prob) for m in self.metrics
                },
            }
            for i, row in enumerate(losses.to_dict("records"))
        ]
        climbs = {
            row["metric"]: {
                "p_half": float(row["p_half"]),
                **{
                    name: {q: finite(row[f"{name}_{q}"]) for q in ("median", "lower", "upper")}
                    for name in _OPTIMIZER
                },
            }
            for _, row in self.climbs().iterrows()
        }
        return {
            "law": self.forecast.law,
            "interval": self.ci_prob,
            "scale": self.scale,
            "points": points,
            "metrics": climbs,
            "decoding": self.decoding,
            "dispersion": dict(self.dispersion),
            "downstream": self.downstream,
            "provenance": dict(self.forecast.provenance),
        }

    def __str__(self) -> str:
        points, mass = self.forecast.points, f"{self.ci_prob:.0%}"
        first, last = points[self.scale].iloc[[0, -1]]
        losses = self.forecast.to_frame()["loss_median"]
        lines = [
            f"{self.forecast.law}, {_sized(first, self.scale)} to {_sized(last, self.scale)}: loss "
            f"{losses.iloc[0]:.3f} to {losses.iloc[-1]:.3f} nats/token"
        ]
        for metric, (_, row) in zip(self.metrics, self.climbs().iterrows(), strict=True):
            low, high = (quantiles(metric.draws.isel(point=end), self.ci_prob) for end in (0, -1))
            lines.append(
                f"  {metric.name}: {low['median']:.3g} to {high['median']:.3g} ({mass} interval "
                f"{high['lower']:.3g} to {high['upper']:.3g})"
            )
            parts = [
                f"{word} at {self._at(row, name)}"
                for word, name in (("visible", "visible_at"), ("half way", "half_at"))
            ]
            lines.append(f"    {'; '.join(parts)}")
            hidden = (
                f"    shows nothing for the first {row['hidden_share_median']:.0%} of the path "
                f"(the loss: {row['loss_hidden_share_median']:.0%})"
            )
            if np.isfinite(row["steepest_share_median"]):
                hidden += (
                    f"; its steepest tenfold brings {row['steepest_share_median']:.0%} of the "
                    f"change (of the loss: {row['loss_steepest_share_median']:.0%})"
                )
            lines.append(hidden)
        lines.append(f"  {self._assumed()}")
        lines.append(f"  At the end of the path: {points['why'].iloc[-1]}")
        return "\n".join(lines)

    def _at(self, row: pd.Series, name: str) -> str:
        middle, low, high = (row[f"{name}_{q}"] for q in ("median", "lower", "upper"))
        if not np.isfinite(low):
            return "no scale of this path"
        told = [_sized(x, self.scale) if np.isfinite(x) else "beyond" for x in (middle, low, high)]
        return f"{told[0]} ({self.ci_prob:.0%} interval {told[1]} to {told[2]})"

    def _assumed(self) -> str:
        d = self.dispersion["dispersion"]
        if self.dispersion["source"] == "given":
            how = f"log-odds of answers spread by {d['median']:.3g}, as given"
            if d["median"] == 0:
                how = "tokens all alike and independent"
        else:
            how = (
                f"log-odds of answers spread by {d['median']:.3g} ({d['lower']:.3g} to "
                f"{d['upper']:.3g}), learnt from {self.dispersion['n']} models"
            )
        return f"Scenario: answers have the loss of the law; {how}; {self.decoding} decoding."


def emergence(
    fit: Fit,
    *,
    params: Any = None,
    tokens: Any = None,
    flops: Any = None,
    answer_tokens: Sequence[float] = (1, 5, 25),
    choices: int | None = None,
    wrong_loss: float | None = None,
    dispersion: float | Dispersion = 0.0,
    decoding: Decoding | None = None,
    downstream: Fit | None = None,
    downstream_family: str | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    family: str | None = None,
    drift: bool = True,
    allow_unconverged: bool = False,
) -> Emergence:
    """Scores that a loss means along a path of scale, draw by draw.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        Of the loss on the task's answers, or of a loss that is taken to stand for it.
    params, tokens, flops : array_like, shape (point,)
        The path, as for :func:`bayescale.forecast`; in increasing size, two points or more.
    answer_tokens : sequence of float
        Lengths of answers for exact match and edit distance.
    choices : int, optional
        Answers to choose from, for a multiple-choice score with answers of the first length.
    wrong_loss : float, optional
        Loss on wrong answers in nats per token; the median loss at the first point where not
        given, so that the smallest model guesses.
    dispersion : float or Dispersion
        How much answers differ (see :mod:`bayescale.scenarios.answers`); a number, or what
        :func:`calibrate_dispersion` learnt.
    decoding : {"sampled", "greedy"}, optional
        That of the calibration where there is one, else sampled, as in the paper.
    downstream : Posterior, optional
        Of the law ``downstream``: adds the mean error that this loss means.
    downstream_family : str, optional
        One of its families.
    ci_prob : float
        Mass of the central intervals.
    family, drift, allow_unconverged
        As for :func:`bayescale.forecast`.

    Returns
    -------
    Emergence

    Raises
    ------
    ScenarioError
        If the path does not increase, an answer is shorter than a token, or a value makes no
        sense.
    LawError, UnconvergedError
        As for :func:`bayescale.forecast`.

    Notes
    -----
    The scores are a scenario wherever the dispersion is a guess, or the fitted loss is not that
    of the task's answers. They are those of the mean run, with the law's drift. The downstream
    error is given twice: of the mean run, and of one new run, which scatters about both laws.

    Examples
    --------
    Half of answers of 10 tokens are right where 10 x loss = ln 2:

    >>> from bayescale.cards import load_card
    >>> from bayescale.posterior import point
    >>> kaplan = point(load_card("kaplan_params"), {"N_c": 8.8e13, "alpha_N": 0.076})
    >>> path = np.geomspace(1e8, 1e32, 400)
    >>> result = emergence(kaplan, params=path, answer_tokens=[10])
    >>> expected = 8.8e13 * (np.log(2) / 10) ** (-1 / 0.076)
    >>> found = result.climbs().set_index("metric").loc["exact_match_10", "half_at_median"]
    >>> bool(abs(found / expected - 1) < 0.01)
    True
    """
    learnt = isinstance(dispersion, Dispersion)
    decoding = decoding or (
        dispersion.decoding if isinstance(dispersion, Dispersion) else "sampled"
    )
    path = forecast_loss(
        fit,
        params=params,
        tokens=tokens,
        flops=flops,
        ci_prob=ci_prob,
        family=family,
        drift=drift,
        allow_unconverged=allow_unconverged,
    )
    scale = size_scale(fit.inputs)
    size = path.points[scale].to_numpy(dtype=float)
    problems = []
    if len(size) < 2 or not (np.diff(size) > 0).all():
        problems.append(
            f"the path has {len(size)} points of {scale} {', '.join(f'{x:.3g}' for x in size[:5])}"
            f"{', ...' if len(size) > 5 else ''}, but needs two or more that increase"
        )
    if not len(answer_tokens):
        problems.append("answer_tokens is empty: name at least one length")
    problems += [
        f"answer_tokens has {k:g}, but an answer has one token or more"
        for k in answer_tokens
        if k < 1
    ]
    if choices is None and wrong_loss is not None:
        problems.append("wrong_loss belongs to choices: say how many answers there are")
    if downstream is not None and not (
        isinstance(downstream, Posterior) and downstream.inputs == ("lm_loss",)
    ):
        problems.append(
            f"downstream is a fit of law {downstream.name!r}, of {', '.join(downstream.inputs)}: "
            "fit the law downstream, of lm_loss"
        )
    if problems:
        raise ScenarioError(collected("the scores cannot be computed:", problems))

    loss = path.loss.transpose("chain", "draw", "point")
    draws = loss.sizes["chain"] * loss.sizes["draw"]
    drawn = dispersion.draw(draws) if learnt else np.full(draws, float(dispersion))
    flat = loss.values.reshape(draws, -1)

    def score(method: Any, *args: Any) -> xr.DataArray:
        values = scored(method, drawn, decoding, flat, *args)
        return loss.copy(data=values.reshape(loss.shape))

    metrics = [Metric("token_accuracy", score(Answers.token_accuracy), 0.0, 1.0)]
    for k in answer_tokens:
        if k == 1:  # which the accuracy of a token is
            continue
        metrics.append(Metric(f"exact_match_{k:g}", score(Answers.exact_match, k), 0.0, 1.0))
        metrics.append(
            Metric(f"edit_distance_{k:g}", score(Answers.edit_distance, k), float(k), 0.0)
        )
    if choices is not None:
        wrong = float(np.median(flat[:, 0])) if wrong_loss is None else wrong_loss
        chosen = score(Answers.multiple_choice, answer_tokens[0], choices, wrong)
        metrics.append(Metric(f"multiple_choice_{choices}", chosen, 1.0 / choices, 1.0))
    if isinstance(downstream, Posterior):
        downstream.require_converged(allow_unconverged)
        source = downstream.view(drift)
        metrics += _downstream(source, path, downstream_family)
    if isinstance(dispersion, Dispersion):
        told = dispersion.to_json(ci_prob) | {"source": "calibrated"}
    else:
        told = {
            "dispersion": dict.fromkeys(("median", "lower", "upper"), float(dispersion)),
            "source": "given",
        }
    return Emergence(
        path, tuple(metrics), scale, decoding, told, downstream.name if downstream else None
    )


def _downstream(posterior: View, path: Forecast, family: str | None) -> list[Metric]:
    """The error that a loss means, for the mean of runs and for one new run."""
    shape = posterior.draws.sizes["chain"], posterior.draws.sizes["draw"]
    start = float(posterior.coefficients(family)["epsilon"].median())
    metrics = []
    for name, losses in (("downstream_error", path.loss), ("downstream_error_new", path.loss_new)):
        if losses is None:
            continue
        # the two posteriors are independent: any draw of one goes with any of the other
        flat = losses.transpose(..., "point").values.reshape(-1, losses.sizes["point"])
        which = posterior.rng(Purpose.DOWNSTREAM).choice(
            len(flat), size=shape, replace=bool(np.prod(shape) > len(flat))
        )
        lm_loss = xr.DataArray(flat[which], dims=("chain", "draw", "point"))
        error = posterior.loss({"lm_loss": lm_loss}, family).transpose("chain", "draw", "point")
        draws = posterior.new_run(error) if name.endswith("_new") else error
        metrics.append(
            Metric(name, draws.drop_vars(["chain", "draw"], errors="ignore"), start, 0.0)
        )
    return metrics


def _reached(size: np.ndarray, risen: np.ndarray, level: float) -> np.ndarray:
    """Sizes at which each draw first comes to a level, infinite where none does, (chain, draw)."""
    there = risen >= level
    first = there.argmax(axis=-1)
    before = (first - 1).clip(0)
    low, high = (np.take_along_axis(risen, i[..., None], -1)[..., 0] for i in (before, first))
    share = np.where(first > 0, (level - low) / np.where(high > low, high - low, 1.0), 0.0)
    log_size = np.log(size)
    at = np.exp(log_size[before] + share * (log_size[first] - log_size[before]))
    return np.where(there.any(axis=-1), at, np.inf)


def _hidden(size: np.ndarray, risen: np.ndarray) -> np.ndarray:
    """The share of the path before a twentieth of each draw's change shows, (chain, draw)."""
    change = risen[..., -1:] - risen[..., :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        at = _reached(size, (risen - risen[..., :1]) / change, VISIBLE)
    return np.where(change[..., 0] > 0, np.log(at / size[0]) / np.log(size[-1] / size[0]), np.nan)


def _steepest(size: np.ndarray, risen: np.ndarray) -> np.ndarray:
    """The share of each draw's whole change that its steepest tenfold brings, (chain, draw)."""
    log_size = np.log10(size)
    ends = log_size[log_size - log_size[0] >= 1 - 1e-9]
    if not len(ends):
        return np.full(risen.shape[:-1], np.nan)
    change = risen[..., -1] - risen[..., 0]
    best = np.full(change.shape, -np.inf)
    for end in ends:
        i, start = np.searchsorted(log_size, end), end - 1
        j = int(np.clip(np.searchsorted(log_size, start), 1, len(log_size) - 1))
        weight = (start - log_size[j - 1]) / (log_size[j] - log_size[j - 1])
        there = (1 - weight) * risen[..., j - 1] + weight * risen[..., j]
        best = np.maximum(best, risen[..., i] - there)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(change > 0, best / change, np.nan)


def _sized(value: float, scale: str) -> str:
    return f"{value:.3g} FLOP" if scale == "flops" else f"{format_size(value)} {scale}"
