"""Executors by the address of their cluster: what is refused before any work is sent."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran

from bayescale import clusters
from bayescale.errors import ClusterError


def refusal(address: str) -> str:
    with pytest.raises(ClusterError) as caught, clusters.executor_at(address):
        pass
    return str(caught.value)


@pytest.mark.parametrize("address", ["", "dask", "dask://", "tcp://127.0.0.1:8786", "://a"])
def test_what_is_no_address_of_a_cluster(address: str) -> None:
    assert refusal(address) == (
        f"`executor={address!r}` is not the address of a cluster: write dask://HOST:PORT or "
        "ray://HOST:PORT"
    )


@pytest.mark.parametrize("place", ["127.0.0.1:9", "no port"])
def test_a_scheduler_that_does_not_answer(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(clusters, "LONGEST_WAIT", 0.3)
    assert refusal(f"dask://{place}") == (
        f"no Dask scheduler answers at {place}: start one with dask scheduler, or correct "
        "`executor=`"
    )


def test_workers_with_other_versions_are_named() -> None:
    here = clusters.versions()
    found = {"a": here, "b": here | {"numpy": "1.0"}, "c": ModuleNotFoundError("No module named x")}
    with pytest.raises(ClusterError) as caught:
        clusters._require_alike(found)
    assert str(caught.value) == (
        f"workers must have the same versions as this process: b has numpy 1.0, not "
        f"{here['numpy']}, "
        "c cannot import this version (No module named x); install these versions there, and "
        "restart the workers"
    )
    clusters._require_alike({"a": here})


def test_processes_of_this_computer_are_none_of_a_cluster(
    bayescale: Callable[..., Ran], tmp_path: Path
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("params,tokens,loss\n1e8,2e9,3.4\n1e9,2e10,2.6\n")
    ran = bayescale("fit-many", log, "-o", tmp_path, "--executor", "dask://a:1", "--workers", 2)
    assert ran.code == 2
    assert "leave it out" in ran.err
