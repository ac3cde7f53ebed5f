"""A law and its card as PyTensor graphs: values, gradients, and the sampler's coordinates."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode

from bayescale.cards import ModelCard
from bayescale.inference.model.build import build_model
from bayescale.laws import Law
from bayescale.runs import Runs

_library: Any = pytensor  # its type stubs lack what it exports
PLAIN = Mode(linker="py", optimizer=None)  # pyright: ignore[reportArgumentType]
"""The mode that evaluates operations one by one without compiling: slow to run, quick to start."""


def loss_and_slopes(law: Law) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return a function that evaluates the law's PyTensor graph and its gradient.

    Returns
    -------
    callable
        ``f(inputs, values)``, of inputs of shape (run,) and coefficients as numbers, gives the
        losses (run,) and the derivative of the sum of log losses with each coefficient.

    Raises
    ------
    TypeError
        If the law does not return a symbol. Exceptions of the law itself pass through.
    """
    inputs = {name: pt.dvector(name) for name in law.inputs}
    coefficients = {name: pt.dscalar(name) for name in law.coefficients}
    loss: Any = law.loss(**inputs, **coefficients)
    if not isinstance(loss, _library.tensor.TensorVariable):
        raise TypeError(f"it returns a {type(loss).__name__} and not a symbol")
    total = _library.tensor.log(loss).sum()
    slopes = _library.grad(total, list(coefficients.values()), disconnected_inputs="ignore")
    symbols = [*inputs.values(), *coefficients.values()]
    compiled = _library.function(symbols, [loss, *slopes], mode=PLAIN, on_unused_input="ignore")

    def evaluate(
        at: Mapping[str, np.ndarray], values: Mapping[str, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(all="ignore"):
            found, *each = compiled(*(at[n] for n in inputs), *(values[n] for n in coefficients))
        return found, np.array(each, dtype=float)

    return evaluate


def prior_mismatch(card: ModelCard, runs: Runs, *, points: int = 3, seed: int = 8) -> float:
    """Measure the largest difference between the sampled prior density and the card's.

    Parameters
    ----------
    card : ModelCard
        Its drift is left out, because drift has coordinates of its own.
    runs : Runs
        With the columns that the law needs.
    points : int
        Number of points near the sampler's start at which the two are compared.
    seed : int

    Returns
    -------
    float
        The largest difference in log density, with the Jacobian of the sampler's coordinates found
        by finite differences; NaN if a density is not finite.
    """
    card = card.without_drift()
    with build_model(runs, card, families=False) as model:
        noise = (name for name in card.noise.parameters if name in model.named_vars)
        names = [*card.law.coefficients, *noise]
        free = model.value_vars
        outputs = model.replace_rvs_by_values([model[name] for name in names])
        log_prior = model.logp(vars=model.free_RVs, sum=True)
    evaluate = _library.function(free, [log_prior, *outputs], mode=PLAIN, on_unused_input="ignore")
    start = model.initial_point()
    shapes = [np.shape(start[value.name]) for value in free]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def at(u: np.ndarray) -> tuple[float, np.ndarray]:
        parts = zip(np.split(u, ends), shapes, strict=True)
        logp, *values = evaluate(*(part.reshape(shape) for part, shape in parts))
        return float(logp), np.array([float(value) for value in values])

    rng, worst, step = np.random.default_rng(seed), 0.0, 1e-5
    center = np.concatenate([np.ravel(start[value.name]) for value in free])
    stated = card.anchored(runs)
    for _ in range(points):
        u = center + 0.3 * rng.standard_normal(len(center))
        logp, values = at(u)
        # the Jacobian of the logs is better scaled than that of the values
        sides = [(at(u + step * e)[1], at(u - step * e)[1]) for e in np.eye(len(u))]
        jacobian = np.array([(np.log(up) - np.log(down)) / (2 * step) for up, down in sides])
        log_volume = np.linalg.slogdet(jacobian)[1] + np.log(values).sum()
        expected = _stated_log_density(stated, dict(zip(names, values, strict=True))) + log_volume
        worst = np.fmax(worst, abs(logp - expected)) if np.isfinite(logp) else np.nan
    return float(worst)


def _stated_log_density(card: ModelCard, values: Mapping[str, float]) -> float:
    """Return the card's log prior density of the raw coefficients and noise."""
    total = sum(float(density) for density in card.log_prior(values).values())
    for name, described in card.coefficients.items():
        if described.prior.at is None:
            total -= np.log(described.unit_factor)
            continue
        # from a density of the term's size to one of its coefficient
        term = card.law.terms[name]
        log_size = term.log_value(np.log(values[name]), values, described.prior.log_at(term))
        total += log_size - np.log(values[name]) + np.log(term.slope(values))
    return total
