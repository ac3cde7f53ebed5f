"""Functions in a small part of Python as machine code: the results of Python, or a refusal."""

import math
import resource
from contextlib import nullcontext

import numpy as np
import pytest
from llvmlite import binding
from support.machine_code import run, run_in_python, translated

from bayescale.inference.compile import code_depends_on
from bayescale.inference.compiled import llvm_module, vector_math
from bayescale.inference.compiled.coordinates import share_at
from bayescale.inference.compiled.llvm_module import load, object_code, processor

A = np.array([0.5, -2.0, 3.0, 0.25, 7.0])
M = np.arange(12.0).reshape(3, 4)

SAME = {
    "arithmetic": "out[0] = -a[0] * 3 + a[1] / 4 - 2.5",
    "integers": "out[0] = 3 * n[0] - n[1] + 7\nout[1] = n[0] / n[1]\nout[2] = abs(n[1])",
    "powers": "out[0] = a[2] ** 2\nout[1] = a[2] ** a[1]\nout[2] = a[2] ** 0.5",
    "functions": "".join(
        f"out[{i}] = np.{name}(a[{i}])\n"
        for i, name in enumerate(["exp", "tanh", "floor", "sinh", "log10"])
    ),
    "functions of C": "out[0] = math.erf(a[0]) + math.erfc(a[0])\nout[1] = math.lgamma(a[2])",
    "conditions": "out[0] = 1.0 if a[0] > 0 and not a[1] > 0 else 2.0\n"
    "out[1] = 3 if 0 < a[3] <= 0.25 or a[0] != a[0] else 4",
    "branches": "if a[0] > 1:\n    out[0] = 1\nelif a[1] < 0:\n    out[0] = 2\n"
    "else:\n    out[0] = 3",
    "bools as numbers": "out[0] = n[0] + (a[2] > 0)\nout[1] = (a[0] > 0) * a[2]",
    "whole numbers of floats": "out[0] = int(a[1]) + int(a[0] > 0) + np.int64(a[2])",
    "loops": "total = 0.0\nfor i in range(a.shape[0]):\n    total += a[i]\nout[0] = total",
    "loops down": "k = 0\nfor i in range(4, -1, -2):\n    out[k] = a[i]\n    k += 1",
    "loops over nothing": "out[0] = 1\nfor i in range(3, 3):\n    out[0] = 2",
    "while": "x = a[4]\nk = 0\nwhile x > 1:\n    x /= 2\n    k += 1\nout[0] = x\nout[1] = k",
    "early returns": "if a[0] > 0:\n    out[0] = 1\n    return 0\nout[0] = 2",
    "smallest and largest": "out[0] = min(a[0], a[1])\nout[1] = max(n[0], n[1])",
    "places from the end": "out[0] = a[-1]\nout[1] = a[n[1]]\nout[-1] = m[-2, 3]",
    "slices": "out[1:3] = a[-2:]\nout[3:] += a[:2]",
    "slices with steps": "out[:] = a[::-1]\nout[:3] += a[::2]\nout[:2] += a[3:0:-2]",
    "slices beyond the end": "out[1:9] = a[-9:4].copy()",
    "columns": "m[:, 1] += m[:, 0]\nm[1] = 4.0\nout[:3] = m[:, 2]",
    "repeated axes of one": "m[:] += m[:, :1].copy()\nm[:2] *= m[2:]",
    "copies": "b = a.copy()\nb[0] = 9.0\nout[0] = a[0] + b[0]",
    "views": "b = a[1:]\nb[0] = 9.0\nout[0] = a[1]",
    "reshaped": "b = m.reshape((4, -1))\nout[0] = b[3, 2]\nout[1:] = m.ravel()[4:8]",
    "reshaped columns": "b = m[:, 1:3].ravel()\nout[0] = b[3]",
    "large arrays": "b = np.empty((n[0] * 1000, 2), np.float64)\n"
    "for i in range(b.shape[0]):\n    b[i, 1] = i\nout[0] = b[2999, 1]",
    "bools in memory": "b = np.empty((2,), np.bool_)\nb[0] = a[0] > 0\nb[1] = n[0]\n"
    "out[0] = 1.0 if b[0] & b[1] else 0.0",
    "small whole numbers": "out[0] = small[1] + small[-1]\nb = small[::2].copy()\nout[1] = b[1]",
    "constants": "out[0] = table[1, 0] + math.pi + np.inf",
    "calls": "out[0] = larger(a[0], a[1]) + larger(n[0], n[1])\nout[1] = sigmoid(a[1])\n"
    "out[2] = erfcx(a[0])\nout[3] = digamma(a[1] - 0.1)\nout[4] = sign(a[1]) + sign(n[0])",
}


