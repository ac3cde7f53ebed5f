"""What the compiled models take from other packages without a promise is still there."""

import inspect
from importlib import import_module
from types import SimpleNamespace

import nutpie
import pytest

from bayescale.inference.compiled import PRIVATE_ARGUMENTS, PRIVATE_NAMES
from bayescale.inference.nuts import trajectories


@pytest.mark.parametrize("module", PRIVATE_NAMES)
def test_private_names_are_there(module: str) -> None:
    found = import_module(module)
    assert [name for name in PRIVATE_NAMES[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("function", PRIVATE_ARGUMENTS)
def test_private_functions_take_the_arguments_that_they_are_given(function: str) -> None:
    module, _, name = function.rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters
    assert set(PRIVATE_ARGUMENTS[function]) <= set(parameters)


def test_nutpie_follows_the_circles_of_a_standard_normal_density_where_it_is_asked() -> None:
    """For whitened steps of many families; nutpie does not document the setting."""
    few, many = {"family_steps_groupedwhitening__": (3, 3)}, {"log_terms_levelshares__": (200,)}
    assert trajectories(SimpleNamespace(n_dim=40, shapes=few)) == {"adaptation": "low_rank"}
    straight = trajectories(SimpleNamespace(n_dim=200, shapes=many))
    circles = trajectories(SimpleNamespace(n_dim=200, shapes=few))
    for given, kind in ((straight, "Euclidean"), (circles, "ExactNormal")):
        assert given.pop("adaptation") == "diag"
        settings = nutpie._lib.PyNutsSettings.Diag(0)
        settings.update(given)
        assert settings.as_dict()["settings"]["trajectory_kind"] == kind
