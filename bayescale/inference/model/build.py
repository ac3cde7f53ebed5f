"""A card and a run log as an ordinary PyMC model.

Priors are those of the card. This module chooses only the coordinates in which the sampler moves.
The size of each term at the runs' geometric mean is nearly independent of its exponent, and the
coefficient is not. If the loss is a sum of terms, runs determine its level far better than the
terms' shares of it, so level and shares are sampled. Both changes of coordinates preserve volume or
are conditional on the exponent, so the prior needs no correction. Steps of drift are sampled
relative to their mean given the law's residuals, in conditional deviations: law and drift can
explain the same residuals, and these coordinates are nearly independent of both.
"""

from typing import Any, cast

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.gradient import grad as gradient
from pytensor.tensor.variable import TensorVariable

from bayescale import noise
from bayescale.cards import ModelCard, card_for, input_errors, recipe_columns
from bayescale.cards.recipes import OWN_STEPS
from bayescale.drift import STEPS
from bayescale.inference.model.data import are_few, family_names, model_data, scaled_inputs
from bayescale.inference.model.drift_steps import (
    drift_at_runs,
    drift_of_condensed,
    noise_variance,
)
from bayescale.inference.model.families import FamilySteps
from bayescale.inference.model.likelihood import (
    condensed_likelihood,
    integrated_likelihood,
    likelihood,
)
from bayescale.inference.model.recipes import field_of_recipes
from bayescale.inference.model.transforms import LevelAndShares, rooted_normal
from bayescale.inference.model.variables import variable
from bayescale.laws import Balance, Bent, Constant, Depth
from bayescale.runs import Runs

_NOT_BY_RUN = (
    "drift_overlap",
    "drift_turn",
    "drift_directions",
    "drift_variance",
    "log_loss_rotated",
)

FARTHEST = 2.0
"""The largest first estimate of a family's distance from the population, in logs of terms."""


class _Scale(TensorVariable):
    """An input whose log is known, so that its powers are exponentials of multiples of that log.

    Measured on 240 Chinchilla runs, 4 chains, 8 alternating pairs: sampling takes 0.71 times the
    CPU time without drift and 0.82 times with drift.
    """

    log_known: Any

    @classmethod
    def of(cls, scale: Any, log: Any) -> "_Scale":
        """Make the scale from its log."""
        scale = scale.copy()
        scale.__class__, scale.log_known = cls, log
        return scale

    def __pow__(self, exponent: Any) -> Any:
        """Return the power as an exponential."""
        power: Any = pt.exp(exponent * self.log_known)
        power.__class__ = _Power
        return power


class _Power(TensorVariable):
    """An exponential: division by it is multiplication by the exponential of its negative."""

    def __rtruediv__(self, other: Any) -> Any:
        """Return the quotient as a product."""
        return other * pt.exp(-self.owner.inputs[0])


