"""Graphs as source: the function computes what PyTensor itself computes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.gradient import disconnected_grad
from scipy import special as of_scipy
from support.machine_code import run, run_in_python

from bayescale.inference.compiled.graph_source import GRAPH_MODE, graph_source
from bayescale.inference.compiled.special import special_functions

RNG = np.random.default_rng(0)
VECTOR, OTHER = RNG.normal(size=12), RNG.normal(size=12)
MATRIX = RNG.normal(size=(12, 5))
SQUARE = MATRIX.T @ MATRIX + np.eye(5)
RIGHT = RNG.normal(size=5)


def compiled(inputs: list[Any], outputs: list[Any]) -> Callable[..., Any]:
    """The function of a graph: as machine code, and its source in Python has the same results."""
    graph = pytensor.function(inputs, outputs, mode=GRAPH_MODE).maker.fgraph
    source = graph_source(graph, [f"a{i}" for i in range(len(inputs))])

    def function(*values: Any) -> list[np.ndarray]:
        given = {f"a{i}": np.ascontiguousarray(value) for i, value in enumerate(values)}
        found: list[Any] = []
        keep = [*source.lines, f"keep({', '.join(source.outputs)})"]
        run_in_python(keep, given, source.constants, keep=lambda *x: found.extend(x))
        made = {f"out{i}": np.zeros(np.shape(x), np.asarray(x).dtype) for i, x in enumerate(found)}
        places = ["[:]" if x.ndim else "[()]" for x in made.values()]
        ends = (f"{to}{at} = {x}" for to, at, x in zip(made, places, source.outputs, strict=True))
        run([*source.lines, *ends], {**given, **made}, source.constants)
        for mine, python in zip(made.values(), found, strict=True):
            np.testing.assert_allclose(mine, python, rtol=1e-11, atol=1e-13)
        return [x if x.ndim else x[()] for x in made.values()]

    return function


def changed_twice(x: Any) -> Any:
    """A vector that is changed at two places, the first change being used too."""
    once = pt.inc_subtensor(x[1:5], 2.0)
    return once * pt.set_subtensor(once[np.array([2, 9])], x[0])


def sums_of_three(x: Any) -> Any:
    """Sums over the first, the middle and the last two axes of an array, in one vector."""
    return pt.concatenate([x.sum(axis=0).ravel(), x.sum(axis=1).ravel(), x.sum(axis=(1, 2))])


CASES: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "numbers": (lambda x: pt.exp(x[0]) ** 2 / (1 + pt.sqrt(abs(x[3]))), (VECTOR,)),
    "a loop": (lambda x, y: pt.log1p(x**2) * y - x / y, (VECTOR, OTHER)),
    "a loop that is only reduced": (lambda x, y: pt.sum(x * y) + pt.max(x * y), (VECTOR, OTHER)),
    "a loop of two outputs": (lambda x: pt.exp(x) + pt.sum(pt.exp(x)), (VECTOR,)),
    "outer product": (lambda x, y: x[:, None] * y[None, :5], (VECTOR, OTHER)),
    "sums over an axis": (lambda a: pt.exp(a).sum(axis=0), (MATRIX,)),
    "sums over the other axis": (lambda a: a.sum(axis=1) * a.max(axis=1), (MATRIX,)),
    "transposed": (lambda a: pt.exp(a.T).sum(axis=0) + a[:, 0], (MATRIX,)),
    "softmax of a short vector": (lambda x: pt.special.softmax(x[:3]), (VECTOR,)),
    "a short vector in a loop": (lambda a, x: a[:, :3] + x[:3], (MATRIX, VECTOR)),
    "short vectors joined": (lambda x: pt.concatenate([x[:2], [1.0], x[4:5]]), (VECTOR,)),
    "long vectors joined": (lambda x, y: pt.concatenate([x, [2.0], y, y[:2]]), (VECTOR, OTHER)),
    "matrices joined": (lambda a: pt.concatenate([a, 2 * a], axis=1), (MATRIX,)),
    "split": (lambda x: pt.split(x, [3, 9])[1] * pt.split(x, [3, 9])[0].sum(), (VECTOR,)),
    "a matrix split": (lambda a: pt.split(a, [2, 3], axis=1)[1].sum(axis=0), (MATRIX,)),
    "filled": (lambda x: pt.alloc(x[0], 4, 3) + pt.alloc(x[:3], 4, 3), (VECTOR,)),
    "reshaped": (lambda a: a.reshape((5, 12)) @ a.reshape((60,))[:12], (MATRIX,)),
    "a part": (lambda x: x[2:-3:2] + x[-1], (VECTOR,)),
    "a part of a matrix": (lambda a: a[1:4, 2] * a[0, -1], (MATRIX,)),
    "looked up": (lambda x: x[np.array([3, 3, 11])] * 2, (VECTOR,)),
    "looked up by row and column": (lambda a: a[np.arange(5), np.arange(5)], (MATRIX,)),
    "changed": (lambda x: pt.inc_subtensor(pt.exp(x)[2:4], x[0]), (VECTOR,)),
    "set": (lambda x: pt.set_subtensor(x[:3][1], 7.0), (VECTOR,)),
    "added where looked up": (
        lambda x: pt.inc_subtensor(pt.exp(x)[np.array([1, 1, 2])], x[:3]), (VECTOR,),
    ),
    "changed, and used as it was": (
        lambda x, y: changed_twice(pt.exp(x)) + pt.exp(x) * y + changed_twice(x), (VECTOR, OTHER),
    ),
    "rows changed where looked up": (
        lambda a: pt.inc_subtensor(pt.exp(a)[np.array([1, 1, 7])], a[:3]) * a[:, 1:2], (MATRIX,),
    ),
    "columns": (lambda a: pt.outer(a[:, 1], a[:, 2]) + a[:, -1][:, None] * a.T[0], (MATRIX,)),
    "columns joined": (
        lambda a, x: pt.concatenate([a[:, 2:3], a, (x * x)[:, None]], axis=1), (MATRIX, VECTOR),
    ),
    "columns split": (
        lambda a: pt.exp(pt.split(a, [1, 3, 1], axis=1)[0]) * pt.split(a, [1, 3, 1], axis=1)[2],
        (MATRIX,),
    ),
    "sums over axes of three": (
        lambda a: sums_of_three(pt.exp(a[:, :, None] * a[:, None, :3])), (MATRIX,),
    ),
    "a matrix times a vector": (lambda a, b: a @ b, (MATRIX, RIGHT)),
    "a transposed matrix times a vector": (lambda a, x: a.T @ x, (MATRIX, VECTOR)),
    "a vector times a matrix": (lambda a, x: x @ a, (MATRIX, VECTOR)),
    "matrices multiplied": (lambda a: a.T @ a, (MATRIX,)),
    "equations": (
        lambda s, b: pt.linalg.solve_triangular(pt.linalg.cholesky(s), b, lower=True),
        (SQUARE, RIGHT),
    ),
    "transposed equations": (
        lambda s, b: pt.linalg.solve_triangular(pt.linalg.cholesky(s).T, b, lower=False),
        (SQUARE, RIGHT),
    ),
    "equations of a factor": (
        lambda s, b: pt.linalg.cho_solve((pt.linalg.cholesky(s), True), b), (SQUARE, RIGHT),
    ),
    "diagonals": (lambda s: pt.diag(pt.diagonal(s)) + s, (SQUARE,)),
    "conditions": (
        lambda x: pt.switch(pt.and_(x > 0, ~pt.isinf(x)), x, -pt.inf).max(), (VECTOR,),
    ),
    "special functions": (
        lambda x: pt.gammaln(x**2) + pt.erfcx(x) + pt.erf(x) * pt.erfc(x) + pt.sigmoid(x),
        (VECTOR,),
    ),
    "more special functions": (
        lambda x: disconnected_grad(pt.psi(x**2)) + pt.softplus(x) * pt.tanh(x), (VECTOR,),
    ),
    "rounding and bounds": (
        lambda x: pt.clip(x, -1, 1) + pt.floor(x) * pt.ceil(x) + pt.arctan(pt.sinh(x)), (VECTOR,),
    ),
    "stored conditions and places": (
        lambda x, y: y[pt.cast(abs(x) > 1, "int64")] * ((x > 0) & (y > 0)).sum(), (VECTOR, OTHER),
    ),
    "an untouched input": (lambda x: x, (VECTOR,)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_source_computes_what_pytensor_computes(name: str) -> None:
    build, values = CASES[name]
    inputs = [pt.tensor(dtype="float64", shape=value.shape) for value in values]
    output = build(*inputs)
    gradients = pytensor.grad(output.sum(), inputs, disconnected_inputs="ignore")
    expected = pytensor.function(inputs, [output, *gradients], mode="FAST_COMPILE")(*values)
    found = compiled(inputs, [output, *gradients])(*values)
    for mine, theirs in zip(found, expected, strict=True):
        assert np.shape(mine) == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-13)


def test_lengths_that_are_known_only_at_run_time() -> None:
    x, a = pt.dvector(), pt.dmatrix()
    outputs = [pt.concatenate([x, x[:1]]) * 2, (a * x).sum(axis=1), a.shape[0] * x.shape[0]]
    outputs.append(pytensor.grad(pt.exp(outputs[0]).sum(), x))
    found = compiled([x, a], outputs)
    for n in (1, 4):
        values = RNG.normal(size=n), RNG.normal(size=(3, n))
        expected = pytensor.function([x, a], outputs, mode="FAST_COMPILE")(*values)
        for mine, theirs in zip(found(*values), expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-13)


def test_arrays_of_different_lengths_are_an_error() -> None:
    x, y = pt.dvector(), pt.dvector()
    function = compiled([x, y], [x + y])
    np.testing.assert_array_equal(function(VECTOR, OTHER)[0], VECTOR + OTHER)
    with pytest.raises(ValueError):  # noqa: PT011 compiled code has no message
        function(VECTOR, OTHER[:-1])


def test_reductions_of_whole_numbers_are_whole_numbers() -> None:
    places = pt.lvector()
    outputs = [places.max(), places.min(), places.sum(), pt.zeros(places.max() + 1)]
    *numbers, zeros = compiled([places], outputs)(np.array([3, 1, 7]))
    assert numbers == [7, 1, 11]
    assert all(isinstance(number, int | np.integer) for number in numbers)
    assert zeros.shape == (8,)


def test_the_largest_of_numbers_with_a_missing_one_is_missing() -> None:
    x = pt.tensor(dtype="float64", shape=(12,))
    function = compiled([x], [x.max(), pt.maximum(x[0], x[1]), pt.minimum(x[1], x[0])])
    for place in (0, 1):
        with_gap = VECTOR.copy()
        with_gap[place] = np.nan
        assert np.isnan(function(with_gap)).all()


def test_a_matrix_that_is_not_positive_has_no_factor() -> None:
    root = np.zeros((2, 2))
    special_functions()["cholesky"](np.array([[1.0, 2.0], [2.0, 1.0]]), root)
    assert np.isnan(root).all()


def test_other_operations_are_named() -> None:
    a = pt.dmatrix()
    with pytest.raises(NotImplementedError, match=r"SVD.* cannot be written as a loop"):
        compiled([a], [pt.linalg.svd(a, compute_uv=False)])
    x = pt.dvector()
    with pytest.raises(NotImplementedError, match=r"no expression for the operation .*i0"):
        compiled([x], [pt.i0(x)])


@pytest.mark.parametrize("name", ["sigmoid", "softplus"])
def test_functions_do_not_overflow(name: str) -> None:
    function = special_functions()[name]
    expected = {"sigmoid": of_scipy.expit, "softplus": lambda x: np.logaddexp(0.0, x)}[name]
    for x in (-800.0, -30.0, -1.0, 0.0, 2.0, 800.0):
        assert function(x) == pytest.approx(expected(x), rel=1e-14, abs=1e-300)
