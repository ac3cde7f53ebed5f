"""Processes killed, disks full, folders read-only: no result is lost, halved or mixed up."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.published import BESIROGLU

from bayescale import open_posterior
from bayescale.laws import LAWS
from bayescale.simulation import simulate

LAW = "kaplan_compute"
FIT = (  # the tests' own process may ignore the signal, which its children would inherit
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from bayescale.cli import main; main()"
)
ROUNDING = 1e-12  # other machine code of one density may round otherwise

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits as POSIX has them")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    truth = {"C_c": 1e24, "alpha_C": 0.05}
    simulate(LAWS[LAW], truth, {"flops": np.geomspace(1e18, 1e21, 6)}, seed=1).to_csv(path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep compiled models for all tests: the first fit fills the folder."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(log: Path, cache: Path) -> Callable[..., subprocess.Popen]:
    """Starts ``bayescale fit`` in a process of its own, with these tests' own compiled models."""

    def begin(output: Path, *more: str, apart: str = "", **options: object) -> subprocess.Popen:
        how = ["--law", LAW, "--draws", "100", "--tune", "100", "--chains", "2", *more]
        return subprocess.Popen(
            [sys.executable, "-c", FIT, "fit", str(log), "-o", str(output), *how],
            env=os.environ | {"XDG_CACHE_HOME": str(cache / apart)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )

    return begin


def told(process: subprocess.Popen) -> tuple[int, str, str]:
    """Exit code, standard output and standard error, without the sampler's verdict."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def whole(path: Path) -> np.ndarray:
    """The draws of a posterior file, which must be readable to the end."""
    return open_posterior(path).members[0].draws["alpha_C"].values  # type: ignore[return-value]


GATE = (0, 3)  # so few draws may miss the sampler's gate, which says so by its exit code


def killed_at(
    moments: int, start: Callable[..., subprocess.Popen], output: Path, fresh: bool = False
) -> None:
    """Kill a fit at moments spread over its life; whatever is there then must be whole."""
    if not fresh:
        assert told(start(output))[0] in GATE
    began = time.monotonic()
    assert told(start(output, apart="timed" if fresh else ""))[0] in GATE
    life, expected = time.monotonic() - began, whole(output)
    for i in range(moments):
        if i % 2:
            output.unlink(missing_ok=True)  # by turns there is an older result, and there is none
        process = start(output, apart=f"killed{i}" if fresh else "")
        time.sleep(life * (i + 0.5) / moments)
        process.kill()
        process.communicate()
        if output.exists():
            np.testing.assert_allclose(whole(output), expected, rtol=ROUNDING)
        if i % 10 == 9:  # the cache that was left behind serves, or is made anew
            assert told(start(output, apart=f"killed{i}" if fresh else ""))[0] in GATE
            np.testing.assert_allclose(whole(output), expected, rtol=ROUNDING)
    assert told(start(output, apart=f"killed{i}" if fresh else ""))[0] in GATE
    np.testing.assert_allclose(whole(output), expected, rtol=ROUNDING)


def test_a_fit_killed_at_any_moment_leaves_a_whole_result_or_none(
    start: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    killed_at(6, start, tmp_path / "fit.nc")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fresh", [False, True], ids=["compiled", "compiling"])
def test_a_fit_killed_at_twenty_five_moments(
    fresh: bool, start: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    """Among them while it compiles, keeps what it compiled, samples and writes."""
    killed_at(25, start, tmp_path / "fit.nc", fresh)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_fit_with_its_own_exit_code_and_nothing_behind(
    number: signal.Signals, code: int, start: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    output = tmp_path / "fit.nc"
    assert told(start(output))[0] in GATE
    output.unlink()
    before = sorted(path.name for path in tmp_path.iterdir())
    process = start(output, "--draws", "1000000")
    time.sleep(4)  # it samples by now
    process.send_signal(number)
    try:
        returned, _, err = told(process)
    finally:
        process.kill()
    assert (returned, "Traceback" in err) == (code, False), err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def ends_at_once(arguments: list[str], number: signal.Signals, code: int, group: bool) -> None:
    """A command with workers of its own, told to end while they work."""
    process = subprocess.Popen(
        [sys.executable, "-c", FIT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        time.sleep(8)  # its workers are at work by now
        assert process.poll() is None, process.communicate()
        began = time.monotonic()
        (os.killpg if group else os.kill)(process.pid, number)
        returned, _, err = told(process)
        assert (returned, "Traceback" in err) == (code, False), err
        assert time.monotonic() - began < 15
        assert all_ended(process.pid), "a worker is left"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def all_ended(group: int) -> bool:
    """Whether the last process of a group ends within seconds, as those with nobody to serve do."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("group", [False, True], ids=["alone", "with its workers"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_many_fits_and_their_workers(
    number: signal.Signals, code: int, group: bool, log: Path, tmp_path: Path
) -> None:
    logs = [log, tmp_path / "second.csv", tmp_path / "third.csv"]
    for other in logs[1:]:
        other.write_text(log.read_text())
    (tmp_path / "fits").mkdir()
    how = ["--law", LAW, "--draws", "10000000", "--workers", "2", "-o", str(tmp_path / "fits")]
    ends_at_once(["fit-many", *map(str, logs), *how], number, code, group)
    assert not list((tmp_path / "fits").iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_backtest_and_its_workers(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    log = tmp_path / "many.csv"
    scales = {"params": np.geomspace(1e7, 1e10, 400), "tokens": np.geomspace(1e11, 1e10, 400)}
    simulate(LAWS["chinchilla"], BESIROGLU, scales, seed=1).to_csv(log)
    how = ["--law", "chinchilla", "--law", "kaplan_irreducible", "--workers", "2"]
    ends_at_once(["backtest", str(log), *how], number, code, group=False)


FORGETTING = """
import os, signal, time
from bayescale.tasks import _begin_worker

class Forgotten:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)

_begin_worker()
x = Forgotten()
del x  # what is raised here goes nowhere
print("worked on")
"""


def test_a_worker_ends_even_if_told_where_exceptions_are_ignored() -> None:
    ended = subprocess.run([sys.executable, "-c", FORGETTING], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", "")


def test_two_fits_that_write_one_file_at_once_leave_one_whole_result(
    start: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    output = tmp_path / "fit.nc"
    both = [start(output, "--seed", seed) for seed in ("1", "2")]
    assert all(told(process)[0] in GATE for process in both)
    singles = []
    for seed in ("1", "2"):
        alone = tmp_path / f"{seed}.nc"
        assert told(start(alone, "--seed", seed))[0] in GATE
        singles.append(whole(alone))
    found = whole(output)
    assert any(np.allclose(found, one, rtol=ROUNDING) for one in singles)
    assert not np.allclose(*singles, rtol=ROUNDING)


def limited() -> None:
    """No file may grow past 64 kB: what a full disk looks like from inside."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))


def test_a_full_disk_is_told_and_the_older_result_stays(
    start: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    output = tmp_path / "fit.nc"
    assert told(start(output))[0] in GATE
    older = whole(output)
    code, _, err = told(start(output, "--seed", "9", preexec_fn=limited))
    assert code == 2
    assert " ".join(err.split()).startswith("error: '")  # lines are wrapped at any width
    assert "fit.nc' cannot be written: " in " ".join(err.split())
    assert "Traceback" not in err
    np.testing.assert_array_equal(whole(output), older)
    assert not list(tmp_path.glob(".fit*"))


def with_memory(n_bytes: int) -> Callable[[], None]:
    """Limit data in memory: address space would also count what compilers only reserve."""
    return lambda: resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, n_bytes))


def test_three_gigabytes_of_memory_are_enough_for_a_fit(
    start: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    output = tmp_path / "fit.nc"
    code, _, err = told(start(output, preexec_fn=with_memory(3 * 10**9)))
    assert code in GATE, err
    assert np.isfinite(whole(output)).all()


def test_too_little_memory_is_told_and_the_older_result_stays(
    start: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    output = tmp_path / "fit.nc"
    assert told(start(output))[0] in GATE
    older = whole(output)
    code, _, err = told(start(output, "--seed", "9", preexec_fn=with_memory(4 * 10**8)))
    assert code not in GATE
    assert "Traceback" not in err
    np.testing.assert_array_equal(whole(output), older)
    assert not list(tmp_path.glob(".fit*"))


def test_a_reader_that_has_gone_ends_a_command_without_a_word(
    start: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    output = tmp_path / "fit.nc"
    process = start(output)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    code, _, err = told(process)
    assert (code, err) == (1, "")
    assert np.isfinite(whole(output)).all()


def test_a_cache_that_cannot_be_written_only_costs_time(
    start: Callable[..., subprocess.Popen], cache: Path, tmp_path: Path
) -> None:
    """A file stands where the folder should be, which stops even the superuser."""
    (cache / "blocked").write_text("")
    code, _, err = told(start(tmp_path / "fit.nc", apart="blocked"))
    assert code in GATE, err
    assert told(start(tmp_path / "other.nc"))[0] in GATE
    np.testing.assert_allclose(
        whole(tmp_path / "fit.nc"), whole(tmp_path / "other.nc"), rtol=ROUNDING
    )


def test_a_clock_that_jumps_back_changes_no_draw(log: Path, tmp_path: Path) -> None:
    """Each look at the time of day finds it an hour earlier than the one before."""
    backwards = (
        "import itertools, time; hours = itertools.count(); "
        "time.time = lambda: 1.7e9 - 3600 * next(hours); "
    )
    found = []
    for name, clock in (("steady", ""), ("jumping", backwards)):
        output = tmp_path / f"{name}.nc"
        how = ["--law", LAW, "--draws", "100", "--tune", "100", "--chains", "2"]
        arguments = ["fit", str(log), "-o", str(output), *how]
        made = subprocess.run([sys.executable, "-c", clock + FIT, *arguments], capture_output=True)
        assert made.returncode in GATE, made.stderr
        posterior = open_posterior(output).members[0]
        assert all(seconds >= 0 for seconds in posterior.record["seconds"].values())
        found.append(posterior.draws["alpha_C"].values)
    np.testing.assert_array_equal(*found)


@pytest.mark.slow
def test_a_log_of_a_million_rows_is_checked_within_seconds_and_two_gigabytes(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    n = 1_000_000
    params, tokens = 10 ** rng.uniform(7, 10, n), 10 ** rng.uniform(9, 12, n)
    loss = LAWS["chinchilla"].loss(params, tokens, **BESIROGLU) * np.exp(rng.normal(0, 0.005, n))
    frame = pd.DataFrame({"params": params.round(), "tokens": tokens.round(), "loss": loss})
    frame.insert(0, "run_id", [f"r{i}" for i in range(n)])
    frame.round({"loss": 5}).to_csv(tmp_path / "large.csv", index=False)
    command = [sys.executable, "-m", "bayescale", "check", tmp_path / "large.csv", "--json"]
    earlier = resource.getrusage(resource.RUSAGE_CHILDREN)
    before = earlier.ru_utime + earlier.ru_stime
    done = subprocess.run(command, capture_output=True, check=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert json.loads(done.stdout)["n_runs"] == n
    assert used.ru_utime + used.ru_stime - before < 20
    assert used.ru_maxrss < 2e6  # kilobytes
