"""Power law plus constant, Henighan et al. (2020), arXiv 2010.14701.

L(x) = E + (x_c / x)^alpha: Kaplan's power laws with an irreducible loss E in nats per token.
x_c is the scale at which the reducible part equals one nat.
"""

from typing import Any

from bayescale.laws.kaplan import C_TERM, D_TERM, N_TERM
from bayescale.laws.law import Law
from bayescale.laws.terms import Constant

_REFERENCE = "Henighan et al. 2020, arXiv 2010.14701, eq. 1.1"


def _params(params: Any, *, E: Any, N_c: Any, alpha_N: Any) -> Any:
    return E + (N_c / params) ** alpha_N


def _tokens(tokens: Any, *, E: Any, D_c: Any, alpha_D: Any) -> Any:
    return E + (D_c / tokens) ** alpha_D


def _compute(flops: Any, *, E: Any, C_c: Any, alpha_C: Any) -> Any:
    return E + (C_c / flops) ** alpha_C


HENIGHAN_PARAMS = Law(
    name="henighan_params",
    inputs=("params",),
    coefficients=("E", "N_c", "alpha_N"),
    loss=_params,
    terms={"E": Constant(), "N_c": N_TERM},
    sum_of_terms=True,
    reference=_REFERENCE,
)
HENIGHAN_TOKENS = Law(
    name="henighan_tokens",
    inputs=("tokens",),
    coefficients=("E", "D_c", "alpha_D"),
    loss=_tokens,
    terms={"E": Constant(), "D_c": D_TERM},
    sum_of_terms=True,
    reference=_REFERENCE,
)
HENIGHAN_COMPUTE = Law(
    name="henighan_compute",
    inputs=("flops",),
    coefficients=("E", "C_c", "alpha_C"),
    loss=_compute,
    terms={"E": Constant(), "C_c": C_TERM},
    sum_of_terms=True,
    reference=_REFERENCE,
)