def build_model(runs: Runs, card: ModelCard, *, families: bool = True) -> pm.Model:
    """Build the PyMC model of a scaling law.

    Parameters
    ----------
    runs : Runs
        A log with the columns that the card's law needs.
    card : ModelCard
        Priors and likelihood.
    families : bool
        Whether families in the log get partially pooled terms of their own.

    Returns
    -------
    pymc.Model
        A model with a variable for every coefficient (raw units), ``sigma``, ``nu``, and the
        observed ``log_loss`` (dims run). Inputs, their logs and losses are ``pm.Data``.
        ``log_terms`` (dims term) holds the log of each coefficient's term at the runs' geometric
        mean, in log nats. Drift along an axis has its size q in ``drift_<axis>`` and its steps,
        normal with standard deviation q, in ``drift_walk_<axis>`` (dims step), those of a tilt in
        ``drift_walk_tilt``. If the noise is normal they can be integrated out (see
        :meth:`bayescale.cards.ModelCard.integrates_drift`), and the observed variable is
        ``rotated_log_loss``.

    Raises
    ------
    RunLogError
        If the card's likelihood does not suit the log: see :func:`bayescale.cards.card_for`.
    """
    card = card_for(runs, card)
    law, names = card.law, family_names(runs, card, families)
    centered = [name for name in law.terms if card.coefficients[name].prior.log_normal]
    floor = any(isinstance(term, Constant) for term in law.terms.values())
    whole = (law.sum_of_terms or floor) and len(centered) == len(law.terms) > 1
    with pm.Model(coords=_coords(card, runs, names, centered)) as model:
        data = _data(runs, card, families)
        values: dict[str, Any] = {
            name: variable(name, card.coefficients[name], data)
            for name in law.coefficients
            if name not in law.terms
        }
        log_terms: dict[str, Any] = {}
        if centered:
            log_terms = _log_terms(card, centered, values, data, whole and not names)
            values |= _coefficients(card, log_terms, values, data)
        values |= {
            name: _stated_term(name, card, values, data)
            for name in law.terms
            if name not in centered
        }
        inputs = {name: _Scale.of(data[name], data[f"log_{name}"]) for name in law.inputs}
        known = _noise(card, data)
        by_run, drift = dict(values), None
        if names:
            spreads = [variable(f"{n}_spread", each, {}) for n, each in card.family.items()]
            if are_few(names):
                own = _few_families(card, log_terms, spreads, whole)
            else:
                steps = _family_steps(card, log_terms, spreads, inputs, values, known, data)
                own, drift = _many_families(card, runs, log_terms, spreads, steps, known, data)
            terms = {name: own[:, i] for i, name in enumerate(card.family)}
            by_family = _coefficients(card, terms, values, data, suffix="_by_family", dims="family")
            by_run |= {name: by_family[name][data["family_index"]] for name in by_family}
        log_loss: Any = pt.log(law.loss(**inputs, **by_run))
        if card.integrates_drift(runs):
            integrated_likelihood(card, log_loss, known["sigma"], data)
            return model
        if "law_rotated" in data:
            steps = None if card.drift is None else drift_of_condensed(card, log_loss, known, data)
            condensed_likelihood(log_loss, steps, known, data)
            return model
        errors = {scale: data[f"log_error_{scale}"] for scale in input_errors(card, runs)}
        blur = noise.input_error_variance(law, inputs, errors, by_run)
        if card.recipes is not None:
            residual = data["log_loss_observed"] - log_loss
            drift = field_of_recipes(card, runs, residual, known, data)
            known["shared"] = card.recipes.paired
        elif drift is None:
            drift = drift_at_runs(card, data["log_loss_observed"] - log_loss, known, data)
        likelihood(card, log_loss + drift, known, blur, data)
    return model


def _coords(
    card: ModelCard, runs: Runs, names: tuple[str, ...], centered: list[str]
) -> dict[str, Any]:
    parts = [name for name in centered if not isinstance(card.law.terms[name], Balance | Depth)]
    coords: dict[str, Any] = {"run": list(runs["run_id"]), "term": parts}
    if card.noise.shared is not None:
        coords["training_run"] = np.unique(runs["run"]).tolist()
    if card.drift is not None:
        coords["step"] = np.arange(2 * STEPS[card.drift.walk])
        coords["any_step"] = [f"{name} {i}" for name in card.drift.walks for i in coords["step"]]
    if card.recipes is not None:
        columns = recipe_columns(card, runs)
        coords["training_run"] = np.unique(columns.size)
        coords |= {"recipe": list(columns.names), "trend_part": ["level", "compute", "ratio"]}
        coords["own_step"] = np.arange(2 * OWN_STEPS)
        coords["any_step"] = np.arange(columns.matrix().shape[1])
    if names:
        coords |= {"family": list(names), "pooled_term": list(card.family)}
        coords["pooled_step"] = coords["pooled_term"]
    return coords


def _data(runs: Runs, card: ModelCard, families: bool) -> dict[str, Any]:
    dims = (None, "run", ("run", "step"))
    others: dict[str, Any] = dict.fromkeys(_NOT_BY_RUN) | {"n_members": "training_run"}
    values = model_data(runs, card, families)
    if "law_rotated" in values:  # no array has runs
        others = dict.fromkeys(values)
    return {
        name: pm.Data(name, value, dims=others.get(name, dims[min(np.ndim(value), 2)]))
        for name, value in values.items()
    }


