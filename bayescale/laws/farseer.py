"""The surface of Li et al. (2025), arXiv 2506.10972, whose three parts all change with size.

L(N, D) = exp(s N^q + S) + exp(B N^b + Q) / D^exp(A N^a + E), with N the parameters without
embeddings and D the tokens seen. These nine constants are values at N = 0 or D = 1, far from any
run, so the law is written here by what it says about a model of 1e9 parameters:

- U is the loss that remains with unlimited tokens, alpha the exponent by which it falls with N, and
  alpha_tenfold the factor of alpha for ten times the parameters.
- beta is the exponent of tokens, beta_tenfold its factor for ten times the parameters, and
  beta_bend the factor of that factor's logarithm.
- V is the loss due to having 2e10 tokens, V_tenfold its factor for ten times the parameters. V_bend
  says how V_tenfold changes with size, beyond what beta_bend implies.

Chinchilla's sum with E = 0 is the law in which all five factors are one; a positive E makes the
exponent alpha fall with size. :func:`from_constants` converts the constants that the paper uses.
"""

from typing import Any

import numpy as np

from bayescale.laws.law import Law

SIZE, TOKENS = 1e9, 2e10
"""Parameters and tokens at which the coefficients are stated."""

_TENFOLD = float(np.log(10.0))
_LOG_TOKENS = float(np.log(TOKENS))
_FLAT = 1e-8  # at exponents this small, (r^p - 1) / p is log r to nine digits


def _power(log_ratio: Any, exponent: Any) -> Any:
    """Return (r^p - 1) / p, from the log of r; smooth where p is zero, where it is log r."""
    half = 0.5 * exponent * log_ratio
    width = np.sqrt(half * half + _FLAT)
    return log_ratio * np.exp(half) * (np.exp(width) - np.exp(-width)) / (2.0 * width)


def _loss(  # noqa: PLR0913 two inputs and nine coefficients
    params: Any,
    tokens: Any,
    *,
    U: Any,
    alpha: Any,
    alpha_tenfold: Any,
    V: Any,
    V_tenfold: Any,
    V_bend: Any,
    beta: Any,
    beta_tenfold: Any,
    beta_bend: Any,
) -> Any:
    size, change = np.log(params / SIZE), np.log(beta_tenfold) / _TENFOLD
    bend = np.log(beta_bend) / _TENFOLD
    floor = U * np.exp(-alpha * _power(size, np.log(alpha_tenfold) / _TENFOLD))
    exponent = beta * np.exp(change * _power(size, bend))
    # the amplitude is that of a single token, so it changes with the exponent to leave V as stated
    slope = np.log(V_tenfold) / _TENFOLD + beta * change * _LOG_TOKENS
    amplitude = slope * _power(size, change + bend + np.log(V_bend) / _TENFOLD)
    of_data = V * np.exp(amplitude - exponent * np.log(tokens) + beta * _LOG_TOKENS)
    return floor + of_data


def from_constants(
    *, s: float, q: float, S: float, B: float, b: float, Q: float, A: float, a: float, E: float
) -> dict[str, float]:
    """Return the law's coefficients from the constants of the paper's equation."""
    beta = float(np.exp(A * SIZE**a + E))
    change = A * a * SIZE**a
    slope = B * b * SIZE**b - beta * change * _LOG_TOKENS
    return {
        "U": float(np.exp(s * SIZE**q + S)),
        "alpha": -s * q * SIZE**q,
        "alpha_tenfold": 10.0**q,
        "V": float(np.exp(B * SIZE**b + Q - beta * _LOG_TOKENS)),
        "V_tenfold": 10.0**slope,
        "V_bend": 10.0 ** (b - change - a),
        "beta": beta,
        "beta_tenfold": 10.0**change,
        "beta_bend": 10.0**a,
    }


FARSEER = Law(
    name="farseer",
    inputs=("params", "tokens"),
    coefficients=(
        "U", "alpha", "alpha_tenfold",
        "V", "V_tenfold", "V_bend",
        "beta", "beta_tenfold", "beta_bend",
    ),
    loss=_loss,
    falls_with=("tokens",),
    reference="Li et al. 2025, arXiv 2506.10972, by its values at 1e9 params and 2e10 tokens",
)  # fmt: skip
