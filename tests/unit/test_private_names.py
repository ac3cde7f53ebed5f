"""What the compiled models take from other packages without a promise is still there."""

import inspect
from importlib import import_module

import pytest

from bayescale.inference.compiled import PRIVATE_ARGUMENTS, PRIVATE_NAMES


@pytest.mark.parametrize("module", PRIVATE_NAMES)
def test_private_names_are_there(module: str) -> None:
    found = import_module(module)
    assert [name for name in PRIVATE_NAMES[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("function", PRIVATE_ARGUMENTS)
def test_private_functions_take_the_arguments_that_they_are_given(function: str) -> None:
    module, _, name = function.rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters
    assert set(PRIVATE_ARGUMENTS[function]) <= set(parameters)


def test_numba_libraries_are_finished_by_the_method_that_is_replaced() -> None:
    from numba.core.codegen import CPUCodeLibrary

    assert callable(CPUCodeLibrary._optimize_final_module)
