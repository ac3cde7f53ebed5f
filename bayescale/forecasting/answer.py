"""Forecast the loss at unseen scale: the mean over seeds, and a single new run.

The two are kept apart. ``loss`` is the mean over seeds. It is uncertain because the coefficients
are, and because the law is not exact. ``loss_new`` is a single new run, which has the residual
noise of the training runs as well. For a card with an excess, ``loss`` is the floor that a
well-tuned run reaches, and a new run lies above it as the training runs do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions import LossUnit
from bayescale.errors import LawError, PosteriorError
from bayescale.forecasting.families import NEW_FAMILY, family_widths, with_reasons
from bayescale.forecasting.result import SCALES, Forecast
from bayescale.laws import Law
from bayescale.laws.law import INPUTS
from bayescale.laws.optimum import all_unique, splits
from bayescale.posterior import (
    Fit,
    cautions,
    flop_count_of,
    loss_unit_of,
    require_plausible_sizes,
    runs_by_family,
)
from bayescale.posterior.irreducible import target_below_irreducible
from bayescale.posterior.methods import asks_fit
from bayescale.results import DEFAULT_CI_PROB, quantiles_of_sorted, with_each_law
from bayescale.splits import DefaultSplit, default_sizes, default_split
from bayescale.units import as_size, checked_ci_prob
from bayescale.verdict import TOLERANCE, Evidence, places, sizes, verdict

_NINETY = (0.05, 0.95)

MOST_HELD = 2**27
"""The most values by draw and point of each quantity in a :class:`Forecast`: 1 GB."""


@asks_fit
def forecast(  # noqa: PLR0913
    fit: Fit,
    *,
    params: Any = None,
    tokens: Any = None,
    flops: Any = None,
    unique_tokens: Any = None,
    kept_fraction: Any = None,
    lm_loss: Any = None,
    at: Mapping[str, Any] | None = None,
    target: float | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    tolerance: float = TOLERANCE,
    family: str | None = None,
    drift: bool = True,
    loss_unit: str | LossUnit | None = None,
    allow_unconverged: bool = False,
) -> Forecast:
    """Forecast the loss at given scales, or at a budget on the compute-optimal path.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    params, tokens : float, str or array_like, shape (point,)
        Raw counts, or text such as ``"70B"``; a law of both needs both.
    flops : float, str or array_like, shape (point,)
        Compute in FLOP. For a law of params and tokens the budget is split as
        :func:`bayescale.allocate` chooses: into one run, at which every draw is evaluated. Compute
        is counted as in the fitted log, by default C = 6 N D.
    unique_tokens : float, str or array_like, shape (point,)
        For a law with unique tokens: how many of the tokens are unique; by default all of them.
    kept_fraction : float or array_like, shape (point,)
        For a law of pruned data: the share of the data that was kept; by default all of it.
    lm_loss : float or array_like, shape (point,)
        For a law of downstream error: the language model's loss in nats per token.
    at : mapping of str to float or array_like, shape (point,), optional
        Values of inputs that the package does not know, by name: ``{"lr": 1e-3}``. By default those
        of the largest run, and the answer says so.
    target : float, optional
        A loss in the unit of the answer, for the probability of a lower loss.
    ci_prob : float
        Mass of the central intervals.
    tolerance : float
        The largest half width of the 90 % interval of log mean loss with which a forecast is
        precise enough to be trusted.
    family : str, optional
        A family of the fit; by default a new family, if families are partially pooled.
    drift : bool
        Whether to allow for the law's drift; without it, the law is taken to hold exactly.
    loss_unit : str, optional
        The unit of the answer: ``nats``, ``bits``, ``bits_per_byte`` or ``perplexity``; by default
        the fitted log's own.
    allow_unconverged : bool
        Forecast although the fit failed its convergence checks.

    Returns
    -------
    Forecast

    Raises
    ------
    LawError
        If the given scales are not those that the law needs.
    PosteriorError
        If there are so many points that their draws would need too much memory.
    UnitError
        If the unit is unknown, or the target seems to be in another unit.
    UnconvergedError
        If the posterior failed its convergence checks.

    See Also
    --------
    forecast_table : for so many points that their draws would need too much memory.
    """
    fit.require_converged(allow_unconverged)
    given = given_scales(
        params=params,
        tokens=tokens,
        flops=flops,
        unique_tokens=unique_tokens,
        kept_fraction=kept_fraction,
        lm_loss=lm_loss,
        **(at or {}),
    )
    require_within_guards(fit, given)
    options = Options(target, ci_prob, tolerance, family, drift, loss_unit)
    n_points = count_points(given)
    n_values = n_points * n_draws(fit)
    if n_values > MOST_HELD:
        raise PosteriorError(
            f"a forecast of {n_points:,} points would hold {n_values:,} draws of the loss, but "
            f"{MOST_HELD:,} are the most: use bayescale.forecast_table, which computes their table "
            "in blocks"
        )
    return _forecast(fit, given, options)


@dataclass(frozen=True)
class Options:
    """The options of a forecast, the same for all points."""

    target: float | None
    ci_prob: float
    tolerance: float
    family: str | None
    drift: bool
    loss_unit: str | LossUnit | None

    def __post_init__(self) -> None:
        checked_ci_prob(self.ci_prob)
        if not 0 < self.tolerance < 1:
            raise PosteriorError(
                f"tolerance is {self.tolerance:g}, but must lie between 0 and 1: a share of the "
                "loss, such as 0.02 for 2 %"
            )
        if self.target is None:
            return
        if not isinstance(self.target, Real):
            raise PosteriorError(f"target is {self.target!r}, but must be a number, such as 1.95")
        if not self.target > 0:
            raise PosteriorError(f"target is {self.target:g}, but a loss must be greater than zero")


def given_scales(**scales: Any) -> dict[str, np.ndarray]:
    """Return the scales that are not None, each of shape (point,)."""
    given = {name: _as_points(x, name) for name, x in scales.items() if x is not None}
    for name, values in given.items():
        if not values.size:
            raise LawError(f"`{name}=` is empty: give one value or more")
        wrong = values[~(np.isfinite(values) & (values > 0))].tolist()
        if wrong:
            more = f" and {len(wrong) - 5:,} more" if len(wrong) > 5 else ""
            raise LawError(f"{name} is {wrong[:5]}{more}, but must be finite and above zero")
    return given


def _as_points(value: Any, name: str) -> np.ndarray:
    values = np.asarray(value)
    if values.dtype.kind in "OUS":
        values = as_size(values.tolist(), name)
    return np.atleast_1d(np.asarray(values, dtype=float))


def require_within_guards(fit: Fit, given: Mapping[str, np.ndarray]) -> None:
    """Refuse inputs that no law has, and values that are probably in another unit."""
    require_plausible_sizes(fit, {name: given.get(name) for name in SCALES})
    for end in (np.min, np.max):
        fit.holding(foreign_inputs(given, end))


def foreign_inputs(
    given: Mapping[str, np.ndarray], pick: Callable[[np.ndarray], Any]
) -> dict[str, Any]:
    """Return one value of each input that the package does not know."""
    foreign = {name: values for name, values in given.items() if name not in INPUTS}
    return {name: float(pick(values)) for name, values in foreign.items() if len(values)}


def count_points(given: Mapping[str, np.ndarray]) -> int:
    """Return the number of points; a scale with a single value holds for all of them."""
    return max(map(len, given.values()), default=0)


def n_draws(fit: Fit) -> int:
    """Return the number of draws of all laws."""
    return sum(m.draws.sizes["chain"] * m.draws.sizes["draw"] for m in fit.members)


def same_length(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return scales of shape (point,) each; a single value is repeated for all points."""
    try:
        return dict(zip(given, np.broadcast_arrays(*given.values()), strict=True))
    except ValueError:
        lengths = {name: len(values) for name, values in given.items()}
        raise LawError(
            f"the scales have different lengths: {lengths}: give one value for all points, or one "
            "for each"
        ) from None


