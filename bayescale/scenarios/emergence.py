"""Metrics that seem to emerge although the loss is smooth: Schaeffer et al. 2023, arXiv 2304.15004.

Each draw of the loss at each scale is turned into a score, so the scores carry the uncertainty of
the loss. How suddenly a score rises is then compared with how suddenly the loss falls.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import ScenarioError, collected
from bayescale.forecasting import Forecast
from bayescale.forecasting import forecast as forecast_loss
from bayescale.posterior import Fit, Posterior, View, fitted_unit_of
from bayescale.posterior.methods import asks_fit
from bayescale.random import Purpose
from bayescale.results import (
    DEFAULT_CI_PROB,
    Result,
    interval_text,
    quantiles,
    quantiles_by_rank,
    quantiles_in_row,
)
from bayescale.scenarios.answers import Answers, Decoding, Dispersion, scored
from bayescale.scenarios.climb import VISIBLE, hidden_share, reached, steepest_share
from bayescale.units import format_size
from bayescale.verdict import size_scale

_OF_POINT = ("params", "tokens", "flops", "loss_median", "loss_lower", "loss_upper", "verdict")
_CLIMB = (
    "visible_at",
    "half_at",
    "hidden_share",
    "loss_hidden_share",
    "due_to_metric",
    "steepest_share",
    "loss_steepest_share",
)


@dataclass(frozen=True, eq=False)
class Metric:
    """Draws of one score at the points of the path.

    Attributes
    ----------
    name : str
    draws : xarray.DataArray
        Dims (chain, draw, point).
    start, best : float
        The scores of an untrained and of a perfect model.
    """

    name: str
    draws: xr.DataArray
    start: float
    best: float

    @property
    def risen(self) -> xr.DataArray:
        """The share of the way from ``start`` to ``best``, dims (chain, draw, point)."""
        return (self.draws - self.start) / (self.best - self.start)


@dataclass(frozen=True, eq=False)
class Emergence(Result):
    """Scores along a path of scale, and how suddenly each rises.

    Attributes
    ----------
    forecast : Forecast
        The loss at the points of the path: its law, scales and intervals.
    metrics : tuple of Metric
        Draws of each score along the path.
    scale : str
        The scale of the path: ``flops``, or the law's only input.
    decoding : {"sampled", "greedy"}
    dispersion : mapping
        Quantiles of the dispersion of answers, and their source.
    downstream : str or None
        The law of downstream error, if one was given.
    """

    in_figures = True

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

    def _table(self) -> pd.DataFrame:
        losses = self.forecast.to_frame()
        rows = []
        for metric in self.metrics:
            for i, point in enumerate(losses.to_dict("records")):
                score = quantiles(metric.draws.isel(point=i), self.ci_prob)
                named = {name: point[name] for name in _OF_POINT}
                rows.append({**named, "metric": metric.name, **score})
        return pd.DataFrame(rows)

    def climbs(self) -> pd.DataFrame:
        """Return one row per metric: where it becomes visible and is half way, and how suddenly.

        ``visible_at`` and ``half_at`` are sizes on the path's scale; they are infinite if the path
        ends earlier. ``hidden_share`` is the share of the path, on a log scale, in which the metric
        shows less than 5 % of its whole change along it, and ``due_to_metric`` is its difference
        from the median share of the loss. ``steepest_share`` is the share of the change in the
        steepest tenfold of scale; NaN if the path is shorter than that.
        """
        size = self.forecast.points[self.scale].to_numpy()
        fallen = -self.forecast.loss.transpose(..., "point").values
        of_loss = {
            "hidden_share": hidden_share(size, fallen),
            "steepest_share": steepest_share(size, fallen),
        }
        rows = []
        for metric in self.metrics:
            risen = metric.risen.transpose(..., "point").values
            hidden = hidden_share(size, risen)
            found = {
                "visible_at": reached(size, risen, VISIBLE),
                "half_at": reached(size, risen, 0.5),
                "hidden_share": hidden,
                "due_to_metric": hidden - np.nanmedian(of_loss["hidden_share"]),
                "steepest_share": steepest_share(size, risen),
                **{f"loss_{name}": draws for name, draws in of_loss.items()},
            }
            row: dict[str, Any] = {"metric": metric.name, "p_half": np.mean(risen[..., -1] >= 0.5)}
            for name, draws in found.items():
                row |= {f"{name}_{q}": x for q, x in quantiles_by_rank(draws, self.ci_prob).items()}
            rows.append(row)
        return pd.DataFrame(rows)

    def _json(self) -> dict[str, Any]:
        points = [
            {
                **{name: row[name] for name in ("params", "tokens", "flops")},
                "loss": quantiles_in_row(row, "loss"),
                "verdict": row["verdict"],
                "metrics": {m.name: m.draws.isel(point=i) for m in self.metrics},
            }
            for i, row in enumerate(self.forecast.to_frame().to_dict("records"))
        ]
        climbs = {
            row["metric"]: {
                "p_half": row["p_half"],
                **{name: quantiles_in_row(row, name) for name in _CLIMB},
            }
            for row in self.climbs().to_dict("records")
        }
        return {
            "law": self.forecast.law,
            "interval": self.ci_prob,
            "scale": self.scale,
            "points": points,
            "metrics": climbs,
            "decoding": self.decoding,
            "dispersion": self.dispersion,
            "downstream": self.downstream,
            "provenance": self.forecast.provenance,
        }

    def _content(self) -> Iterator[str]:
        points, mass = self.forecast.points, f"{self.ci_prob:.0%}"
        first, last = points[self.scale].iloc[[0, -1]]
        losses = self.forecast.to_frame()["loss_median"]
        yield (
            f"{self.forecast.law}, {_size_text(first, self.scale)} to "
            f"{_size_text(last, self.scale)}: loss {losses.iloc[0]:.3f} to {losses.iloc[-1]:.3f} "
            "nats/token"
        )
        for metric, row in zip(self.metrics, self.climbs().to_dict("records"), strict=True):
            low, high = (quantiles(metric.draws.isel(point=end), self.ci_prob) for end in (0, -1))
            yield (
                f"  {metric.name}: {low['median']:.3g} to {high['median']:.3g} ({mass} interval "
                f"{high['lower']:.3g} to {high['upper']:.3g})"
            )
            yield (
                f"    visible at {self._size_at(row, 'visible_at')}; half way at "
                f"{self._size_at(row, 'half_at')}"
            )
            hidden = (
                f"    shows nothing for the first {row['hidden_share_median']:.0%} of the path "
                f"(the loss: {row['loss_hidden_share_median']:.0%})"
            )
            if np.isfinite(row["steepest_share_median"]):
                hidden += (
                    f"; its steepest tenfold brings {row['steepest_share_median']:.0%} of the "
                    f"change (of the loss: {row['loss_steepest_share_median']:.0%})"
                )
            yield hidden
        yield f"  {self._assumption()}"
        yield f"  At the end of the path: {points['why'].iloc[-1]}"

    def _size_at(self, row: Mapping[Any, Any], name: str) -> str:
        q = quantiles_in_row(row, name)
        if not np.isfinite(q["lower"]):
            return "no scale of this path"

        def text(x: float) -> str:
            return _size_text(x, self.scale) if np.isfinite(x) else "beyond"

        return interval_text(q, text, self.ci_prob)

    def _assumption(self) -> str:
        d = self.dispersion["dispersion"]
        if self.dispersion["source"] == "calibrated":
            how = (
                f"log-odds of answers spread by {d['median']:.3g} ({d['lower']:.3g} to "
                f"{d['upper']:.3g}), calibrated on {self.dispersion['n']} models"
            )
        elif d["median"] == 0:
            how = "all tokens alike and independent"
        else:
            how = f"log-odds of answers spread by {d['median']:.3g}, as given"
        return f"Scenario: answers have the loss of the law; {how}; {self.decoding} decoding."


@asks_fit
def emergence(  # noqa: PLR0913
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
    """Compute scores from the loss along a path of scale, in each draw.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of the loss on the task's answers, or of a loss that stands for it.
    params, tokens, flops : array_like, shape (point,)
        The path: see :func:`bayescale.forecast`; in increasing size, two points or more.
    answer_tokens : sequence of float
        Lengths of answers for exact match and edit distance.
    choices : int, optional
        Answers to choose from, for a multiple-choice score with answers of the first length.
    wrong_loss : float, optional
        Loss on wrong answers in nats per token; the median loss at the first point by default, so
        that the smallest model guesses.
    dispersion : float or Dispersion
        How much answers differ (see :mod:`bayescale.scenarios.answers`); a number, or what
        :func:`calibrate_dispersion` returned.
    decoding : {"sampled", "greedy"}, optional
        By default that of the calibration if ``dispersion`` is one, else sampled, as in the paper.
    downstream : Posterior, optional
        A fit of the law ``downstream``, which adds the mean error at this loss to the metrics.
    downstream_family : str, optional
        The family of that fit whose error to add.
    ci_prob : float
        Mass of the central intervals.
    family, drift, allow_unconverged
        See :func:`bayescale.forecast`.

    Returns
    -------
    Emergence

    Raises
    ------
    ScenarioError
        If the path does not increase, an answer is shorter than a token, or another value is out of
        range.
    LawError, UnconvergedError
        See :func:`bayescale.forecast`.

    Notes
    -----
    The scores are a scenario if the dispersion is a guess, or if the fitted loss is not the loss on
    the task's answers. They are for the mean over seeds, with the law's drift. The downstream error
    is given twice: for the mean over seeds, and for a single new run, with the residual noise of
    both laws.

    Examples
    --------
    Half of the answers of 10 tokens are right if 10 x loss = ln 2:

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
    if decoding is None:
        decoding = dispersion.decoding if isinstance(dispersion, Dispersion) else "sampled"
    path = forecast_loss(
        fit,
        params=params,
        tokens=tokens,
        flops=flops,
        ci_prob=ci_prob,
        family=family,
        drift=drift,
        loss_unit=fitted_unit_of(fit),
        allow_unconverged=allow_unconverged,
    )
    scale = size_scale(fit.inputs)
    problems = _problems(path.points[scale].to_numpy(float), scale, answer_tokens, downstream)
    if choices is None and wrong_loss is not None:
        problems.append("wrong_loss needs choices: give the number of answers with `choices=`")
    if problems:
        raise ScenarioError(collected("the scores cannot be computed:", problems))

    loss = path.loss.transpose("chain", "draw", "point")
    n_draws = loss.sizes["chain"] * loss.sizes["draw"]
    if isinstance(dispersion, Dispersion):
        spread = dispersion.draw(n_draws)
        source = dispersion.to_json(ci_prob) | {"source": "calibrated"}
    else:
        spread = np.full(n_draws, float(dispersion))
        value = dict.fromkeys(("median", "lower", "upper"), float(dispersion))
        source = {"dispersion": value, "source": "given"}
    metrics = _scores(loss, spread, decoding, answer_tokens, choices, wrong_loss)
    if isinstance(downstream, Posterior):
        downstream.require_converged(allow_unconverged)
        metrics += _downstream(downstream.view(drift), path, downstream_family)
    name = downstream.name if downstream else None
    return Emergence(path, tuple(metrics), scale, decoding, source, name)


