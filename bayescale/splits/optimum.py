"""The best split of a budget in each draw, and the compute that a worse split wastes.

The search goes along the line of splits that cost the same budget. Losses include the drift of the
draws' view: drift along compute is equal for all splits with the same training compute, and drift
across tokens per parameter allows for errors of the law about the best split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayescale.posterior import View
from bayescale.splits.constraints import Constraints
from bayescale.threads import in_threads

GRID = 0.3
"""E-folds of tokens per parameter between the splits of the first evaluation."""

REFINEMENTS = 3
"""Number of successive parabolas through the three splits around the best one; each squares the
error."""

RUNG = 0.5
"""E-folds of compute between the rungs of a ladder, which resolve wasted compute."""

FINER = 8
"""Number of steps of the curve of least losses between two budgets."""

_DIGITS = 10  # of the logarithm of a budget
_BLOCK = 400_000  # losses of a thread at once, which fit a processor's cache

Losses = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A function from params and tokens, each (budget,) or (draw, budget), to losses (draw, budget)."""


@dataclass(frozen=True, eq=False)
class Best:
    """The best split of each budget in each draw.

    Attributes
    ----------
    flops : numpy.ndarray, shape (budget,) or (draw, budget)
    params, tokens, loss : numpy.ndarray, shape (draw, budget)
        An infinite loss if limits leave a draw no model.
    """

    flops: np.ndarray
    params: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray

    def at(self, flops: np.ndarray) -> np.ndarray:
        """Return the place in ``flops`` of the budget nearest to each of these."""
        return np.abs(np.log(self.flops)[:, None] - np.log(flops)).argmin(axis=0)

    def of(self, flops: np.ndarray) -> "Best":
        """Return the best splits of the budgets nearest to these."""
        at = self.at(flops)
        parts = (part[:, at] for part in (self.params, self.tokens, self.loss))
        return Best(self.flops[at], *parts)

    @cached_property
    def log_curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Finer log budgets (step,), and the log of the least loss there (draw, step)."""
        rungs, log_loss = np.log(self.flops), np.log(self.loss)
        below, share = np.divmod(np.arange(FINER * (len(rungs) - 1) + 1), FINER)
        below, share = np.minimum(below, len(rungs) - 2), share / FINER
        share[-1] = 1.0
        gap = np.diff(rungs)[below]
        fine = rungs[below] + share * gap
        # A Hermite cubic of our own, because the import of SciPy's takes a third of an answer's
        # time.
        with np.errstate(invalid="ignore"):
            slope = np.gradient(log_loss, rungs, axis=1, edge_order=2)
            step = log_loss[:, below + 1] - log_loss[:, below]
            ends = slope[:, below] * gap - step, step - slope[:, below + 1] * gap
            bend = share * (1 - share) * ((1 - share) * ends[0] + share * ends[1])
            curve = log_loss[:, below] + share * step + bend
        curve = np.where(np.isfinite(curve), curve, np.inf)  # beside budgets without a model
        return fine, np.minimum.accumulate(curve, axis=1)  # more compute need not be spent


def losses_of(view: View, family: str | None = None, unique_tokens: float | None = None) -> Losses:
    """Return the mean loss in each draw of a view, as a function of arrays.

    At most ``unique_tokens`` of the tokens are unique, if the law has that input.
    """

    def losses(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        scales = {"params": params, "tokens": tokens}
        if unique_tokens is not None:
            scales["unique_tokens"] = np.minimum(tokens, unique_tokens)
        return view.losses(scales, family)

    return losses


def with_shape_of_law(law: Losses, best: Best, limits: Constraints) -> list[Losses]:
    """Return the law's losses along each budget, moved to the best splits of draws with drift.

    In each draw the minimum lies at the draw's best split and is the draw's least loss. The rest is
    the law's: what a split gives up grows steadily with the distance from the best one.

    Parameters
    ----------
    law : callable
        Losses without drift, see :data:`Losses`.
    best : Best
        The best splits of the same draws, with drift.
    limits : Constraints
        Without ``sizes``, and the same for all draws.

    Returns
    -------
    list of callable
        For each budget: see :data:`Losses`.
    """
    own = best_split(law, best.flops, limits)
    factors = own.params / best.params, own.tokens / best.tokens, best.loss / own.loss

    def of_budget(params_by: np.ndarray, tokens_by: np.ndarray, times: np.ndarray) -> Losses:
        return lambda params, tokens: times * law(params_by * params, tokens_by * tokens)

    columns = ([factor[:, i, None] for factor in factors] for i in range(len(best.flops)))
    return [of_budget(*column) for column in columns]


def best_split(losses: Losses, flops: np.ndarray, limits: Constraints) -> Best:
    """Return the split of each budget with the least loss, in each draw.

    Parameters
    ----------
    losses : callable
        See :data:`Losses`.
    flops : numpy.ndarray, shape (budget,)
        Budgets from small to large; or any budgets of each draw, shape (draw, budget).
    limits : Constraints
        The limits of all draws, or of each draw.
    """
    n_draws = losses(np.ones(1), np.ones(1)).shape[0]
    size = max(1, _BLOCK // (n_draws * _grid(limits, flops).shape[-1]))
    blocks = [flops[..., i : i + size] for i in range(0, flops.shape[-1], size)]
    found = list(in_threads(lambda block: _best_of_block(losses, block, limits), blocks))
    params, tokens, loss = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    return Best(flops, params, tokens, loss)


def _best_of_block(
    losses: Losses, flops: np.ndarray, limits: Constraints
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if limits.sizes is not None:
        options = limits.buildable(flops)
        loss = _on_grid(losses, *options)
        loss = np.where(np.isnan(loss), np.inf, loss)
        best = loss.argmin(axis=-1)[..., None]
        params, tokens, loss = (
            np.take_along_axis(np.broadcast_to(x, loss.shape), best, -1)[..., 0]
            for x in (*options, loss)
        )
        return params, tokens, loss
    grid = _grid(limits, flops)
    loss = _on_grid(losses, *limits.of_options.split(flops[..., None], grid))
    x, least = _refined(lambda x: losses(*limits.split(flops, x)), *_bracket(grid, loss))
    return *limits.split(flops, x), least


def best_choice(
    losses: list[Losses], weights: tuple[float, ...], flops: np.ndarray, limits: Constraints
) -> tuple[np.ndarray, np.ndarray]:
    """Return the single split of each budget with the least expected loss over all draws.

    Parameters
    ----------
    losses : list of callable
        One function per law, see :data:`Losses`.
    weights : tuple of float
        The weights of the laws, which sum to one.
    flops : numpy.ndarray, shape (budget,)
    limits : Constraints

    Returns
    -------
    params, tokens : numpy.ndarray, shape (budget,)
    """

    def expected(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        means = (law(params, tokens).mean(axis=0) for law in losses)
        return sum(w * mean for w, mean in zip(weights, means, strict=True))  # type: ignore[return-value]

    def on_grid(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return np.array([expected(n, d) for n, d in zip(params, tokens, strict=True)])

    if limits.sizes is not None:
        params, tokens = limits.buildable(flops)
        best = np.nanargmin(on_grid(params, tokens), axis=1)
        row = np.arange(len(flops))
        return params[row, best], tokens[row, best]
    grid = _grid(limits, flops)
    mean = on_grid(*limits.split(flops[:, None], grid))
    # one by one, so that the rounding of a budget's split does not depend on the other budgets
    places = [
        _refined(lambda x, one=one: expected(*limits.split(one, x)), *_bracket(*at))[0]
        for one, *at in zip(flops[:, None], grid[:, None], mean[:, None], strict=True)
    ]
    return limits.split(flops, np.concatenate(places))


def _grid(limits: Constraints, flops: np.ndarray) -> np.ndarray:
    """Return a grid of logs of tokens per parameter within the limits, (..., budget, option)."""
    low, high = limits.range(flops)
    return np.linspace(low, high, 3 + int(np.max(high - low) / GRID), axis=-1)


def _on_grid(losses: Losses, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return losses (draw, budget, option) from params and tokens (..., budget, option)."""
    flat = (x.reshape(*x.shape[:-2], -1) for x in (params, tokens))
    return losses(*flat).reshape(-1, *params.shape[-2:])


