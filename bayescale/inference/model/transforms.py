"""Changes of coordinates between a model's variables and the sampler.

Each includes its Jacobian, so the coordinates do not change the density that is sampled. They only
make its dimensions nearly independent and of about unit width.
"""

from collections.abc import Sequence
from typing import Any

import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.transforms import Transform
from pytensor.tensor.linalg import solve_triangular
from pytensor.tensor.special import logsumexp

Roots = dict[tuple[int, int], Any]
"""Lower triangular matrices by element, row by row."""


class LevelAndShares(Transform):
    """The log of the terms' sum (level) and the terms' log ratios to the first (shares).

    The map (x_1, ..., x_k) -> (log sum exp x, x_2 - x_1, ..., x_k - x_1) has a Jacobian
    determinant of one in absolute value.
    """

    name = "levelshares"  # PyMC splits names at underscores
    ndim_supp = 1

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Return the level, then the log ratios, along the last axis."""
        level = logsumexp(value, axis=-1, keepdims=True)
        return pt.concatenate([level, value[..., 1:] - value[..., 0, None]], axis=-1)

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Return the logs of the terms, along the last axis."""
        first = pt.zeros_like(value[..., 0, None])
        ratios = pt.concatenate([first, value[..., 1:]], axis=-1)
        return value[..., 0, None] + ratios - logsumexp(ratios, axis=-1, keepdims=True)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Return zero: the map preserves volume."""
        return pt.zeros_like(value[..., 0])


class RootedLevelAndShares(LevelAndShares):
    """Level and shares of terms that add up as powers 1 / root; the root is the last input.

    Their joint part is root * log sum exp(x / root), and this map preserves volume too. If the
    first term is a constant, it is added to the joint part: the level is the log of their sum, and
    the first share is the log ratio of the constant to the joint part.

    Parameters
    ----------
    constant : bool
        Whether the first term is a constant.
    """

    name = "rootedlevelshares"

    def __init__(self, constant: bool = False) -> None:
        self.constant = constant

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Return the level, then the log ratios, along the last axis."""
        if not self.constant:
            return inputs[-1] * super().forward(value / inputs[-1])
        joint = inputs[-1] * super().forward(value[..., 1:] / inputs[-1])
        outer = super().forward(pt.stack([joint[..., 0], value[..., 0]], axis=-1))
        return pt.concatenate([outer, joint[..., 1:]], axis=-1)

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Return the logs of the terms, along the last axis."""
        if not self.constant:
            return inputs[-1] * super().backward(value / inputs[-1])
        outer = super().backward(value[..., :2])
        joint = pt.concatenate([outer[..., 0, None], value[..., 2:]], axis=-1)
        terms = inputs[-1] * super().backward(joint / inputs[-1])
        return pt.concatenate([outer[..., 1, None], terms], axis=-1)


class ConditionalWhitening(Transform):
    """Standard normal steps relative to their conditional mean, in conditional deviations.

    With normal noise, the steps z given everything else have a precision P = L L' and a mean
    P^-1 b. The map is z -> L' z - L^-1 b, whose result is standard normal and independent of the
    rest, whatever the law, the walk's size and the noise are. With other noise it is still an
    exact change of coordinates, and the result is nearly independent. The last two inputs are the
    root L and the pull b.
    """

    name = "conditionalwhitening"
    ndim_supp = 1

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Return the whitened steps."""
        root, pull = inputs[-2:]
        return pt.dot(root.T, value) - solve_triangular(root, pull, lower=True, b_ndim=1)

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Return the standard normal steps."""
        root, pull = inputs[-2:]
        away = value + solve_triangular(root, pull, lower=True, b_ndim=1)
        return solve_triangular(root.T, away, lower=False, b_ndim=1)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Return the log determinant of :meth:`backward`."""
        logs: Any = pt.log(pt.diagonal(inputs[-2]))
        return -logs.sum()