def _forecast(
    fit: Fit,
    given: Mapping[str, np.ndarray],
    options: Options,
) -> Forecast:
    """Return the forecast of points, with that of each law."""
    family, drift = options.family, options.drift
    members = tuple(fit.members)
    sources = tuple(member.view(drift) for member in members)
    scales, split = placed(fit, given, options)
    inputs = {name: xr.DataArray(scales[name], dims="point") for name in fit.inputs}
    losses = [p.loss(inputs, family).transpose("chain", "draw", "point") for p in sources]
    news: list[xr.DataArray | None] = [None] * len(losses)
    if all("sigma" in source.draws for source in sources):
        each = zip(sources, losses, strict=True)
        news = [source.new_run(loss, inputs) for source, loss in each]
    widths = family_widths(fit, sources, inputs) if family is None else None
    points = located(fit, scales).assign(**noise_scales(fit, inputs))
    unit = loss_unit_of(fit, options.loss_unit)
    if options.target is not None:
        medians = [loss.median(("chain", "draw")).values for loss in losses]
        require_likely(fit, unit, options, np.concatenate(medians))

    def result(
        fit: Fit, parts: Sequence[tuple[xr.DataArray, xr.DataArray | None]], **more: Any
    ) -> Forecast:
        loss = fit.mix([loss for loss, _ in parts])
        each = [new for _, new in parts if new is not None]
        new = fit.mix(each) if each else None
        found = _judged(fit, points, loss, new, options.tolerance)
        optimum = None
        if split is not None:
            optimum = split.best if more else split.by_law[members.index(fit)]
        if widths is not None and len(parts) == len(losses):
            found = with_reasons(found, widths, options.tolerance)
        return Forecast(
            law=fit.name,
            points=found,
            loss=unit.of(loss),
            loss_new=None if new is None else unit.of(new),
            ci_prob=options.ci_prob,
            target=options.target,
            optimum=optimum,
            family=family or (NEW_FAMILY if fit.families else None),
            families=_families(fit, widths),
            provenance=fit.record["provenance"],
            drift=drift,
            loss_unit=unit,
            meaning=fit.meaning,
            flop_count=flop_count_of(fit),
            cautions=cautions(fit.holding(foreign_inputs(given, np.min))),
            others=tuple(fit.held),
            out_of_reach=target_below_irreducible(
                fit, options.target, drift, unit, options.ci_prob
            ),
            **more,
        )

    parts = list(zip(losses, news, strict=True))
    return with_each_law(fit, parts, result)


