"""Convergence checks of the sampler, and leave-one-out cross-validation of runs."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import xarray as xr

from bayescale.inference.compiled.lazy_imports import lazy_imports
from bayescale.inference.mixing import ess_of_mean, mixing

MOST_RHAT = 1.01
FEWEST_EFFECTIVE = 400
MOST_DIVERGENT = 0.001

REFIT_LIMITS = {"most_rhat": 1.05, "fewest_effective": 100, "most_divergent": 0.01}
"""Looser limits for one refit among many, because scores are averaged over many runs."""

OUTLIER_P = 0.01
INFLUENTIAL_SHIFT = 0.5


@cache
def arviz_stats() -> Any:
    """Import ``arviz_stats`` when it is first used; importing all of ArviZ is slower still."""
    # if these were imported, ArviZ would scan the source of every loaded module
    with lazy_imports("jax", "numpyro"):
        import arviz_base  # noqa: F401
    import arviz_stats

    return arviz_stats


def check_convergence(
    tree: xr.DataTree,
    *,
    most_rhat: float = MOST_RHAT,
    fewest_effective: int = FEWEST_EFFECTIVE,
    most_divergent: float = MOST_DIVERGENT,
) -> dict[str, Any]:
    """Measure the convergence of every sampled variable, and compare it with limits.

    Parameters
    ----------
    tree : xarray.DataTree
        With ``posterior`` and ``sample_stats``.
    most_rhat, fewest_effective, most_divergent : float
        The limits; the last is a share of the draws.

    Returns
    -------
    dict
        ``rhat_max``, ``ess_bulk_min``, ``ess_tail_min``, ``divergences``, ``n_draws``, ``passed``,
        and ``reasons``: a sentence for each limit that the draws do not meet.
    """
    posterior, dims = tree["posterior"].to_dataset(), ("chain", "draw", ...)
    measured = {str(n): mixing(x.transpose(*dims).values) for n, x in posterior.data_vars.items()}
    mixed = _worst({name: of.rhat for name, of in measured.items()}, max)
    bulk = _worst({name: of.ess_bulk for name, of in measured.items()}, min)
    tail = _worst({name: of.ess_tail for name, of in measured.items()}, min)
    divergences = int(tree["sample_stats"].to_dataset()["diverging"].sum())
    n_draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    reasons = []
    if not mixed[1] <= most_rhat:
        reasons.append(f"R-hat of {mixed[0]} is {mixed[1]:.3f}, above {most_rhat}")
    for kind, (name, value) in {"bulk": bulk, "tail": tail}.items():
        if not value >= fewest_effective:
            reasons.append(
                f"the {kind} of {name} has {value:.0f} effective draws, below {fewest_effective}"
            )
    if divergences > most_divergent * n_draws:
        reasons.append(f"{divergences} of {n_draws} draws diverged, more than {most_divergent:.1%}")
    return {
        "rhat_max": mixed[1],
        "ess_bulk_min": bulk[1],
        "ess_tail_min": tail[1],
        "divergences": divergences,
        "n_draws": n_draws,
        "passed": not reasons,
        "reasons": reasons,
    }


def _worst(values: Mapping[str, np.ndarray], pick: Any) -> tuple[str, float]:
    undefined = [name for name, array in values.items() if np.isnan(array).any()]
    if undefined:
        return undefined[0], float("nan")
    ends = {name: float(pick(array.min(), array.max())) for name, array in values.items()}
    name = pick(ends, key=lambda key: ends[key])
    return name, ends[name]


def leave_one_out(
    tree: xr.DataTree,
    log_loss: np.ndarray,
    log_mean: np.ndarray,
    tail: np.ndarray,
    names: list[str],
    unit: np.ndarray | None = None,
) -> xr.Dataset:
    """Score each run by leave-one-out, and measure how far leaving it out moves the coefficients.

    Parameters
    ----------
    tree : xarray.DataTree
        With ``posterior`` and ``log_likelihood``; also ``observed_data`` with ``unit``.
    log_loss : (run,)
        Observed log loss.
    log_mean : (chain, draw, run)
        The law's log loss.
    tail : (chain, draw, run)
        Probability of a run at or below the observed log loss, by draw.
    names : list of str
        Coefficients whose shift is measured.
    unit : (run,), optional
        Index of each row's training run, for rows that are checkpoints of training runs. A whole
        training run is then left out at a time, and its elpd is divided among its rows.

    Returns
    -------
    xarray.Dataset
        ``elpd``, ``pareto_k``, ``p_value`` (two-sided), ``expected`` (median loss in nats),
        ``outlier``, ``influential`` (run,), and ``shift`` (run, coefficient): the change of
        a coefficient's mean on leaving the run out, in posterior standard deviations.

    Notes
    -----
    Runs are left out by Pareto-smoothed importance weights. A run is an outlier if its
    leave-one-out p-value is below 1 % and below two over the number of runs, so that at most two
    outliers are expected by chance. It is influential if leaving it out moves the mean of a
    coefficient by more than half a posterior standard deviation. Vehtari, Gelman and Gabry 2017,
    arXiv 1507.04544.
    """
    from scipy import special

    part = np.arange(len(log_loss)) if unit is None else unit
    density = tree["log_likelihood"].to_dataset()["log_loss"]
    log_weights, pareto_k = _smoothed(density, _relative_efficiency(tree))
    elpd: Any = special.logsumexp(
        log_weights + density.transpose("chain", "draw", "run").values, axis=(0, 1)
    )
    weights = np.exp(log_weights - log_weights.max((0, 1)))
    weights /= weights.sum((0, 1))
    below = (weights[..., part] * tail).sum((0, 1))
    p_value = 2 * np.minimum(below, 1 - below)
    draws = {name: tree["posterior"].to_dataset()[name].values for name in names}
    shift = np.stack(
        [((weights * x[..., None]).sum((0, 1)) - x.mean()) / x.std() for x in draws.values()],
        axis=-1,
    )[part]
    n_runs = len(log_loss)
    per_run = {
        "elpd": (elpd / np.bincount(part))[part],
        "pareto_k": pareto_k[part],
        "p_value": p_value,
        "expected": np.exp(np.median(log_mean, axis=(0, 1))),
        "outlier": (p_value < min(OUTLIER_P, 2 / n_runs)).astype("int8"),
        "influential": (np.abs(shift).max(-1) > INFLUENTIAL_SHIFT).astype("int8"),
    }
    group = "log_likelihood" if unit is None else "observed_data"  # the group that has every row
    return xr.Dataset(
        {name: ("run", values) for name, values in per_run.items()}
        | {"shift": (("run", "coefficient"), shift)},
        coords={"run": tree[group]["log_loss"]["run"].values, "coefficient": names},
    )


def _smoothed(density: xr.DataArray, relative_efficiency: float) -> tuple[np.ndarray, np.ndarray]:
    """Return log weights, (chain, draw, run), that leave each run out, and Pareto k, (run,).

    ``arviz_stats.loo`` finds the same, and also sums that are not used here.
    """
    arviz_stats()  # registers the accessor
    log_weights, pareto_k = density.azstats.psislw(r_eff=relative_efficiency, dim=["chain", "draw"])
    return log_weights.transpose("chain", "draw", "run").values, pareto_k.values


def _relative_efficiency(tree: xr.DataTree) -> float:
    """Return effective draws of a mean as a share of all, averaged over all scalars."""
    posterior = tree["posterior"].to_dataset()
    if posterior.sizes["chain"] == 1:
        return 1.0
    each = [
        ess_of_mean(draws.transpose("chain", "draw", ...).values)
        for draws in posterior.data_vars.values()
    ]
    return float(np.concatenate(each).mean() / (posterior.sizes["chain"] * posterior.sizes["draw"]))