class DiagonalConditionalWhitening(Transform):
    """Conditional whitening of steps with a diagonal precision.

    The last two inputs are, by element, the root of the precision and the pull.
    """

    name = "diagonalwhitening"
    ndim_supp = 1

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Return the whitened steps."""
        root, pull = inputs[-2:]
        return root * value - pull / root

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Return the standard normal steps."""
        root, pull = inputs[-2:]
        return (value + pull / root) / root

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Return the log determinant of :meth:`backward`."""
        logs: Any = pt.log(inputs[-2])
        return -logs.sum()


class GroupedConditionalWhitening(Transform):
    """Conditional whitening of a few steps in each family, with one precision for each family.

    The last inputs are the roots by element, each of shape (family,), row by row of the lower
    triangle, and the pull, shape (family, step).

    Parameters
    ----------
    n : int
        Steps in a family.
    """

    name = "groupedwhitening"
    ndim_supp = 2

    def __init__(self, n: int) -> None:
        self.n = n

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Return the whitened steps."""
        root, center = self._root_and_center(inputs)
        each = [
            sum(root[j, i] * value[:, j] for j in range(i, self.n)) - center[i]
            for i in range(self.n)
        ]
        return pt.stack(each, axis=-1)

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Return the standard normal steps."""
        root, center = self._root_and_center(inputs)
        away = [value[:, i] + center[i] for i in range(self.n)]
        return pt.stack(solve_upper(root, away), axis=-1)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Return the log determinant of :meth:`backward`."""
        root, _ = self._root_and_center(inputs)
        logs: Any = pt.log(pt.stack([root[i, i] for i in range(self.n)]))
        return -logs.sum()

    def _root_and_center(self, inputs: Sequence[Any]) -> tuple[Roots, list[Any]]:
        """Return the roots by element, and L^-1 b by step."""
        places = [(i, j) for i in range(self.n) for j in range(i + 1)]
        root, pull = dict(zip(places, inputs[-1 - len(places) : -1], strict=True)), inputs[-1]
        return root, solve_lower(root, [pull[:, i] for i in range(self.n)])


def solve_lower(root: Roots, right: list[Any]) -> list[Any]:
    """Solve root x = right, with the right-hand side and x by element."""
    found: list[Any] = []
    for i, side in enumerate(right):
        known = sum((root[i, j] * found[j] for j in range(i)), 0.0)
        found.append((side - known) / root[i, i])
    return found


def solve_upper(root: Roots, right: list[Any]) -> list[Any]:
    """Solve root' x = right, with the right-hand side and x by element."""
    found: dict[int, Any] = {}
    for j in reversed(range(len(right))):
        known = sum((root[i, j] * found[i] for i in range(j + 1, len(right))), 0.0)
        found[j] = (right[j] - known) / root[j, j]
    return [found[j] for j in range(len(right))]


def rooted_normal(
    name: str, mu: Any, sigma: Any, root: Any, dims: str, *, constant: bool = False
) -> Any:
    """Sample normal logs of terms that add up as :class:`RootedLevelAndShares` says."""
    return pm.CustomDist(
        name,
        mu,
        sigma,
        root,
        logp=_normal,
        random=_draw_normal,
        support_point=_mean,
        signature="(k),(k),()->(k)",
        dims=dims,
        default_transform=RootedLevelAndShares(constant),
    )


def _normal(value: Any, mu: Any, sigma: Any, root: Any) -> Any:
    density: Any = pm.logp(pm.Normal.dist(mu, sigma), value)
    return density.sum()


def _draw_normal(mu: Any, sigma: Any, root: Any, rng: Any = None, size: Any = None) -> Any:
    return rng.normal(mu, sigma)


def _mean(terms: Any, size: Any, mu: Any, sigma: Any, root: Any) -> Any:
    return mu


def standard_steps(name: str, transform: Transform, *given: Any, signature: str, dims: Any) -> Any:
    """Sample standard normal steps in coordinates that depend on the given tensors.

    The last of these has the steps' shape.
    """
    return pm.CustomDist(
        name,
        *given,
        logp=_standard,
        random=_draw_standard,
        support_point=_zeros,
        signature=signature,
        dims=dims,
        default_transform=transform,
    )


def _standard(value: Any, *given: Any) -> Any:
    """Return the standard normal log density: ``given`` only sets the coordinates."""
    standard: Any = pm.logp(pm.Normal.dist(), value)
    return standard.sum()


def _draw_standard(*given: Any, rng: Any = None, size: Any = None) -> Any:
    return rng.standard_normal(given[-1].shape)


def _zeros(steps: Any, size: Any, *given: Any) -> Any:
    return pt.zeros_like(given[-1])
