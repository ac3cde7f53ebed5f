"""The spread of coefficients over fresh run logs, by the infinitesimal jackknife.

A posterior takes residual noise to be independent and identically distributed. If it is not,
because similar runs deviate together or some sizes are noisier, the posterior is overconfident. How
far each run moves the coefficients tells by how much, without a refit (Giordano and Broderick
2023).
"""

from dataclasses import replace

import numpy as np
import xarray as xr

from bayescale.errors import PosteriorError
from bayescale.findings import Finding, note
from bayescale.posterior.average import ModelAverage
from bayescale.posterior.fit import Fit
from bayescale.posterior.posterior import Posterior

FEWEST_RUNS = 30
"""The fewest runs: with fewer, the jackknife itself is too uncertain."""

OVERCONFIDENT = 1.2


def resampling_ratio(posterior: Posterior) -> dict[str, float]:
    """Estimate the spread of each coefficient over fresh logs, in posterior standard deviations.

    Parameters
    ----------
    posterior : Posterior
        A fit of at least 30 runs, with its ``log_likelihood``.

    Returns
    -------
    dict of str to float
        A ratio for the logarithm of each coefficient: near 1 if the model is right, above 1 if its
        intervals are overconfident.

    Raises
    ------
    PosteriorError
        If there are too few runs, or the fit has families.
    """
    posterior_cov, jackknife_cov = _covariances(posterior)
    ratio = np.sqrt(np.diag(jackknife_cov) / np.diag(posterior_cov))
    return dict(zip(posterior.law.coefficients, map(float, ratio), strict=True))


def widen[F: Fit](fit: F) -> F:
    """Widen a posterior to its spread over fresh logs, without narrowing it anywhere.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of at least 30 runs, without families.

    Returns
    -------
    Posterior or ModelAverage
        The fit with draws that are moved about their mean, linearly in the logs of the
        coefficients. Their covariance becomes that of the jackknife in every direction in which the
        jackknife's is larger (Shaby 2014, the open-faced sandwich). Noise and all other groups are
        unchanged.

    Raises
    ------
    PosteriorError
        If there are too few runs, or the fit has families.
    """
    if isinstance(fit, ModelAverage):
        return replace(fit, members=tuple(widen(member) for member in fit.members))
    posterior = fit
    names = posterior.law.coefficients
    posterior_cov, jackknife_cov = _covariances(posterior)
    root = np.linalg.cholesky(posterior_cov)
    inverse = np.linalg.inv(root)
    values, vectors = np.linalg.eigh(inverse @ jackknife_cov @ inverse.T)
    stretch = root @ (vectors * np.sqrt(np.maximum(values, 1.0))) @ vectors.T @ inverse

    density = posterior.tree["log_likelihood"].to_dataset()["log_loss"]
    draws = posterior.draws.sel(draw=density["draw"].values)  # a subset for long logs
    logs = np.stack([np.log(draws[name].values) for name in names], axis=-1)
    mean = logs.mean(axis=(0, 1))
    moved = np.exp(mean + (logs - mean) @ stretch.T)
    changed = {name: draws[name].copy(data=moved[..., i]) for i, name in enumerate(names)}
    groups = {name: group.to_dataset() for name, group in posterior.tree.children.items()}
    tree = xr.DataTree.from_dict(groups | {"posterior": draws.assign(changed)})
    return replace(posterior, tree=tree, record={**posterior.record, "widened": True})


def overconfident(posterior: Posterior) -> dict[str, float]:
    """Return the ratios of :func:`resampling_ratio` that are well above 1.

    Empty if they cannot be estimated, and for a posterior that :func:`widen` made.
    """
    few = posterior.runs is None or len(posterior.runs) < FEWEST_RUNS
    lacking = "log_likelihood" not in posterior.tree.children
    if few or lacking or posterior.families or "widened" in posterior.record:
        return {}
    return {k: v for k, v in resampling_ratio(posterior).items() if v > OVERCONFIDENT}


def resampling_notes(fit: Fit) -> tuple[Finding, ...]:
    """Return warnings of coefficients that are less certain than their posterior says.

    Returns
    -------
    tuple of Finding
        A finding with code ``overconfident`` for each such law; none if there are too few runs.
    """
    notes = []
    for member in fit.members:
        ratios = overconfident(member)
        if ratios:
            times = ", ".join(f"{name} {ratio:.1f}" for name, ratio in ratios.items())
            notes.append(
                note(
                    "overconfident",
                    "over fresh logs the coefficients would vary more than their intervals say "
                    f"(times {times}): residual noise about {member.name} is not independent and "
                    "identically distributed. Forecasts allow for it by the law's drift; a summary "
                    "with `robust=True` has wider intervals",
                )
            )
    return tuple(notes)


def _covariances(posterior: Posterior) -> tuple[np.ndarray, np.ndarray]:
    """Return the posterior's and the jackknife's covariance of the logs, (k, k) each."""
    if posterior.runs is None or len(posterior.runs) < FEWEST_RUNS:
        n = 0 if posterior.runs is None else len(posterior.runs)
        raise PosteriorError(
            f"{n} runs are too few to estimate the spread of the coefficients over fresh logs: at "
            f"least {FEWEST_RUNS} are needed"
        )
    if posterior.families:
        raise PosteriorError("intervals over fresh logs are not defined for a fit with families")
    density = posterior.tree["log_likelihood"].to_dataset()["log_loss"]
    draws = posterior.draws.sel(draw=density["draw"].values)  # a subset for long logs
    logs = np.stack([np.log(draws[n].values).ravel() for n in posterior.law.coefficients])
    logs -= logs.mean(axis=1, keepdims=True)
    by_run = density.transpose("run", "chain", "draw").values.reshape(density.sizes["run"], -1)
    n_draws = logs.shape[1]
    # each run's pull on the mean: its covariance with that run's log density
    pull = logs @ (by_run - by_run.mean(axis=1, keepdims=True)).T / n_draws
    return logs @ logs.T / n_draws, pull @ pull.T
