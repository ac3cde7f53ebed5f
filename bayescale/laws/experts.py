"""Mixtures of experts, after Clark et al. (2022), arXiv 2202.01169.

L(N, X) = E + A / (N^alpha Xhat^gamma) with N the parameters that a token passes through (the dense
size), X the number of experts of a routed layer, and Xhat the effective number of experts: E_start
at X = 1, about X in the middle, and at most E_max (the paper's eq. 6):

    1 / Xhat = 1 / (X - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max

The paper has no irreducible loss E. Instead it has an interaction: the larger the dense model is,
the less experts help. On its runs the two describe the same thing, and forecasts of the largest
dense size are better with E; see ``benchmarks/held_out_inputs.py``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bayescale.laws.law import Law
from bayescale.laws.terms import Bent, Constant, Known


def effective_experts(experts: Any, start: Any, most: Any) -> Any:
    """Return the effective number of experts: from ``start``, for one expert, to ``most``.

    Examples
    --------
    >>> round(float(effective_experts(1.0, 1.8, 300.0)), 3)
    1.8
    >>> round(float(effective_experts(1e9, 1.8, 300.0)), 1)
    300.0
    """
    return 1.0 / (1.0 / (experts - 1.0 + 1.0 / (1.0 / start - 1.0 / most)) + 1.0 / most)


def _loss(
    params: Any, experts: Any, *, E: Any, A: Any, alpha: Any, gamma: Any, E_start: Any, E_max: Any
) -> Any:
    return E + A / params**alpha / effective_experts(experts, E_start, E_max) ** gamma


@dataclass(frozen=True, kw_only=True)
class _Routed(Bent):
    @property
    def bend_needs(self) -> tuple[str, ...]:
        return ("gamma", "E_start", "E_max")

    @property
    def bend_inputs(self) -> tuple[str, ...]:
        return ("experts",)

    def log_bend(self, known: Known, log_x: Known) -> Any:
        counted = effective_experts(np.exp(log_x["experts"]), known["E_start"], known["E_max"])
        return -known["gamma"] * np.log(counted)


EXPERTS = Law(
    name="experts",
    inputs=("params", "experts"),
    coefficients=("E", "A", "alpha", "gamma", "E_start", "E_max"),
    loss=_loss,
    terms={"E": Constant(), "A": _Routed(input="params", exponent="alpha")},
    reference="Clark et al. 2022, arXiv 2202.01169, eqs. 5 and 6, with a constant",
)
