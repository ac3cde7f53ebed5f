"""Scores of answers as functions of the loss: Schaeffer et al. 2023, arXiv 2304.15004.

A token of loss L has the probability p = exp(-L), so an answer of k tokens is right with p^k if
tokens are alike and independent. They are neither: some answers are easy and some are hard. So the
log-odds of a token are taken as normal over answers, with standard deviation ``dispersion`` and a
mean such that the mean loss is L; all tokens of an answer have the same log-odds. Dispersion zero
gives Schaeffer's p^k.

A sampled token is right with probability p; the most probable token is right more often. Its
strongest rival takes a share of the remaining 1 - p that is uniform between 0 and 1, so greedy
decoding is right with probability min(1, p / (1 - p)).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from bayescale.cards import Prior
from bayescale.errors import ScenarioError, argument, collected, listed
from bayescale.runs.table import load_table
from bayescale.units import checked_ci_prob

Decoding = Literal["sampled", "greedy"]

_NODES = np.linspace(-8.5, 8.5, 137)  # a trapezoid rule on an analytic integrand: exact to rounding
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
_MOST_LOSS = 60.0  # beyond, nothing is right
MOST_DISPERSION = 12.0
_COARSE, _FINE = 60, 60
_LEAST_MASS = 1.337e-4  # of the prior below the grid


@dataclass(frozen=True)
class Answers:
    """Scores of a task's answers with one dispersion, as functions of their mean loss.

    Parameters
    ----------
    dispersion : float
        Standard deviation over answers of a token's log-odds; 0 for tokens that are all alike.
    decoding : {"sampled", "greedy"}
        Whether a token is sampled, or the most probable one is taken.

    Raises
    ------
    ScenarioError
        If the dispersion is negative or above 12, or the decoding is unknown.

    Examples
    --------
    >>> round(Answers().exact_match(0.1, 5).item(), 6), round(float(np.exp(-0.5)), 6)
    (0.606531, 0.606531)
    """

    dispersion: float = 0.0
    decoding: Decoding = "sampled"

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.dispersion <= MOST_DISPERSION:
            problems.append(
                f"dispersion is {self.dispersion:g}, but must lie between 0, for tokens that are "
                f"all alike, and {MOST_DISPERSION:g}"
            )
        if self.decoding not in get_args(Decoding):
            problems.append(
                f"decoding is {self.decoding!r}, but must be one of {', '.join(get_args(Decoding))}"
            )
        if problems:
            raise ScenarioError(collected("answers cannot be scored:", problems))

    def exact_match(self, loss: Any, tokens: float = 1) -> np.ndarray:
        """Return the share of answers of some length all of whose tokens are right.

        Parameters
        ----------
        loss : array_like
            Mean loss on the answers, nats per token.
        tokens : float
            Number of tokens of an answer, at least one.

        Returns
        -------
        numpy.ndarray
            In the shape of ``loss``.
        """
        _require_tokens(tokens)
        if self.decoding == "sampled":
            return self._mean(loss, lambda m: np.exp(-tokens * _softplus(-m)))
        return self._mean(loss, lambda m: np.exp(tokens * np.minimum(m, 0.0)), tokens)

    def token_accuracy(self, loss: Any) -> np.ndarray:
        """Return the share of tokens that are right, in the shape of ``loss``."""
        return self.exact_match(loss, 1)

    def edit_distance(self, loss: Any, tokens: float) -> np.ndarray:
        """Return the mean number of wrong tokens per answer, in the shape of ``loss``."""
        _require_tokens(tokens)
        return tokens * (1.0 - self.token_accuracy(loss))

    def multiple_choice(
        self, loss: Any, tokens: float, choices: int, wrong_loss: float
    ) -> np.ndarray:
        """Return the probability of choosing the right answer, in the shape of ``loss``.

        Parameters
        ----------
        loss : array_like
            Mean loss on the right answers, nats per token.
        tokens : float
            Number of tokens of each answer, at least one.
        choices : int
            Answers to choose from, at least two.
        wrong_loss : float
            Loss on the wrong answers, in nats per token, the same for all of them.
        """
        _require_tokens(tokens)
        if not (choices >= 2 and float(choices).is_integer()):
            raise ScenarioError(f"choices is {choices:g}, but must be a whole number of at least 2")
        if not 0 < wrong_loss < np.inf:
            raise ScenarioError(
                f"wrong_loss is {wrong_loss:g}, but must be finite and above zero: the loss on "
                "wrong answers in nats per token"
            )

        def chosen(m: Any) -> Any:
            margin = tokens * (wrong_loss - _softplus(-m)) - np.log(choices - 1.0)
            return np.exp(-_softplus(-margin))

        return self._mean(loss, chosen)

    def _mean(self, loss: Any, score: Any, kink: float | None = None) -> np.ndarray:
        loss = np.asarray(loss, dtype=float)
        wrong = loss[~(np.isfinite(loss) & (loss > 0))]
        if wrong.size:
            raise ScenarioError(
                f"loss is {listed(wrong)}, but must be finite and above zero, in nats per token"
            )
        if self.dispersion == 0:
            return np.asarray(score(-loss - np.log(-np.expm1(-loss))))
        from scipy.interpolate import PchipInterpolator

        # both the loss and the score are smooth in the mean of the log-odds
        values = self._greedy(kink) if kink is not None else score(self._log_odds) @ _WEIGHTS
        values = np.where(values < 1e-100, 0.0, values)  # slopes of less would overflow
        curve = PchipInterpolator(self._log_losses[::-1], values[::-1])
        return curve(np.log(loss).clip(self._log_losses[-1], self._log_losses[0]))

    def _greedy(self, tokens: float) -> np.ndarray:
        # the kink at even odds would cost digits; over a normal it is integrated exactly
        from scipy.special import log_ndtr, ndtr

        mean, s = self._means, self.dispersion
        below = tokens * mean + (tokens * s) ** 2 / 2 + log_ndtr(-mean / s - tokens * s)
        return ndtr(mean / s) + np.exp(below)

    @cached_property
    def _means(self) -> np.ndarray:
        return np.linspace(-_MOST_LOSS, 10.0 + 10.0 * self.dispersion, 501)

    @cached_property
    def _log_odds(self) -> np.ndarray:
        return self._means[:, None] + self.dispersion * _NODES

    @cached_property
    def _log_losses(self) -> np.ndarray:
        return np.log(_softplus(-self._log_odds) @ _WEIGHTS)


def _softplus(x: Any) -> Any:
    return np.logaddexp(0.0, x)


def _require_tokens(tokens: float) -> None:
    if not 1 <= tokens < np.inf:
        raise ScenarioError(
            f"answer tokens are {tokens:g}, but must be finite and at least 1: count the tokens "
            "that must all be right"
        )


@dataclass(frozen=True, eq=False)
class Dispersion:
    """The posterior of the dispersion of a task's answers, from models with known loss and score.

    Attributes
    ----------
    values, weights : numpy.ndarray, shape (value,)
        A grid of dispersions and the posterior mass of each.
    noise : numpy.ndarray, shape (value,)
        The residual noise of one score about the curve at each dispersion, in units of sqrt(a (1 -
        a)) at an accuracy a.
    n : int
        Number of models used.
    tokens, decoding
        Length and decoding of the scored answers.
    """

    values: np.ndarray
    weights: np.ndarray
    noise: np.ndarray
    n: int
    tokens: float
    decoding: Decoding

    def __repr__(self) -> str:
        return f"<Dispersion of {self.n} models, {self.tokens:g} tokens, {self.decoding}>"

    def quantile(self, q: Any) -> np.ndarray:
        """Return quantiles of the dispersion, in the shape of ``q``."""
        return np.interp(q, np.cumsum(self.weights) - self.weights / 2, self.values)

    def draw(self, size: int, seed: int = 0) -> np.ndarray:
        """Return draws of the dispersion from the grid, shape (size,)."""
        return np.random.default_rng(seed).choice(self.values, size=size, p=self.weights)

    def score(self, loss: Any, draws: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return draws of scores at known losses: on the curve, and of a single new model.

        Parameters
        ----------
        loss : array_like, shape (point,)
            Nats per token.
        draws, seed : int

        Returns
        -------
        curve, model : numpy.ndarray, shape (draws, point)
        """
        loss = np.atleast_1d(np.asarray(loss, dtype=float))
        drawn = self.draw(draws, seed)
        each = np.broadcast_to(loss, (draws, len(loss)))
        curve = scored(Answers.exact_match, drawn, self.decoding, each, self.tokens)
        rng = np.random.default_rng([seed, 1])
        width = np.interp(drawn, self.values, self.noise)[:, None] * np.sqrt(curve * (1 - curve))
        # the residual noise is itself inferred, so its draws have Student's tails
        model = curve + width * rng.standard_t(self.n - 1, size=curve.shape)
        return curve, model.clip(0.0, 1.0)

    def to_json(self, ci_prob: float = 0.9) -> dict[str, Any]:
        """Return quantiles of the dispersion, and what it was calibrated on, as plain values."""
        tail = (1 - checked_ci_prob(ci_prob)) / 2
        lower, median, upper = self.quantile([tail, 0.5, 1 - tail]).tolist()
        return {
            "dispersion": {"median": median, "lower": lower, "upper": upper},
            "n": self.n,
            "answer_tokens": self.tokens,
            "decoding": self.decoding,
        }