def _few_families(
    card: ModelCard, log_terms: dict[str, Any], spreads: list[Any], whole: bool
) -> Any:
    """Sample families' log terms themselves, dims (family, pooled_term)."""
    center: Any = pt.stack([log_terms[name] for name in card.family])
    transform = LevelAndShares() if whole and len(card.family) == len(log_terms) else None
    return pm.Normal(
        "log_terms_by_family",
        center,
        pt.stack(spreads),
        dims=("family", "pooled_term"),
        default_transform=transform,
    )


def _many_families(
    card: ModelCard,
    runs: Runs,
    log_terms: dict[str, Any],
    spreads: list[Any],
    steps: FamilySteps,
    known: dict[str, Any],
    data: dict[str, Any],
) -> tuple[Any, Any]:
    """Sample drift and then families' steps; return families' log terms and the drift."""
    center: Any = pt.stack([log_terms[name] for name in card.family])
    integrated = card.integrates_drift(runs)
    drift = 0.0 if integrated else drift_at_runs(card, steps.residual, known, data, steps)
    own = center + pt.stack(spreads) * steps.sample(drift)
    pm.Deterministic("log_terms_by_family", own, dims=("family", "pooled_term"))
    return own, drift


def _log_terms(
    card: ModelCard,
    centered: list[str],
    exponents: dict[str, Any],
    data: dict[str, Any],
    whole: bool,
) -> dict[str, Any]:
    """Sample logs of the terms' sizes at the runs' center, under the card's prior."""
    beliefs = {name: _belief_at_center(name, card, exponents, data) for name in centered}
    balances = {n: t for n, t in card.law.terms.items() if n in centered and isinstance(t, Balance)}
    depths = [name for name in centered if isinstance(card.law.terms[name], Depth)]
    parts = [name for name in centered if name not in {*balances, *depths}]
    logs: dict[str, Any] = {
        name: pm.Normal(f"log_balance_{name}", *beliefs[name]) for name in balances
    }
    # runs determine a term together with its balance and bend, so the product is sampled
    added: dict[str, Any] = dict.fromkeys(parts, 0.0)
    for name, term in balances.items():
        added[term.against_coefficient] += exponents[term.root] * pt.softplus(logs[name])
    for name in parts:
        if isinstance(term := card.law.terms[name], Bent):
            added[name] += term.log_bend(exponents, _log_centers(card, data))
    mu: Any = pt.stack([pt.as_tensor_variable(beliefs[name][0] + added[name]) for name in parts])
    sigma: Any = pt.stack([pt.as_tensor_variable(beliefs[name][1]) for name in parts])
    if whole and card.law.root is not None:
        root, constant = exponents[card.law.root], isinstance(card.law.terms[parts[0]], Constant)
        sampled = rooted_normal("log_terms", mu, sigma, root, "term", constant=constant)
    else:
        how = LevelAndShares() if whole else None
        sampled = pm.Normal("log_terms", mu=mu, sigma=sigma, dims="term", default_transform=how)
    logs |= {name: sampled[i] - added[name] for i, name in enumerate(parts)}
    for name in depths:
        others: Any = pt.exp(pt.stack([logs[other] for other in parts]))
        # an estimate of the depth from the center of the runs, which stays positive for any terms
        reach = pt.log(others.sum() + pt.softplus(-data["log_loss_center"]))
        mean, sd = beliefs[name]
        logs[name] = reach + pm.Normal(f"log_depth_{name}", mean - reach, sd)
    return {name: logs[name] for name in centered}


def _belief_at_center(
    name: str, card: ModelCard, exponents: dict[str, Any], data: dict[str, Any]
) -> tuple[Any, Any]:
    """Return the prior mean and standard deviation of a term's log at the runs' center."""
    term, described = card.law.terms[name], card.coefficients[name]
    prior, log_x = described.prior, _log_centers(card, data)
    mean, sigma = prior.log_normal or (np.nan, np.nan)
    if prior.at == "runs":
        return mean + (0.0 if isinstance(term, Balance) else data["log_loss_center"]), sigma
    if prior.at is None:
        log_coefficient = mean + np.log(described.unit_factor)
        return term.log_value(log_coefficient, exponents, log_x), sigma * term.slope(exponents)
    # move the belief from the prior's scale to the runs' center; other coefficients cancel out
    known = {**dict.fromkeys(term.needs, 1.0), **exponents}
    there = term.log_coefficient(mean, known, prior.log_at(term))
    return term.log_value(there, known, log_x), sigma


