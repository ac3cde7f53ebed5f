"""A card and a run log as an ordinary PyMC model.

Priors stay as the card states them; only the coordinates that the sampler moves in are
chosen here. The size of each term at the runs' geometric mean is nearly independent of its
exponent, where the coefficient itself is not; and when the loss is a sum of terms, its level
is known far better than the shares, so those are sampled apart. Both changes of coordinates
are volume-preserving or conditional on the exponent, so the prior needs no correction.
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.transforms import Transform
from pytensor.tensor.special import logsumexp

from bayescale.cards import Described, ModelCard
from bayescale.laws import Term
from bayescale.runs import Runs


class LevelAndShares(Transform):
    """Logs of terms, seen as the log of their sum and their log ratios to the first one.

    The map (x_1, ..., x_k) -> (log sum exp x, x_2 - x_1, ..., x_k - x_1) has a Jacobian
    determinant of one in absolute value.
    """

    name = "levelshares"  # PyMC takes names apart at underscores
    ndim_supp = 1

    def forward(self, value: Any, *inputs: Any) -> Any:
        """The level, then the log ratios, along the last axis."""
        level = logsumexp(value, axis=-1, keepdims=True)
        return pt.concatenate([level, value[..., 1:] - value[..., 0, None]], axis=-1)

    def backward(self, value: Any, *inputs: Any) -> Any:
        """The logs of the terms, along the last axis."""
        first = pt.zeros_like(value[..., 0, None])
        ratios = pt.concatenate([first, value[..., 1:]], axis=-1)
        return value[..., 0, None] + ratios - logsumexp(ratios, axis=-1, keepdims=True)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Zero: the map preserves volume."""
        return pt.zeros_like(value[..., 0])


def model_data(runs: Runs, card: ModelCard, pool: bool = True) -> dict[str, Any]:
    """The arrays of a model's ``pm.Data``, by name: all of them change between refits.

    Returns
    -------
    dict
        The law's inputs (run,), ``log_centre_<input>`` scalars, ``log_loss_observed`` (run,),
        ``relative_se`` (run,), and ``family_index`` (run,) where families are pooled.
    """
    inputs = {name: np.array(runs[name]) for name in card.law.inputs}
    centres = {f"log_centre_{name}": np.log(x).mean() for name, x in inputs.items()}
    loss = runs["loss"]
    se = runs["loss_se"] / loss if "loss_se" in runs else np.zeros_like(loss)
    data = {**inputs, **centres, "log_loss_observed": np.log(loss), "relative_se": np.array(se)}
    if families(runs, card, pool):
        data["family_index"] = np.unique(runs["family"], return_inverse=True)[1]
    return data


def families(runs: Runs, card: ModelCard, pool: bool = True) -> tuple[str, ...]:
    """Families that get coefficients of their own: none unless the log has two or more."""
    if not (pool and card.family and "family" in runs):
        return ()
    names = tuple(str(name) for name in np.unique(runs["family"]))
    return names if len(names) > 1 else ()


def build_model(runs: Runs, card: ModelCard, *, pool: bool = True) -> pm.Model:
    """The Bayesian model of a scaling law, ready for anything that PyMC does.

    Parameters
    ----------
    runs : Runs
        With the columns that the card's law needs.
    card : ModelCard
        Priors and likelihood.
    pool : bool
        Whether families in the log get partially pooled terms of their own.

    Returns
    -------
    pymc.Model
        With a variable for every coefficient (raw units), ``sigma``, ``nu``, and the observed
        ``log_loss`` (dims run). Inputs and losses are ``pm.Data``. A coefficient's term is in
        ``log_terms`` (dims term): its log in nats at the runs' geometric mean.
    """
    law, names = card.law, families(runs, card, pool)
    centred = _centred_terms(card)
    whole = law.sum_of_terms and len(centred) == len(law.terms) > 1
    coords: dict[str, Any] = {"run": list(runs["run_id"]), "term": centred}
    if names:
        coords |= {"family": list(names), "pooled_term": list(card.family)}
    with pm.Model(coords=coords) as model:
        data = {
            name: pm.Data(name, value, dims="run" if np.ndim(value) else None)
            for name, value in model_data(runs, card, pool).items()
        }
        values: dict[str, Any] = {
            name: _variable(name, card.coefficients[name])
            for name in law.coefficients
            if name not in law.terms
        }
        if centred:
            log_terms = _log_terms(card, centred, values, data, whole and not names)
            values |= _coefficients(card, dict(zip(centred, log_terms, strict=True)), values, data)
        values |= {
            name: _stated_term(name, card, values) for name in law.terms if name not in centred
        }
        by_run = dict(values)
        if names:
            own = _log_terms_by_family(card, centred, log_terms, whole)
            by_family = _coefficients(card, own, values, data, suffix="_by_family", dims="family")
            by_run |= {name: by_family[name][data["family_index"]] for name in by_family}
        loss = law.loss(**{name: data[name] for name in law.inputs}, **by_run)
        _likelihood(card, pt.log(loss), data)
    return model


