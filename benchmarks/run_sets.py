"""Forecasts of larger runs by laws of params and tokens, and how far they can be trusted.

Each public run log is cut at up to eight levels of compute. The runs up to a cutoff are fitted,
and all larger ones are forecast. Chinchilla's law and Kaplan's law with a constant are sampled
without and with drift, and averaged with equal weights. The usual pipeline, a bootstrap of the
Huber estimate, serves for comparison. The trust horizon at each cutoff uses only the runs up to
it: its backtest consists of the forecasts of these runs from earlier cutoffs.

Run: ``BAYESCALE_DATA=folder python benchmarks/run_sets.py``. It takes ten to fifteen minutes on
one core and writes ``benchmarks/results/run_sets.json`` and ``run_sets.md``.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from huber import bootstrap, predict
from pandas.api.types import is_numeric_dtype

from bayescale import read_runs, refit
from bayescale.cards import ModelCard, Prior, load_card
from bayescale.posterior import ModelAverage, Posterior
from bayescale.runs import Runs
from bayescale.tasks import Serial
from bayescale.validation import scores
from bayescale.validation.backtest import backtest
from bayescale.validation.backtest_result import RATIO_BINS, Backtest
from bayescale.validation.cutoffs import training_mask
from bayescale.validation.held_out import AVERAGE, MOST_DRAWS, Sample, aggregate, scored
from bayescale.validation.horizon import trust
from bayescale.verdict import TOLERANCE, reach, sizes

LAWS = ("chinchilla", "kaplan_irreducible")
PLAIN, AVERAGED = "chinchilla", "model average + drift"
HUBER, HUBER_NOISY = "Huber bootstrap", "Huber bootstrap + residuals"
METHODS = (
    PLAIN,
    "kaplan_irreducible",
    "model average",
    "chinchilla + drift",
    "kaplan_irreducible + drift",
    AVERAGED,
    HUBER,
    HUBER_NOISY,
)
SAMPLER = {"draws": 1000, "tune": 500}
"""Per chain. More draws than a refit keeps by default, so that scores hardly depend on the seed."""

RESAMPLES = 200
RESULTS = Path(__file__).parent / "results"
LEFT_OUT = """\
Left out: Pythia and Pythia-deduped (tokens constant, so that no law of params and tokens can be
fitted), Cerebras-GPT muP (five runs, the fewest that are fitted, leave none to forecast), and
mid-training checkpoints (not finished runs)."""


# the run logs


@dataclass(frozen=True)
class RunSet:
    """A run log made from a file.

    Attributes
    ----------
    name : str
    family : str
        Sets of one family share authors, data and set-up; a prior estimated on one is not scored on
        another.
    file : str
    choose : callable
        From the file's frame to the rows wanted.
    description : str
        Which rows those are.
    loss : str
        The column of the loss.
    """

    name: str
    family: str
    file: str
    choose: Callable[[pd.DataFrame], pd.DataFrame]
    description: str
    loss: str = "loss"

    def read(self, folder: Path) -> Runs:
        """Read the runs from the folder of files."""
        chosen = self.choose(pd.read_csv(folder / self.file))
        columns = {"params": "params", "tokens": "tokens", "flops": "flops", self.loss: "loss"}
        log = chosen[["run_id", *columns]].rename(columns=columns)
        return replace(read_runs(log), source=self.name)


def _gadre(dataset: str) -> RunSet:
    return RunSet(
        f"Gadre, {dataset.split('_')[0]}",
        "Gadre",
        "gadre_overtraining.csv",
        lambda frame: frame[(frame["dataset"] == dataset) & (frame["chinchilla_mult"] >= 1)],
        f"trained on {dataset}, C4 loss, without runs shorter than Chinchilla's optimum, which "
        "are off-trend at the source (warm-up is a large part of them)",
        "loss_c4_val",
    )


SETS = (
    RunSet(
        "Chinchilla",
        "Chinchilla",
        "chinchilla_epoch.csv",
        lambda frame: frame[frame["besiroglu_outlier"] == 0],
        "as read off the published figure, without the five that Besiroglu et al. dropped",
    ),
    RunSet("Porian", "Porian", "porian_refinedweb.csv", lambda frame: frame, "all, on RefinedWeb"),
    *(_gadre(dataset) for dataset in ("c4_original", "rpj", "rw_original")),
    RunSet(
        "Datablations, one epoch",
        "Datablations",
        "datablations.csv",
        lambda frame: frame[(frame["group"] == "single_epoch") & (frame["opt_shape"] == 0)],
        "data seen once, all seeds",
    ),
    RunSet(
        "Datablations, few epochs",
        "Datablations",
        "datablations.csv",
        lambda frame: frame[(frame["in_paper_fit"] == 1) & (frame["epochs"] <= 4)],
        "the paper's runs of up to four epochs, with repeated tokens counted as fresh; "
        "29 runs are also in the set of one epoch",
    ),
    RunSet(
        "Cerebras-GPT",
        "Cerebras-GPT",
        "cerebras_pythia_pile.csv",
        lambda frame: frame[frame["family"] == "Cerebras-GPT"],
        "on the Pile, 20 tokens per parameter throughout",
    ),
)


def with_drift(card: ModelCard, prior: Prior, **others: Any) -> ModelCard:
    """Return the card with another prior on the size of drift, and other keys of ``[drift]``."""
    assert card.drift is not None
    assert not isinstance(card.drift.size, dict)
    size = card.drift.size.model_copy(update={"prior": prior})
    drift = card.drift.model_copy(update={"size": size} | others)
    return card.model_copy(update={"drift": drift})


# what each method forecasts


def unseen(family: str) -> list[ModelCard]:
    """Return the laws' cards, with the prior on drift estimated without this family of sets."""
    estimated = json.loads((RESULTS / "drift_prior.json").read_text(encoding="utf-8"))
    prior = estimated["without"][family]
    prior = Prior(low=prior["low"], high=prior["high"])
    return [with_drift(load_card(law), prior) for law in LAWS]