def scored(
    score: Callable[..., np.ndarray],
    dispersions: np.ndarray,
    decoding: Decoding,
    loss: np.ndarray,
    *args: Any,
) -> np.ndarray:
    """Return a score of :class:`Answers` for each draw of dispersion and loss.

    Parameters
    ----------
    score : callable
        A method, such as ``Answers.exact_match``.
    dispersions : numpy.ndarray, shape (draw,)
    decoding : {"sampled", "greedy"}
    loss : numpy.ndarray, shape (draw, ...)
    *args
        Further arguments of the method.

    Returns
    -------
    numpy.ndarray
        In the shape of ``loss``.
    """
    values, which = np.unique(dispersions, return_inverse=True)
    result = np.empty(loss.shape)
    for i, value in enumerate(values):  # draws of equal dispersion are scored together
        rows = which == i
        result[rows] = score(Answers(float(value), decoding), loss[rows], *args)
    return result


def read_scores(
    source: str | Path | pd.DataFrame, columns: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return the loss and score of models on a task, one row per model.

    Parameters
    ----------
    source : path or pandas.DataFrame
        CSV, Parquet or JSON lines, with the columns ``loss`` (nats per token on the answers) and
        ``score`` (share of answers that are right), or others named in ``columns``.
    columns : mapping, optional
        Headers of the columns, such as ``{"score": "lambada_acc"}``.

    Raises
    ------
    RunLogError
        If the file cannot be read.
    ScenarioError
        If it lacks a column, or a cell is not a number.
    """
    raw, name, _ = load_table(source)
    named = {"loss": "loss", "score": "score"} | dict(columns or {})
    problems = [
        f"`columns=` names {column!r}, but can name only loss and score"
        for column in named.keys() - {"loss", "score"}
    ]
    problems += [
        f"there is no column {header!r} for {column}, but {', '.join(map(str, raw))}: name one "
        f"with {argument('columns', **{column: 'HEADER'})}"
        for column, header in named.items()
        if header not in raw
    ]
    values = {}
    for column in ("loss", "score") if not problems else ():
        values[column] = pd.to_numeric(raw[named[column]], errors="coerce")
        wrong = np.flatnonzero(values[column].isna())
        if wrong.size:
            rows = listed(f"row {i + 1} ({raw[named[column]][i]})" for i in wrong)
            problems.append(f"{named[column]} must be a number: {rows}")
    if problems:
        raise ScenarioError(collected(f"{name} cannot be used for scores:", problems))
    return pd.DataFrame(values).astype(float)


PRIOR_DISPERSION = Prior(low=0.5, high=8.0)
"""Below half a unit of log-odds, answers are nearly alike; at eight, about half of them are almost
certainly right and half almost certainly wrong, whatever the loss."""


def calibrate_dispersion(
    loss: Any, score: Any, *, tokens: float = 1, decoding: Decoding = "greedy"
) -> Dispersion:
    """Infer the dispersion of a task's answers from the loss and exact match of several models.

    Parameters
    ----------
    loss : array_like, shape (model,)
        Mean loss on the task's answers, nats per token (nats per answer if ``tokens`` is 1).
    score : array_like, shape (model,)
        Share of answers that each model got right.
    tokens : float
        Number of tokens of an answer, at least one.
    decoding : {"greedy", "sampled"}
        How the answers were decoded.

    Returns
    -------
    Dispersion
        Its posterior on a grid, under :data:`PRIOR_DISPERSION` and normal noise of scores in
        proportion to sqrt(a (1 - a)), whose size is integrated out under 1 / size.

    Raises
    ------
    ScenarioError
        If fewer than three models are informative, lengths differ, or values are out of range.

    Notes
    -----
    Checkpoints of one model are correlated, so they hold less information than as many models
    would: leave whole models out to see how well the curve predicts.
    """
    _require_tokens(tokens)
    loss, score = (np.asarray(x, dtype=float).ravel() for x in (loss, score))
    problems = []
    if loss.shape != score.shape:
        problems.append(
            f"there are {loss.size} losses but {score.size} scores: give one of each per model"
        )
    outside = score[~((score >= 0) & (score <= 1))]
    if outside.size:
        problems.append(
            f"scores are {listed(outside)}, but must lie between 0 and 1: shares of answers that "
            "are right"
        )
    wrong = loss[~(np.isfinite(loss) & (loss > 0))]
    if wrong.size:
        problems.append(f"losses are {listed(wrong)}, but must be finite and above zero")
    if not problems and ((score > 0) & (score < 1)).sum() < 3:
        problems.append(
            "fewer than three models get some answers right and some wrong, and only such models "
            "show how answers differ: add models"
        )
    if problems:
        raise ScenarioError(collected("the dispersion cannot be calibrated:", problems))

    assert PRIOR_DISPERSION.log_normal is not None
    middle, sd = PRIOR_DISPERSION.log_normal
    lowest = np.log(PRIOR_DISPERSION.frozen.ppf(_LEAST_MASS))
    log_grid = np.linspace(lowest, np.log(MOST_DISPERSION), _COARSE)
    grid, weights, noise = np.exp(log_grid), np.ones(len(log_grid)), np.ones(len(log_grid))
    for _ in range(2):  # the first pass finds where the mass lies, the second resolves it
        log_density, noise = np.empty(len(log_grid)), np.empty(len(log_grid))
        for i, value in enumerate(np.exp(log_grid)):
            curve = Answers(float(value), decoding).exact_match(loss, tokens).clip(1e-9, 1 - 1e-9)
            width = np.sqrt(curve * (1 - curve))
            squares = float((((score - curve) / width) ** 2).sum())
            log_density[i] = -np.log(width).sum() - len(loss) / 2 * np.log(squares)
            noise[i] = np.sqrt(squares / (len(loss) - 1))
        log_density -= ((log_grid - middle) / sd) ** 2 / 2
        weights = np.exp(log_density - log_density.max())
        weights /= weights.sum()
        grid, near = np.exp(log_grid), np.flatnonzero(weights > 1e-6)
        first, last = max(near[0] - 1, 0), min(near[-1] + 1, len(log_grid) - 1)
        log_grid = np.linspace(log_grid[first], log_grid[last], _FINE)
    kept = weights > 1e-6
    return Dispersion(
        grid[kept], weights[kept] / weights[kept].sum(), noise[kept], len(loss), tokens, decoding
    )
