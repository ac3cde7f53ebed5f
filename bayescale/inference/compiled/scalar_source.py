"""Operations on numbers as Python expressions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pytensor.scalar import basic, math

_TEXTS: dict[type, str] = {
    basic.Abs: "abs({})",
    basic.AND: "{} & {}",
    basic.Add: "{} + {}",
    basic.ArcTan: "np.arctan({})",
    basic.Ceil: "np.ceil({})",
    basic.Clip: "smaller(larger({}, {}), {})",
    basic.Cos: "np.cos({})",
    basic.Cosh: "np.cosh({})",
    basic.EQ: "{} == {}",
    basic.Exp: "np.exp({})",
    basic.Expm1: "np.expm1({})",
    basic.Floor: "np.floor({})",
    basic.GE: "{} >= {}",
    basic.GT: "{} > {}",
    basic.Identity: "{}",
    basic.Invert: "not {}",
    basic.IsInf: "np.isinf({})",
    basic.IsNan: "np.isnan({})",
    basic.LE: "{} <= {}",
    basic.LT: "{} < {}",
    basic.Log: "np.log({})",
    basic.Log1p: "np.log1p({})",
    basic.Log2: "np.log2({})",
    basic.Log10: "np.log10({})",
    basic.Mul: "{} * {}",
    basic.NEQ: "{} != {}",
    basic.Neg: "-{}",
    basic.OR: "{} | {}",
    basic.Pow: "{} ** {}",
    basic.Reciprocal: "1.0 / {}",
    basic.ScalarMaximum: "larger({}, {})",
    basic.ScalarMinimum: "smaller({}, {})",
    basic.Second: "{1}",
    basic.Sign: "sign({})",
    basic.Sin: "np.sin({})",
    basic.Sinh: "np.sinh({})",
    basic.Sqr: "{0} * {0}",
    basic.Sqrt: "np.sqrt({})",
    basic.Sub: "{} - {}",
    basic.Switch: "{1} if {0} else {2}",
    basic.Tanh: "np.tanh({})",
    basic.TrueDiv: "{} / {}",
    math.Erf: "math.erf({})",
    math.Erfc: "math.erfc({})",
    math.Erfcx: "erfcx({})",
    math.GammaLn: "math.lgamma({})",
    math.Psi: "digamma({})",
    math.Sigmoid: "sigmoid({})",
    math.Softplus: "softplus({})",
}
"""Expressions by the class of the operation; ``special`` has the functions without a module."""

_CHAINED = (basic.Add, basic.Mul, basic.AND, basic.OR)
"""Operations of any number of arguments."""

_COPIES = (basic.Identity, basic.Second)


def scalar_lines(
    op: Any, arguments: Sequence[str], new_name: Callable[[], str]
) -> tuple[list[str], list[str]]:
    """Return statements that compute an operation on numbers, and the names of its results.

    Raises
    ------
    NotImplementedError
        If there is no expression for the operation.
    """
    if isinstance(op, basic.Composite):
        return _composite_lines(op, arguments, new_name)
    if isinstance(op, basic.Cast):
        kind = op.o_type.dtype
        text = f"{arguments[0]} != 0" if kind == "bool" else f"np.{kind}({arguments[0]})"
    elif type(op) not in _TEXTS:
        raise NotImplementedError(f"no expression for the operation {op} on numbers")
    elif type(op) in _CHAINED:
        text = _TEXTS[type(op)][2:-2].join(arguments)
    else:
        text = _TEXTS[type(op)].format(*arguments)
    if type(op) in _COPIES:
        return [], [text]
    name = new_name()
    return [f"{name} = {text}"], [name]


def _composite_lines(
    op: Any, arguments: Sequence[str], new_name: Callable[[], str]
) -> tuple[list[str], list[str]]:
    names, lines = dict(zip(op.fgraph.inputs, arguments, strict=True)), []

    def name_of(variable: Any) -> str:
        return names[variable] if variable in names else literal(variable.data)

    for node in op.fgraph.toposort():
        more, results = scalar_lines(node.op, list(map(name_of, node.inputs)), new_name)
        lines += more
        names |= zip(node.outputs, results, strict=True)
    return lines, list(map(name_of, op.fgraph.outputs))


def literal(value: Any) -> str:
    """Return the text of a number; every float has double precision."""
    value = np.asarray(value).item()
    if isinstance(value, float):
        text = repr(value) if np.isfinite(value) else f"np.{abs(value)!r}"
        return f"(-{text.removeprefix('-')})" if np.signbit(value) else text
    return repr(value)
