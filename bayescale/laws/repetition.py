"""The data-constrained law of Muennighoff et al. (2023), arXiv 2305.16264.

This is Chinchilla's law of *effective* parameters and tokens. A repeated token is worth less each
time, and so are parameters beyond those that are optimal for the unique tokens. What repeats and
excess parameters are worth approaches a limit: R_D and R_N times the first amount. The loss is in
nats per token, and falls with parameters, tokens and unique tokens: it cannot describe runs that
overfit.

The published R_D and R_N belong to the other published coefficients, which were fitted to points
read from Hoffmann et al.'s figure for C4 and then held fixed. A fit of all coefficients gives other
values.
"""

from typing import Any

import numpy as np

from bayescale.laws.chinchilla import optimal_params, optimum
from bayescale.laws.law import Law, lesser
from bayescale.laws.terms import Amplitude, Constant


def effective(amount: Any, first: Any, worth: Any) -> Any:
    """Return the effective amount of parameters or tokens, of which only the first are unrepeated.

    Examples
    --------
    Unlimited epochs are worth 1 + R_D, by the published fit:

    >>> round(float(effective(1e6, 1.0, 15.387756)), 2)
    16.39
    """
    repeats = amount / first - 1.0
    return first * (1.0 + worth * (1.0 - np.exp(-repeats / worth)))


def _loss(
    params: Any,
    tokens: Any,
    unique_tokens: Any,
    *,
    E: Any,
    A: Any,
    alpha: Any,
    B: Any,
    beta: Any,
    R_N: Any,
    R_D: Any,
) -> Any:
    fresh = lesser(unique_tokens, tokens)
    useful = lesser(params, optimal_params(fresh, A=A, alpha=alpha, B=B, beta=beta))
    return (
        E + A / effective(params, useful, R_N) ** alpha + B / effective(tokens, fresh, R_D) ** beta
    )


def _optimum(
    flops: Any, *, E: Any, A: Any, alpha: Any, B: Any, beta: Any, R_N: Any, R_D: Any
) -> Any:
    # if each token is seen once, the law is Chinchilla's and no parameter is in excess
    return optimum(flops, E=E, A=A, alpha=alpha, B=B, beta=beta)


REPETITION = Law(
    name="repetition",
    inputs=("params", "tokens", "unique_tokens"),
    coefficients=("E", "A", "alpha", "B", "beta", "R_N", "R_D"),
    loss=_loss,
    optimum=_optimum,
    terms={
        "E": Constant(),
        "A": Amplitude(input="params", exponent="alpha"),
        "B": Amplitude(input="tokens", exponent="beta"),
    },
    reference="Muennighoff et al. 2023, arXiv 2305.16264, eqs. 5 to 7",
)
