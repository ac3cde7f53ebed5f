"""Laws of one scale with a bend: a late onset, a break, or a smooth approach to the floor.

All modify the power law plus constant E + A / x^alpha, at one end or in the middle. They suit error
rates and scores as well as losses, and training curves as well as final runs.
"""

from typing import Any

from bayescale.laws.law import Law
from bayescale.laws.terms import Amplitude, Constant, Onset


def _saturating(x: Any, *, E: Any, A: Any, alpha: Any, x_0: Any, k_0: Any, k_E: Any) -> Any:
    """Return a loss that is constant below x_0, a power law above it, and tends to E.

    k_0 and k_E set how sharp the onset and the approach to the floor are. This is an explicit
    variant of M4, whose loss is defined as the root of an equation.
    """
    reducible = A * x**-alpha * (1.0 + (x_0 / x) ** (k_0 * alpha)) ** (-1.0 / k_0)
    return (E**k_E + reducible**k_E) ** (1.0 / k_E)


def _broken(x: Any, *, E: Any, A: Any, alpha: Any, x_b: Any, bend: Any, w: Any) -> Any:
    """Return a power law whose exponent goes from alpha to bend * alpha at x_b, over w e-folds."""
    change = (1.0 + (x / x_b) ** (1.0 / w)) ** (-w * alpha * (bend - 1.0))
    return E + A * x**-alpha * change


def _saturating_params(
    params: Any, *, E: Any, A: Any, alpha: Any, x_0: Any, k_0: Any, k_E: Any
) -> Any:
    return _saturating(params, E=E, A=A, alpha=alpha, x_0=x_0, k_0=k_0, k_E=k_E)


def _saturating_tokens(
    tokens: Any, *, E: Any, A: Any, alpha: Any, x_0: Any, k_0: Any, k_E: Any
) -> Any:
    return _saturating(tokens, E=E, A=A, alpha=alpha, x_0=x_0, k_0=k_0, k_E=k_E)


def _saturating_compute(
    flops: Any, *, E: Any, A: Any, alpha: Any, x_0: Any, k_0: Any, k_E: Any
) -> Any:
    return _saturating(flops, E=E, A=A, alpha=alpha, x_0=x_0, k_0=k_0, k_E=k_E)


def _broken_params(params: Any, *, E: Any, A: Any, alpha: Any, x_b: Any, bend: Any, w: Any) -> Any:
    return _broken(params, E=E, A=A, alpha=alpha, x_b=x_b, bend=bend, w=w)


def _broken_tokens(tokens: Any, *, E: Any, A: Any, alpha: Any, x_b: Any, bend: Any, w: Any) -> Any:
    return _broken(tokens, E=E, A=A, alpha=alpha, x_b=x_b, bend=bend, w=w)


def _broken_compute(flops: Any, *, E: Any, A: Any, alpha: Any, x_b: Any, bend: Any, w: Any) -> Any:
    return _broken(flops, E=E, A=A, alpha=alpha, x_b=x_b, bend=bend, w=w)


def _saturating_law(name: str, scale: str, loss: Any) -> Law:
    return Law(
        name=name,
        inputs=(scale,),
        coefficients=("E", "A", "alpha", "x_0", "k_0", "k_E"),
        loss=loss,
        terms={
            "E": Constant(),
            "A": Onset(input=scale, exponent="alpha", start="x_0", sharpness="k_0"),
        },
        reference="after M4 of Alabdulmohsin et al. 2022, arXiv 2209.06640",
    )


def _broken_law(name: str, scale: str, loss: Any) -> Law:
    return Law(
        name=name,
        inputs=(scale,),
        coefficients=("E", "A", "alpha", "x_b", "bend", "w"),
        loss=loss,
        terms={"E": Constant(), "A": Amplitude(input=scale, exponent="alpha")},
        reference="Caballero et al. 2023, arXiv 2210.14891, eq. 1 with one break",
    )


SATURATING_PARAMS = _saturating_law("saturating_params", "params", _saturating_params)
SATURATING_TOKENS = _saturating_law("saturating_tokens", "tokens", _saturating_tokens)
SATURATING_COMPUTE = _saturating_law("saturating_compute", "flops", _saturating_compute)
BROKEN_PARAMS = _broken_law("broken_params", "params", _broken_params)
BROKEN_TOKENS = _broken_law("broken_tokens", "tokens", _broken_tokens)
BROKEN_COMPUTE = _broken_law("broken_compute", "flops", _broken_compute)