def arrays() -> dict[str, np.ndarray]:
    whole = {"n": np.array([3, -2]), "small": np.array([5, -7, 11], dtype=np.int32)}
    return {"a": A.copy(), "m": M.copy(), "out": np.zeros(5), **whole}


@pytest.mark.parametrize("what", SAME)
def test_machine_code_does_what_python_does(what: str) -> None:
    ours, python = arrays(), arrays()
    constants = {"table": np.array([[1.0, 2.0], [3.0, 4.0]])}
    run(SAME[what].splitlines(), ours, constants)
    run_in_python(SAME[what].splitlines(), python, constants)
    assert any((python[name] != array).any() for name, array in arrays().items())
    for name, array in python.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-14, err_msg=name)


@pytest.mark.parametrize("x", [math.nan, math.inf, -math.inf, 0.0, 1.0])
def test_what_is_not_finite_stays_what_it_is(x: float) -> None:
    lines = [
        "out[0] = (np.isnan(x[0]) + 2 * np.isinf(x[0])) + 4 * np.isfinite(x[0])",
        "out[1] = (x[0] != x[0]) + 2 * (x[0] == x[0]) + 4 * (x[0] < 1) + 8 * (x[0] >= 1)",
        "out[2] = larger(x[0], 0.5)",
        "out[3] = smaller(0.5, x[0])",
        "out[4] = x[0] - x[0]",
    ]
    ours, python = ({"x": np.array([x]), "out": np.zeros(5)} for _ in range(2))
    run(lines, ours)
    run_in_python(lines, python)
    np.testing.assert_array_equal(ours["out"], python["out"])


def test_the_square_root_of_a_negative_number_is_missing() -> None:
    out = np.zeros(1)
    run(["out[0] = math.sqrt(a[1])"], {"a": A, "out": out})
    assert np.isnan(out[0])


REFUSED = {
    "other statements": "with a:\n    pass",
    "other expressions": "out[0] = [x for x in a][0]",
    "unknown names": "out[0] = b",
    "unknown functions": "out[0] = np.sort(a[0])",
    "calls of anything else": "out[0] = open(a[0])",
    "keywords": "b = np.empty((3,), dtype=np.float64)",
    "text": "out[0] = 'one'",
    "several targets": "b = c = 1.0",
    "a float in a variable of integers": "k = 0\nk = 0.5",
    "a float as an index": "out[0] = a[a[0]]",
    "powers of integers": "out[0] = n[0] ** n[1]",
    "remainders": "out[0] = a[0] % 2.0",
    "an array as a number": "out[0] = a",
    "arithmetic of arrays": "b = a + a",
    "an array that is made in a loop": "for i in range(2):\n    b = a.copy()",
    "an array that is set twice": "b = a.copy()\nb = a.copy()",
    "loops over arrays": "for x in a:\n    out[0] = x",
    "too many indices": "out[0] = a[0, 0]",
    "arrays of other numbers": "b = np.empty((2,), np.float32)",
    "arrays of another number of dims": "m[:] = a",
    "strided arrays as arguments": "fill(m[:, 1:], 0.0)",
    "errors in called functions": "out[0] = broken(a[0])",
}


def broken(x: float) -> float:
    if x > 0.0:
        raise ValueError
    return x


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_translated_is_refused(what: str) -> None:
    with pytest.raises((NotImplementedError, TypeError)) as refused:
        translated(REFUSED[what].splitlines(), arrays(), broken=broken)
    assert refused.type is NotImplementedError
    assert str(refused.value).startswith("no translation of: ")


def test_a_function_that_fails_says_so_and_stops() -> None:
    for lines in (
        ["b = np.empty((n[0] * 100,), np.float64)", "if n[0] == 3:", "    raise ValueError"],
        ["out[:3] = a"],
        ["out[:] = a[:n[0]]"],
        ["b = m.reshape((5, n[0]))"],
        ["b = np.empty((n[0] * 100000000000000000,), np.float64)"],  # more memory than there is
    ):
        given = arrays()
        with pytest.raises(ValueError):  # noqa: PT011 machine code has no message
            run([*lines, "out[0] = 1.0"], given)
        assert not given["out"].any()


