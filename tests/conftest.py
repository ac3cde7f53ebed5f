"""What several test files share: real runs, one real fit, and the command line in process."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from filelock import FileLock

from bayescale import cli
from bayescale.datasets import load
from bayescale.inference.fit import fit
from bayescale.posterior import Posterior, open_posterior, save
from bayescale.runs import Runs

SEED = 20_240_415
INTEGRATION = Path(__file__).parent / "integration"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything below tests/integration, so that the default run leaves it out."""
    for item in items:
        if item.path.is_relative_to(INTEGRATION):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests read whole lines, unless they ask for fewer columns."""
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture
def rng() -> np.random.Generator:
    """The one source of randomness in tests."""
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real runs, which is not part of the repository."""
    folder = os.environ.get("BAYESCALE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("BAYESCALE_DATA does not name a folder with the real runs")
    return Path(folder)


@pytest.fixture(scope="session")
def all_chinchilla(real_data: Path) -> Runs:
    """The 245 runs, the five far-off ones included."""
    return load("chinchilla")


@pytest.fixture(scope="session")
def chinchilla_runs(all_chinchilla: Runs) -> Runs:
    """The 240 runs that Besiroglu et al. kept."""
    return all_chinchilla.take(
        lambda frame: frame["loss"].rank(ascending=False) > 5, "one of the five highest losses"
    )


@pytest.fixture(scope="session")
def sampled_once(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Callable[[str, Callable[[], Posterior]], Posterior]:
    """Sample a posterior in one of the test processes; the others open its file."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder if worker_id == "master" else folder.parent

    def sampled(name: str, sample: Callable[[], Posterior]) -> Posterior:
        file = shared / f"{name}.nc"
        with FileLock(file.with_suffix(".lock")):
            if not file.exists():
                save(sample(), file)
        found = open_posterior(file)
        assert isinstance(found, Posterior)
        return found

    return sampled


@pytest.fixture(scope="session")
def chinchilla_posterior(chinchilla_runs: Runs, sampled_once: Callable[..., Any]) -> Posterior:
    return sampled_once("chinchilla", lambda: fit(chinchilla_runs, "chinchilla"))


@pytest.fixture(scope="session")
def cerebras() -> Runs:
    """Seven published runs at 20 tokens per parameter, smallest first."""
    return load("pile_2023").take(lambda frame: frame["family"] == "Cerebras-GPT")


@pytest.fixture(scope="session")
def cerebras_posterior(cerebras: Runs, sampled_once: Callable[..., Any]) -> Posterior:
    """The compute law on the five runs up to 2.7B parameters."""
    small = cerebras.take(lambda frame: frame["params"] < 3e9)
    return sampled_once("cerebras", lambda: fit(small, "henighan_compute"))


@pytest.fixture(scope="session")
def fit_file(cerebras_posterior: Posterior, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(cerebras_posterior, tmp_path_factory.mktemp("fit") / "cerebras.nc")


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def bayescale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run the command line in this process: ``bayescale("check", path, "--json")``.

    Its terminal is so wide that tests read whole lines, unless they ask for fewer columns.
    """

    def run(*arguments: object, columns: int = 1000) -> Ran:
        monkeypatch.setattr("sys.argv", ["bayescale", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns))
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