def evaluate(
    runs: Runs, cards: Sequence[ModelCard], seed: int = 0
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Forecast with every method at every cutoff of a run log.

    Parameters
    ----------
    runs : Runs
    cards : sequence of ModelCard
        Cards of :data:`LAWS`.
    seed : int

    Returns
    -------
    pandas.DataFrame
        Rows as from :func:`sampled`, for every method.
    dict
        Cutoffs, failed and unconverged refits, and seconds.
    """
    parts, record = [], {"runs": len(runs), "seconds": {}, "missing": [], "unconverged": {}}
    for drift in (False, True):
        started = time.perf_counter()
        rows, tested = sampled(runs, cards, drift=drift, seed=seed, **SAMPLER)
        parts.append(rows)
        kind = "with drift" if drift else "plain"
        record["cutoffs"] = list(tested.cutoffs)
        record["refits"] = len(tested.samples)
        record["missing"] += [f"{item.law} {kind}: {item.why}" for item in tested.missing]
        record["unconverged"][kind] = len(tested.unconverged())
        record["seconds"][kind] = time.perf_counter() - started
    started = time.perf_counter()
    parts += [huber_forecasts(runs, cutoff, seed) for cutoff in record["cutoffs"]]
    record["seconds"]["huber"] = time.perf_counter() - started
    return pd.concat(parts, ignore_index=True), record


def sampled(
    runs: Runs,
    laws: Sequence[str | ModelCard],
    *,
    drift: bool,
    cutoffs: Sequence[float] | None = None,
    seed: int = 0,
    **settings: Any,
) -> tuple[pd.DataFrame, Backtest]:
    """Forecast with laws and their model average, with the trust horizon of one of them.

    Parameters
    ----------
    runs, laws, cutoffs, seed
        As for :func:`bayescale.backtest`.
    drift : bool
        Whether to include drift. With drift, the horizon is that of the model average, as in
        the package by default; without, that of the first law.
    **settings
        For :func:`bayescale.refit`.

    Returns
    -------
    pandas.DataFrame
        Rows as in :class:`bayescale.Backtest`, with ``method`` in addition to ``law``, and the
        columns of :func:`horizons` where the horizon was computed.
    Backtest
    """
    posteriors: dict[tuple[str, str], Posterior] = {}

    def keeping(training: Runs, card: ModelCard, seed: int) -> Posterior:
        fitted = refit(training, card, seed, drift=drift, **settings)
        posteriors[card.law.name, training.digest] = fitted
        return fitted

    tested = backtest(runs, laws, refit=keeping, cutoffs=cutoffs, executor=Serial(), seed=seed)
    ending = " + drift" if drift else ""
    rows = tested.forecasts.assign(
        method=tested.forecasts["law"].replace(AVERAGE, "model average") + ending
    )
    answer = tested if drift else _of_law(tested, tested.laws[0])
    checked = horizons(answer, posteriors).assign(
        method=answer.answer.replace(AVERAGE, "model average") + ending
    )
    return rows.merge(checked, on=["method", "cutoff"], how="left"), tested


def huber_forecasts(runs: Runs, cutoff: float, seed: int) -> pd.DataFrame:
    """Forecast with the bootstrapped Huber estimate at a cutoff, without and with its residuals.

    The log density is that of a normal with the draws' median and 90 % interval. Its standard
    deviation is at least 0.1 %, because a law through as many runs as it has coefficients leaves
    no spread.
    """
    size = sizes(runs.frame, ("params", "tokens"))
    training = training_mask(size, cutoff)
    columns = np.log([runs["params"], runs["tokens"], runs["loss"]])
    best, thetas = bootstrap(columns[:, training], RESAMPLES, seed)
    log_n, log_d, log_loss = columns
    residuals = log_loss[training] - predict(best, log_n[training], log_d[training])
    ahead = np.array([predict(theta, log_n[~training], log_d[~training]) for theta in thetas])
    each = np.repeat(ahead, MOST_DRAWS // RESAMPLES, axis=0)
    noisy = each + np.random.default_rng(seed).choice(residuals, each.shape)
    parts = []
    for method, draws in ((HUBER, ahead), (HUBER_NOISY, noisy)):
        spread = np.maximum(scores.half_width(draws, 0.9) / 1.645, 1e-3)
        off = (log_loss[~training] - np.median(draws, axis=0)) / spread
        density = -0.5 * off**2 - np.log(spread * np.sqrt(2 * np.pi)) - log_loss[~training]
        sample = Sample(draws, ahead, density, converged=True)
        parts.append(scored(method, cutoff, runs, size, sample).assign(method=method))
    return pd.concat(parts)


# the trust horizon


def horizons(tested: Backtest, posteriors: Mapping[tuple[str, str], Posterior]) -> pd.DataFrame:
    """Compute the trust horizon at each cutoff, from the runs up to it alone.

    Parameters
    ----------
    tested : Backtest
    posteriors : mapping of (str, str) to Posterior
        Keyed by law and digest of the runs fitted.
    """
    rows = []
    for cutoff in tested.cutoffs:
        inner = inside(tested, cutoff)
        members = [posteriors.get((law, inner.runs.digest)) for law in tested.laws]
        there = tuple(member for member in members if member is not None)
        if len(there) < len(members):
            continue
        fit = ModelAverage(there, tested.weights) if there[1:] else there[0]
        answer = trust(fit, inner, allow_unconverged=True)
        narrow = (answer.path["half_width"] <= TOLERANCE).cummin()
        rows.append(
            {
                "cutoff": cutoff,
                "precise": answer.path["ratio"].where(narrow, 1.0).max(),
                "tested": reach(answer.bins).covered,
                "horizon": answer.horizon_ratio,
                "limited_by": answer.limited_by,
            }
        )
    return pd.DataFrame(rows)


def inside(tested: Backtest, cutoff: float) -> Backtest:
    """Return the part of a backtest that uses only the runs up to a cutoff."""
    size = sizes(tested.runs.frame, ("params", "tokens"))
    training = tested.runs.take(training_mask(size, cutoff))
    forecasts = tested.forecasts
    known = (forecasts["cutoff"] < cutoff) & forecasts["run_id"].isin(set(training["run_id"]))
    return replace(
        tested,
        runs=training,
        cutoffs=tuple(c for c in tested.cutoffs if c < cutoff),
        forecasts=forecasts[known],
        missing=tuple(item for item in tested.missing if item.cutoff < cutoff),
        samples={key: sample for key, sample in tested.samples.items() if key[1] < cutoff},
    )


def _of_law(tested: Backtest, law: str) -> Backtest:
    return replace(
        tested,
        laws=(law,),
        weights=(1.0,),
        forecasts=tested.forecasts[tested.forecasts["law"] == law],
        missing=tuple(item for item in tested.missing if item.law == law),
        samples={key: sample for key, sample in tested.samples.items() if key[0] == law},
    )


# tables


def by_ratio(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Score each method in each bin of ratio, and over all: plain means over forecasts.

    ``coverage90, by set`` is the mean over sets, with equal weights.
    """
    bins = [*RATIO_BINS, (1.0, np.inf)]
    rows = [
        {"method": method, "ratio": _bin_name(*edges), "n": len(part)}
        | _scores(part)
        | {"coverage90, by set": part.groupby("set")["covered90"].mean().mean()}
        for method in METHODS
        for edges in bins
        if len(part := _of(forecasts, method, edges))
    ]
    return pd.DataFrame(rows)


def by_set(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Score each method on each set."""
    rows = [
        {"set": name, "method": method, "n": len(part)} | _scores(part)
        for name, of_set in forecasts.groupby("set", sort=False)
        for method in METHODS
        if len(part := _of(of_set, method))
    ]
    return pd.DataFrame(rows)


def by_training(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Score by the number of runs fitted, for forecasts up to 30 times."""
    rows = [
        {"runs fitted": f"{least} to {most}" if most else f"{least} or more", "method": method}
        | {"n": len(part)}
        | _scores(part)
        for least, most in ((5, 9), (10, 29), (30, None))
        for method in (PLAIN, "chinchilla + drift", "kaplan_irreducible + drift", AVERAGED)
        for near in [_of(forecasts, method, (1.0, 30.0))]
        for part in [near[near["n_train"].between(least, most or np.inf)]]
    ]
    return pd.DataFrame(rows)


def by_horizon(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Score forecasts inside and beyond horizons."""
    averaged, plain = _of(forecasts, AVERAGED), _of(forecasts, PLAIN)
    parts = {
        f"{AVERAGED}: inside the horizon": averaged[averaged["ratio"] <= averaged["horizon"]],
        f"{AVERAGED}: precise and tested, each run by itself": _both(averaged),
        f"{AVERAGED}: precise, each run by itself": averaged[_precise(averaged)],
        f"{AVERAGED}: beyond the horizon": averaged[~(averaged["ratio"] <= averaged["horizon"])],
        f"{PLAIN}: inside the horizon": plain[plain["ratio"] <= plain["horizon"]],
        f"{PLAIN}: precise and tested, each run by itself": _both(plain),
        f"{PLAIN}: within the ratio of precision alone": plain[plain["ratio"] <= plain["precise"]],
        f"{PLAIN}: precise, each run by itself": plain[_precise(plain)],
    }
    inside = parts[f"{AVERAGED}: inside the horizon"]
    parts |= {
        f"{AVERAGED}: inside, {name}": part for name, part in inside.groupby("set", sort=False)
    }
    rows = [
        {
            "forecasts": name,
            "n": len(part),
            "sets": part["set"].nunique(),
            "coverage90": part["covered90"].mean(),
            f"within {TOLERANCE:.0%}": (part["log_error"].abs() <= TOLERANCE).mean(),
            "largest error": part["log_error"].abs().max(),
            "median ratio": part["ratio"].median(),
            "largest ratio": part["ratio"].max(),
        }
        for name, part in parts.items()
    ]
    return pd.DataFrame(rows)


def _of(
    forecasts: pd.DataFrame, method: str, edges: tuple[float, float] = (1.0, np.inf)
) -> pd.DataFrame:
    ratio = forecasts["ratio"]
    return forecasts[(forecasts["method"] == method) & (ratio > edges[0]) & (ratio <= edges[1])]


def _scores(part: pd.DataFrame) -> dict[str, float]:
    return aggregate(part) | {"msce": scores.msce(part["pit"])}


def _precise(part: pd.DataFrame) -> pd.Series:
    return part["half_width90"] <= TOLERANCE


def _both(part: pd.DataFrame) -> pd.DataFrame:
    return part[_precise(part) & (part["ratio"] <= part["tested"])]


def _bin_name(lower: float, upper: float) -> str:
    if np.isinf(upper):
        return "all" if lower == 1 else f"above {lower:g}"
    return f"{lower:g} to {upper:g}"


def targets(ratios: pd.DataFrame, checked: pd.DataFrame) -> list[dict[str, Any]]:
    """Compare each target with the value reached."""
    table = ratios.set_index(["method", "ratio"])
    found = []
    for ratio, row in table.loc[AVERAGED].iterrows():
        if row["n"] < 30:
            continue
        others = ", ".join(
            f"{method} {table.loc[(method, ratio), 'coverage90']:.0%}"
            for method in (PLAIN, HUBER, HUBER_NOISY)
        )
        found.append(
            {
                "target": f"90 % intervals of {AVERAGED} cover 85 to 96 %, ratio {ratio}",
                "reached": f"{row['coverage90']:.1%} ({others})",
                "met": bool(0.85 <= row["coverage90"] <= 0.96),
            }
        )
    for edges in RATIO_BINS[:3]:
        ratio = _bin_name(*edges)
        for other in (PLAIN, "model average"):
            ours, plain = (table.loc[(method, ratio), "rmsle"] for method in (AVERAGED, other))
            found.append(
                {
                    "target": f"RMSLE of {AVERAGED} no more than that of {other}, ratio {ratio}",
                    "reached": f"{ours:.4f} against {plain:.4f}",
                    "met": bool(ours <= plain),
                }
            )
    row = checked.iloc[0]
    for column, least in (("coverage90", 0.9), (f"within {TOLERANCE:.0%}", 0.95)):
        found.append(
            {
                "target": f"inside the horizon, {column} at least {least:.0%}",
                "reached": f"{row[column]:.1%} of {row['n']}",
                "met": bool(row[column] >= least),
            }
        )
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """Write the report as a page."""
    sets = pd.DataFrame(
        [
            {
                "set": item["set"],
                "runs": item["runs"],
                "cutoffs": len(item["cutoffs"]),
                "refits missing": len(item["missing"]),
                "unconverged, plain": item["unconverged"]["plain"],
                "unconverged, with drift": item["unconverged"]["with drift"],
                "what": item["description"],
            }
            for item in results["sets"]
        ]
    )
    goals = pd.DataFrame(results["targets"])
    goals["met"] = np.where(goals["met"], "yes", "**no**")
    parts = [
        "# Forecasts of larger runs on public run sets",
        f"Made by `{results['command']}`.",
        "Runs up to each of at most eight cutoffs in compute are fitted, and all larger ones "
        "are forecast. Ratio is compute over that of the largest run fitted. RMSLE and CRPS are "
        "of log loss (0.01 is about 1 %). lpd is the mean log predictive density of the loss, "
        "per nat. 50 % and 90 % are the shares of runs covered by these intervals of a single "
        "new run. MSCE is the mean squared error of coverage over levels. All are means over "
        "forecasts without weights, so large sets count more. A run is forecast from several "
        "cutoffs.",
        "The prior of drift for a set is estimated by `python benchmarks/drift_prior.py` on the "
        "other families of sets, never on the set that is scored. Gadre's three sets are one "
        "family, and Datablations' two are one. Some choices in this estimate were made with "
        "the coverage on all sets and on simulated logs known: its score, the spread of the "
        "prior, the length over which changes of the slope fade, and which of two medians with "
        "equal scores is used. The other priors of kaplan_irreducible were set to those of "
        "chinchilla after an earlier version of this page had shown that vaguer ones do worse.",
        "## Targets",
        table(goals),
        "## By ratio",
        table(pd.DataFrame(results["by_ratio"])),
        f"The model average gives both laws equal weights. The Huber estimate (delta 1e-3) starts "
        f"from eight laws through the center of the runs and has {RESAMPLES} resamples. Its log "
        "density is that of a normal with the same median and 90 % interval, but a standard "
        "deviation of at least 0.1 %.",
        f"## Trust horizon, {TOLERANCE:.0%}",
        table(pd.DataFrame(results["horizon"])),
        "Inside the horizon: the ratio is at most the horizon that `bayescale trust` gives from "
        "the runs up to the cutoff alone. Its backtest consists of forecasts of these runs from "
        "smaller cutoffs. Each run by itself: half the 90 % interval of the mean loss at the "
        "run's own params and tokens is within the tolerance. This may differ from the horizon, "
        "which is at the runs' own tokens per parameter.",
        "## By number of runs fitted, up to 30 times",
        table(pd.DataFrame(results["by_training"])),
        "## By set",
        table(pd.DataFrame(results["by_set"])),
        "## The sets",
        table(sets),
        LEFT_OUT.replace("\n", " "),
        f"{results['minutes']:.0f} minutes on one core. {results['machine']}.",
    ]
    return "\n\n".join(parts) + "\n"


def table(frame: pd.DataFrame) -> str:
    """Write a Markdown table."""
    heads = {"rmsle": "RMSLE", "crps": "CRPS", "msce": "MSCE"}
    heads |= {
        "coverage50": "50 %",
        "coverage90": "90 %",
        "coverage90, by set": "90 %, mean of sets",
    }
    lines = [
        "| " + " | ".join(heads.get(name, name) for name in frame) + " |",
        "|" + "|".join(" ---: " if is_numeric_dtype(frame[n]) else " --- " for n in frame) + "|",
    ]
    for row in frame.to_dict(orient="records"):
        cells = [_cell(str(name), value) for name, value in row.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or np.isnan(value):
        return ""
    if "error" in name:
        return f"{value:.1%}"
    if name.startswith(("coverage", "within", "covers")):
        return f"{value:.0%}"
    if name in ("rmsle", "crps", "msce"):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int | np.integer) else f"{value:.2f}"


def main(
    keep: Annotated[
        Path | None, typer.Option(help="Keep each set's forecasts here, and start from them.")
    ] = None,
    seed: int = 0,
) -> None:
    """Forecast larger runs of public run sets with every method, and score the forecasts."""
    folder = os.environ.get("BAYESCALE_DATA")
    if not folder:
        sys.exit("BAYESCALE_DATA must name the folder of run logs")
    parts, sets = [], []
    for i, chosen in enumerate(SETS, 1):
        forecasts, record = kept(
            keep and keep / f"{chosen.name}.pkl",
            partial(evaluate, chosen.read(Path(folder)), unseen(chosen.family), seed),
        )
        minutes = sum(record["seconds"].values()) / 60
        print(f"{i} of {len(SETS)}: {chosen.name}, {minutes:.1f} min", file=sys.stderr, flush=True)
        parts.append(forecasts.assign(set=chosen.name))
        sets.append({"set": chosen.name, "description": chosen.description} | record)
    everything = pd.concat(parts, ignore_index=True)
    ratios, checked = by_ratio(everything), by_horizon(everything)
    results = {
        "command": "python benchmarks/run_sets.py",
        "settings": {
            "seed": seed,
            "laws": LAWS,
            "resamples": RESAMPLES,
            "tolerance": TOLERANCE,
            **SAMPLER,
        },
        "machine": machine(),
        "minutes": sum(sum(item["seconds"].values()) for item in sets) / 60,
        "targets": targets(ratios, checked),
        "by_ratio": ratios.to_dict(orient="records"),
        "horizon": checked.to_dict(orient="records"),
        "by_training": by_training(everything).to_dict(orient="records"),
        "by_set": by_set(everything).to_dict(orient="records"),
        "sets": sets,
    }
    write("run_sets", results, markdown(results))


def kept[T](path: Path | None, make: Callable[[], T]) -> T:
    """Return the value kept at a path, or make it and keep it there if a path is given."""
    if path is not None and path.exists():
        return pd.read_pickle(path)
    made = make()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.to_pickle(made, path)
    return made


def timed[T](make: Callable[[], T]) -> tuple[T, float]:
    """Return the value, and the seconds that it took to make."""
    started = time.perf_counter()
    return make(), time.perf_counter() - started


def machine() -> str:
    """Describe the system, Python and versions."""
    names = ("bayescale", "pymc", "nutpie", "pytensor", "numpy", "scipy")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}; {versions}"
    )


def write(name: str, results: Mapping[str, Any], page: str) -> None:
    """Write results as JSON and as a page, and print the page."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(results, indent=1, default=_plain) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(page, encoding="utf-8")
    print(page)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


if __name__ == "__main__":
    typer.run(main)
