"""Numbers in the language of LLVM: floats of double precision, 64-bit integers and bools."""

import ast
import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

from llvmlite import ir

from bayescale.inference.compiled.vector_math import scalar_name

FLOAT, INT, BOOL = ir.DoubleType(), ir.IntType(64), ir.IntType(1)

FAST = ("arcp", "contract", "afn", "reassoc", "nsz")
"""What LLVM may assume about floats: NaN and infinity stay what they are."""

_OF_LLVM = ("exp", "log", "log2", "log10", "sqrt", "floor", "ceil", "sin", "cos")
_OF_C = {name: name for name in ("cosh", "erf", "erfc", "expm1", "lgamma", "log1p", "sinh", "tan")}
_OF_C |= {"arctan": "atan", "tanh": "tanh"}
"""Functions of one number: those of LLVM, and those of the C library by their names in Python."""

_ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
_LOGIC = {ast.BitAnd: "and_", ast.BitOr: "or_", ast.And: "and_", ast.Or: "or_"}
_COMPARED = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


def integer(value: int) -> ir.Constant:
    """Return an integer that is known now."""
    return ir.Constant(INT, int(value))


def unknown(node: ast.AST | str) -> NotImplementedError:
    """Return the error for what is not translated."""
    text = node if isinstance(node, str) else ast.unparse(node)
    return NotImplementedError(f"no translation of: {text}")


