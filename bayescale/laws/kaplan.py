"""The power laws of Kaplan et al. (2020), arXiv 2001.08361.

N counts parameters without embeddings, D tokens, and C training FLOP; the loss is in nats per
token. The coefficients with subscript c depend on vocabulary and tokenizer. C_c is published in
PF-days (8.64e19 FLOP each) and is in FLOP here.
"""

from typing import Any

from bayescale.laws.law import FLOP_PER_PARAM_TOKEN, Law
from bayescale.laws.terms import Balance, Constant, CriticalScale


def _params(params: Any, *, N_c: Any, alpha_N: Any) -> Any:
    return (N_c / params) ** alpha_N


def _tokens(tokens: Any, *, D_c: Any, alpha_D: Any) -> Any:
    return (D_c / tokens) ** alpha_D


def _compute(flops: Any, *, C_c: Any, alpha_C: Any) -> Any:
    return (C_c / flops) ** alpha_C


def _joint(params: Any, tokens: Any, *, N_c: Any, alpha_N: Any, D_c: Any, alpha_D: Any) -> Any:
    return ((N_c / params) ** (alpha_N / alpha_D) + D_c / tokens) ** alpha_D


def _joint_optimum(flops: Any, *, N_c: Any, alpha_N: Any, D_c: Any, alpha_D: Any) -> Any:
    power = alpha_N / alpha_D
    pairs = flops / FLOP_PER_PARAM_TOKEN
    params = (power * N_c**power * pairs / D_c) ** (1.0 / (1.0 + power))
    return params, pairs / params


def _irreducible(
    params: Any, tokens: Any, *, E: Any, N_c: Any, alpha_N: Any, D_c: Any, alpha_D: Any
) -> Any:
    return E + _joint(params, tokens, N_c=N_c, alpha_N=alpha_N, D_c=D_c, alpha_D=alpha_D)


def _irreducible_optimum(
    flops: Any, *, E: Any, N_c: Any, alpha_N: Any, D_c: Any, alpha_D: Any
) -> Any:
    return _joint_optimum(flops, N_c=N_c, alpha_N=alpha_N, D_c=D_c, alpha_D=alpha_D)


N_TERM = CriticalScale(input="params", exponent="alpha_N")
D_TERM = CriticalScale(input="tokens", exponent="alpha_D")
C_TERM = CriticalScale(input="flops", exponent="alpha_C")

KAPLAN_PARAMS = Law(
    name="kaplan_params",
    inputs=("params",),
    coefficients=("N_c", "alpha_N"),
    loss=_params,
    terms={"N_c": N_TERM},
    sum_of_terms=True,
    reference="Kaplan et al. 2020, arXiv 2001.08361, eq. 1.1",
)
KAPLAN_TOKENS = Law(
    name="kaplan_tokens",
    inputs=("tokens",),
    coefficients=("D_c", "alpha_D"),
    loss=_tokens,
    terms={"D_c": D_TERM},
    sum_of_terms=True,
    reference="Kaplan et al. 2020, arXiv 2001.08361, eq. 1.2",
)
KAPLAN_COMPUTE = Law(
    name="kaplan_compute",
    inputs=("flops",),
    coefficients=("C_c", "alpha_C"),
    loss=_compute,
    terms={"C_c": C_TERM},
    sum_of_terms=True,
    reference="Kaplan et al. 2020, arXiv 2001.08361, eq. 1.3",
)
KAPLAN = Law(
    name="kaplan",
    inputs=("params", "tokens"),
    coefficients=("N_c", "alpha_N", "D_c", "alpha_D"),
    loss=_joint,
    optimum=_joint_optimum,
    terms={"N_c": N_TERM, "D_c": D_TERM},
    sum_of_terms=True,
    root="alpha_D",
    reference="Kaplan et al. 2020, arXiv 2001.08361, eq. 1.5",
)
KAPLAN_IRREDUCIBLE = Law(
    name="kaplan_irreducible",
    inputs=("params", "tokens"),
    coefficients=("E", "N_c", "alpha_N", "D_c", "alpha_D"),
    loss=_irreducible,
    optimum=_irreducible_optimum,
    terms={
        "E": Constant(),
        "N_c": N_TERM,
        "D_c": Balance(
            input="tokens",
            against="params",
            against_coefficient="N_c",
            power="alpha_N",
            root="alpha_D",
        ),
    },
    reference="Kaplan et al. 2020, arXiv 2001.08361, eq. 1.5, plus a constant",
)
