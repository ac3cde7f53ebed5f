"""Forecasts of held-out runs by a refit, and their scores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.cards import ModelCard
from bayescale.forecasting import forecast
from bayescale.posterior import Posterior, fitted_unit_of
from bayescale.runs import Runs
from bayescale.validation import scores
from bayescale.validation.cutoffs import SAME_SIZE, training_mask
from bayescale.validation.split_forecasts import Optima, SplitSample, mixed_splits, sample_splits
from bayescale.verdict import sizes

Refit = Callable[[Runs, ModelCard, int], Posterior]
"""``refit(runs, card, seed)`` makes a posterior, as :func:`bayescale.refit` does."""

AVERAGE = "average"
"""The name of the model average among the scores."""

MOST_DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Sample:
    """Forecasts of the runs larger than a cutoff, by one refit.

    Attributes
    ----------
    new, mean : numpy.ndarray
        Draws of the log loss of a single new run and of the mean over seeds, shape (draw, run): at
        most 1,000 evenly spaced draws.
    lpd : numpy.ndarray
        Log predictive density of the observed loss, per nat per token, shape (run,).
    converged : bool
        Whether the refit passed its convergence checks.
    splits : SplitSample or None
        Losses of splits of larger budgets whose best size was measured.
    """

    new: np.ndarray
    mean: np.ndarray
    lpd: np.ndarray
    converged: bool
    splits: SplitSample | None = None

    def errors(self, loss: np.ndarray) -> dict[str, np.ndarray]:
        """Return errors, half widths and coverage of the forecasts of observed losses (run,)."""
        log_loss = np.log(loss)
        lower, upper = scores.central_interval(self.new, 0.9)
        return {
            "log_error": np.median(self.new.astype(float), axis=0) - log_loss,
            "half_width90": scores.half_width(self.mean, 0.9),
            "covered90": (lower <= log_loss) & (log_loss <= upper),
        }


Samples = Mapping[tuple[str, float], Sample]
"""Samples by law and cutoff."""


@dataclass(frozen=True, eq=False)
class Task:
    """A refit for a worker process, where it returns a :class:`Sample`.

    ``optima`` are the best sizes that were measured at budgets of the log.
    """

    refit: Refit
    card: ModelCard
    runs: Runs
    size: np.ndarray
    cutoff: float
    seed: int
    optima: Optima | None = None

    @property
    def key(self) -> tuple[str, float]:
        """The law's name, and the cutoff."""
        return self.card.law.name, self.cutoff

    @property
    def training(self) -> np.ndarray:
        """Which runs are fitted, shape (run,)."""
        return training_mask(self.size, self.cutoff)

    def __call__(self) -> Sample:
        """Fit the runs up to the cutoff, and return forecasts of the others."""
        training = self.training
        posterior = self.refit(self.runs.take(training), self.card, self.seed)
        sample = forecast_held_out(posterior, self.runs.frame.loc[~training])
        larger = None if self.optima is None else self.optima.above(self.cutoff * (1 + SAME_SIZE))
        if not larger or posterior.families:  # the measured optima do not distinguish families
            return sample
        return replace(sample, splits=sample_splits(posterior, larger))


def forecast_held_out(posterior: Posterior, held_out: pd.DataFrame) -> Sample:
    """Return forecasts of held-out runs, each with its family's coefficients."""
    n, known = len(held_out), posterior.families
    family = np.full(n, "", dtype=object)
    if known and "family" in held_out:
        family[:] = [name if name in known else "" for name in held_out["family"].astype(str)]
    new, mean, lpd = [np.empty(0)] * n, [np.empty(0)] * n, np.empty(n)
    for name in np.unique(family):
        which = np.flatnonzero(family == name)
        rows = held_out.iloc[which]
        scales: dict[str, Any] = {i: rows[i].to_numpy(dtype=float) for i in posterior.inputs}
        of: dict[str, Any] = {"family": name or None}
        at = {i: scales[i] for i in posterior.law.foreign}
        sizes = {i: x for i, x in scales.items() if i not in at}
        unit = fitted_unit_of(posterior)
        result = forecast(posterior, **sizes, at=at, **of, loss_unit=unit, allow_unconverged=True)
        assert result.loss_new is not None
        points = {i: xr.DataArray(x, dims="point") for i, x in scales.items()}
        density = by_draw(posterior.drifting.log_density(rows["loss"], points, **of))
        lpd[which] = scores.log_predictive(density)
        for into, draws in ((new, result.loss_new), (mean, result.loss)):
            kept = scores.thinned(by_draw(draws), MOST_DRAWS)
            with np.errstate(divide="ignore"):  # few degrees of freedom can reach a loss of zero
                log = np.log(kept)
            for i, column in zip(which, log.T, strict=True):
                into[i] = column
    return Sample(
        np.stack(new, axis=1).astype("float32"),
        np.stack(mean, axis=1).astype("float32"),
        lpd,
        bool(posterior.diagnostics["passed"]),
    )


