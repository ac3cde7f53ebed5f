"""The loss at unseen scale: what runs reach on average, and what one new run will show.

The two are never mixed. ``loss`` is the mean run, uncertain because the coefficients are and
because the law is not exact; ``loss_new`` is one new run, which scatters about the mean as the
training runs did. Of a card with an excess, ``loss`` is the floor that a well-tuned run reaches,
and a new run lies above it as the training runs do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import LawError, PosteriorError
from bayescale.laws import Law, compute_optimal
from bayescale.laws.law import FLOP_PER_PARAM_TOKEN, INPUTS, all_unique, splits
from bayescale.posterior import DEFAULT_CI_PROB, MEAN, Fit, Posterior, quantiles
from bayescale.progress import progress
from bayescale.units import format_size
from bayescale.verdict import TOLERANCE, sizes, verdict

SCALES = ("params", "tokens", "flops")
MOST_VALUES = 2**20
"""By draw and point that :func:`forecast_table` holds at once of each quantity: 8 MB."""

MOST_HELD = 2**27
"""By draw and point that :func:`forecast` holds of each quantity: 1 GB."""

OTHER_INPUTS = tuple(name for name in INPUTS if name not in SCALES)


@dataclass(frozen=True, eq=False)
class Forecast:
    """Draws of the loss at one or more points.

    Attributes
    ----------
    loss, loss_new : xarray.DataArray
        Dims (chain, draw, point), in ``unit``, nats per token but for the law ``downstream``:
        the mean run, or the floor as ``meaning`` says, and one new run.
        ``loss_new`` is None for a point estimate without noise.
    points : pandas.DataFrame
        One row a point: ``params``, ``tokens``, ``flops`` (NaN where the law needs none),
        ``unique_tokens`` where the law asks for them,
        ``extrapolation_ratio``: how many times larger than the largest training run,
        ``half_width``: of the 90 % interval of log mean loss, ``verdict`` and ``why``: whether
        to trust it (see :mod:`bayescale.verdict`). Where scatter shrinks with scale,
        ``scatter`` and ``scatter_at_largest``: medians of its scale there and at the largest
        training run, on log loss.
    meaning : str
        What ``loss`` is: :data:`bayescale.posterior.MEAN` or :data:`bayescale.posterior.FLOOR`.
    optimum : mapping or None
        Where only a budget was given: draws of the compute-optimal ``params`` and ``tokens``.
    drift : bool
        Whether the law's drift is allowed for.
    by_law : tuple of Forecast
        What each law of a pool says at the same points; empty for one law.
    """

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
    unit: str = "nats/token"
    by_law: tuple["Forecast", ...] = ()
    weights: tuple[float, ...] = ()
    meaning: str = MEAN

    @property
    def meaning_new(self) -> str:
        """What ``loss_new`` is."""
        return "one new run" if self.meaning == MEAN else "one new run, tuned as these were"

    def to_frame(self) -> pd.DataFrame:
        """One row a point: the scales, intervals of both losses, and chances of the target."""
        frame = self.points.reset_index(drop=True)
        at = [0.5, (1 - self.ci_prob) / 2, (1 + self.ci_prob) / 2]
        for kind, draws in {"loss": self.loss, "loss_new": self.loss_new}.items():
            if draws is not None:
                found = np.quantile(draws.transpose("chain", "draw", "point"), at, axis=(0, 1))
                for name, values in zip(("median", "lower", "upper"), found, strict=True):
                    frame[f"{kind}_{name}"] = values
        return frame.assign(**self._chances())

    def _chances(self) -> dict[str, np.ndarray | None]:
        """Of one new run below the target, and of the mean, at each point."""
        if self.target is None:
            return {"p_below_target": None, "p_mean_below_target": None}
        mean = (self.loss < self.target).mean(("chain", "draw")).values
        new = self.loss_new
        return {
            "p_below_target": mean
            if new is None
            else (new < self.target).mean(("chain", "draw")).values,
            "p_mean_below_target": mean,
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line, for a forecast of one point."""
        if len(self.points) != 1:
            raise PosteriorError("a forecast of several points has a frame, not one JSON object")
        point = self.points.iloc[0]
        optimum = self.optimum or {}
        ratio = point["extrapolation_ratio"]
        return {
            "law": self.law,
            **{name: None if np.isnan(point[name]) else float(point[name]) for name in SCALES},
            **{name: float(point[name]) for name in OTHER_INPUTS if name in point},
            "interval": self.ci_prob,
            "loss": quantiles(self.loss, self.ci_prob),
            "loss_new": None if self.loss_new is None else quantiles(self.loss_new, self.ci_prob),
            "target": self.target,
            **{k: None if of is None else float(of[0]) for k, of in self._chances().items()},
            "extrapolation_ratio": None if np.isnan(ratio) else float(ratio),
            "loss_is": self.meaning,
            "loss_new_is": self.meaning_new,
            "scatter": {
                name: float(point[name])
                for name in ("scatter", "scatter_at_largest")
                if name in point
            }
            or None,
            "unit": self.unit,
            "verdict": point["verdict"],
            "why": point["why"],
            "drift": self.drift,
            "laws": {
                law.law: {
                    "weight": weight,
                    "loss": quantiles(law.loss, self.ci_prob),
                    "loss_new": None
                    if law.loss_new is None
                    else quantiles(law.loss_new, self.ci_prob),
                }
                for law, weight in zip(self.by_law, self.weights, strict=True)
            },
            "optimum": {name: quantiles(draws, self.ci_prob) for name, draws in optimum.items()}
            or None,
            "family": self.family,
            "provenance": dict(self.provenance),
        }

    def __str__(self) -> str:
        lines = []
        frame = self.to_frame()
        of_laws = [(law.law, law.to_frame()) for law in self.by_law]
        for i, (_, row) in enumerate(frame.iterrows()):
            sizes = [
                f"{format_size(row[name])} {name}"
                for name in ("params", "tokens")
                if np.isfinite(row[name])
            ]
            if row.get("unique_tokens", row["tokens"]) < row["tokens"]:
                sizes.append(f"{format_size(row['unique_tokens'])} of them unique")
            if row.get("kept_fraction", 1.0) < 1:
                sizes.append(f"{row['kept_fraction']:.0%} of the data kept")
            if "lm_loss" in row:
                sizes.append(f"a loss of {row['lm_loss']:.4g} nats/token")
            if np.isfinite(row["flops"]):
                sizes.append(f"{row['flops']:.3g} FLOP")
            lines.append(f"{self.law} at {', '.join(sizes)}:")
            told = {"loss": self.meaning, "loss_new": self.meaning_new}
            width = max(map(len, told.values()))
            for kind, what in told.items():
                if f"{kind}_median" in row:
                    lines.append(
                        f"  {what:<{width}}  {row[f'{kind}_median']:.4f}  "
                        f"({self.ci_prob:.0%} interval {row[f'{kind}_lower']:.4f} to "
                        f"{row[f'{kind}_upper']:.4f})  {self.unit}"
                    )
            for name, table in of_laws:
                each = table.iloc[i]
                lines.append(
                    f"    {name:<20} {each['loss_median']:.4f}  "
                    f"({each['loss_lower']:.4f} to {each['loss_upper']:.4f})  {self.meaning}"
                )
            if self.target is not None:
                lines.append(
                    f"  chance that one new run is below {self.target:g}: "
                    f"{row['p_below_target']:.0%}"
                )
            lines += _scatter_told(row)
            lines.append(f"  {row['why']}")
        if self.optimum is not None:
            split = quantiles(self.optimum["params"], self.ci_prob)
            lines.append(
                "  The split is the median compute-optimal one; the law leaves it at "
                f"{format_size(split['lower'])} to {format_size(split['upper'])} params "
                f"({self.ci_prob:.0%} interval)."
            )
        if self.family is not None:
            lines.append(f"  For {self.family}.")
        if not self.drift:
            lines.append("  Without drift: these intervals take the law to hold exactly.")
        return "\n".join(lines)


