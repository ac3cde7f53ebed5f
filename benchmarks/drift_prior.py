"""Estimation of the prior on drift in the cards of laws of params and tokens.

Every set of runs of ``run_sets.py`` is cut at up to eight levels of compute. The runs up to a
cutoff are fitted under a weak prior on the size of the drift, and the larger ones are forecast.
Importance weights of the draws show how well any narrower prior would have done. The median of the
prior is the one with the highest log predictive density of the model average, averaged over
cutoffs (the forecasts of one cutoff are correlated). It is estimated from all families of sets for
the cards, and without each family in turn for ``run_sets.py``, which scores every set under a
prior that has not seen it. The score, the averaging and the spread were chosen with coverage on
all sets known.

So was the length over which changes of the slope fade. The result also says how well each length
does at its own best median.

Run: ``BAYESCALE_DATA=folder python benchmarks/drift_prior.py``. It takes about 45 minutes on one
core and writes ``benchmarks/results/drift_prior.json``.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
import xarray as xr
from run_sets import LAWS, SETS, RunSet, machine, with_drift
from scipy import special, stats

from bayescale import refit
from bayescale.cards import PRIOR_MASS, Prior, load_card
from bayescale.runs import Runs
from bayescale.validation.cutoffs import choose_cutoffs, training_mask
from bayescale.verdict import sizes

RESULTS = Path(__file__).parent / "results"
WEAK = Prior(low=0.0007, high=0.036)
"""Wide enough to contain every prior that may be estimated."""

FADES_OVER = (2.0, 3.0, 4.0, 8.0, None)
"""E-folds over which a change of the slope fades; None if it lasts."""

MEDIANS = (0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.011, 0.015)
SPREAD = 0.8
"""Standard deviation of the logarithm: a factor of four either way, which spans all medians."""

TIE = 0.002
"""Scores closer than this count as equal: their differences have a Monte Carlo error of 0.001, and
a standard error over cutoffs of 0.007. Of equal scores the larger median is taken. This was set
with simulated logs known, in which narrower drift misses more breaks."""

DRAWS, TUNE = 2000, 400


class Cell(NamedTuple):
    """One refit, and its densities of the larger runs.

    Attributes
    ----------
    family, law : str
    size : numpy.ndarray, shape (axis, draw)
        Size of the drift along each axis.
    log_density : numpy.ndarray, shape (draw, run)
        Log density of each held-out run, per nat per token.
    """

    family: str
    law: str
    size: np.ndarray
    log_density: np.ndarray


def cells(chosen: RunSet, runs: Runs, law: str, fades_over: float | None) -> list[Cell]:
    """Refit a set of runs at each cutoff."""
    card = with_drift(load_card(law), WEAK, fades_over=fades_over)
    assert card.drift is not None
    size = sizes(runs.frame, card.law.inputs)
    found = []
    for cutoff in choose_cutoffs(runs, [load_card(name) for name in LAWS]):
        training = training_mask(size, cutoff)
        fitted = refit(runs.take(training), card, draws=DRAWS, tune=TUNE)
        rows = runs.frame.loc[~training]
        places = {n: xr.DataArray(rows[n].to_numpy(), dims="point") for n in card.law.inputs}
        density = fitted.drifting.log_density(rows["loss"], places).transpose(
            "chain", "draw", "point"
        )
        drift = np.array([fitted.draws[name].values.ravel() for name in card.drift.parameters])
        found.append(Cell(chosen.family, law, drift, density.values.reshape(-1, len(rows))))
    return found


def under(cell: Cell, median: float) -> np.ndarray:
    """Return log predictive densities of held-out runs under another prior on drift, (run,)."""
    mu, sigma = WEAK.log_normal or (np.nan, np.nan)
    log = np.log(cell.size)
    weight = stats.norm.logpdf(log, np.log(median), SPREAD) - stats.norm.logpdf(log, mu, sigma)
    weight = weight.sum(axis=0)
    weight -= special.logsumexp(weight)
    return special.logsumexp(cell.log_density + weight[:, None], axis=0)


def averaged(of_laws: Sequence[Cell], median: float) -> float:
    """Return the log predictive density of the model average, averaged over a cutoff's runs."""
    each = [under(cell, median) for cell in of_laws]
    return float((special.logsumexp(each, axis=0) - np.log(len(each))).mean())


