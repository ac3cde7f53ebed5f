"""The loss at unseen scale: what runs reach on average, and what one new run will show.

The two are never mixed. ``loss`` is the mean run, uncertain because the coefficients are;
``loss_new`` is one new run, which scatters about the mean as the training runs did.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import LawError, PosteriorError
from bayescale.laws import Law, compute_optimal
from bayescale.laws.law import FLOP_PER_PARAM_TOKEN
from bayescale.posterior import DEFAULT_INTERVAL, Posterior, quantiles
from bayescale.units import format_size
from bayescale.verdict import sizes

SCALES = ("params", "tokens", "flops")


@dataclass(frozen=True, eq=False)
class Forecast:
    """Draws of the loss at one or more points.

    Attributes
    ----------
    loss, loss_new : xarray.DataArray
        Dims (chain, draw, point), nats per token: the mean run, and one new run.
        ``loss_new`` is None for a point estimate without noise.
    points : pandas.DataFrame
        One row a point: ``params``, ``tokens``, ``flops`` (NaN where the law needs none),
        ``extrapolation_ratio``: how many times larger than the largest training run.
    optimum : mapping or None
        Where only a budget was given: draws of the compute-optimal ``params`` and ``tokens``.
    """

    law: str
    points: pd.DataFrame
    loss: xr.DataArray
    loss_new: xr.DataArray | None
    interval: float
    target: float | None
    optimum: Mapping[str, xr.DataArray] | None
    family: str | None
    provenance: Mapping[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """One row a point: the scales, intervals of both losses, and chances of the target."""
        rows = []
        for i in range(len(self.points)):
            row = self.points.iloc[i].to_dict()
            kinds = {"loss": self.loss, "loss_new": self.loss_new}
            for kind, draws in kinds.items():
                if draws is not None:
                    for name, value in quantiles(draws.isel(point=i), self.interval).items():
                        row[f"{kind}_{name}"] = value
            rows.append(row | self._chances(i))
        return pd.DataFrame(rows)

    def _chances(self, i: int) -> dict[str, float | None]:
        if self.target is None:
            return {"p_below_target": None, "p_mean_below_target": None}
        mean = float((self.loss.isel(point=i) < self.target).mean())
        if self.loss_new is None:
            return {"p_below_target": mean, "p_mean_below_target": mean}
        new = float((self.loss_new.isel(point=i) < self.target).mean())
        return {"p_below_target": new, "p_mean_below_target": mean}

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
            "interval": self.interval,
            "loss": quantiles(self.loss, self.interval),
            "loss_new": None if self.loss_new is None else quantiles(self.loss_new, self.interval),
            "target": self.target,
            **self._chances(0),
            "extrapolation_ratio": None if np.isnan(ratio) else float(ratio),
            "verdict": point["verdict"],
            "optimum": {name: quantiles(draws, self.interval) for name, draws in optimum.items()}
            or None,
            "family": self.family,
            "provenance": dict(self.provenance),
        }

    def __str__(self) -> str:
        lines = []
        frame = self.to_frame()
        for _, row in frame.iterrows():
            sizes = [
                f"{format_size(row[name])} {name}"
                for name in ("params", "tokens")
                if np.isfinite(row[name])
            ]
            if np.isfinite(row["flops"]):
                sizes.append(f"{row['flops']:.3g} FLOP")
            lines.append(f"{self.law} at {', '.join(sizes)}:")
            for kind, what in (("loss", "mean of runs"), ("loss_new", "one new run ")):
                if f"{kind}_median" in row:
                    lines.append(
                        f"  {what}  {row[f'{kind}_median']:.4f}  ({self.interval:.0%} interval "
                        f"{row[f'{kind}_lower']:.4f} to {row[f'{kind}_upper']:.4f})  nats/token"
                    )
            if self.target is not None:
                lines.append(
                    f"  chance that one new run is below {self.target:g}: "
                    f"{row['p_below_target']:.0%}"
                )
            lines.append(f"  {_verdict_text(row['verdict'], row['extrapolation_ratio'])}")
        if self.optimum is not None:
            split = quantiles(self.optimum["params"], self.interval)
            lines.append(
                "  The split is the median compute-optimal one; the law leaves it at "
                f"{format_size(split['lower'])} to {format_size(split['upper'])} params "
                f"({self.interval:.0%} interval)."
            )
        if self.family is not None:
            lines.append(f"  For {self.family}.")
        return "\n".join(lines)


def forecast(
    posterior: Posterior,
    *,
    params: Any = None,
    tokens: Any = None,
    flops: Any = None,
    target: float | None = None,
    interval: float = DEFAULT_INTERVAL,
    family: str | None = None,
    allow_unconverged: bool = False,
) -> Forecast:
    """Forecast the loss at given scales, or at a budget on the compute-optimal path.

    Parameters
    ----------
    posterior : Posterior
    params, tokens : float or array_like, shape (point,)
        Raw counts; for a law of both, give both.
    flops : float or array_like, shape (point,)
        FLOP. For a law of params and tokens the budget is split at the median over draws of
        each draw's compute-optimal params, with C = 6 N D: one definite run, at which every
        draw is then evaluated.
    target : float, optional
        A loss in nats per token, for the chance of ending below it.
    interval : float
        Mass of the central intervals.
    family : str, optional
        A family of the fit; a new family where not given and families are pooled.
    allow_unconverged : bool
        Forecast although the convergence gate was missed.

    Returns
    -------
    Forecast

    Raises
    ------
    LawError
        If the scales given are not what the law needs.
    UnconvergedError
        If the posterior failed its gate.
    """
    posterior.require_converged(allow_unconverged)
    if not 0 < interval < 1:
        raise ValueError(f"interval is {interval}, but must lie between 0 and 1")
    if target is not None and not target > 0:
        raise PosteriorError(f"target is {target:g}, but a loss must be greater than zero")
    given = {
        name: np.atleast_1d(np.asarray(value, dtype=float))
        for name, value in {"params": params, "tokens": tokens, "flops": flops}.items()
        if value is not None
    }
    for name, values in given.items():
        if not (np.isfinite(values) & (values > 0)).all():
            raise LawError(f"{name} is {values.tolist()}, but must be finite and above zero")
    scales, optimum = _places(posterior, given, family)
    inputs = {name: xr.DataArray(scales[name], dims="point") for name in posterior.law.inputs}
    loss = posterior.loss(inputs, family).transpose("chain", "draw", "point")
    # the law's own drift multiplies the loss here, once it is part of the model
    new = posterior.new_run(loss) if "sigma" in posterior.draws else None
    points = pd.DataFrame(
        {name: scales.get(name, np.full(loss.sizes["point"], np.nan)) for name in SCALES}
    )
    points["extrapolation_ratio"] = extrapolation_ratio(posterior, points)
    points["verdict"] = [
        "inside" if ratio <= 1 else "untested" for ratio in points["extrapolation_ratio"]
    ]
    pooled = "a new family" if posterior.families else None
    return Forecast(
        law=posterior.law.name,
        points=points,
        loss=loss,
        loss_new=new,
        interval=interval,
        target=target,
        optimum=optimum,
        family=family or pooled,
        provenance=posterior.record["provenance"],
    )


def _places(
    posterior: Posterior, given: dict[str, np.ndarray], family: str | None
) -> tuple[dict[str, np.ndarray], Mapping[str, xr.DataArray] | None]:
    law = posterior.law
    if set(given) == {"flops"} and set(law.inputs) == {"params", "tokens"}:
        coefficients = {
            name: values.values[..., None]
            for name, values in posterior.coefficients(family).items()
        }
        params, tokens = compute_optimal(law, given["flops"], coefficients)
        dims = ("chain", "draw", "point")
        split = np.exp(np.median(np.log(params), axis=(0, 1)))
        places = {
            "params": split,
            "tokens": given["flops"] / (FLOP_PER_PARAM_TOKEN * split),
            "flops": given["flops"],
        }
        return places, {
            "params": xr.DataArray(params, dims=dims),
            "tokens": xr.DataArray(tokens, dims=dims),
        }
    _require_inputs(law, set(given))
    try:
        places = dict(zip(given, np.broadcast_arrays(*given.values()), strict=True))
    except ValueError:
        lengths = {name: len(values) for name, values in given.items()}
        raise LawError(f"the scales have different lengths: {lengths}") from None
    if "flops" not in places and {"params", "tokens"} <= set(places):
        places["flops"] = FLOP_PER_PARAM_TOKEN * places["params"] * places["tokens"]
    return places, None


def _require_inputs(law: Law, given: set[str]) -> None:
    if given == set(law.inputs):
        return
    options = [" and ".join(f"--{name}" for name in law.inputs)]
    if set(law.inputs) == {"params", "tokens"}:
        options.append("--flops alone, for the compute-optimal split")
    raise LawError(
        f"law {law.name!r} is a function of {' and '.join(law.inputs)}, but "
        f"{' and '.join(sorted(given)) or 'no scale'} is given: say {', or '.join(options)}"
    )


def extrapolation_ratio(posterior: Posterior, points: pd.DataFrame) -> np.ndarray:
    """How many times larger a point is than the largest training run, shape (point,).

    In compute, or in the law's own input where it has one only; NaN without runs.
    """
    if posterior.runs is None:
        return np.full(len(points), np.nan)
    inputs = posterior.inputs
    return sizes(points, inputs) / sizes(posterior.runs.frame, inputs).max()


def _verdict_text(verdict: str, ratio: float) -> str:
    if np.isnan(ratio):
        return "No runs stand behind this point estimate, so how far it extrapolates is unknown."
    if verdict == "inside":
        return f"Inside the range of the runs ({ratio:.3g} times the largest)."
    return (
        f"Extrapolates to {ratio:.3g} times the largest training run. No backtest has tested this: "
        "the interval takes the law to hold there."
    )
