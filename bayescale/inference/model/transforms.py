"""Coordinates that the sampler moves in, in place of what a model names.

Each is a change of coordinates with its Jacobian, so the density that is sampled is that of the
model whatever they are; they only make what is sampled nearly independent and of one width.
"""

from collections.abc import Sequence
from typing import Any

import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.transforms import Transform
from pytensor.tensor.linalg import solve_triangular
from pytensor.tensor.special import logsumexp


class LevelAndShares(Transform):
    """Logs of terms, seen as the log of their sum and their log ratios to the first one.

    The map (x_1, ..., x_k) -> (log sum exp x, x_2 - x_1, ..., x_k - x_1) has a Jacobian
    determinant of one in absolute value.
    """

    name = "levelshares"  # PyMC takes names apart at underscores
    ndim_supp = 1

    def forward(self, value: Any, *inputs: Any) -> Any:
        """The level, then the log ratios, along the last axis."""
        level = logsumexp(value, axis=-1, keepdims=True)
        return pt.concatenate([level, value[..., 1:] - value[..., 0, None]], axis=-1)

    def backward(self, value: Any, *inputs: Any) -> Any:
        """The logs of the terms, along the last axis."""
        first = pt.zeros_like(value[..., 0, None])
        ratios = pt.concatenate([first, value[..., 1:]], axis=-1)
        return value[..., 0, None] + ratios - logsumexp(ratios, axis=-1, keepdims=True)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Zero: the map preserves volume."""
        return pt.zeros_like(value[..., 0])


class RootedLevelAndShares(LevelAndShares):
    """The same where terms to the power of one over a root add up, which is the last input.

    The level is root * log sum exp(x / root); the map's volume is one as well.
    """

    name = "rootedlevelshares"

    def forward(self, value: Any, *inputs: Any) -> Any:
        """The level, then the log ratios, along the last axis."""
        return inputs[-1] * super().forward(value / inputs[-1])

    def backward(self, value: Any, *inputs: Any) -> Any:
        """The logs of the terms, along the last axis."""
        return inputs[-1] * super().backward(value / inputs[-1])


class ConditionalWhitening(Transform):
    """Standard normal steps of a walk, seen from what normal scatter about the law leaves of them.

    Given everything else their precision is P = L L' and their mean P^-1 b. The map is
    z -> L' z - L^-1 b, which then is standard normal and independent of the rest, whatever the
    law, the walk's size and the scatter are. It is exact as a change of coordinates where the
    scatter is not normal, and close to independent.
    """

    name = "fromwhatisleft"
    ndim_supp = 1

    def forward(self, value: Any, *inputs: Any) -> Any:
        """The distances of steps from what is left, in its spread."""
        root, pull = inputs[-2:]
        return pt.dot(root.T, value) - solve_triangular(root, pull, lower=True, b_ndim=1)

    def backward(self, value: Any, *inputs: Any) -> Any:
        """The steps in units of the walk's size."""
        root, pull = inputs[-2:]
        away = value + solve_triangular(root, pull, lower=True, b_ndim=1)
        return solve_triangular(root.T, away, lower=False, b_ndim=1)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Of the way back."""
        logs: Any = pt.log(pt.diagonal(inputs[-2]))
        return -logs.sum()


class DiagonalConditionalWhitening(Transform):
    """The same of steps whose precision P is diagonal: r and b are given by element, r = sqrt P."""

    name = "fromwhatisleftapart"
    ndim_supp = 1

    def forward(self, value: Any, *inputs: Any) -> Any:
        """The distances of steps from what is left, in its spread."""
        root, pull = inputs[-2:]
        return root * value - pull / root

    def backward(self, value: Any, *inputs: Any) -> Any:
        """The steps in units of the walk's size."""
        root, pull = inputs[-2:]
        return (value + pull / root) / root

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Of the way back."""
        logs: Any = pt.log(inputs[-2])
        return -logs.sum()


class GroupedConditionalWhitening(Transform):
    """The same of a few steps for each family, whose precisions are matrices of their own.

    Roots are given by element, each of shape (family,), row by row of the lower triangle.
    """

    name = "fromwhatisleftofeach"
    ndim_supp = 2

    def __init__(self, n: int) -> None:
        self.n = n

    def forward(self, value: Any, *inputs: Any) -> Any:
        """The distances of steps from what is left, in its spread."""
        root, pulled = self._given(inputs)
        each = [
            sum(root[j, i] * value[:, j] for j in range(i, self.n)) - pulled[i]
            for i in range(self.n)
        ]
        return pt.stack(each, axis=-1)

    def backward(self, value: Any, *inputs: Any) -> Any:
        """The steps in units of their spread."""
        root, pulled = self._given(inputs)
        away = [value[:, i] + pulled[i] for i in range(self.n)]
        return pt.stack(solved_back(root, away), axis=-1)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Of the way back."""
        root, _ = self._given(inputs)
        logs: Any = pt.log(pt.stack([root[i, i] for i in range(self.n)]))
        return -logs.sum()

    def _given(self, inputs: Sequence[Any]) -> "tuple[Roots, list[Any]]":
        """Elements of the roots, and what those make of the pull."""
        places = [(i, j) for i in range(self.n) for j in range(i + 1)]
        root, pull = dict(zip(places, inputs[-1 - len(places) : -1], strict=True)), inputs[-1]
        return root, solved(root, [pull[:, i] for i in range(self.n)])