class Numbers:
    """Operations on the numbers of one function.

    Attributes
    ----------
    b : llvmlite.ir.IRBuilder
        What writes instructions.
    """

    def __init__(self, function: ir.Function) -> None:
        self.b: Any = ir.IRBuilder(function.append_basic_block("entry"))
        self._function = function

    def converted(self, value: Any, wanted: Any) -> Any:
        """Return a number as another type that holds all of its values, or whether it is not 0."""
        given = value.type
        if given == wanted:
            return value
        if wanted == FLOAT and isinstance(value, ir.Constant):
            return ir.Constant(FLOAT, float(value.constant))
        if wanted == FLOAT:
            return self.b.sitofp(value, FLOAT) if given == INT else self.b.uitofp(value, FLOAT)
        if (given, wanted) == (BOOL, INT):
            return self.b.zext(value, INT)
        if (given, wanted) == (INT, BOOL):
            return self.b.icmp_signed("!=", value, integer(0))
        raise unknown(f"{given} as {wanted}")

    def alike(self, *values: Any) -> list[Any]:
        """Return numbers as the one type that holds all of them."""
        types = [x.type for x in values]
        wanted = next((kind for kind in (FLOAT, INT) if kind in types), BOOL)
        return [self.converted(x, wanted) for x in values]

    def result(self, op: ast.AST, left: Any, right: Any) -> Any:
        """Return the result of an operation on two numbers."""
        if type(op) in _LOGIC and left.type == right.type != FLOAT:
            return getattr(self.b, _LOGIC[type(op)])(left, right)
        if isinstance(op, ast.Div) or FLOAT in (left.type, right.type):
            return self._of_floats(op, *(self.converted(x, FLOAT) for x in (left, right)))
        if type(op) not in _ARITHMETIC:
            raise unknown(f"{type(op).__name__} of integers")
        left, right = (self.converted(x, INT) for x in (left, right))
        return getattr(self.b, _ARITHMETIC[type(op)])(left, right, flags=("nsw",))

    def _of_floats(self, op: ast.AST, left: Any, right: Any) -> Any:
        if isinstance(op, ast.Pow):
            return self._power(left, right)
        if isinstance(op, ast.Div):
            return self.b.fdiv(left, right, flags=FAST)
        if type(op) not in _ARITHMETIC:
            raise unknown(f"{type(op).__name__} of floats")
        return getattr(self.b, f"f{_ARITHMETIC[type(op)]}")(left, right, flags=FAST)

    def negative(self, value: Any) -> Any:
        """Return a number with the other sign."""
        if isinstance(value, ir.Constant):
            return ir.Constant(value.type, -value.constant)
        return self.b.fneg(value, flags=FAST) if value.type == FLOAT else self.b.neg(value)

    def together(self, op: ast.AST, values: Sequence[Any]) -> Any:
        """Return whether all, or any, of the values are true."""
        return reduce(getattr(self.b, _LOGIC[type(op)]), (self.converted(x, BOOL) for x in values))

    def compared(self, op: ast.AST, *values: Any) -> Any:
        """Return the result of a comparison, which a NaN is unequal to."""
        if type(op) not in _COMPARED:
            raise unknown(type(op).__name__)
        return self.compare(_COMPARED[type(op)], *values)

    def compare(self, sign: str, *values: Any) -> Any:
        """Return the result of a comparison by its sign."""
        left, right = self.alike(*values)
        if left.type != FLOAT:
            return self.b.icmp_signed(sign, *(self.converted(x, INT) for x in (left, right)))
        compare = self.b.fcmp_unordered if sign == "!=" else self.b.fcmp_ordered
        return compare(sign, left, right, flags=FAST)

    def select(self, test: Any, *values: Any) -> Any:
        """Return the first number if a condition holds, else the second one."""
        left, right = self.alike(*values)
        flags = FAST if left.type == FLOAT else ()
        return self.b.select(self.converted(test, BOOL), left, right, flags=flags)

    def times(self, *values: Any) -> Any:
        """Return the product of integers."""
        known = math.prod(x.constant for x in values if isinstance(x, ir.Constant))
        rest = [x for x in values if not isinstance(x, ir.Constant)]
        factors = [*rest, integer(known)] if known != 1 or not rest else rest
        return reduce(lambda x, y: self.b.mul(x, y, flags=("nsw",)), factors)

    def plus(self, *values: Any) -> Any:
        """Return the sum of integers."""
        known = sum(x.constant for x in values if isinstance(x, ir.Constant))
        rest = [x for x in values if not isinstance(x, ir.Constant)]
        terms = [*rest, integer(known)] if known or not rest else rest
        return reduce(lambda x, y: self.b.add(x, y, flags=("nsw",)), terms)

    def function_of(self, name: str, x: Any) -> Any:
        """Return the result of a function of one number by its name in Python."""
        if name in ("int", "int64") and x.type == FLOAT:
            return self.b.fptosi(x, INT)
        if name in ("int", "int64") or (name.startswith(("int", "uint")) and x.type == BOOL):
            return self.converted(x, INT)
        if name == "abs" and x.type == INT:
            return self.select(self.compare("<", x, integer(0)), self.negative(x), x)
        x = self.converted(x, FLOAT)
        if name in ("float", "float64"):
            return x
        if name == "isnan":
            return self.compare("!=", x, x)
        if name in ("isinf", "isfinite"):
            sign = "==" if name == "isinf" else "<"
            return self.compare(sign, self._intrinsic("fabs", x), ir.Constant(FLOAT, math.inf))
        if (vectorized := scalar_name(name)) is not None:
            return self._external(vectorized, x)
        if name == "abs" or name in _OF_LLVM:
            return self._intrinsic("fabs" if name == "abs" else name, x)
        if name not in _OF_C:
            raise unknown(name)
        return self._external(_OF_C[name], x)

    def _power(self, base: Any, exponent: Any) -> Any:
        # LLVM replaces its own operation by products and roots where a known exponent allows it
        simple = isinstance(exponent, ir.Constant) and float(2 * exponent.constant).is_integer()
        name = None if simple else scalar_name("pow")
        if name is None:
            return self._intrinsic("pow", base, exponent)
        return self._external(name, base, exponent)

    def _external(self, name: str, *given: Any) -> Any:
        module = self._function.module
        kind = ir.FunctionType(FLOAT, [FLOAT] * len(given))
        function = module.globals.get(name) or ir.Function(module, kind, name)
        return self.b.call(function, given, fastmath=FAST)

    def _intrinsic(self, name: str, *given: Any) -> Any:
        kind = ir.FunctionType(FLOAT, [FLOAT] * len(given))
        function = self._function.module.declare_intrinsic(f"llvm.{name}", [FLOAT], kind)
        return self.b.call(function, given, fastmath=FAST)
