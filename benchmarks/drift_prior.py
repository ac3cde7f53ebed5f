"""Where the prior on drift in the cards of params and tokens comes from.

Every set of runs of ``run_sets.py`` is cut at up to eight levels of compute, the runs up to a
cutoff are fitted under a weak prior on the size of the drift, and the larger ones forecast.
Weighing the draws anew shows how any narrower prior would have forecast them. That of least
CRPS of the pool, over all forecasts, is learnt from all families of sets for the cards, and
without each family in turn for ``run_sets.py``, which scores every set under a prior that has
not seen it.

Run: ``BAYESCALE_DATA=folder python benchmarks/drift_prior.py``. It takes about fifteen minutes on
one core and writes ``benchmarks/results/drift_prior.json``.
"""

import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from run_sets import LAWS, SETS, RunSet, machine, with_drift
from scipy import stats

from bayescale import forecast, refit
from bayescale.cards import PRIOR_MASS, Prior, load_card
from bayescale.runs import Runs
from bayescale.trust import scores
from bayescale.trust.backtest import choose_cutoffs, training_mask
from bayescale.verdict import sizes

RESULTS = Path(__file__).parent / "results"
WEAK = Prior(low=0.0007, high=0.036)
"""Wide enough to hold every prior that may be learnt."""

MEDIANS = (0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008)
SPREADS = (0.5, 0.8, 1.1)
"""Priors that are looked at: medians, and standard deviations of the logarithm."""

DRAWS = 1000


class Cell(NamedTuple):
    """One refit, and what it said of the larger runs.

    Attributes
    ----------
    family, law : str
    size : numpy.ndarray, shape (axis, draw)
        Of the drift along each axis.
    new : numpy.ndarray, shape (draw, run)
        Log loss of one new run, at each held-out run.
    log_loss : numpy.ndarray, shape (run,)
        What those runs reached.
    """

    family: str
    law: str
    size: np.ndarray
    new: np.ndarray
    log_loss: np.ndarray


def cells(chosen: RunSet, runs: Runs, law: str) -> list[Cell]:
    """One cell a cutoff of a set of runs."""
    card = with_drift(load_card(law), WEAK)
    size = sizes(runs.frame, card.law.inputs)
    found = []
    for cutoff in choose_cutoffs(runs, [load_card(name) for name in LAWS]):
        training = training_mask(size, cutoff)
        fitted = refit(runs.take(training), card, draws=DRAWS, tune=DRAWS)
        rows = runs.frame.loc[~training]
        ahead = forecast(
            fitted, params=rows["params"], tokens=rows["tokens"], allow_unconverged=True
        )
        assert ahead.loss_new is not None
        with np.errstate(divide="ignore"):  # few degrees of freedom reach a loss of nothing
            new = np.log(ahead.loss_new.values.reshape(-1, len(rows)))
        assert card.drift is not None
        drift = np.array([fitted.draws[name].values.ravel() for name in card.drift.parameters])
        found.append(Cell(chosen.family, law, drift, new, np.log(rows["loss"].to_numpy())))
    return found


def under(cell: Cell, median: float, spread: float) -> np.ndarray:
    """The draws of a cell, as many of them, as they would be under another prior on drift."""
    mu, sigma = WEAK.log_normal or (np.nan, np.nan)
    log = np.log(cell.size)
    weight = stats.norm.logpdf(log, np.log(median), spread) - stats.norm.logpdf(log, mu, sigma)
    weight = weight.sum(axis=0)
    share = np.exp(weight - weight.max()).cumsum()
    even = (np.arange(len(weight)) + 0.5) / len(weight)
    return cell.new[np.searchsorted(share / share[-1], even)]


def pooled_crps(of_laws: Sequence[Cell], median: float, spread: float) -> np.ndarray:
    """CRPS of each held-out run, shape (run,), of the laws' equal mixture."""
    draws = np.concatenate([under(cell, median, spread)[::4] for cell in of_laws])
    return scores.crps(scores.limited(draws), of_laws[0].log_loss)


def learnt(crps: Mapping[tuple[float, float], np.ndarray], kept: np.ndarray) -> dict[str, float]:
    """The prior of least mean CRPS over the forecasts that are kept."""
    mean = {prior: float(values[kept].mean()) for prior, values in crps.items()}
    median, spread = min(mean, key=lambda prior: mean[prior])
    half = spread * stats.norm.ppf((1 + PRIOR_MASS) / 2)
    return {
        "median": median,
        "spread": spread,
        "low": float(f"{median * np.exp(-half):.2g}"),
        "high": float(f"{median * np.exp(half):.2g}"),
        "forecasts": int(kept.sum()),
        "crps": mean[median, spread],
    }


def main(
    keep: Annotated[
        Path | None, typer.Option(help="Keep each set's cells here, and start from them.")
    ] = None,
) -> None:
    """Learn the priors on drift."""
    folder = os.environ.get("BAYESCALE_DATA")
    if not folder:
        sys.exit("BAYESCALE_DATA must name the folder of run logs")
    found: dict[str, list[Cell]] = {law: [] for law in LAWS}
    for chosen in SETS:
        for law in LAWS:
            found[law] += _kept(keep, chosen, Path(folder), law)
            print(f"{chosen.name}, {law}", file=sys.stderr, flush=True)
    cutoffs = list(zip(*found.values(), strict=True))
    crps = {
        prior: np.concatenate([pooled_crps(of_laws, *prior) for of_laws in cutoffs])
        for prior in itertools.product(MEDIANS, SPREADS)
    }
    family = np.concatenate([[of[0].family] * len(of[0].log_loss) for of in cutoffs])
    results = {
        "machine": machine(),
        "cutoffs": len(cutoffs),
        "all": learnt(crps, np.ones(len(family), dtype=bool)),
        "without": {name: learnt(crps, family != name) for name in dict.fromkeys(family)},
    }
    text = json.dumps(results, indent=1) + "\n"
    (RESULTS / "drift_prior.json").write_text(text, encoding="utf-8")
    print(text)


def _kept(keep: Path | None, chosen: RunSet, folder: Path, law: str) -> list[Cell]:
    if keep is None:
        return cells(chosen, chosen.read(folder), law)
    path = keep / f"{chosen.name}, {law}.npz"
    if not path.exists():
        keep.mkdir(parents=True, exist_ok=True)
        made = cells(chosen, chosen.read(folder), law)
        arrays = {f"{name}{i}": getattr(c, name) for i, c in enumerate(made) for name in _ARRAYS}
        np.savez_compressed(path, n=len(made), **arrays)
    kept = np.load(path)
    return [
        Cell(chosen.family, law, *(kept[f"{name}{i}"] for name in _ARRAYS))
        for i in range(int(kept["n"]))
    ]


_ARRAYS = ("size", "new", "log_loss")

if __name__ == "__main__":
    typer.run(main)
