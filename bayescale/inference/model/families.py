"""Terms of families with partial pooling: their steps about the population, whitened.

The runs of a family may determine its level to a thousandth, and the terms' shares of that level
hardly at all. Neither the terms nor their distances from the population, in units of the spread,
are then good coordinates. Here each family's steps are sampled conditionally whitened: relative to
their mean given its runs, with the law linearized in the logs of its terms about a first estimate.
Drift is sampled before them, with the families' steps integrated out of its precision, because a
family's level and its drift can explain the same residuals.
"""

from dataclasses import dataclass
from typing import Any

import pytensor.tensor as pt

from bayescale.inference.model.transforms import (
    GroupedConditionalWhitening,
    Roots,
    solve_lower,
    solve_upper,
    standard_steps,
)


@dataclass(frozen=True)
class FamilySteps:
    """Families' steps about the population, in units of the spread between families.

    Attributes
    ----------
    slopes : list of tensors, shape (run,)
        Change of a run's log loss with each step of its family.
    residual : tensor, shape (run,)
        Observed log losses minus those of the population.
    index : tensor of int, shape (run,)
        A run's family.
    variance : tensor, scalar
        Variance of a run about its mean.
    roots : dict of tensors, shape (family,)
        Elements of lower Cholesky factors of the steps' precisions, given the rest.
    """

    slopes: list[Any]
    residual: Any
    index: Any
    variance: Any
    roots: Roots

    @classmethod
    def make(cls, slopes: list[Any], residual: Any, index: Any, variance: Any) -> "FamilySteps":
        """Make the steps from the runs' slopes, one tensor of shape (run,) for each step."""
        # Elements of the precision are summed one by one, because the gradient of an element of a
        # matrix for each run is another such matrix.
        roots: Roots = {}
        for i, slope in enumerate(slopes):
            for j, other in enumerate(slopes[: i + 1]):
                precision = float(i == j) + sum_by(slope * other, index) / variance
                rest = precision - sum((roots[i, m] * roots[j, m] for m in range(j)), 0.0)
                roots[i, j] = pt.sqrt(rest) if i == j else rest / roots[j, j]
        return cls(slopes, residual, index, variance, roots)

    def most_likely(self) -> list[Any]:
        """Return the most likely steps without any drift, each of shape (family,)."""
        return solve_upper(self.roots, solve_lower(self.roots, self._pulls(self.residual)))

    def sample(self, drift: Any) -> Any:
        """Sample the steps, dims (family, pooled_step), given the drift at the runs."""
        pulls: Any = pt.stack(self._pulls(self.residual - drift), axis=1)
        return standard_steps(
            "family_steps",
            GroupedConditionalWhitening(len(self.slopes)),
            *self.roots.values(),
            pulls,
            signature="(f)," * len(self.roots) + "(f,k)->(f,k)",
            dims=("family", "pooled_step"),
        )

    def _pulls(self, residual: Any) -> list[Any]:
        return [sum_by(slope * residual, self.index) / self.variance for slope in self.slopes]

    def explained(self, basis: Any) -> tuple[Any, Any]:
        """Return the parts of products of a basis that the families' free steps explain.

        Parameters
        ----------
        basis : tensor, shape (run, any_step)

        Returns
        -------
        overlap : tensor, shape (any_step, any_step)
            The part of ``basis' basis``.
        pull : tensor, shape (any_step,)
            The part of ``basis' residual``.
        """
        both: Any = pt.concatenate([basis, self.residual[:, None]], axis=1)
        # Stacked slopes are computed once, and not again for each column of the basis.
        by_run: Any = pt.stack(self.slopes, axis=1)
        sums = sum_by(by_run[:, :, None] * both[:, None, :], self.index)
        roots = {place: element[:, None] for place, element in self.roots.items()}
        each = [sums[:, i] for i in range(len(self.slopes))]
        rows: Any = pt.concatenate(solve_lower(roots, each), axis=0)
        products: Any = pt.dot(rows[:, :-1].T, rows) / self.variance
        return products[:, :-1], products[:, -1]


def sum_by(values: Any, index: Any) -> Any:
    """Sum along the first axis over elements of equal index, which counts from zero."""
    last: Any = pt.max(index)
    none: Any = pt.zeros((last + 1, *(values.shape[i] for i in range(1, values.ndim))))
    return none[index].inc(values)
