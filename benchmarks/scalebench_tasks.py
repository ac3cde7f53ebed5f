"""The tasks of ScaleBench (arXiv 2604.22753) that public tables allow: runs to buy, and a corner.

A task knows a law, as log losses of runs from numbers that are normal before any runs are known
(logs of coefficients, or coefficients of either sign), and columns of the law's drift, whose steps
are standard normal.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.cards import ModelCard, drift_bases, load_card
from bayescale.laws import Term
from bayescale.runs import Runs
from bayescale.tuning import excess, frontier, load_tuning_card

CENTERS = {"params": 3e8, "tokens": 2e10, "lr": 2e-3, "batch_size": 256.0}
"""Sizes and settings about which the valley's priors are stated: those of the sweep, roughly."""

PRIORS = load_tuning_card().priors
"""Priors of the valley's coefficients."""

LEVEL = np.log(2.5)
"""Log loss at these sizes, about which the prior of the level is centered."""


@dataclass(frozen=True, eq=False)
class Task:
    """Runs that may be bought, with their costs, and the corner that is to be forecast.

    Attributes
    ----------
    card : ModelCard
        The card whose drift, and for most tasks whose law, is used.
    pool, corner : pandas.DataFrame
        Inputs and losses; the pool has a column ``cost``.
    about : str
        What the corner is.
    in_logs : bool
        Whether R2 is of log losses.
    """

    card: ModelCard
    pool: pd.DataFrame
    corner: pd.DataFrame
    about: str
    in_logs: bool = False

    @cached_property
    def rows(self) -> pd.DataFrame:
        """All runs: those to be bought, then those of the corner."""
        return pd.concat([self.pool, self.corner], ignore_index=True)

    @property
    def in_corner(self) -> np.ndarray:
        """Rows of the corner."""
        return np.arange(len(self.pool), len(self.rows))

    @property
    def cost(self) -> np.ndarray:
        """Costs of the runs that may be bought."""
        return self.pool["cost"].to_numpy()

    @property
    def observed(self) -> np.ndarray:
        """Log losses of all rows."""
        return np.log(self.rows["loss"].to_numpy())

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that tell settings apart."""
        return self.card.law.inputs

    @cached_property
    def drift_columns(self) -> np.ndarray:
        """What a standard normal step of drift adds to the log loss of each row, (row, step)."""
        drift = self.card.drift
        assert drift is not None
        inputs = {name: self.rows[name].to_numpy() for name in self.card.law.inputs}
        named = pd.DataFrame(inputs).assign(run_id=self.rows.index.astype(str), loss=1.0)
        sizes = [float(each.prior.frozen.ppf(0.5)) for each in drift.sizes.values()]
        by_walk = drift_bases(self.card, Runs(frame=named, columns={}))
        tilt = (drift.tilt or 0.0) * sizes[-1]
        parts = [
            basis * (tilt if name == "tilt" else dict(zip(drift.along, sizes, strict=True))[name])
            for name, basis in by_walk.items()
        ]
        return np.concatenate(parts, axis=1)

    @property
    def noise(self) -> tuple[float, float]:
        """Mean and standard deviation of the log of the residual noise's scale."""
        stated = self.card.noise.sigma.prior.log_normal
        assert stated is not None
        return stated

    @cached_property
    def center(self) -> np.ndarray:
        """The law's numbers at the prior's center."""
        drawn = self.card.draw_prior(2001, seed=0)
        return np.array([np.median(np.log(drawn[n])) for n in self.card.law.coefficients])

    def prior_residuals(self, theta: np.ndarray) -> np.ndarray:
        """Return standard deviations from the prior's mean, (number, draw)."""
        names = self.card.law.coefficients
        logs = dict(zip(names, theta, strict=True))
        values = {name: np.exp(x) for name, x in logs.items()}
        return np.array([_away(self.card, name, logs, values) for name in names])

    def of_law(self, rows: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the law's log losses and their excess, (draw, row): what repetition costs."""
        values = {
            n: np.exp(x)[:, None] for n, x in zip(self.card.law.coefficients, theta, strict=True)
        }
        inputs = {name: self.rows[name].to_numpy()[rows] for name in self.card.law.inputs}
        with np.errstate(all="ignore"):
            found = np.log(self.card.law.loss(**inputs, **values))
            if "unique_tokens" not in inputs:
                return found, np.zeros_like(found)
            fresh = inputs | {"unique_tokens": inputs["tokens"]}
            return found, found - np.log(self.card.law.loss(**fresh, **values))

    def score(self, log_predicted: np.ndarray) -> float:
        """Return R2 on the corner, clipped to [-1, 1] as in the paper."""
        observed, predicted = self.corner["loss"].to_numpy(), np.exp(log_predicted)
        if self.in_logs:
            observed, predicted = np.log(observed), log_predicted
        rest = ((observed - predicted) ** 2).sum()
        return float(np.clip(1 - rest / ((observed - observed.mean()) ** 2).sum(), -1, 1))

    @cached_property
    def ceiling(self) -> float:
        """The highest R2 of any function of the inputs: of each setting's own mean."""
        means = self.corner.groupby(list(self.inputs))["loss"].transform(
            lambda x: np.exp(np.log(x).mean()) if self.in_logs else x.mean()
        )
        return self.score(np.log(means.to_numpy()))


def _away(
    card: ModelCard, name: str, logs: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]
) -> np.ndarray:
    prior = card.coefficients[name].prior
    assert prior.log_normal is not None
    mean, sd = prior.log_normal
    if not prior.stated_at:
        return (logs[name] - mean) / sd
    term: Term = card.law.terms[name]
    return (term.log_value(logs[name], values, prior.log_at(term)) - mean) / sd


