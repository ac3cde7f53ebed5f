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
from bayescale.runs import Runs


class LevelAndShares(Transform):
    """Logs of terms, seen as the log of their sum and their log ratios to the first one.

    The map (x_1, ..., x_k) -> (log sum exp x, x_2 - x_1, ..., x_k - x_1) has a Jacobian
    determinant of one in absolute value.
    """

    name = "level_and_shares"
    ndim_supp = 1

    def forward(self, value: Any, *inputs: Any) -> Any:
        """The level, then the log ratios."""
        level = logsumexp(value, keepdims=True)
        return pt.concatenate([level, value[1:] - value[0]])

    def backward(self, value: Any, *inputs: Any) -> Any:
        """The logs of the terms."""
        ratios = pt.concatenate([[0.0], value[1:]])
        return value[0] + ratios - logsumexp(ratios, keepdims=True)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Zero: the map preserves volume."""
        return pt.zeros(())


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
    coords: dict[str, Any] = {"run": list(runs["run_id"]), "term": centred}
    if names:
        coords["family"] = list(names)
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
            values |= _centred(card, centred, values, data)
        values |= {
            name: _stated_term(name, card, values) for name in law.terms if name not in centred
        }
        by_run = dict(values)
        for name in card.family if names else ():
            term = law.terms[name]
            spread = _variable(f"{name}_spread", card.family[name])
            offset = pm.Normal(f"{name}_offset", 0, 1, dims="family")
            slope = term.slope(values[term.exponent] if term.exponent else None)
            by_family: Any = pm.Deterministic(
                f"{name}_by_family", values[name] * pt.exp(spread * offset / slope), dims="family"
            )
            by_run[name] = by_family[data["family_index"]]
        loss = law.loss(**{name: data[name] for name in law.inputs}, **by_run)
        _likelihood(card, pt.log(loss), data)
    return model


def _centred_terms(card: ModelCard) -> list[str]:
    """Terms whose prior is log-normal: those can be sampled by their size at the centre."""
    return [name for name in card.law.terms if card.coefficients[name].prior.log_normal]


def _centred(
    card: ModelCard, centred: list[str], exponents: dict[str, Any], data: dict[str, Any]
) -> dict[str, Any]:
    """Coefficients of terms that are sampled by the log of their size at the runs' centre."""
    means, sigmas, back = [], [], []
    for name in centred:
        term, described = card.law.terms[name], card.coefficients[name]
        exponent = exponents[term.exponent] if term.exponent else None
        log_x = data[f"log_centre_{term.input}"] if term.input else None
        mean, sigma = described.prior.log_normal or (np.nan, np.nan)
        if described.prior.at is None:
            log_coefficient = mean + np.log(described.unit_factor)
            means.append(term.log_value(log_coefficient, exponent, log_x))
            sigmas.append(sigma * term.slope(exponent))
        else:
            means.append(mean - exponent * (log_x - np.log(described.prior.at)))
            sigmas.append(sigma)
        back.append((name, term, exponent, log_x))
    whole = card.law.sum_of_terms and len(centred) == len(card.law.terms) > 1
    log_terms = pm.Normal(
        "log_terms",
        mu=pt.stack([pt.as_tensor_variable(mean) for mean in means]),
        sigma=pt.stack([pt.as_tensor_variable(sigma) for sigma in sigmas]),
        dims="term",
        default_transform=LevelAndShares() if whole else None,
    )
    return {
        name: pm.Deterministic(name, pt.exp(term.log_coefficient(log_terms[i], exponent, log_x)))
        for i, (name, term, exponent, log_x) in enumerate(back)
    }


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
