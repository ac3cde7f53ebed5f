"""The parametric law of Hoffmann et al. (2022), arXiv 2203.15556.

L(N, D) = E + A / N^alpha + B / D^beta with N all parameters, D tokens seen (each once), and
the loss in nats per token; and a variant with an outer exponent on all but E.
"""

from typing import Any

from bayescale.laws.law import FLOP_PER_PARAM_TOKEN, Law
from bayescale.laws.terms import Amplitude, Constant, OuterAmplitude


def _loss(params: Any, tokens: Any, *, E: Any, A: Any, alpha: Any, B: Any, beta: Any) -> Any:
    return E + A / params**alpha + B / tokens**beta


def optimum(flops: Any, *, E: Any, A: Any, alpha: Any, B: Any, beta: Any) -> Any:
    """Return the params and tokens of least loss at a budget of C = 6 N D."""
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