def estimated(density: Mapping[float, np.ndarray], kept: np.ndarray) -> dict[str, Any]:
    """Find the prior with the highest mean log density over the cutoffs that are kept."""
    mean = {median: float(values[kept].mean()) for median, values in density.items()}
    best = max(mean.values())
    median = max(prior for prior, score in mean.items() if score >= best - TIE)
    half = SPREAD * stats.norm.ppf((1 + PRIOR_MASS) / 2)
    return {
        "median": median,
        "low": float(f"{median * np.exp(-half):.2g}"),
        "high": float(f"{median * np.exp(half):.2g}"),
        "cutoffs": int(kept.sum()),
        "log density by median": mean,
    }


def main(
    keep: Annotated[
        Path | None, typer.Option(help="Keep each set's cells here, and start from them.")
    ] = None,
) -> None:
    """Estimate the priors on drift."""
    folder = os.environ.get("BAYESCALE_DATA")
    if not folder:
        sys.exit("BAYESCALE_DATA must name the folder of run logs")
    by_length = {
        length: _estimates(_cells_by_cutoff(Path(folder), length, keep)) for length in FADES_OVER
    }
    of_card = load_card(LAWS[0]).drift
    assert of_card is not None
    results = {
        "machine": machine(),
        "spread": SPREAD,
        "fades over": of_card.fades_over,
        **by_length[of_card.fades_over],
        "by length": [{"fades over": n, **found["all"]} for n, found in by_length.items()],
    }
    text = json.dumps(results, indent=1) + "\n"
    (RESULTS / "drift_prior.json").write_text(text, encoding="utf-8")
    print(text)


def _cells_by_cutoff(
    folder: Path, fades_over: float | None, keep: Path | None
) -> list[Sequence[Cell]]:
    """Return the laws' cells of each cutoff."""
    found: dict[str, list[Cell]] = {law: [] for law in LAWS}
    for chosen in SETS:
        for law in LAWS:
            found[law] += _kept(keep, chosen, folder, law, fades_over)
            print(f"{fades_over}: {chosen.name}, {law}", file=sys.stderr, flush=True)
    return list(zip(*found.values(), strict=True))


def _estimates(cutoffs: Sequence[Sequence[Cell]]) -> dict[str, Any]:
    """Estimate the prior from all families, and without each in turn."""
    density = {m: np.array([averaged(of_laws, m) for of_laws in cutoffs]) for m in MEDIANS}
    family = np.array([of_laws[0].family for of_laws in cutoffs])
    return {
        "all": estimated(density, np.ones(len(family), dtype=bool)),
        "without": {name: estimated(density, family != name) for name in dict.fromkeys(family)},
    }


def _kept(
    keep: Path | None, chosen: RunSet, folder: Path, law: str, fades_over: float | None
) -> list[Cell]:
    if keep is None:
        return cells(chosen, chosen.read(folder), law, fades_over)
    path = keep / f"{fades_over}: {chosen.name}, {law}.npz"
    if not path.exists():
        keep.mkdir(parents=True, exist_ok=True)
        made = cells(chosen, chosen.read(folder), law, fades_over)
        arrays = {f"{name}{i}": getattr(c, name) for i, c in enumerate(made) for name in _ARRAYS}
        np.savez_compressed(path, n=len(made), **arrays)
    kept = np.load(path)
    return [
        Cell(chosen.family, law, *(kept[f"{name}{i}"] for name in _ARRAYS))
        for i in range(int(kept["n"]))
    ]


_ARRAYS = ("size", "log_density")

if __name__ == "__main__":
    typer.run(main)
