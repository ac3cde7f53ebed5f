"""Compiled models of all laws: density, gradient and stored values are those of PyTensor."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nutpie.compile_pymc import _make_functions
from support.machine_code import stored_at

from bayescale.cards import card_names, load_card
from bayescale.inference.compiled.graph_source import GRAPH_MODE
from bayescale.inference.compiled.machine import machine
from bayescale.inference.model.build import build_model
from bayescale.inference.model.data import with_runs
from bayescale.runs import Runs, read_runs


def log_of(inputs: tuple[str, ...], families: int) -> Runs:
    rng, n = np.random.default_rng(3), 24
    params = np.geomspace(1e8, 1e10, n)
    tokens = params * rng.uniform(5, 80, n)
    scales = {"params": params, "tokens": tokens, "flops": 6 * params * tokens}
    scales |= {
        "unique_tokens": tokens / np.resize([1, 4, 1, 16], n),
        "kept_fraction": np.resize([1.0, 0.5, 0.2], n),
        "lm_loss": np.linspace(5.0, 2.5, n),
        "experts": np.resize([1.0, 4.0, 16.0, 64.0], n),
        "vocabulary": np.resize([4e3, 3e4, 1e5], n),
        "characters": 4 * tokens,
    }
    columns: dict[str, Any] = {name: scales[name] for name in {*inputs, "params", "tokens"}}
    columns["loss"] = np.linspace(3.5, 2.2, n) + 0.02 * rng.standard_normal(n)
    if families:
        columns["family"] = np.resize([f"family {i}" for i in range(families)], n)
    own = {name: name for name in ("experts", "characters") if name in inputs}
    return read_runs(pd.DataFrame(columns), columns=own)


CASES = [
    *((name, drift, 0) for name in card_names() for drift in (True, False)),
    *(("chinchilla", drift, families) for drift in (True, False) for families in (3, 12)),
    ("unified", True, 3),
    ("chinchilla_floor", True, 3),
]


@pytest.mark.filterwarnings("error:compiled by nutpie itself")
@pytest.mark.parametrize(("name", "drift", "families"), CASES)
def test_compiled_code_computes_what_pytensor_computes(
    name: str, drift: bool, families: int, tmp_path: Path
) -> None:
    card = load_card(name)
    runs = log_of(card.law.inputs, families)
    card = card if drift else card.without_drift()
    model = build_model(runs, card)
    compiled = with_runs(machine(lambda: model, folder=tmp_path), runs, card)
    _, _, density, stored, *_ = _make_functions(
        model,
        mode=GRAPH_MODE.excluding("fusion"),  # NumPy takes 32 arguments at most
        compute_grad=True,
        join_expanded=True,
        pymc_initial_point_fn=lambda seed: {},
    )
    for seed in range(3):
        point = compiled.start_near_prior(seed)
        value, slopes = density(point)
        ours = compiled.density(point)
        assert ours[0] == pytest.approx(float(value), rel=1e-12)
        (values,) = stored(point)
        for mine, theirs in ((ours[1], slopes), (stored_at(compiled, point), values)):
            # terms as large as the largest number cancel in others, and leave their rounding
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14 * abs(theirs).max())