def by_draw(draws: xr.DataArray) -> np.ndarray:
    """Return draws at points in the shape (draw, point)."""
    values = draws.transpose("chain", "draw", "point").values
    return values.reshape(-1, values.shape[-1])


def scored(law: str, cutoff: float, runs: Runs, size: np.ndarray, sample: Sample) -> pd.DataFrame:
    """Return scores of forecasts of the runs larger than a cutoff, one row per run.

    Parameters
    ----------
    law : str
        The name of the forecasts in the column ``law``.
    cutoff : float
    runs : Runs
        All of the runs, those up to the cutoff included.
    size : numpy.ndarray, shape (run,)
        Their sizes, on the cutoff's scale.
    sample : Sample
        Forecasts of the larger runs, in their order, by a refit or by other means.

    Returns
    -------
    pandas.DataFrame
        Rows as in :attr:`bayescale.Backtest.forecasts`.
    """
    training = training_mask(size, cutoff)
    loss = runs["loss"][~training]
    log_loss = np.log(loss)
    lower50, upper50 = scores.central_interval(sample.new, 0.5)
    lower90, upper90 = scores.central_interval(sample.new, 0.9)
    median = np.median(sample.new.astype(float), axis=0)
    return pd.DataFrame(
        {
            "law": law,
            "cutoff": cutoff,
            "run_id": runs["run_id"][~training],
            "ratio": size[~training] / size[training].max(),
            "n_train": int(training.sum()),
            "loss": loss,
            "median": np.exp(median),
            "lower50": np.exp(lower50),
            "upper50": np.exp(upper50),
            "lower90": np.exp(lower90),
            "upper90": np.exp(upper90),
            "log_error": median - log_loss,
            "lpd": sample.lpd,
            "crps": scores.crps(scores.limited(sample.new), log_loss),
            "pit": scores.pit(sample.new, log_loss),
            "half_width90": scores.half_width(sample.mean, 0.9),
            "covered50": (lower50 <= log_loss) & (log_loss <= upper50),
            "covered90": (lower90 <= log_loss) & (log_loss <= upper90),
            "converged": sample.converged,
        }
    )


def scored_average(
    runs: Runs,
    samples: Samples,
    laws: Sequence[str],
    weights: Sequence[float],
    cutoffs: Sequence[float],
    scale: str,
) -> pd.DataFrame:
    """Return scores of the model average at the cutoffs at which every law's refit succeeded."""
    size = sizes(runs.frame, (scale,) if scale != "flops" else ("params", "tokens"))
    parts = []
    for cutoff in cutoffs:
        found = [samples[law, cutoff] for law in laws if (law, cutoff) in samples]
        if len(found) < len(laws):
            continue
        parts.append(scored(AVERAGE, cutoff, runs, size, mixed_sample(found, weights)))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def mixed_sample(samples: Sequence[Sample], weights: Sequence[float]) -> Sample:
    """Return the mixed forecasts of several laws' refits to the same runs."""
    splits = [sample.splits for sample in samples if sample.splits is not None]
    return Sample(
        scores.mixed([sample.new for sample in samples], weights),
        scores.mixed([sample.mean for sample in samples], weights),
        scores.log_mixture([sample.lpd for sample in samples], weights),
        all(sample.converged for sample in samples),
        mixed_splits(splits, weights) if len(splits) == len(samples) else None,
    )


def by_training(
    samples: Mapping[tuple[str, Any], Sample], laws: Sequence[str], weights: Sequence[float]
) -> Iterator[tuple[str, Any, Sample]]:
    """Yield law, key of the training runs, and sample: for each law, and for their average."""
    for (law, training), sample in samples.items():
        yield law, training, sample
    for training in dict.fromkeys(training for _, training in samples):
        found = [samples[law, training] for law in laws if (law, training) in samples]
        if len(laws) > 1 and len(found) == len(laws):
            yield AVERAGE, training, mixed_sample(found, weights)


def aggregate(part: pd.DataFrame) -> dict[str, float]:
    """Return the scores of some forecasts, averaged."""
    return {
        "rmsle": scores.rmsle(part["median"], part["loss"]),
        "crps": float(part["crps"].mean()),
        "lpd": float(part["lpd"].mean()),
        "coverage50": float(part["covered50"].mean()),
        "coverage90": float(part["covered90"].mean()),
    }
