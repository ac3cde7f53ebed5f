"""Long curves of training runs, condensed to sums that their likelihood depends on.

Rows of one training run share their residual noise, so the likelihood depends on a run's deviations
only through their sum and their sum of squares. Where one input varies along a run, the law's log
loss is smooth in its log, and a polynomial through a few Chebyshev nodes gives it at every row.
With L the matrix that interpolates, B the basis of the drift and y the log losses, the deviations
of a run are y - L f - B z. An orthogonal rotation, found once, keeps their sum in the first element
and their sum of squares, and leaves as many elements as there are columns:

    Q' [1, L, B, y] is upper triangular.

The law is then evaluated at the nodes instead of the rows. Measured on 100,000 rows of 50 runs: one
gradient takes 0.12 ms instead of 4.5 ms without drift, and 0.22 ms instead of 11.7 ms with drift.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bayescale.cards import ModelCard, drift_bases, input_errors, memberships
from bayescale.runs import Runs

FEWEST_ROWS = 5_000
"""The fewest rows of a log that is condensed, and then only if the nodes are far fewer."""

NODES = (12, 20, 32)
"""Numbers of nodes per run; the first one that interpolates accurately enough is used."""

MOST_WRONG = 1e-9
"""The largest accepted error of an interpolated log loss, over :data:`PRIOR_DRAWS` prior draws."""

PRIOR_DRAWS = 32
_CHECKED = 50  # rows of a run at which the interpolation is checked


@dataclass(frozen=True)
class Condensed:
    """A log of training runs that is condensed; the same single input varies along each run.

    Attributes
    ----------
    inputs : dict of numpy.ndarray, shape (training_run * node,)
        The law's inputs at the nodes of each training run in turn.
    rows : tuple of numpy.ndarray of int
        The rows of each training run.
    weights : tuple of numpy.ndarray, shape (row of the training run, node)
        Matrices that interpolate from a training run's nodes to its rows.
    """

    inputs: dict[str, np.ndarray]
    rows: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]

    @cached_property
    def n_nodes(self) -> int:
        """The number of nodes of a training run."""
        return self.weights[0].shape[1]

    def data(self, log_loss: np.ndarray, every: np.ndarray | None) -> dict[str, np.ndarray]:
        """Return the arrays that the likelihood needs.

        Parameters
        ----------
        log_loss : numpy.ndarray, shape (row,)
        every : numpy.ndarray, shape (row, step), optional
            All columns of the drift.

        Returns
        -------
        dict
            ``loss_rotated`` (training_run, element), ``law_rotated``
            (training_run, element, node), with drift ``drift_rotated``
            (training_run, element, step), and ``n_members`` (training_run,).
        """
        steps = np.zeros((len(log_loss), 0)) if every is None else every
        n, k = self.n_nodes, steps.shape[1]
        rotated = np.zeros((len(self.rows), n + k + 2, n + k + 2))
        for of_run, rows, weights in zip(rotated, self.rows, self.weights, strict=True):
            columns = np.column_stack([np.ones(len(rows)), weights, steps[rows], log_loss[rows]])
            triangle = np.linalg.qr(columns, mode="r")
            of_run[: len(triangle)] = triangle * np.where(triangle[0, 0] < 0, -1.0, 1.0)
        made = {
            "law_rotated": rotated[:, :, 1 : n + 1],
            "loss_rotated": rotated[:, :, -1],
            "n_members": np.array([len(rows) for rows in self.rows], dtype=float),
        }
        return made if every is None else made | {"drift_rotated": rotated[:, :, n + 1 : -1]}

    def pulls(
        self, log_loss: np.ndarray, every: np.ndarray, weights: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return products of weighted columns of the drift with losses and with interpolation.

        Returns
        -------
        dict
            ``loss_pull`` (step,) and ``law_pull`` (step, training_run * node).
        """
        weighted = every * weights[:, None]
        each = [
            weighted[rows].T @ by_node
            for rows, by_node in zip(self.rows, self.weights, strict=True)
        ]
        return {"loss_pull": weighted.T @ log_loss, "law_pull": np.concatenate(each, axis=1)}


