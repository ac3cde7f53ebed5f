"""Approaches 1 and 2 of Hoffmann et al. (2022), arXiv 2203.15556: the best size without a law.

Approach 2 fits a parabola in the logarithm of size to the runs of one budget; approach 1 finds the
trained size with the lowest loss at each budget. Both then fit a power law to these sizes. Approach
2 gives draws of the minima under residual noise, approach 1 draws by resampling sizes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bayescale.conventions import FlopCount
from bayescale.errors import listed
from bayescale.runs import LeftOut, Runs
from bayescale.validation.cutoffs import ends_of_sizes

TOLERANCE = 0.1
"""Largest spread of compute within one budget, as a share."""

FEWEST_SIZES = 3
"""Fewest distinct sizes for a parabola, and for an envelope."""

DRAWS = 1000
SAME_SIZE = 0.02  # relative difference of sizes of one model as logs write them
_WIDEST_GAP = 5.0  # the largest factor of compute over which losses of a size are interpolated
_GRID = 400  # budgets at which approach 1 compares sizes


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that share a budget: their positions in the log, and the budget's name."""

    name: str
    runs: np.ndarray


@dataclass(frozen=True, eq=False)
class Frontier:
    """Best sizes found, and the power law through them.

    Attributes
    ----------
    log_params, log_tokens : numpy.ndarray, shape (draw, budget)
        The best sizes; the first draw is the estimate itself. NaN if there is no best size.
    weights : numpy.ndarray, shape (budget,) or (draw, budget)
        Weights in the power law.
    count : FlopCount
        How compute is counted.
    """

    log_params: np.ndarray
    log_tokens: np.ndarray
    weights: np.ndarray
    count: FlopCount

    @property
    def log_flops(self) -> np.ndarray:
        """Log of compute, shape (draw, budget)."""
        return np.log(self.count.flops(np.exp(self.log_params), np.exp(self.log_tokens)))

    def exponent(self) -> np.ndarray:
        """Return the power of compute with which the best size grows, shape (draw,)."""
        return self._line()[0]

    def log_params_at(self, flops: float) -> np.ndarray:
        """Return the log of the power law's best size at a budget, shape (draw,)."""
        slope, x, y = self._line()
        return y + slope * (np.log(flops) - x)

    def _line(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, y = self.log_flops, self.log_params
        total = self.weights.sum(axis=-1, keepdims=True)
        share = self.weights / np.where(total > 0, total, np.nan)
        middle_x, middle_y = ((share * values).sum(axis=-1) for values in (x, y))
        away = x - middle_x[:, None]
        slope = (share * away * y).sum(axis=-1) / (share * away**2).sum(axis=-1)
        return slope, middle_x, middle_y


# approach 2


def isoflop_groups(
    runs: Runs, tolerance: float = TOLERANCE
) -> tuple[tuple[Group, ...], tuple[LeftOut, ...]]:
    """Group runs that share a budget, from small to large.

    The column ``isoflop`` defines the groups if the log has it. Otherwise runs share a budget if
    their compute spreads by no more than the tolerance. The window with the most runs is taken
    first, then the next one among the remaining runs.

    Returns
    -------
    groups : tuple of Group
    refused : tuple of LeftOut
        Budgets with fewer than three distinct sizes, which do not determine a parabola. Runs that
        share their compute with no other run are not listed.
    """
    labeled = "isoflop" in runs
    found = _labeled(runs) if labeled else _windows(np.log(runs["flops"]), np.log1p(tolerance))
    groups, refused = [], []
    for members in found:
        flops = float(np.exp(np.log(runs["flops"][members]).mean()))
        name = f"{runs['isoflop'][members[0]]}" if labeled else f"{flops:.3g} FLOP"
        sizes = n_sizes(runs["params"][members])
        if sizes >= FEWEST_SIZES:
            groups.append((flops, Group(name, members)))
        elif len(members) > 1 or labeled:
            reason = (
                f"{sizes} distinct size{'s' if sizes > 1 else ''} "
                f"({listed(runs['run_id'][members])}), and a parabola needs {FEWEST_SIZES}"
            )
            refused.append(LeftOut(name, reason))
    ordered = sorted(groups, key=lambda item: item[0])
    return tuple(group for _, group in ordered), tuple(refused)


def _labeled(runs: Runs) -> list[np.ndarray]:
    labels = runs["isoflop"].astype(str)
    return [np.flatnonzero(labels == name) for name in dict.fromkeys(labels) if name]


def _windows(log_flops: np.ndarray, width: float) -> Iterator[np.ndarray]:
    """Yield positions whose values lie within a width, the fullest group first."""
    order = np.argsort(log_flops, kind="stable")
    while len(order):
        x = log_flops[order]
        # tolerates the rounding of a budget written to a few digits
        ends = np.searchsorted(x, x + width * (1 + 1e-9), side="right")
        first = int(np.argmax(ends - np.arange(len(x))))
        inside = np.arange(first, ends[first])
        yield np.sort(order[inside])
        order = np.delete(order, inside)


def n_sizes(params: np.ndarray) -> int:
    """Return the number of distinct sizes."""
    return len(np.unique(size_labels(params)))


def size_labels(params: np.ndarray) -> np.ndarray:
    """Return the index of each run's size among the distinct sizes, from small to large."""
    order = np.argsort(params, kind="stable")
    labels = np.empty(len(params), dtype=int)
    ends = ends_of_sizes(params[order], SAME_SIZE)
    labels[order] = np.searchsorted(ends, np.arange(len(params)))
    return labels


@dataclass(frozen=True, eq=False)
class Parabolas:
    """Least-squares parabolas of the loss in the log of size, one per budget.

    Attributes
    ----------
    coefficients : numpy.ndarray, shape (budget, 3)
        Coefficients of the square and of the log size about ``center``, and the constant.
    center : numpy.ndarray, shape (budget,)
    inside : numpy.ndarray of bool, shape (budget,)
        Whether there is a minimum between the smallest and the largest size.
    width : numpy.ndarray, shape (budget,)
        The largest size over the smallest.
    residual_sd : float
        Standard deviation of the runs about the parabolas, in nats; NaN if parabolas go through
        every run.
    frontier : Frontier
        The minima; their draws come from the covariance of their parabola (delta method).
    """

    coefficients: np.ndarray
    center: np.ndarray
    inside: np.ndarray
    width: np.ndarray
    residual_sd: float
    frontier: Frontier


def parabolas(
    runs: Runs, groups: tuple[Group, ...], rng: np.random.Generator, draws: int = DRAWS
) -> Parabolas:
    """Return the parabolas fitted to the runs' losses, one for each budget.

    Parameters
    ----------
    runs : Runs
    groups : tuple of Group
    rng : numpy.random.Generator
    draws : int
        Number of draws of the minima, in addition to the estimate.

    Notes
    -----
    Residual noise is normal and the same for all runs. In the power law each minimum is weighted
    by the inverse of its variance.
    """
    designs = [_Design.of(runs, group) for group in groups]
    coefficients = _solved(designs, groups, runs["loss"][None])[0]
    rest = np.concatenate(
        [
            runs["loss"][group.runs] - design.powers @ own
            for design, group, own in zip(designs, groups, coefficients, strict=True)
        ]
    )
    free = len(rest) - coefficients.size
    residual_sd = np.sqrt((rest**2).sum() / free) if free else np.nan
    away = _minima(coefficients)
    se = np.array([d.se_of_minimum(own) for d, own in zip(designs, coefficients, strict=True)])
    # the residual noise is itself uncertain
    spread = np.full(draws, np.nan)
    if free:
        spread = residual_sd * np.sqrt(free / rng.chisquare(free, draws))
    errors = spread[:, None] * se * rng.standard_normal((draws, len(groups)))
    reach = np.array([design.powers[:, 1].max() for design in designs])
    low = np.array([design.powers[:, 1].min() for design in designs])
    with np.errstate(invalid="ignore"):
        inside = (low <= away) & (away <= reach)
    return Parabolas(
        coefficients=coefficients,
        center=np.array([design.center for design in designs]),
        inside=inside,
        width=np.exp(reach - low),
        residual_sd=float(residual_sd),
        frontier=_frontier(runs, designs, np.vstack([away, away + errors]), se**-2.0),
    )


def noiseless(
    runs: Runs, groups: tuple[Group, ...], losses: np.ndarray, weights: np.ndarray
) -> Frontier:
    """Return the frontier of parabolas fitted to noise-free losses (draw, run)."""
    designs = [_Design.of(runs, group) for group in groups]
    return _frontier(runs, designs, _minima(_solved(designs, groups, losses)), weights)


@dataclass(frozen=True, eq=False)
class _Design:
    """The least-squares design of one budget's sizes."""

    center: float
    powers: np.ndarray  # (run, 3)
    solve: np.ndarray  # (3, run)
    tokens: np.ndarray  # log tokens as a straight line in log size about the center

    @classmethod
    def of(cls, runs: Runs, group: Group) -> "_Design":
        log_params = np.log(runs["params"][group.runs])
        center = float(log_params.mean())
        powers = np.vander(log_params - center, 3)
        tokens = np.polyfit(log_params - center, np.log(runs["tokens"][group.runs]), 1)
        return cls(center, powers, np.linalg.pinv(powers), tokens)

    def se_of_minimum(self, coefficients: np.ndarray) -> float:
        """Return the standard error of the log size of the minimum, at unit residual noise."""
        square, slope, _ = coefficients
        gradient = np.array([slope / (2 * square**2), -1 / (2 * square), 0.0])
        return float(np.linalg.norm(gradient @ self.solve))


def _solved(designs: list[_Design], groups: tuple[Group, ...], losses: np.ndarray) -> np.ndarray:
    """Return coefficients (draw, budget, 3) of the parabolas through losses (draw, run)."""
    pairs = zip(designs, groups, strict=True)
    return np.stack([losses[:, group.runs] @ design.solve.T for design, group in pairs], axis=1)


def _minima(coefficients: np.ndarray) -> np.ndarray:
    """Return log sizes of minima about the center, NaN if there is no minimum."""
    square, slope, _ = np.moveaxis(coefficients, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(square > 0, -slope / (2 * square), np.nan)


def _frontier(
    runs: Runs, designs: list[_Design], away: np.ndarray, weights: np.ndarray
) -> Frontier:
    """Return the frontier of minima (draw, budget) about the centers."""
    log_tokens = [np.polyval(d.tokens, away[:, i]) for i, d in enumerate(designs)]
    center = np.array([design.center for design in designs])
    return Frontier(away + center, np.stack(log_tokens, axis=1), weights, runs.flop_count)


def take(frontier: Frontier, keep: np.ndarray) -> Frontier:
    """Return a frontier with some of the budgets."""
    log_params, log_tokens = frontier.log_params[:, keep], frontier.log_tokens[:, keep]
    return Frontier(log_params, log_tokens, frontier.weights[..., keep], frontier.count)


# approach 1


@dataclass(frozen=True, eq=False)
class Envelope:
    """The trained size with the lowest loss at each budget.

    Attributes
    ----------
    sizes : numpy.ndarray, shape (size,)
        Sizes trained to two or more budgets, in params.
    leaders : int
        Number of sizes that have the lowest loss at some budget.
    frontier : Frontier
        One point per budget of the grid at which the best size has a smaller and a larger size to
        compare with; draws are resamplings of the sizes.
    """

    sizes: np.ndarray
    leaders: int
    frontier: Frontier


def envelope(runs: Runs, rng: np.random.Generator, draws: int = DRAWS) -> Envelope | str:
    """Return the size with the lowest loss at each compute; losses of one size are interpolated.

    Parameters
    ----------
    runs : Runs
    rng : numpy.random.Generator
    draws : int
        Number of resamplings of the sizes, each with all of its runs.

    Returns
    -------
    Envelope or str
        The envelope, or a sentence on what the log lacks for it.
    """
    count = runs.flop_count
    log_flops = np.log(count.flops(runs["params"], runs["tokens"]))
    grid = np.linspace(log_flops.min(), log_flops.max(), _GRID)
    log_sizes, heights = _curves(runs, log_flops, grid)
    if len(log_sizes) < FEWEST_SIZES:
        return (
            f"{len(log_sizes)} sizes are trained to two or more budgets, and approach 1 needs "
            f"{FEWEST_SIZES}, because it compares sizes during training"
        )
    all_sizes = np.arange(len(log_sizes))
    leader = _leaders(heights, all_sizes)
    led = leader >= 0
    leaders = len(np.unique(leader[led]))
    if leaders < FEWEST_SIZES:
        return (
            f"{leaders} of {len(log_sizes)} sizes have the lowest loss anywhere between a smaller "
            f"and a larger size, and approach 1 needs {FEWEST_SIZES}"
        )
    resampled = [np.unique(rng.choice(all_sizes, len(all_sizes))) for _ in range(draws)]
    found = np.array([leader, *(_leaders(heights[some], some) for some in resampled)])[:, led]
    enough = np.array([len(np.unique(row[row >= 0])) >= FEWEST_SIZES for row in found])
    log_params = np.where(enough[:, None], log_sizes[found], np.nan)
    log_tokens = np.log(count.tokens(np.exp(grid[led]), np.exp(log_params)))
    frontier = Frontier(log_params, log_tokens, (found >= 0).astype(float), count)
    return Envelope(np.exp(log_sizes), leaders, frontier)


def _curves(runs: Runs, log_flops: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log sizes (size,) trained to two budgets or more, and their log loss (size, grid)."""
    from scipy.interpolate import PchipInterpolator

    labels = size_labels(runs["params"])
    log_sizes, heights = [], []
    for label in np.unique(labels):
        one = labels == label
        x, place = np.unique(log_flops[one], return_inverse=True)
        if len(x) > 1:
            y = np.bincount(place, np.log(runs["loss"][one])) / np.bincount(place)
            gap = np.diff(x)[(np.searchsorted(x, grid) - 1).clip(0, len(x) - 2)]
            log_sizes.append(np.log(runs["params"][one]).mean())
            curve = PchipInterpolator(x, y, extrapolate=False)(grid)
            heights.append(np.where(gap <= np.log(_WIDEST_GAP), curve, np.nan))
    return np.array(log_sizes), np.array(heights)


def _leaders(heights: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Return the size of lowest loss at each budget; -1 if it is the smallest or largest there."""
    there = np.isfinite(heights)
    lowest = np.where(there, heights, np.inf).argmin(axis=0)
    place = np.arange(len(heights))[:, None]
    smaller = (there & (place < lowest)).any(axis=0)
    larger = (there & (place > lowest)).any(axis=0)
    return np.where(smaller & larger, names[lowest], -1)