Roots = dict[tuple[int, int], Any]
"""Lower triangular matrices by element, row by row."""


def solved(root: Roots, right: list[Any]) -> list[Any]:
    """What the roots times it give the right-hand sides, each by element."""
    found: list[Any] = []
    for i, side in enumerate(right):
        known = sum((root[i, j] * found[j] for j in range(i)), 0.0)
        found.append((side - known) / root[i, i])
    return found


def solved_back(root: Roots, right: list[Any]) -> list[Any]:
    """What the transposes of roots times it give the right-hand sides, each by element."""
    found: dict[int, Any] = {}
    for j in reversed(range(len(right))):
        known = sum((root[i, j] * found[i] for i in range(j + 1, len(right))), 0.0)
        found[j] = (right[j] - known) / root[j, j]
    return [found[j] for j in range(len(right))]


def rooted_normal(name: str, mu: Any, sigma: Any, root: Any, dims: str) -> Any:
    """Normal logs of terms that add up as :class:`RootedLevelAndShares` says."""
    return pm.CustomDist(
        name, mu, sigma, root, logp=_normal, random=_draw_normal, support_point=_mean,
        signature="(k),(k),()->(k)", dims=dims, default_transform=RootedLevelAndShares(),
    )  # fmt: skip


def _normal(value: Any, mu: Any, sigma: Any, root: Any) -> Any:
    density: Any = pm.logp(pm.Normal.dist(mu, sigma), value)
    return density.sum()


def _draw_normal(mu: Any, sigma: Any, root: Any, rng: Any = None, size: Any = None) -> Any:
    return rng.normal(mu, sigma)


def _mean(terms: Any, size: Any, mu: Any, sigma: Any, root: Any) -> Any:
    return mu


def standard_steps(name: str, transform: Transform, *given: Any, signature: str, dims: Any) -> Any:
    """Standard normal steps, sampled in coordinates that are made of what is given.

    The last of that is shaped as the steps are.
    """
    return pm.CustomDist(
        name, *given, logp=_standard, random=_draw_standard, support_point=_none,
        signature=signature, dims=dims, default_transform=transform,
    )  # fmt: skip


def _standard(value: Any, *given: Any) -> Any:
    """Standard normal: what the runs leave of steps is a matter of coordinates alone."""
    standard: Any = pm.logp(pm.Normal.dist(), value)
    return standard.sum()


def _draw_standard(*given: Any, rng: Any = None, size: Any = None) -> Any:
    return rng.standard_normal(given[-1].shape)


def _none(steps: Any, size: Any, *given: Any) -> Any:
    return pt.zeros_like(given[-1])