class Valley(Task):
    """The valley of ``bayescale tune``, with its priors, without deviations of single sizes."""

    numbers = tuple(name for name in PRIORS if not name.startswith(("cells_", "noise")))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that tell settings apart."""
        return tuple(CENTERS)

    @property
    def noise(self) -> tuple[float, float]:
        """Mean and standard deviation of the log of the residual noise's scale."""
        prior = PRIORS["noise"]
        return prior.mean, prior.sd

    @cached_property
    def center(self) -> np.ndarray:
        """The valley's coefficients at the prior's center."""
        return np.array([PRIORS[name].mean for name in self.numbers])

    def prior_residuals(self, theta: np.ndarray) -> np.ndarray:
        """Return standard deviations from the prior's mean, (number, draw)."""
        priors = [PRIORS[name] for name in self.numbers]
        return np.array([(x - p.mean) / p.sd for x, p in zip(theta, priors, strict=True)])

    def of_law(self, rows: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the valley's log losses and their excess over well-tuned runs, (draw, row)."""
        v = {
            name: (np.exp(x) if PRIORS[name].log else x)[:, None]
            for name, x in zip(self.numbers, theta, strict=True)
        }
        v["curve_ratio"] = v["curve_batch"] - v["curve_lr"]
        n, d, x1, x2 = (
            np.log(self.rows[name].to_numpy()[rows] / center) for name, center in CENTERS.items()
        )

        def along(what: str, start: str) -> np.ndarray:
            return v[start] + v[f"{what}_params"] * n + v[f"{what}_tokens"] * d

        with np.errstate(all="ignore"):
            k = along("curve", "curve_lr")
            g = excess(v, k, x1 - along("lr", "lr_0"), x2 - along("batch", "batch_0"))
            return LEVEL + frontier(v, n, d) + g, g


def _split(frame: pd.DataFrame, corner: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame]:
    return frame[~corner].reset_index(drop=True), frame[corner].reset_index(drop=True)


def read(name: str) -> pd.DataFrame:
    """Read a table of the data folder."""
    return pd.read_csv(Path(os.environ["BAYESCALE_DATA"]) / name)


def repetition() -> Task:
    """Repeated data: runs of Muennighoff et al. 2023."""
    frame = read("datablations.csv")
    frame = frame[frame["in_paper_fit"] == 1][["params", "tokens", "unique_tokens", "loss"]]
    frame = frame.assign(cost=6.0 * frame["params"] * frame["tokens"])
    corner = frame["cost"].rank(method="first") > len(frame) - 21
    about = "the 21 most expensive of the 182 runs that the paper fits"
    return Task(load_card("repetition"), *_split(frame, corner), about)


def lr_batch() -> Task:
    """Learning rate and batch size: the sweep of Li et al. 2025."""
    frame = read("lr_batch_sweep.csv").rename(columns={"params_non_embedding": "params"})
    frame = frame.assign(cost=6.0 * frame["params"] * frame["tokens"])
    corner = frame["cost"] == frame["cost"].max()
    about = "the size of most compute, all its settings"
    return Valley(load_card("unified"), *_split(frame, corner), about)


def experts() -> Task:
    """Mixtures of experts: runs of Clark et al. 2022."""
    frame = read("moe.csv").rename(columns={"params_dense": "params"})
    frame = frame.assign(cost=frame["params"] * frame["experts"])
    corner = frame["params"] == frame["params"].max()
    return Task(load_card("experts"), *_split(frame, corner), "the largest dense size")


def vocabulary() -> Task:
    """Vocabulary: runs of Tao et al. 2024, with checkpoints of each."""
    frame = read("vocab.csv").rename(columns={"params_non_vocabulary": "params"})
    frame = frame.assign(
        cost=frame["params"] * frame["characters"],
        loss=np.exp(frame["loss_unigram_normalised"]),
    )
    corner = frame["vocabulary"] == frame["vocabulary"].max()
    about = "the largest vocabulary, at all sizes and checkpoints"
    return Task(load_card("vocabulary"), *_split(frame, corner), about, in_logs=True)


TASKS: dict[str, Callable[[], Task]] = {
    "repetition": repetition,
    "lr_batch": lr_batch,
    "experts": experts,
    "vocabulary": vocabulary,
}
