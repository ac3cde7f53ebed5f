"""The compute-optimal split of a budget between parameters and tokens."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bayescale.errors import LawError
from bayescale.laws.law import FLOP_PER_PARAM_TOKEN, INPUTS, Law

Tokens = Callable[[Any, Any], Any]
"""A function from budgets and params to training tokens."""


def compute_optimal(
    law: Law, flops: Any, coefficients: Mapping[str, Any], *, tokens: Tokens | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the split of a compute budget that minimizes the loss.

    Each token is seen once.

    Parameters
    ----------
    law : Law
        A law of ``params`` and ``tokens``.
    flops : array_like
        Budgets in FLOP; broadcasts against the coefficients.
    coefficients : mapping of str to array_like
        Values of the law's coefficients, usually one per draw.
    tokens : callable, optional
        A function from budgets and params to the remaining training tokens; by default C / (6 N).

    Returns
    -------
    params, tokens : numpy.ndarray
        Raw counts, in the broadcast shape.

    Raises
    ------
    LawError
        If the law is not a function of params and tokens, or its loss has no minimum between one
        parameter and one token at this budget.

    Examples
    --------
    >>> from bayescale.laws import CHINCHILLA
    >>> besiroglu = dict(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
    >>> params, tokens = compute_optimal(CHINCHILLA, 5.76e23, besiroglu)
    >>> round(float(tokens / params), 2)
    18.39
    """
    require_split(law)
    if law.optimum is not None and tokens is None:
        best = law.optimum(flops, **coefficients)
        return np.asarray(best[0]), np.asarray(best[1])
    return _numeric_optimum(law, flops, coefficients, tokens or _six_nd)


def _six_nd(flops: Any, params: Any) -> Any:
    return flops / FLOP_PER_PARAM_TOKEN / params


OF_THE_DATA = ("unique_tokens", "kept_fraction")
"""Optional inputs: by default all tokens are unique and none was pruned."""


def splits(inputs: Iterable[str]) -> bool:
    """Return whether laws of these inputs can split a budget between params and tokens.

    Inputs that the package does not know are held fixed while a budget is split.
    """
    known = set(inputs) & set(INPUTS)
    return {"params", "tokens"} <= known <= {"params", "tokens", *OF_THE_DATA}


def held_at(law: Law, values: Mapping[str, Any]) -> Law:
    """Return a law of the remaining inputs, with the given inputs held at values."""
    if not values:
        return law
    inputs = tuple(name for name in law.inputs if name not in values)
    kinds = inspect.Parameter
    parameters = [kinds(name, kinds.POSITIONAL_OR_KEYWORD) for name in inputs]
    parameters += [kinds(name, kinds.KEYWORD_ONLY) for name in law.coefficients]
    signature = inspect.Signature(parameters)

    def loss(*scales: Any, **named: Any) -> Any:
        return law.loss(**values, **signature.bind(*scales, **named).arguments)

    loss.__signature__ = signature  # type: ignore[attr-defined]
    falls_with = tuple(name for name in law.falls_with or () if name in inputs)
    bare = {"terms": {}, "sum_of_terms": False, "root": None, "falls_with": falls_with}
    return replace(law, inputs=inputs, loss=loss, **bare)


def all_unique(inputs: Iterable[str], scales: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the inputs with defaults added: each token is seen once and all data is kept."""
    if "tokens" not in scales:
        return scales
    tokens = scales["tokens"]
    plain = {"unique_tokens": tokens, "kept_fraction": 0.0 * tokens + 1.0}
    return {**{n: plain[n] for n in OF_THE_DATA if n in inputs and n not in scales}, **scales}


def require_split(law: Law) -> None:
    """Refuse a law that is not a function of params and tokens.

    Raises
    ------
    LawError
        If the law cannot split a budget.
    """
    if not splits(law.inputs):
        raise LawError(
            f"law {law.name!r} is a function of {', '.join(law.inputs)}, so it cannot split a "
            "budget: use a law of params and tokens, such as chinchilla or kaplan"
        )


def _numeric_optimum(
    law: Law, flops: Any, coefficients: Mapping[str, Any], tokens: Tokens
) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import elementwise

    names = tuple(coefficients)
    flops, *values = np.broadcast_arrays(
        np.asarray(flops, dtype=float),
        *(np.asarray(coefficients[name], dtype=float) for name in names),
    )

    def loss(log_params: np.ndarray, flops: np.ndarray, *values: np.ndarray) -> np.ndarray:
        params = np.exp(log_params)
        by_name = dict(zip(names, values, strict=True))
        scales = all_unique(law.inputs, {"params": params, "tokens": tokens(flops, params)})
        with np.errstate(over="ignore"):  # far off, the loss may be infinite
            return law.loss(**scales, **by_name)

    most = np.log(tokens(flops, 1.0))  # params that leave about one token
    middle, args = 0.5 * most, (flops, *values)
    bracket = elementwise.bracket_minimum(
        loss, middle, xl0=middle - 1, xr0=middle + 1, xmin=0.0, xmax=most, args=args
    )
    found = elementwise.find_minimum(
        loss, bracket.bracket, args=args, tolerances={"xatol": 1e-10, "xrtol": 1e-10}
    )
    if not np.all(found.success):
        raise LawError(
            f"the loss of law {law.name!r} has no minimum between one parameter and one token for "
            f"{int(np.sum(~found.success))} of {found.success.size} sets of coefficients"
        )
    params = np.exp(found.x)
    return params, tokens(flops, params)