def _families(fit: Fit, widths: pd.DataFrame | None) -> dict[str, dict[str, Any]]:
    """Return the number of runs of each family, and its half width at the first point."""
    counts = runs_by_family(fit)
    known = {} if widths is None else widths[0].to_dict()
    return {name: {"n_runs": n, "half_width": known.get(name)} for name, n in counts.items()}


def require_likely(fit: Fit, unit: LossUnit, options: Options, medians: np.ndarray) -> None:
    """Refuse a target that seems to be in another unit than these medians in nats per token."""
    if options.target is not None and options.loss_unit is None:
        unit.require_likely(options.target, medians, () if fit.runs is None else fit.runs["loss"])


def located(fit: Fit, scales: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the table of points: their scales, and how far they lie beyond the runs."""
    unknown = np.full(len(scales[fit.inputs[0]]), np.nan)
    columns = (*SCALES, *(name for name in fit.inputs if name not in SCALES))
    points = pd.DataFrame({name: scales.get(name, unknown) for name in columns}, copy=False)
    points["extrapolation_ratio"] = extrapolation_ratio(fit, points)
    return points


def _judged(
    fit: Fit,
    points: pd.DataFrame,
    loss: xr.DataArray,
    new: xr.DataArray | None,
    tolerance: float,
) -> pd.DataFrame:
    half_width, new_half_width = (
        np.full(len(points), np.nan)
        if draws is None
        else half_width_of_log(
            np.sort(draws.transpose("point", ...).values.reshape(len(points), -1))
        )
        for draws in (loss, new)
    )
    return with_verdicts(fit, points, half_width, new_half_width, tolerance)


def half_width_of_log(values: np.ndarray) -> np.ndarray:
    """Return half the width of 90 % intervals of the log of sorted losses, shape (point, draw)."""
    with np.errstate(divide="ignore", invalid="ignore"):  # heavy tails reach zero and infinity
        lower, upper = quantiles_of_sorted(values, _NINETY, np.log)
        return (upper - lower) / 2


def with_verdicts(
    fit: Fit,
    points: pd.DataFrame,
    half_width: np.ndarray,
    new_half_width: np.ndarray,
    tolerance: float,
) -> pd.DataFrame:
    """Return the points with a verdict on whether a forecast there can be trusted.

    The half widths, shape (point,), are those of 90 % intervals of the log loss: of the mean, and
    of a single new run (NaN if unknown).
    """
    record = fit.record.get("backtest") or {}
    evidence = Evidence(record.get("bins"), record.get("across", ()))
    ratio = points["extrapolation_ratio"].to_numpy()
    frame = None if fit.runs is None else fit.runs.frame
    where = places(frame, fit.inputs, points, ratio)
    verdicts = [
        verdict(place, width, tolerance, evidence, None if np.isnan(single) else single)
        for place, width, single in zip(where, half_width, new_half_width, strict=True)
    ]
    return points.assign(
        across=[place.across for place in where],
        half_width=half_width,
        half_width_new=new_half_width,
        verdict=[item.state for item in verdicts],
        why=[item.text for item in verdicts],
    )


def noise_scales(fit: Fit, inputs: Mapping[str, xr.DataArray]) -> dict[str, Any]:
    """Return medians of the noise scale at the points and at the largest run, if noise shrinks."""
    if fit.runs is None or not all("shrink" in member.draws for member in fit.members):
        return {}
    largest = fit.runs.frame.iloc[[int(sizes(fit.runs.frame, fit.inputs).argmax())]]
    at_largest = {name: xr.DataArray(largest[name].to_numpy(), dims="point") for name in inputs}

    def median(at: Mapping[str, xr.DataArray]) -> np.ndarray:
        order = ("chain", "draw", "point")
        mixed = fit.mix([member.exact.sigma(at).transpose(*order) for member in fit.members])
        return np.median(mixed.transpose(*order).values, axis=(0, 1))

    return {"noise_sd": median(inputs), "noise_sd_at_largest": median(at_largest)[0]}


def placed(
    fit: Fit, given: Mapping[str, np.ndarray], options: Options, *, best: bool = True
) -> tuple[dict[str, np.ndarray], DefaultSplit | None]:
    """Return all scales of the points and, if budgets are split, the best split in each draw.

    The best splits take most of the time, and are left out unless ``best`` is true.

    Raises
    ------
    LawError
        If the scales given are not what the law needs.
    """
    count = flop_count_of(fit)
    foreign = {name: np.array([value]) for name, value in fit.held.items()}
    foreign |= {name: given[name] for name in given if name in foreign}
    stated = {name for name in given if name not in foreign}
    if stated == {"flops"} and splits(fit.inputs):
        if any(np.ptp(values) > 0 for values in foreign.values()):
            raise LawError(
                f"{' and '.join(foreign)} must have a single value if `flops=` is to be split: "
                "forecast one value at a time, or give params and tokens"
            )
        held = {name: float(values[0]) for name, values in foreign.items()}
        asked = (fit.holding(held), given["flops"], options.family, options.drift)
        split = default_split(*asked) if best else None
        params, tokens = default_sizes(*asked) if split is None else (split.params, split.tokens)
        places = {"params": params, "tokens": tokens, "flops": given["flops"]}
        return same_length({**all_unique(fit.inputs, places), **foreign}), split
    given = {**all_unique(fit.inputs, given), **foreign}
    for member in fit.members:
        _require_inputs(member.law, set(given))
    places = same_length(given)
    if "flops" not in places and {"params", "tokens"} <= set(places):
        places["flops"] = count.flops(places["params"], places["tokens"])
    return places, None


def _require_inputs(law: Law, given: set[str]) -> None:
    if given == set(law.inputs):
        return
    options = [" and ".join(f"`{name}=`" for name in law.inputs if name not in law.foreign)]
    if law.foreign and not set(law.foreign) <= given:
        options[0] += f" and `at={{{', '.join(f'{name!r}: VALUE' for name in law.foreign)}}}`"
    if splits(law.inputs):
        options.append("`flops=` alone, for the compute-optimal split")
    raise LawError(
        f"law {law.name!r} is a function of {' and '.join(law.inputs)}, but "
        f"{' and '.join(sorted(given)) or 'no scale'} is given: give {', or '.join(options)}"
    )


def extrapolation_ratio(fit: Fit, points: pd.DataFrame) -> np.ndarray:
    """Return how many times larger points are than the largest training run, shape (point,).

    The ratio is of compute, or of the law's only input; NaN without runs.
    """
    if fit.runs is None:
        return np.full(len(points), np.nan)
    return sizes(points, fit.inputs) / sizes(fit.runs.frame, fit.inputs).max()