def _centred_terms(card: ModelCard) -> list[str]:
    """Terms whose prior is log-normal: those can be sampled by their size at the centre."""
    return [name for name in card.law.terms if card.coefficients[name].prior.log_normal]


def _log_terms(
    card: ModelCard,
    centred: list[str],
    exponents: dict[str, Any],
    data: dict[str, Any],
    whole: bool,
) -> list[Any]:
    """Logs of the terms' sizes at the runs' centre, under the card's prior."""
    means, sigmas = [], []
    for name in centred:
        term, described = card.law.terms[name], card.coefficients[name]
        exponent, log_x = _scale(term, exponents, data)
        mean, sigma = described.prior.log_normal or (np.nan, np.nan)
        if described.prior.at is None:
            log_coefficient = mean + np.log(described.unit_factor)
            means.append(term.log_value(log_coefficient, exponent, log_x))
            sigmas.append(sigma * term.slope(exponent))
        else:
            means.append(mean - exponent * (log_x - np.log(described.prior.at)))
            sigmas.append(sigma)
    log_terms: Any = pm.Normal(
        "log_terms",
        mu=pt.stack([pt.as_tensor_variable(mean) for mean in means]),
        sigma=pt.stack([pt.as_tensor_variable(sigma) for sigma in sigmas]),
        dims="term",
        default_transform=LevelAndShares() if whole else None,
    )
    return [log_terms[i] for i in range(len(centred))]


def _log_terms_by_family(
    card: ModelCard, centred: list[str], log_terms: list[Any], whole: bool
) -> dict[str, Any]:
    """The same for each family, spread about the population's."""
    spreads = [_variable(f"{name}_spread", spread) for name, spread in card.family.items()]
    own: Any = pm.Normal(
        "log_terms_by_family",
        mu=pt.stack([log_terms[centred.index(name)] for name in card.family]),
        sigma=pt.stack(spreads),
        dims=("family", "pooled_term"),
        default_transform=LevelAndShares() if whole and len(card.family) == len(centred) else None,
    )
    return {name: own[:, i] for i, name in enumerate(card.family)}


def _coefficients(
    card: ModelCard,
    log_terms: dict[str, Any],
    exponents: dict[str, Any],
    data: dict[str, Any],
    suffix: str = "",
    dims: str | None = None,
) -> dict[str, Any]:
    """Terms at the runs' centre, as the coefficients that the field names."""
    coefficients = {}
    for name, log_term in log_terms.items():
        exponent, log_x = _scale(card.law.terms[name], exponents, data)
        log_coefficient = card.law.terms[name].log_coefficient(log_term, exponent, log_x)
        coefficients[name] = pm.Deterministic(f"{name}{suffix}", pt.exp(log_coefficient), dims=dims)
    return coefficients


def _scale(term: Term, exponents: dict[str, Any], data: dict[str, Any]) -> tuple[Any, Any]:
    exponent = exponents[term.exponent] if term.exponent else None
    return exponent, data[f"log_centre_{term.input}"] if term.input else None


def _stated_term(name: str, card: ModelCard, exponents: dict[str, Any]) -> Any:
    """The coefficient of a term whose prior is not log-normal, sampled as it is stated."""
    term, described = card.law.terms[name], card.coefficients[name]
    if described.prior.at is None:
        return _variable(name, described)
    size = _variable(f"{name}_term", described)
    exponent = exponents[term.exponent] if term.exponent else None
    log_coefficient = term.log_coefficient(pt.log(size), exponent, np.log(described.prior.at))
    return pm.Deterministic(name, pt.exp(log_coefficient))


def _variable(name: str, described: Described) -> Any:
    prior, factor = described.prior, 1.0 if described.prior.at else described.unit_factor
    if prior.log_normal is not None:
        mu, sigma = prior.log_normal
        return pm.LogNormal(name, mu=mu + np.log(factor), sigma=sigma)
    distribution = getattr(pm, str(prior.dist))
    if factor == 1.0:
        return distribution(name, **prior.kwargs)
    stated = distribution(f"{name}_stated", **prior.kwargs)
    return pm.Deterministic(name, factor * stated)


def _likelihood(card: ModelCard, log_loss: Any, data: dict[str, Any]) -> None:
    noise = {name: _variable(name, d) for name, d in card.noise.parameters.items()}
    noise["sigma"] = pt.sqrt(noise["sigma"] ** 2 + data["relative_se"] ** 2)
    getattr(pm, card.noise.dist)(
        "log_loss", mu=log_loss, **noise, observed=data["log_loss_observed"], dims="run"
    )