def _scatter_told(row: pd.Series) -> list[str]:
    """What is taken of the scatter past the runs, where it shrinks with scale."""
    if not row.get("scatter", np.inf) < row.get("scatter_at_largest", 0.0):
        return []
    return [
        f"  A new run is taken to scatter by {row['scatter']:.2%}, less than the "
        f"{row['scatter_at_largest']:.2%} at the largest run: as if it went on shrinking."
    ]


def forecast(
    fit: Fit,
    *,
    params: Any = None,
    tokens: Any = None,
    flops: Any = None,
    unique_tokens: Any = None,
    kept_fraction: Any = None,
    lm_loss: Any = None,
    target: float | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    tolerance: float = TOLERANCE,
    family: str | None = None,
    drift: bool = True,
    allow_unconverged: bool = False,
) -> Forecast:
    """Forecast the loss at given scales, or at a budget on the compute-optimal path.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    params, tokens : float or array_like, shape (point,)
        Raw counts; for a law of both, give both.
    flops : float or array_like, shape (point,)
        FLOP. For a law of params and tokens the budget is split at the median over draws of
        each draw's compute-optimal params, with C = 6 N D and the law taken to hold exactly:
        one definite run, at which every draw is then evaluated.
    unique_tokens : float or array_like, shape (point,)
        For a law that asks how many of the tokens are unique; all of them where not given.
    kept_fraction : float or array_like, shape (point,)
        For a law of pruned data: the share of the data that was kept; all of it where not given.
    lm_loss : float or array_like, shape (point,)
        For a law of downstream error: the language model's loss in nats per token.
    target : float, optional
        A loss in nats per token, for the chance of ending below it.
    ci_prob : float
        Mass of the central intervals.
    tolerance : float
        Half the width of the 90 % interval of log mean loss up to which a forecast is precise
        enough to be trusted.
    family : str, optional
        A family of the fit; a new family where not given and families are pooled.
    drift : bool
        Whether to allow for the law's drift; without it, the law is taken to hold exactly.
    allow_unconverged : bool
        Forecast although the convergence gate was missed.

    Returns
    -------
    Forecast

    Raises
    ------
    LawError
        If the scales given are not what the law needs.
    PosteriorError
        If there are so many points that their draws would fill the memory.
    UnconvergedError
        If the posterior failed its gate.

    See Also
    --------
    forecast_table : of so many points that their draws would fill the memory.
    """
    fit.require_converged(allow_unconverged)
    given = _given(
        params=params,
        tokens=tokens,
        flops=flops,
        unique_tokens=unique_tokens,
        kept_fraction=kept_fraction,
        lm_loss=lm_loss,
    )
    asked = _ForecastOptions(target, ci_prob, tolerance, family, drift)
    n_points = _n_points(given)
    n_values = n_points * _n_draws(fit)
    if n_values > MOST_HELD:
        raise PosteriorError(
            f"a forecast of {n_points:,} points would hold {n_values:,} draws of the loss, and "
            f"{MOST_HELD:,} are the most: bayescale.forecast_table gives their table, block by "
            "block"
        )
    return _forecast(fit, given, asked)