@pytest.mark.parametrize("fails", [False, True])
def test_memory_is_freed(fails: bool) -> None:
    """A gigabyte in all, 24 megabytes at a time."""
    lines = ["b = np.empty((n[0] * 1000000,), np.float64)", "for i in range(b.shape[0]):"]
    lines += ["    b[i] = a[0] + i", "out[0] = b[n[1]]"]
    lines += ["if out[0] > 0:", "    raise ValueError"] if fails else []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError) if fails else nullcontext():  # noqa: PT011 it has no message
        run(lines, arrays(), times=40)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200e3  # kilobytes


def test_a_function_is_translated_once_for_each_kind_of_arguments() -> None:
    lines = [
        "out[0] = larger(a[0], 1.0)",
        "out[1] = larger(a[1], a[2])",
        "out[2] = larger(n[0], 2)",
    ]
    text = str(translated(lines, arrays()).module)
    assert text.count("define internal double") == 1
    assert text.count("define internal i64") == 1


def test_loaded_code_does_not_find_that_of_other_models() -> None:
    out = np.zeros(5)
    for value in (1.0, 2.0):
        run([f"out[0] += share({value})"], {"out": out}, share=one if value == 1.0 else two)
    assert out[0] == 1.5


def one(x: float) -> float:
    return x


def two(x: float) -> float:
    return x / 4.0


def test_code_that_is_no_code_is_an_error() -> None:
    code = object_code(translated(["out[0] = 1.0"], arrays()).module)
    for harmed in (b"", b"code", code[: len(code) // 2]):
        with pytest.raises(RuntimeError):
            load(harmed, ["computed"])
    with pytest.raises(RuntimeError):
        load(code, ["another"])


def test_the_processor_is_known_by_name_and_features() -> None:
    name, features, *vectors = processor().split()
    assert vectors == list(vector_math.addresses())
    assert name == binding.get_host_cpu_name()
    assert set(features.split(",")) == set(binding.get_host_cpu_features().flatten().split(","))


ANY = np.concatenate([
    np.linspace(-50.0, 50.0, 45), [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-300, 710.0, -1e5, -1.0]
])  # fmt: skip
"""Numbers of all kinds, of a length that vectors do not divide."""


@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "pow"])
def test_functions_of_vectors_are_those_of_numbers(
    name: str, vectors: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not vectors:
        for module in (vector_math, llvm_module):
            monkeypatch.setattr(module, "addresses", dict)
    elif not vector_math.addresses():
        pytest.skip("this system has no functions of vectors")
    call = "a[i] ** b[i]" if name == "pow" else f"np.{name}(a[i])"
    given = {"a": ANY, "b": ANY[::-1].copy() / 7, "out": np.zeros(len(ANY))}
    lines = ["for i in range(a.shape[0]):", f"    out[i] = {call}"]
    module = translated(lines, given).module
    source = vector_math.with_vectors(str(module))
    assert (f"v_{name}(<" in source) == vectors
    run(lines, given)
    with np.errstate(all="ignore"):
        wanted = ANY ** given["b"] if name == "pow" else getattr(np, name)(ANY)
    np.testing.assert_allclose(given["out"], wanted, rtol=1e-15, atol=0.0)


def test_code_is_kept_for_each_processor_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder may be on a disk that unlike computers share."""
    here = code_depends_on()
    monkeypatch.setattr(llvm_module, "processor", lambda: "another +feature")
    assert code_depends_on() == here | {"processor": "another +feature"} != here


@pytest.mark.parametrize("of", [0, 1, 2])
def test_shares_of_terms_add_up(of: int) -> None:
    x, out = np.array([9.0, 0.5, -800.0]), np.zeros(1)
    ratios = np.exp([0.0, 0.5, -800.0])
    run([f"out[0] = share_at(x, 1, 2, {of})"], {"x": x, "out": out}, share_at=share_at)
    assert out[0] == pytest.approx(share_at(x, 1, 2, of), rel=1e-14)
    assert out[0] == pytest.approx((ratios / ratios.sum())[of], rel=1e-14)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_products_of_matrices_are_those_of_numpy(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b, found = rng.normal(size=(3, n)), rng.normal(size=(n, 5)), np.zeros((3, 5))
    run(["product(a, b, found)"], {"a": a, "b": b, "found": found})
    np.testing.assert_allclose(found, a @ b, rtol=1e-13, atol=1e-14)