def _problems(
    size: np.ndarray, scale: str, answer_tokens: Sequence[float], downstream: Fit | None
) -> list[str]:
    """Return problems of a path, of answer lengths and of a downstream fit."""
    problems = []
    if len(size) < 2 or not (np.diff(size) > 0).all():
        problems.append(
            f"the path has {len(size)} points of {scale} {', '.join(f'{x:.3g}' for x in size[:5])}"
            f"{', ...' if len(size) > 5 else ''}, but needs two or more that increase"
        )
    if not len(answer_tokens):
        problems.append("answer_tokens is empty: name at least one length")
    problems += [
        f"answer_tokens has {k:g}, but an answer has at least one token"
        for k in answer_tokens
        if k < 1
    ]
    if downstream is not None and not (
        isinstance(downstream, Posterior) and downstream.inputs == ("lm_loss",)
    ):
        problems.append(
            f"downstream is a fit of law {downstream.name!r} with inputs "
            f"{', '.join(downstream.inputs)}: give a fit of the law downstream, with input lm_loss"
        )
    return problems


def _scores(
    loss: xr.DataArray,
    spread: np.ndarray,
    decoding: Decoding,
    answer_tokens: Sequence[float],
    choices: int | None,
    wrong_loss: float | None,
) -> list[Metric]:
    flat = loss.values.reshape(len(spread), -1)

    def score(method: Any, *args: Any) -> xr.DataArray:
        values = scored(method, spread, decoding, flat, *args)
        return loss.copy(data=values.reshape(loss.shape))

    metrics = [Metric("token_accuracy", score(Answers.token_accuracy), 0.0, 1.0)]
    for k in answer_tokens:
        if k == 1:  # equal to token_accuracy
            continue
        metrics += [
            Metric(f"exact_match_{k:g}", score(Answers.exact_match, k), 0.0, 1.0),
            Metric(f"edit_distance_{k:g}", score(Answers.edit_distance, k), float(k), 0.0),
        ]
    if choices is not None:
        wrong = float(np.median(flat[:, 0])) if wrong_loss is None else wrong_loss
        chosen = score(Answers.multiple_choice, answer_tokens[0], choices, wrong)
        metrics.append(Metric(f"multiple_choice_{choices}", chosen, 1.0 / choices, 1.0))
    return metrics


def _downstream(posterior: View, path: Forecast, family: str | None) -> list[Metric]:
    """Return the downstream error of the mean over seeds and of a single new run."""
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


def _size_text(value: float, scale: str) -> str:
    return f"{value:.3g} FLOP" if scale == "flops" else f"{format_size(value)} {scale}"