def forecast_table(
    fit: Fit,
    *,
    target: float | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    tolerance: float = TOLERANCE,
    family: str | None = None,
    drift: bool = True,
    allow_unconverged: bool = False,
    show_progress: bool = False,
    **scales: Any,
) -> pd.DataFrame:
    """The table of a forecast of very many points, whose draws are never held all at once.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    target, interval, tolerance, family, drift, allow_unconverged
        As for :func:`forecast`.
    show_progress : bool
        Show progress on standard error.
    **scales
        ``params``, ``tokens`` and so on, as for :func:`forecast`.

    Returns
    -------
    pandas.DataFrame
        What :meth:`Forecast.to_frame` gives, without the sentences ``why``. Points are reduced
        block by block, each from all of its draws: no number differs from that of a forecast of
        all points by more than rounding.

    Raises
    ------
    LawError, UnconvergedError
        As :func:`forecast`.
    """
    fit.require_converged(allow_unconverged)
    given = _same_length(_given(**scales))
    asked = _ForecastOptions(target, ci_prob, tolerance, family, drift)
    n_points = _n_points(given)
    size, tables = max(1, MOST_VALUES // _n_draws(fit)), []
    with progress(show_progress) as stage:
        done = stage(f"{n_points:,} points", total=n_points)
        for first in range(0, max(n_points, 1), size):
            part = {name: values[first : first + size] for name, values in given.items()}
            block = _forecast(fit, part, asked, first=first, by_law=False)
            tables.append(block.to_frame().drop(columns="why"))
            done(min(first + size, n_points))
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class _ForecastOptions:
    """What is asked of all points alike."""

    target: float | None
    ci_prob: float
    tolerance: float
    family: str | None
    drift: bool

    def __post_init__(self) -> None:
        if not 0 < self.ci_prob < 1:
            raise ValueError(f"ci_prob is {self.ci_prob}, but must lie between 0 and 1")
        if not 0 < self.tolerance < np.inf:
            raise PosteriorError(
                f"tolerance is {self.tolerance:g}, but must be finite and above zero"
            )
        if self.target is not None and not self.target > 0:
            raise PosteriorError(f"target is {self.target:g}, but a loss must be greater than zero")


def _given(**scales: Any) -> dict[str, np.ndarray]:
    """The scales that are given, each of shape (point,)."""
    given = {
        name: np.atleast_1d(np.asarray(value, dtype=float))
        for name, value in scales.items()
        if value is not None
    }
    for name, values in given.items():
        wrong = values[~(np.isfinite(values) & (values > 0))].tolist()
        if wrong:
            more = f" and {len(wrong) - 5:,} more" if len(wrong) > 5 else ""
            raise LawError(f"{name} is {wrong[:5]}{more}, but must be finite and above zero")
    return given


def _n_points(given: Mapping[str, np.ndarray]) -> int:
    return max(map(len, given.values()), default=0)


def _n_draws(fit: Fit) -> int:
    return sum(m.draws.sizes["chain"] * m.draws.sizes["draw"] for m in fit.members)


def _same_length(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    try:
        return dict(zip(given, np.broadcast_arrays(*given.values()), strict=True))
    except ValueError:
        lengths = {name: len(values) for name, values in given.items()}
        raise LawError(f"the scales have different lengths: {lengths}") from None


def _forecast(
    fit: Fit,
    given: Mapping[str, np.ndarray],
    asked: _ForecastOptions,
    *,
    first: int = 0,
    by_law: bool = True,
) -> Forecast:
    """The forecast of points of which so many went before, of each law as well where asked for."""
    family, drift = asked.family, asked.drift
    sources = tuple(member.drifting() if drift else member for member in fit.members)
    scales, optimum = _places(fit, sources, given, family)
    inputs = {name: xr.DataArray(scales[name], dims="point") for name in fit.inputs}
    losses = [p.loss(inputs, family).transpose("chain", "draw", "point") for p in sources]
    scatters = all("sigma" in source.draws for source in sources)
    of_new = zip(sources, losses, strict=True)
    news = [source.new_run(loss, inputs, first) for source, loss in of_new] if scatters else []
    scale_free = np.full(losses[0].sizes["point"], np.nan)
    columns = (*SCALES, *(name for name in fit.inputs if name not in SCALES))
    points = pd.DataFrame({name: scales.get(name, scale_free) for name in columns})
    points["extrapolation_ratio"] = extrapolation_ratio(fit, points)
    points = points.assign(**_scatters(fit, inputs))
    pooled = "a new family" if fit.families else None

    def told(name: str, loss: xr.DataArray, new: xr.DataArray | None, **more: Any) -> Forecast:
        return Forecast(
            law=name,
            points=_judged(fit, points, loss, asked.tolerance),
            loss=loss,
            loss_new=new,
            ci_prob=asked.ci_prob,
            target=asked.target,
            family=family or pooled,
            provenance=fit.record["provenance"],
            drift=drift,
            unit=fit.members[0].law.unit,
            meaning=fit.meaning,
            **more,
        )

    each: tuple[Forecast, ...] = ()
    if by_law and len(fit.members) > 1:
        of_laws = zip(sources, losses, news or [None] * len(losses), strict=True)
        each = tuple(told(p.name, loss, new, optimum=None) for p, loss, new in of_laws)
    return told(
        fit.name,
        fit.mix(losses),
        fit.mix(news) if news else None,
        optimum=optimum,
        by_law=each,
        weights=fit.weights if each else (),
    )


def _judged(fit: Fit, points: pd.DataFrame, loss: xr.DataArray, tolerance: float) -> pd.DataFrame:
    """The points with what to think of a forecast there."""
    log_loss = np.log(loss.values)
    lower, upper = np.quantile(log_loss, [0.05, 0.95], axis=(0, 1))
    half_width = (upper - lower) / 2
    bins = fit.record.get("backtest", {}).get("bins")
    judged = [
        verdict(within, ratio, width, tolerance, bins)
        for within, ratio, width in zip(
            _inside(fit, points), points["extrapolation_ratio"], half_width, strict=True
        )
    ]
    return points.assign(
        half_width=half_width,
        verdict=[item.state for item in judged],
        why=[item.text for item in judged],
    )


def _scatters(fit: Fit, inputs: Mapping[str, xr.DataArray]) -> dict[str, Any]:
    """Medians of the scatter's scale at the points and at the largest run, where it shrinks."""
    if fit.runs is None or not all("shrink" in member.draws for member in fit.members):
        return {}
    largest = fit.runs.frame.iloc[[int(sizes(fit.runs.frame, fit.inputs).argmax())]]
    at_largest = {name: xr.DataArray(largest[name].to_numpy(), dims="point") for name in inputs}

    def median(at: Mapping[str, xr.DataArray]) -> np.ndarray:
        order = ("chain", "draw", "point")
        mixed = fit.mix([member.sigma(at).transpose(*order) for member in fit.members])
        return np.median(mixed.transpose(*order).values, axis=(0, 1))

    return {"scatter": median(inputs), "scatter_at_largest": median(at_largest)[0]}


def _inside(fit: Fit, points: pd.DataFrame) -> np.ndarray:
    """Whether a point is no larger than the runs, in size and in every input."""
    within = (points["extrapolation_ratio"] <= 1).to_numpy()
    runs = fit.runs
    for name in fit.inputs if runs is not None else ():
        assert runs is not None
        x = runs[name]
        within = within & points[name].between(x.min() * 0.999, x.max() * 1.001).to_numpy()
    return within


def _places(
    fit: Fit,
    sources: Sequence[Posterior],
    given: Mapping[str, np.ndarray],
    family: str | None,
) -> tuple[dict[str, np.ndarray], Mapping[str, xr.DataArray] | None]:
    if set(given) == {"flops"} and splits(fit.inputs):
        # of the laws as they stand: where a walk goes along params or tokens, coefficients
        # beside it no longer say what the law would choose
        split = [_optimum(member, given["flops"], family) for member in fit.members]
        params = fit.mix(split)
        chosen = np.exp(np.median(np.log(params.values), axis=(0, 1)))
        pairs = given["flops"] / FLOP_PER_PARAM_TOKEN
        places = {"params": chosen, "tokens": pairs / chosen, "flops": given["flops"]}
        places = dict(all_unique(fit.inputs, places))
        tokens = xr.DataArray(pairs, dims="point") / params
        return places, {"params": params, "tokens": tokens}
    given = dict(all_unique(fit.inputs, given))
    for source in sources:
        _require_inputs(source.law, set(given))
    places = _same_length(given)
    if "flops" not in places and {"params", "tokens"} <= set(places):
        places["flops"] = FLOP_PER_PARAM_TOKEN * places["params"] * places["tokens"]
    return places, None


def _optimum(posterior: Posterior, flops: np.ndarray, family: str | None) -> xr.DataArray:
    """Draws of the law's compute-optimal params, dims (chain, draw, point)."""
    coefficients = {
        name: values.values[..., None] for name, values in posterior.coefficients(family).items()
    }
    params, _ = compute_optimal(posterior.law, flops, coefficients)
    coords = {name: posterior.draws[name] for name in ("chain", "draw")}
    return xr.DataArray(params, dims=("chain", "draw", "point"), coords=coords)


def _require_inputs(law: Law, given: set[str]) -> None:
    if given == set(law.inputs):
        return
    options = [" and ".join(f"--{name.replace('_', '-')}" for name in law.inputs)]
    if splits(law.inputs):
        options.append("--flops alone, for the compute-optimal split")
    raise LawError(
        f"law {law.name!r} is a function of {' and '.join(law.inputs)}, but "
        f"{' and '.join(sorted(given)) or 'no scale'} is given: say {', or '.join(options)}"
    )


def extrapolation_ratio(fit: Fit, points: pd.DataFrame) -> np.ndarray:
    """How many times larger a point is than the largest training run, shape (point,).

    In compute, or in the law's own input where it has one only; NaN without runs.
    """
    if fit.runs is None:
        return np.full(len(points), np.nan)
    return sizes(points, fit.inputs) / sizes(fit.runs.frame, fit.inputs).max()
