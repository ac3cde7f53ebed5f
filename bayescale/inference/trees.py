"""Groups of a posterior besides the draws: prior, predictions, densities, leave-one-out."""

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from bayescale.cards import loss_steps, memberships
from bayescale.inference.diagnostics import leave_one_out
from bayescale.posterior import Posterior, View
from bayescale.posterior.fitted_runs import densities_of_runs, error_variance
from bayescale.random import Purpose
from bayescale.runs import Runs
from bayescale.runs.log import ERRORS

PRIOR_DRAWS = 1000


def with_leave_one_out(posterior: Posterior) -> Posterior:
    """Add ``log_likelihood``, ``observed_data`` and ``leave_one_out``."""
    card, runs, tree = posterior.card, posterior.runs, posterior.tree
    assert runs is not None
    some = posterior.exact.by_run()
    pointwise, below, log_mean = densities_of_runs(some)
    log_loss = np.log(runs["loss"])
    run = {"run": runs["run_id"]}
    groups = {
        "log_likelihood": xr.Dataset({"log_loss": pointwise}),
        "observed_data": xr.Dataset({"log_loss": ("run", log_loss)}, coords=run),
    }
    left_out = leave_one_out(
        xr.DataTree.from_dict({"posterior": some.draws} | groups),
        log_loss,
        log_mean.values,
        below.values,
        list(card.law.coefficients),
        memberships(runs) if runs.has_checkpoints else None,
    )
    return replace(posterior, tree=_with(tree, groups | {"leave_one_out": left_out}))


def complete(posterior: Posterior) -> Posterior:
    """Add the other groups that ArviZ expects.

    Groups with values by draw and run hold fewer draws for long logs: see :meth:`View.by_run`.

    Returns
    -------
    Posterior
        With ``prior``, ``prior_predictive``, ``posterior_predictive``, ``log_prior`` and
        ``constant_data``.
    """
    card, runs = posterior.card, posterior.runs
    assert runs is not None
    prior = _prior_view(posterior)
    known = (*card.law.inputs, *ERRORS, "loss_step")
    stated = [*card.law.coefficients, *card.noise.parameters]
    log_prior = card.anchored(runs).log_prior({n: posterior.draws[n] for n in stated})
    groups = {
        "prior": prior.draws,
        "prior_predictive": _predictive(prior.by_run(), runs, Purpose.PRIOR_PREDICTIVE),
        "posterior_predictive": _predictive(
            posterior.exact.by_run(), runs, Purpose.POSTERIOR_PREDICTIVE
        ),
        "log_prior": xr.Dataset(
            {name: (("chain", "draw"), np.asarray(value)) for name, value in log_prior.items()},
            coords={name: posterior.draws[name] for name in ("chain", "draw")},
        ),
        "constant_data": xr.Dataset(
            {c: ("run", runs[c]) for c in known if c in runs}, coords={"run": runs["run_id"]}
        ),
    }
    return replace(posterior, tree=_with(posterior.tree, groups))


def _with(tree: xr.DataTree, groups: dict[str, xr.Dataset]) -> xr.DataTree:
    there = {name: group.to_dataset() for name, group in tree.children.items()}
    return xr.DataTree.from_dict(there | groups)


def _prior_view(posterior: Posterior) -> View:
    """Return draws of the prior as a view, so that prior and posterior predict by the same code."""
    assert posterior.runs is not None
    anchored = posterior.card.without_drift().anchored(posterior.runs)
    prior = anchored.draw_prior(PRIOR_DRAWS, posterior.seed, spreads=bool(posterior.families))
    coords: dict[str, Any] = {"chain": [0], "draw": np.arange(PRIOR_DRAWS)}
    if posterior.families:
        coords["family"] = list(posterior.families)
    dataset = xr.Dataset(
        {name: (("chain", "draw"), values[None]) for name, values in prior.items()}, coords=coords
    )
    return replace(posterior.exact, draws=dataset)


def _predictive(source: View, runs: Runs, purpose: Purpose) -> xr.Dataset:
    """Draw log losses of new runs at the fitted runs' inputs."""
    log_mean = source.log_mean_of_runs()
    predicted = log_mean + source.noise(log_mean, purpose, source.run_inputs())
    error = xr.ufuncs.sqrt(error_variance(source)).broadcast_like(predicted)
    if bool((error > 0).any()):
        standard = source.rng(Purpose[f"{purpose.name}_ERROR"]).standard_normal(predicted.shape)
        predicted = predicted + standard * error.transpose(*predicted.dims).values
    if (steps := loss_steps(source.card, runs)) is not None:
        low, high = steps  # the error of a rounded loss is uniform within its step
        predicted = predicted + source.rng(Purpose[f"{purpose.name}_ROUNDING"]).uniform(
            low, high, predicted.shape
        )
    return xr.Dataset({"log_loss": predicted.astype("float32")})