def _family_steps(
    card: ModelCard,
    log_terms: dict[str, Any],
    spreads: list[Any],
    inputs: dict[str, Any],
    values: dict[str, Any],
    known: dict[str, Any],
    data: dict[str, Any],
) -> FamilySteps:
    """Linearize the law in each family's terms about a first estimate of these terms."""
    index, variance = data["family_index"], noise_variance(known, data)
    if "log_loss_observed" in data:
        observed = data["log_loss_observed"]
    else:
        observed = pt.dot(data["drift_directions"], data["log_loss_rotated"])

    none: Any = pt.zeros(index.shape)

    def linearized_at(moves: list[Any]) -> FamilySteps:
        moved = dict(zip(card.family, moves, strict=True))
        of_rows = {name: term + moved.get(name, none) for name, term in log_terms.items()}
        coefficients = values | _values(card, of_rows, values, data)
        log_loss: Any = pt.log(card.law.loss(**inputs, **coefficients))
        slopes: Any = gradient(log_loss.sum(), [of_rows[name] for name in card.family])
        residual = observed - log_loss + sum(s * m for s, m in zip(slopes, moves, strict=True))
        by_step = [spread * slope for spread, slope in zip(spreads, slopes, strict=True)]
        return FamilySteps.make(by_step, residual, index, variance)

    first = linearized_at([none] * len(spreads)).most_likely()
    steps: list[Any] = [spread * step for spread, step in zip(spreads, first, strict=True)]
    bounded: list[Any] = [FARTHEST * cast(Any, pt.tanh(step / FARTHEST)) for step in steps]
    return linearized_at([step[index] for step in bounded])


def _coefficients(
    card: ModelCard,
    log_terms: dict[str, Any],
    exponents: dict[str, Any],
    data: dict[str, Any],
    suffix: str = "",
    dims: str | None = None,
) -> dict[str, Any]:
    """Return the coefficients that follow from the terms at the runs' center, as variables."""
    found = _values(card, log_terms, exponents, data)
    return {name: pm.Deterministic(f"{name}{suffix}", x, dims=dims) for name, x in found.items()}


def _values(
    card: ModelCard, log_terms: dict[str, Any], exponents: dict[str, Any], data: dict[str, Any]
) -> dict[str, Any]:
    coefficients: dict[str, Any] = {}
    log_x = _log_centers(card, data)
    for name, log_term in log_terms.items():
        term = card.law.terms[name]
        log_coefficient = term.log_coefficient(log_term, {**exponents, **coefficients}, log_x)
        coefficients[name] = pt.exp(log_coefficient)
    return coefficients


def _log_centers(card: ModelCard, data: dict[str, Any]) -> dict[str, Any]:
    return {name: data[f"log_center_{name}"] for name in scaled_inputs(card)}


def _stated_term(
    name: str, card: ModelCard, exponents: dict[str, Any], data: dict[str, Any]
) -> Any:
    """Sample the coefficient of a term whose prior is not log-normal, from that prior."""
    term, described = card.law.terms[name], card.coefficients[name]
    if described.prior.at is None:
        return variable(name, described, data)
    size = variable(f"{name}_term", described, data)
    log_coefficient = term.log_coefficient(pt.log(size), exponents, described.prior.log_at(term))
    return pm.Deterministic(name, pt.exp(log_coefficient))


def _noise(card: ModelCard, data: dict[str, Any]) -> dict[str, Any]:
    """Sample the parameters of the residual noise.

    Checkpoints of a training run share part of their noise. They determine the unshared part far
    better than the shared one. So the scale of the unshared part is sampled, which is nearly
    independent of the share; the scale of the whole noise is not.
    """
    stated = card.noise.parameters
    whole = stated["sigma"]
    if card.noise.shared is None or whole.prior.relative or whole.prior.log_normal is None:
        return {name: variable(name, described, data) for name, described in stated.items()}
    known = {n: variable(n, each, data) for n, each in stated.items() if n != "sigma"}
    rest: Any = pt.sqrt(1 - known["shared"])
    mu, spread = whole.prior.log_normal
    own = pm.LogNormal("sigma_own", mu + np.log(whole.unit_factor) + pt.log(rest), spread)
    return {"sigma": pm.Deterministic("sigma", own / rest), **known}
