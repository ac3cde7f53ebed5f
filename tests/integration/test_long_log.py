"""A log of 10,000 runs in every command and page: short answers, within bounded memory."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.published import BESIROGLU

from bayescale.laws import LAWS

N = 10_000
MOST_LINES = 150
MOST_KILOBYTES = 3_000_000

QUESTIONS = (
    "check runs.csv",
    "fit runs.csv --law chinchilla --draws 400 --tune 300 -o fit.nc",
    "summary fit.nc",
    "trust fit.nc",
    "forecast fit.nc --params 70B --tokens 1.4T",
    "slices fit.nc",
    "cross-check fit.nc",
    "allocate fit.nc --flops 1e23",
    "data fit.nc --params 7B",
    "next-run fit.nc --budget 1e22 --target-flops 1e24",
    "prune fit.nc --params 7B --tokens 140B",
    "emerge fit.nc --flops 1e19,1e25",
    "report fit.nc",
    "backtest runs.csv --law chinchilla --cutoff 1e18",
)
OPENS = {"trust", "forecast", "slices", "cross-check", "allocate", "data", "next-run"}
OPENS |= {"prune", "emerge", "report"}
"""Commands that refuse a fit of so few draws, if it fails its checks, unless told."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_log_of_ten_thousand_runs_is_answered_by_every_command(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    params = 10 ** rng.uniform(7, 10, N)
    tokens = params * 10 ** rng.uniform(0.5, 2.5, N)
    loss = LAWS["chinchilla"].loss(params, tokens, **BESIROGLU) * np.exp(rng.normal(0, 0.005, N))
    frame = pd.DataFrame({"params": params.round(), "tokens": tokens.round(), "loss": loss})
    frame.insert(0, "run_id", [f"r{i}" for i in range(N)])
    frame.round({"loss": 5}).to_csv(tmp_path / "runs.csv", index=False)
    for question in QUESTIONS:
        command, *more = question.split()
        more += ["--allow-unconverged"] * (command in OPENS)
        done = subprocess.run(
            [sys.executable, "-m", "bayescale", command, *more],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 3), (question, done.stderr)
        assert "Traceback" not in done.stderr
        assert 0 < len((done.stdout + done.stderr).splitlines()) <= MOST_LINES, question
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < MOST_KILOBYTES
    assert (tmp_path / "fit.html").stat().st_size < 5e6