def condensed(runs: Runs, card: ModelCard) -> Condensed | None:
    """Return the training runs of a long log, or None where its rows are needed themselves.

    A log is not condensed if rows have errors or families of their own, if several inputs vary
    along a run, if runs are short, or if the law bends too sharply between the nodes.
    """
    noise = card.noise
    if len(runs) < FEWEST_ROWS or noise.shared is None or not runs.has_checkpoints:
        return None
    if card.recipes is not None or noise.shrink is not None or "loss_se" in runs:
        return None
    if input_errors(card, runs):
        return None
    members = memberships(runs)
    counts = np.bincount(members)
    rows = tuple(np.split(np.argsort(members, kind="stable"), np.cumsum(counts)[:-1]))
    log_inputs = {name: np.log(runs[name]) for name in card.law.inputs}
    varying = [
        name for name, x in log_inputs.items() if any(np.ptp(x[of_run]) > 0 for of_run in rows)
    ]
    if len(varying) != 1:
        return None
    steps = sum(basis.shape[1] for basis in drift_bases(card, runs).values())
    for n in NODES:
        if 2 * len(rows) * (n + steps + 2) > len(runs):
            return None
        made = _with_nodes(log_inputs, varying[0], rows, n)
        if _error(made, runs, card) < MOST_WRONG:
            return made
    return None


def _with_nodes(
    log_inputs: dict[str, np.ndarray], varying: str, rows: tuple[np.ndarray, ...], n: int
) -> Condensed:
    """Put Chebyshev nodes over the range of each training run."""
    angle = np.pi * (np.arange(n) + 0.5) / n
    nodes, at_nodes, weights = np.cos(angle), {name: [] for name in log_inputs}, []
    for of_run in rows:
        x = log_inputs[varying][of_run]
        center, half = (x.max() + x.min()) / 2, max(np.ptp(x) / 2, 1e-3)
        for name, values in log_inputs.items():
            there = center + half * nodes if name == varying else np.full(n, values[of_run[0]])
            at_nodes[name].append(there)
        weights.append(
            _interpolation((x - center) / half, nodes, (-1) ** np.arange(n) * np.sin(angle))
        )
    inputs = {name: np.exp(np.concatenate(values)) for name, values in at_nodes.items()}
    return Condensed(inputs, rows, tuple(weights))


def _interpolation(x: np.ndarray, nodes: np.ndarray, by_node: np.ndarray) -> np.ndarray:
    """Return barycentric weights of nodes, shape (place, node): Berrut and Trefethen 2004."""
    away = x[:, None] - nodes
    hit = away == 0.0
    terms = by_node / np.where(hit, 1.0, away)
    found = terms / terms.sum(axis=1, keepdims=True)
    exact = hit.any(axis=1)
    found[exact] = hit[exact]
    return found


def _error(made: Condensed, runs: Runs, card: ModelCard) -> float:
    """Return the largest error of interpolated log losses, over draws of the prior."""
    law = card.law
    prior = card.without_drift().anchored(runs).draw_prior(PRIOR_DRAWS, seed=0)
    values = {name: prior[name][:, None] for name in law.coefficients}
    some = [np.unique(np.linspace(0, len(rows) - 1, _CHECKED).astype(int)) for rows in made.rows]
    places = np.concatenate([rows[few] for rows, few in zip(made.rows, some, strict=True)])
    at_rows: Any = np.log(law.loss(**{n: runs[n][places] for n in law.inputs}, **values))
    at_nodes: Any = np.log(law.loss(**made.inputs, **values))
    by_run = at_nodes.reshape(PRIOR_DRAWS, len(made.rows), -1)
    between = [
        by_run[:, i] @ weights[few].T
        for i, (weights, few) in enumerate(zip(made.weights, some, strict=True))
    ]
    worst = np.abs(np.concatenate(between, axis=1) - at_rows).max()
    return float(worst) if np.isfinite(worst) else np.inf
