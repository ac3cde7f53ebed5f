"""Long training curves, condensed to what their likelihood depends on."""

import numpy as np
import pandas as pd
import pytest

from bayescale import read_runs
from bayescale.cards import card_for, load_card
from bayescale.inference.model import condensed as module
from bayescale.inference.model.build import build_model
from bayescale.inference.model.condensed import condensed
from bayescale.inference.model.data import model_data
from bayescale.inference.model.symbolic import PLAIN

N_RUNS, EACH = 4, 160


def runs_of(**columns):
    """Simulate checkpoints of training runs, in an order that mixes the runs."""
    rng = np.random.default_rng(0)
    params = np.repeat(np.geomspace(5e7, 2e10, N_RUNS), EACH)
    tokens = params * np.tile(np.geomspace(2, 100, EACH), N_RUNS)
    loss = 1.8 + 480 / params**0.35 + 2000 / tokens**0.36
    frame = pd.DataFrame(
        {
            "params": params,
            "tokens": tokens,
            "loss": loss * np.exp(0.005 * rng.standard_t(4, len(params))),
            "run": np.repeat([f"run{i}" for i in range(N_RUNS)], EACH),
        }
    )
    mixed = frame.assign(**columns).sample(frac=1, random_state=1)
    return read_runs(mixed, columns={"run": "run"})


def log_densities(runs, card, points):
    """Return log densities at points of the sampler's coordinates, by an uncompiled model."""
    model = build_model(runs, card)
    density = model.compile_logp(mode=PLAIN)
    start = model.initial_point()
    found = []
    for seed in range(points):
        rng = np.random.default_rng(seed)
        at = {name: x + 0.2 * rng.standard_normal(np.shape(x)) for name, x in start.items()}
        found.append(float(density(at)))
    return np.array(found)


@pytest.mark.parametrize(("name", "drifts"), [("chinchilla", False), ("unified", True)])
def test_the_density_is_that_of_all_rows(monkeypatch, name, drifts):
    """Along two axes, where all rows have the same coordinates of the drift."""
    runs = runs_of()
    card = card_for(runs, load_card(name))
    card = card if drifts else card.without_drift()
    whole = log_densities(runs, card, 2)
    assert "law_rotated" not in model_data(runs, card)
    monkeypatch.setattr(module, "FEWEST_ROWS", 100)
    assert "law_rotated" in model_data(runs, card)
    np.testing.assert_allclose(log_densities(runs, card, 2), whole, rtol=1e-9)


def test_weights_move_no_density_of_draws(monkeypatch):
    """Weights of rows set coordinates of the drift: pulls are those of weighted rows."""
    runs = runs_of()
    card = card_for(runs, load_card("unified"))
    weights = np.random.default_rng(0).uniform(0.5, 1.5, len(runs))
    whole = model_data(runs, card, weights=weights)
    monkeypatch.setattr(module, "FEWEST_ROWS", 100)
    short = model_data(runs, card, weights=weights)
    law = np.log(card.law.loss(**{n: runs[n] for n in card.law.inputs}, **VALUES))
    at_nodes = np.log(card.law.loss(**{n: short[n] for n in card.law.inputs}, **VALUES))
    basis = np.concatenate(
        [x for name, x in whole.items() if name.startswith("drift_basis_")], axis=1
    )
    expected = basis.T @ (weights * (np.log(runs["loss"]) - law))
    np.testing.assert_allclose(short["loss_pull"] - short["law_pull"] @ at_nodes, expected)
    np.testing.assert_allclose(short["drift_overlap"], whole["drift_overlap"])


VALUES = {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.36, "kappa": 0.8}


def test_sums_of_deviations_are_kept():
    runs = runs_of()
    card = card_for(runs, load_card("chinchilla"))
    made = module._with_nodes(
        {n: np.log(runs[n]) for n in card.law.inputs},
        "tokens",
        tuple(np.flatnonzero(runs["run"] == name) for name in np.unique(runs["run"])),
        12,
    )
    values = {name: VALUES[name] for name in card.law.coefficients}
    data = made.data(np.log(runs["loss"]), None)
    at_nodes = np.log(card.law.loss(**made.inputs, **values)).reshape(N_RUNS, -1)
    rotated = data["loss_rotated"] - (data["law_rotated"] * at_nodes[:, None, :]).sum(2)
    law = np.log(card.law.loss(**{n: runs[n] for n in card.law.inputs}, **values))
    for i, rows in enumerate(made.rows):
        deviations = (np.log(runs["loss"]) - law)[rows]
        assert rotated[i, 0] * np.sqrt(EACH) == pytest.approx(deviations.sum(), abs=1e-9)
        assert (rotated[i] ** 2).sum() == pytest.approx((deviations**2).sum(), rel=1e-9)


@pytest.mark.parametrize(
    "columns",
    [
        {"loss_se": 0.01},
        {"params": np.geomspace(5e7, 2e10, N_RUNS * EACH)},
        {"run": [f"run{i // 8}" for i in range(N_RUNS * EACH)]},
    ],
    ids=["errors of rows", "two inputs vary", "short runs"],
)
def test_rows_that_are_needed_are_kept(monkeypatch, columns):
    monkeypatch.setattr(module, "FEWEST_ROWS", 100)
    runs = runs_of(**columns)
    assert condensed(runs, card_for(runs, load_card("chinchilla"))) is None


def test_a_law_that_bends_too_sharply_is_not_condensed(monkeypatch):
    monkeypatch.setattr(module, "FEWEST_ROWS", 100)
    runs = runs_of()
    card = card_for(runs, load_card("chinchilla"))
    assert condensed(runs, card) is not None
    monkeypatch.setattr(module, "MOST_WRONG", 1e-17)
    assert condensed(runs, card) is None