def _bracket(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest of the ordered points (..., point), with its two neighbors, (3, ...)."""
    middle = y.argmin(axis=-1).clip(1, y.shape[-1] - 2)
    three = middle[..., None] + np.array([-1, 0, 1])
    x = np.broadcast_to(x, y.shape)
    lowest = (np.take_along_axis(values, three, -1) for values in (x, y))
    x, y = (np.moveaxis(values, -1, 0) for values in lowest)
    return x, y


def _refined(
    f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the place and the value of the minimum of f between three points (3, ...)."""
    for _ in range(REFINEMENTS):
        new = _vertex(x, y)
        x, y = _narrowed(x, y, new, f(new))
    best = y.argmin(axis=0)[None]
    return np.take_along_axis(x, best, 0)[0], np.take_along_axis(y, best, 0)[0]


def _narrowed(
    x: np.ndarray, y: np.ndarray, new: np.ndarray, at_new: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest of three points and a new one between them, and its neighbors, (3, ...)."""
    left = new < x[1]
    x = np.stack([x[0], np.where(left, new, x[1]), np.where(left, x[1], new), x[2]])
    y = np.stack([y[0], np.where(left, at_new, y[1]), np.where(left, y[1], at_new), y[2]])
    first = np.minimum(y[0], y[1]) <= np.minimum(y[2], y[3])
    return np.where(first, x[:3], x[1:]), np.where(first, y[:3], y[1:])


def _vertex(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the vertex of the parabola through three points, or the middle of the wider gap."""
    gap = np.diff(x, axis=0)
    middle = np.where(gap[1] > gap[0], x[1] + x[2], x[0] + x[1]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.diff(y, axis=0) / gap
        bend = (slope[1] - slope[0]) / (x[2] - x[0])
        vertex = (x[0] + x[1]) / 2 - slope[0] / (2 * bend)
    usable = np.isfinite(vertex) & (bend > 0)
    return np.where(usable, vertex.clip(x[0], x[2]), middle)


def without_rounding(flops: np.ndarray) -> np.ndarray:
    """Return the distinct budgets in order, up to rounding."""
    return np.exp(np.unique(np.log(flops).round(_DIGITS)))


def ladder(flops: np.ndarray, depth: float) -> np.ndarray:
    """Return budgets (rung,) from ``depth`` e-folds below the smallest given one up to the largest.

    The given budgets are included once, up to rounding. The other rungs are equal for all
    questions, so their best splits are found only once.
    """
    log = np.log(without_rounding(flops))
    rungs = RUNG * np.arange(np.floor((log[0] - depth) / RUNG), np.ceil(log[-1] / RUNG))
    apart = np.abs(rungs[:, None] - log).min(axis=1) > RUNG / 4
    return np.sort(np.concatenate([np.exp(rungs[apart]), without_rounding(flops)]))


def least_compute(best: Best, loss: np.ndarray) -> np.ndarray:
    """Return the least compute that reaches a loss at its best split, (draw, budget), in FLOP.

    Parameters
    ----------
    best : Best
        The best splits along a :func:`ladder`, from small to large.
    loss : numpy.ndarray, shape (draw, budget)

    Returns
    -------
    numpy.ndarray
        Clipped to the smallest and the largest budget of the ladder.
    """
    fine, curve = best.log_curve
    log_loss = np.log(loss)
    found = np.empty_like(loss)
    for i in range(loss.shape[1]):
        above = (curve > log_loss[:, i, None]).sum(axis=1).clip(1, len(fine) - 1)
        row = np.arange(len(curve))
        left, right = curve[row, above - 1], curve[row, above]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.nan_to_num((left - log_loss[:, i]) / (left - right)).clip(0, 1)
        share = np.where(np.isinf(left), 1.0, share)
        found[:, i] = np.exp(fine[above - 1] + share * (fine[above] - fine[above - 1]))
    return found
