"""The parametric law of Hoffmann et al. (2022), arXiv 2203.15556.

L(N, D) = E + A / N^alpha + B / D^beta where N counts all parameters, D counts training tokens (each
seen once), and the loss is in nats per token. A variant has an outer exponent on everything but E.
"""

from typing import Any

from bayescale.laws.law import FLOP_PER_PARAM_TOKEN, Law
from bayescale.laws.terms import Amplitude, Constant, OuterAmplitude


def _loss(params: Any, tokens: Any, *, E: Any, A: Any, alpha: Any, B: Any, beta: Any) -> Any:
    return E + A / params**alpha + B / tokens**beta


def optimum(flops: Any, *, E: Any, A: Any, alpha: Any, B: Any, beta: Any) -> Any:
    """Return the params and tokens that minimize the loss at a budget C = 6 N D."""
    pairs = flops / FLOP_PER_PARAM_TOKEN
    params = (alpha * A / (beta * B) * pairs**beta) ** (1.0 / (alpha + beta))
    return params, pairs / params


def optimal_params(tokens: Any, *, A: Any, alpha: Any, B: Any, beta: Any) -> Any:
    """Return the params for which these tokens are compute-optimal, with C = 6 N D."""
    balance = (alpha * A / (beta * B)) ** (1.0 / (alpha + beta))
    return balance * (tokens * balance) ** (beta / alpha)


def _outer(
    params: Any, tokens: Any, *, E: Any, A: Any, alpha: Any, B: Any, beta: Any, kappa: Any
) -> Any:
    return E + (A / params**alpha + B / tokens**beta) ** kappa


def _outer_optimum(flops: Any, *, E: Any, A: Any, alpha: Any, B: Any, beta: Any, kappa: Any) -> Any:
    # an outer exponent does not move the minimum
    return optimum(flops, E=E, A=A, alpha=alpha, B=B, beta=beta)


CHINCHILLA = Law(
    name="chinchilla",
    inputs=("params", "tokens"),
    coefficients=("E", "A", "alpha", "B", "beta"),
    loss=_loss,
    optimum=optimum,
    terms={
        "E": Constant(),
        "A": Amplitude(input="params", exponent="alpha"),
        "B": Amplitude(input="tokens", exponent="beta"),
    },
    sum_of_terms=True,
    reference="Hoffmann et al. 2022, arXiv 2203.15556, eq. 10",
)

CHINCHILLA_OUTER = Law(
    name="chinchilla_outer",
    inputs=("params", "tokens"),
    coefficients=("E", "A", "alpha", "B", "beta", "kappa"),
    loss=_outer,
    optimum=_outer_optimum,
    terms={
        "E": Constant(),
        "A": OuterAmplitude(input="params", exponent="alpha", outer="kappa"),
        "B": OuterAmplitude(input="tokens", exponent="beta", outer="kappa"),
    },
    sum_of_terms=True,
    root="kappa",
    reference="Hoffmann et al. 2022, arXiv 2203.15556, eq. 10, with an outer exponent kappa",
)
