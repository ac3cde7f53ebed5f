"""The residual noise of a PyMC model: how observed log losses deviate from the law's."""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

from bayescale import noise
from bayescale.cards import ModelCard
from bayescale.inference.model.families import sum_by
from bayescale.inference.model.variables import variable


class PyTensor:
    """The functions that :mod:`bayescale.noise` takes from a library."""

    constant: Any = staticmethod(disconnected_grad)
    erfcx: Any = staticmethod(pt.erfcx)
    gammaln: Any = staticmethod(pt.gammaln)
    maximum: Any = staticmethod(pt.maximum)
    sum_by: Any = staticmethod(sum_by)
    where: Any = staticmethod(pt.where)


def likelihood(
    card: ModelCard, log_loss: Any, known: dict[str, Any], blur: Any, data: dict[str, Any]
) -> None:
    """Observe the runs' log losses; ``blur`` is the variance due to errors of the law's inputs."""
    sigma, nu, excess = known["sigma"], known.get("nu"), known.get("excess")
    if "shrink" in known:
        sigma = sigma * pt.exp(-known["shrink"] * data["log_relative_size"])
    error = data["relative_se"] ** 2 + blur if "relative_se" in data else blur
    alike = isinstance(error, float) and "shrink" not in known  # one scale for all runs
    about = {"observed": data["log_loss_observed"], "dims": "run"}
    if "shared" in known:
        own = pt.sqrt((1 - known["shared"]) * sigma**2 + error)
        shared = pt.sqrt(known["shared"]) * sigma + pt.zeros_like(own)
        counts = data["n_members"] if alike else None
        _of_checkpoints(log_loss, own, shared, data["members"], counts, nu, about)
        return
    scale = sigma if alike else pt.sqrt(sigma**2 + error)
    steps = (data["step_below"], data["step_above"]) if "step_below" in data else None
    if excess is None and steps is None:
        given = {"sigma": scale} | ({"nu": nu} if nu is not None else {})
        getattr(pm, card.noise.dist)("log_loss", mu=log_loss, **given, **about)
    else:
        _of_single_runs(log_loss, scale, nu, excess, steps, about)


def _of_single_runs(
    mu: Any, scale: Any, nu: Any, excess: Any, steps: Any, about: dict[str, Any]
) -> None:
    """Observe runs that lie above the law, or whose losses are known to a step."""
    present = [("nu", nu), ("excess", excess)]
    if steps is not None:
        present += [("below", steps[0]), ("above", steps[1])]
    given = {name: value for name, value in present if value is not None}

    def logp(value: Any, mu: Any, scale: Any, *rest: Any) -> Any:
        named = dict(zip(given, rest, strict=True))
        step = (named.pop("below"), named.pop("above")) if steps is not None else None
        return noise.log_density(value - mu, scale, step=step, xp=PyTensor, **named)

    def random(mu: Any, scale: Any, *rest: Any, rng: Any = None, size: Any = None) -> Any:
        named = dict(zip(given, rest, strict=True))
        shape = np.broadcast_shapes(np.shape(mu), np.shape(scale)) if size is None else size
        if "excess" in named:
            named["excess"] = named["excess"] / scale
        return mu + scale * noise.draw(rng, shape, named.get("nu"), named.get("excess"))

    pm.CustomDist("log_loss", mu, scale, *given.values(), logp=logp, random=random, **about)


def _of_checkpoints(
    mu: Any, own: Any, shared: Any, members: Any, counts: Any, nu: Any, about: dict[str, Any]
) -> None:
    """Observe rows of training runs, which share part of their residual noise.

    ``own`` and ``shared`` are scalars where ``counts``, of rows by training run, are given.
    """
    more = {name: x for name, x in (("counts", counts), ("nu", nu)) if x is not None}

    def logp(value: Any, mu: Any, own: Any, shared: Any, members: Any, *rest: Any) -> Any:
        given = dict(zip(more, rest, strict=True))
        return noise.log_density_of_checkpoints(
            value - mu, own, shared, members, xp=PyTensor, **given
        ).sum()

    def random(
        mu: Any, own: Any, shared: Any, members: Any, *rest: Any, rng: Any = None, size: Any = None
    ) -> Any:
        nu = dict(zip(more, rest, strict=True)).get("nu")
        own = np.broadcast_to(own, np.shape(mu))
        return mu + noise.draw_checkpoints(rng, own, shared, members, nu)

    by_row = "(n),(n),(n),(n)" if counts is None else "(n),(),(),(n),(m)"
    signature = by_row + (",()" if nu is not None else "") + "->(n)"
    given = (mu, own, shared, members, *more.values())
    pm.CustomDist("log_loss", *given, logp=logp, random=random, signature=signature, **about)


def condensed_likelihood(
    log_loss: Any, steps: Any, known: dict[str, Any], data: dict[str, Any]
) -> None:
    """Observe condensed training runs, given log losses at their nodes and the drift's steps."""
    law, losses, counts = data["law_rotated"], data["loss_rotated"], data["n_members"]
    at_nodes = log_loss.reshape((law.shape[0], law.shape[2]))
    rotated = losses - (law * at_nodes[:, None, :]).sum(2)
    if steps is not None:
        rotated = rotated - (data["drift_rotated"] * steps).sum(2)
    sigma, shared = known["sigma"], known["shared"]
    own, shared = pt.sqrt((1 - shared) * sigma**2), pt.sqrt(shared) * sigma
    total, squares = pt.sqrt(counts) * rotated[:, 0], (rotated**2).sum(1)
    density = noise.log_density_of_sums(
        total, squares, counts, own, shared, nu=known.get("nu"), xp=PyTensor
    )
    pm.Potential("log_loss", density.sum())


def integrated_likelihood(card: ModelCard, log_loss: Any, sigma: Any, data: dict[str, Any]) -> None:
    """Observe drift and residual noise as one, in directions in which they are independent."""
    assert card.drift is not None
    (size,) = (variable(name, d, data) for name, d in card.drift.parameters.items())
    pm.Normal(
        "rotated_log_loss",
        mu=pt.dot(data["drift_directions"].T, log_loss),
        sigma=pt.sqrt(sigma**2 + size**2 * data["drift_variance"]),
        observed=data["log_loss_rotated"],
    )
