"""Simulation-based calibration of the valley: its coefficients rank uniformly, and a wrong one not.

The level of the frontier is centered on the log itself, so the frontier is not ranked. The best
setting of the largest size is, as every answer is about such a cell.
"""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.sbc import THINNED_DRAWS, miscalibrated

import bayescale
from bayescale.runs import Runs
from bayescale.tuning import excess, load_tuning_card, read_sweep
from bayescale.tuning.basis import Basis
from bayescale.tuning.valley import FRONTIER

WORLDS, NEAR_WORLDS = 60, 20
CARD = load_tuning_card()
RANKED = [name for name in CARD.priors if name not in {*FRONTIER, "curve_batch"}]
SIZES = np.array([(n, r * n) for n in (1e8, 3e8, 1e9) for r in (10.0, 60.0)])
BASIS = Basis(CARD, *(np.log(x) - np.log(x).mean() for x in SIZES.T), level=np.log(2.6))


def world(
    seed: int, noise_times: float = 1.0, near: bool = False
) -> tuple[dict[str, float], pd.DataFrame]:
    """Draw a truth from the card, and a sweep of six sizes at 25 settings each.

    With ``near``, the best setting of a middle size is in the center of the sweep, and its settings
    lie half as far apart, so that many runs are close to the best of their size.
    """
    rng = np.random.default_rng(seed)
    truth = {name: float(x[0]) for name, x in CARD.draw(1, rng).items()}
    if near:
        truth |= {"lr_0": 0.0, "batch_0": 0.0}
    truth["curve_ratio"] = truth["curve_batch"] - truth["curve_lr"]
    n, d = (np.log(x) - np.log(x).mean() for x in SIZES.T)
    mean, directions = BASIS.at(n, d)
    level = mean + rng.standard_normal(len(directions)) @ directions

    def of_cells(start: str, what: str) -> np.ndarray:
        law = truth[start] + truth[f"{what}_params"] * n + truth[f"{what}_tokens"] * d
        return law + truth[f"cells_{what}"] * rng.standard_normal(len(n))

    u = level + truth["cells_level"] * rng.standard_normal(len(n))
    v, w, k = of_cells("lr_0", "lr"), of_cells("batch_0", "batch"), of_cells("curve_lr", "curve")
    steps = (np.log(2.0) / 2 if near else np.log(2.0)) * np.arange(-2, 3)
    x, y = (grid.ravel() for grid in np.meshgrid(steps, steps))
    rows = []
    for i, (params, tokens) in enumerate(SIZES):
        g = excess(truth, k[i], x - v[i], y - w[i])
        above = np.exp(truth["noise_skew"])
        size = abs(rng.standard_t(truth["noise_dof"], len(g)))
        up = rng.random(len(g)) < above / (above + 1 / above)
        scale = noise_times * np.sqrt(truth["noise"] ** 2 + (truth["noise_excess"] * g) ** 2)
        loss = np.exp(u[i] + g + scale * np.where(up, size * above, -size / above))
        rows.append(
            pd.DataFrame({"lr": 1e-3 * np.exp(x), "batch_size": 256 * np.exp(y), "loss": loss})
            .assign(params=params, tokens=tokens)
        )  # fmt: skip
    return truth | {"v": v[-1]}, pd.concat(rows, ignore_index=True)


def ranks(worlds: int, **how: Any) -> dict[str, np.ndarray]:
    """Rank truths among draws of their posteriors."""
    found = []
    for seed in range(worlds):
        truth, log = world(seed, **how)
        frame = log.assign(run_id=[f"run{i:03}" for i in range(len(log))])
        sweep = read_sweep(Runs(frame=frame, columns={}))  # prior draws may lose more than any log
        tuning = bayescale.fit_tuning(sweep, seed=seed, draws=600, tune=500)
        every = np.linspace(0, 4 * 600 - 1, THINNED_DRAWS).astype(int)
        ranked = {name: tuning.draws[name].values for name in RANKED}
        ranked["v"] = tuning.draws["v"].values[..., -1]
        drawn = {name: values.ravel()[every] for name, values in ranked.items()}
        found.append({name: int((x < truth[name]).sum()) for name, x in drawn.items()})
    return {name: np.array([rank[name] for rank in found]) for name in found[0]}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_valley_is_calibrated_on_its_own_prior() -> None:
    assert not miscalibrated(ranks(WORLDS))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_twice_the_noise_that_is_stated_is_found_miscalibrated() -> None:
    """The model learns the noise of the runs, so that its draws lie above the noise stated.

    Only runs near the best setting tell this noise from that which grows with the excess.
    """
    assert "noise" in miscalibrated(ranks(NEAR_WORLDS, noise_times=2.0, near=True))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_noise_that_is_stated_is_not_found_miscalibrated_in_the_same_worlds() -> None:
    assert "noise" not in miscalibrated(ranks(NEAR_WORLDS, near=True))
