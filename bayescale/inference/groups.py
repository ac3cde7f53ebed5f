"""What stands beside the draws: priors, predictions, pointwise densities, leave-one-out."""

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from bayescale.cards import has_checkpoints
from bayescale.inference.diagnostics import leave_one_out
from bayescale.likelihood import loss_steps, memberships
from bayescale.posterior import Posterior
from bayescale.posterior.scatter import error_variance, scatter_of_runs
from bayescale.runs import Runs
from bayescale.runs.log import ERRORS

PRIOR_DRAWS = 1000


def complete(posterior: Posterior) -> Posterior:
    """Add the groups that ArviZ expects beside the draws.

    Those by draw and run hold fewer draws where runs are many: see :meth:`Posterior.by_run`.

    Returns
    -------
    Posterior
        With ``prior``, ``prior_predictive``, ``posterior_predictive``, ``log_likelihood``,
        ``log_prior``, ``observed_data``, ``constant_data`` and ``leave_one_out``.
    """
    card, runs, tree = posterior.card, posterior.runs, posterior.tree
    assert runs is not None
    log_loss = xr.DataArray(np.log(runs["loss"]), dims="run", coords={"run": runs["run_id"]})
    some, prior = posterior.by_run(), _prior_posterior(posterior)
    log_mean = _log_mean(some, runs)
    pointwise, below = scatter_of_runs(some)
    known = (*card.law.inputs, *ERRORS, "loss_step")
    constant = {c: ("run", runs[c]) for c in known if c in runs}
    run = {"run": runs["run_id"]}
    stated = [*card.law.coefficients, *card.noise.parameters]
    log_prior = card.anchored(runs).log_prior({n: posterior.draws[n] for n in stated})
    groups = {
        "prior": prior.draws,
        "prior_predictive": _predictive(prior.by_run(), runs, purpose=4),
        "posterior_predictive": _predictive(some, runs, purpose=3),
        "log_likelihood": xr.Dataset({"log_loss": pointwise}),
        "log_prior": xr.Dataset(
            {name: (("chain", "draw"), np.asarray(value)) for name, value in log_prior.items()},
            coords={name: posterior.draws[name] for name in ("chain", "draw")},
        ),
        "observed_data": xr.Dataset({"log_loss": log_loss}),
        "constant_data": xr.Dataset(constant, coords=run),
    }
    tree = xr.DataTree.from_dict({n: g.to_dataset() for n, g in tree.children.items()} | groups)
    unit = memberships(runs) if has_checkpoints(runs) else None
    held = {"posterior": some.draws} | {n: groups[n] for n in ("log_likelihood", "observed_data")}
    tree["leave_one_out"] = xr.DataTree(
        leave_one_out(
            xr.DataTree.from_dict(held), log_loss.values, log_mean.values, below.values,
            list(card.law.coefficients), unit,
        )
    )  # fmt: skip
    return replace(posterior, tree=tree)


def _prior_posterior(posterior: Posterior) -> Posterior:
    """The prior, seen as a posterior of the same card, so that it predicts by the same code."""
    card = posterior.card
    seed = posterior.record["provenance"]["seed"]
    assert posterior.runs is not None
    anchored = card.without_drift().anchored(posterior.runs)
    drawn = anchored.draw_prior(PRIOR_DRAWS, seed, spreads=bool(posterior.families))
    coords: dict[str, Any] = {"chain": [0], "draw": np.arange(PRIOR_DRAWS)}
    if posterior.families:
        coords["family"] = list(posterior.families)
    dataset = xr.Dataset(
        {name: (("chain", "draw"), values[None]) for name, values in drawn.items()}, coords=coords
    )
    return replace(posterior, tree=xr.DataTree.from_dict({"posterior": dataset}))


def _log_mean(source: Posterior, runs: Runs) -> xr.DataArray:
    log_mean = xr.ufuncs.log(source.loss_of_runs())
    return log_mean.transpose("chain", "draw", "run").assign_coords(run=runs["run_id"])


def _predictive(source: Posterior, runs: Runs, purpose: int) -> xr.Dataset:
    """Log losses as new runs at the observed places would give them."""
    log_mean = _log_mean(source, runs)
    predicted = log_mean + source.noise(log_mean, purpose, source.run_inputs())
    error = xr.ufuncs.sqrt(error_variance(source)).broadcast_like(predicted)
    if bool((error > 0).any()):
        standard = source.rng(purpose + 10).standard_normal(predicted.shape)
        predicted = predicted + standard * error.transpose(*predicted.dims).values
    if (steps := loss_steps(source.card, runs)) is not None:
        low, high = steps  # a rounded loss is off by anything within its step
        predicted = predicted + source.rng(purpose + 20).uniform(low, high, predicted.shape)
    return xr.Dataset({"log_loss": predicted.astype("float32")})
