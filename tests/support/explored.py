"""Fits whose page is looked at, and that page served as its command serves it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayescale.cards import load_card
from bayescale.posterior import Fit, ModelAverage, Posterior, save
from bayescale.runs import Runs, read_runs
from support.published import BESIROGLU
from support.refits import N_DRAWS, built, even_normal

HOSTILE = "<b>:red[x]</b> ![y](http://example.com/z.png) $a_b$"


def log_of(names: list[str] | None = None, **columns: Any) -> Runs:
    """Twelve runs of the published law."""
    params, ratio = (grid.ravel() for grid in np.meshgrid([1e8, 4e8, 1.6e9, 6.4e9], [5, 20, 80]))
    b, tokens = BESIROGLU, params * ratio
    loss = b["E"] + b["A"] / params ** b["alpha"] + b["B"] / tokens ** b["beta"]
    frame = pd.DataFrame({"params": params, "tokens": tokens, "loss": loss} | columns)
    return read_runs(frame.assign(run_id=names or [f"r{i}" for i in range(len(frame))]))


def thin(fit: Posterior) -> Posterior:
    return replace(fit, tree=fit.tree.isel(draw=slice(None, None, N_DRAWS // 200)))


def chinchilla(runs: Runs | None = None, passed: bool = True) -> Posterior:
    """Draws about the published law, which is taken to hold exactly."""
    rng, runs, card = np.random.default_rng(0), runs or log_of(), load_card("chinchilla")
    values = {k: x * np.exp(rng.permutation(even_normal(0, 0.02))) for k, x in BESIROGLU.items()}
    return thin(built(card, runs, values | {"sigma": 0.004}, passed=passed))


def precise(runs: Runs | None = None, passed: bool = True) -> Posterior:
    """Draws about the published law, ten times as narrow, and of its prior."""
    rng, runs, card = np.random.default_rng(0), runs or log_of(), load_card("chinchilla")
    each = {name: rng.permutation(even_normal(0.0, 0.002)) for name in BESIROGLU}
    values = {name: x * np.exp(each[name]) for name, x in BESIROGLU.items()}
    drawn = card.draw_prior(N_DRAWS, seed=0)
    prior = xr.Dataset({name: (("chain", "draw"), x[None]) for name, x in drawn.items()})
    values["sigma"] = even_normal(0.004, 0.0004)
    fit = built(card, runs, values, passed=passed, groups={"prior": prior})
    return replace(fit, tree=fit.tree.isel(draw=slice(None, None, N_DRAWS // 400)))


def of_families() -> Posterior:
    names = ["a", HOSTILE]
    fit = chinchilla(log_of(family=names * 6))
    values = fit.draws.assign_coords(family=names)
    for name in ("E", "A", "B"):
        values[f"{name}_by_family"] = values[name] * xr.DataArray([1.0, 1.05], dims="family")
        values[f"{name}_spread"] = values[name] * 0.0 + 0.05
    groups = {"posterior": values, "prior": precise().tree["prior"].to_dataset()}
    return replace(fit, tree=type(fit.tree).from_dict(groups))


def pool() -> ModelAverage:
    runs = log_of()
    values = {"E": 1.8, "N_c": 5e8, "alpha_N": 0.33, "D_c": 2e9, "alpha_D": 0.33, "sigma": 0.01}
    other = thin(built(load_card("kaplan_irreducible"), runs, values))
    return ModelAverage((chinchilla(runs), other), (0.25, 0.75))


def downstream() -> Posterior:
    frame = pd.DataFrame({"lm_loss": [4.0, 3.5, 3.0, 2.7], "loss": [0.8, 0.75, 0.68, 0.62]})
    frame["params"] = [1e8, 2e8, 4e8, 8e8]
    values = {"epsilon": 0.88, "k": 2.0, "gamma": even_normal(0.7, 0.01), "sigma": 0.01}
    return thin(built(load_card("downstream"), read_runs(frame), values))


def with_backtest(fit: Posterior) -> Posterior:
    bins = [
        {
            "lower": lower, "upper": 2 * lower, "n": 20, "n_covered": n, "n_cutoffs": 4,
            "coverage90": n / 20, "largest": 2 * lower,
        }
        for lower, n in ((1.0, 19), (2.0, 18), (4.0, 9))
    ]  # fmt: skip
    assert fit.runs is not None
    kept = {
        "bins": bins, "laws": [fit.name], "n": 60, "cutoffs": [1.0, 2.0, 3.0], "refits": 3,
        "unconverged": 0, "missing": [], "runs_sha256": fit.runs.digest,
    }  # fmt: skip
    return replace(fit, record={**fit.record, "backtest": kept})


def of_params() -> Posterior:
    runs = read_runs(log_of().frame[["run_id", "params", "loss"]])
    values = {"E": 1.7, "N_c": even_normal(20.0, 0.1) ** 5, "alpha_N": 0.3, "sigma": 0.01}
    return thin(built(load_card("henighan_params"), runs, values))


@contextmanager
def served(fit: Fit, folder: Path, *options: str, **environment: str) -> Iterator[str]:
    """The page's address, while the command runs; it asks nothing of other computers."""
    file = str(save(fit, folder / "fit.nc"))
    with socket.socket() as free, socket.socket() as outside:
        for each in (free, outside):
            each.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        outside.listen()
        outside.setblocking(False)
        proxy = "http://{}:{}".format(*outside.getsockname())
        command = [sys.executable, "-m", "bayescale", "explore", file, "--port", str(port)]
        process = subprocess.Popen(
            [*command, *(options or ["--no-browser"])],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
            env={
                **os.environ, "HOME": str(folder), "no_proxy": "",
                "http_proxy": proxy, "https_proxy": proxy, **environment,
            },
        )  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        try:
            _await(address, process)
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=15)[0].decode()
        assert f"{address}\n" in told
        assert "Traceback" not in told
        assert process.returncode == 0
        with pytest.raises(BlockingIOError):  # nobody has come
            outside.accept()


def _await(address: str, process: subprocess.Popen[bytes]) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
        time.sleep(0.1)
        try:
            with direct.open(address, timeout=5) as answered:
                assert answered.status == 200
            return
        except OSError:
            assert process.poll() is None, process.communicate()[0].decode()
    pytest.fail("nothing was served within 60 s")
