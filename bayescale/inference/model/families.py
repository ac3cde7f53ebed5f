"""Families' terms: what their runs tell of them about the population's, as tensors.

Runs of a family may tell its level to a thousandth, and hardly at all how its terms share it. So
neither the terms themselves nor their distances from the population's in units of the spread are
good to sample; here it is their distances from what the runs leave of them, with the law taken as
straight in logs of terms about a first estimate. Drift comes first, by what runs leave of it when
families are free: a family's level and its drift can stand in for each other.
"""

from dataclasses import dataclass
from typing import Any

import pytensor.tensor as pt

from bayescale.inference.model.transforms import (
    GroupedConditionalWhitening,
    Roots,
    solved,
    solved_back,
    standard_steps,
)


@dataclass(frozen=True)
class Pooled:
    """Families' steps about the population, in units of the spread between families.

    Attributes
    ----------
    seen : tensor, shape (run, step)
        Change of a run's log loss with a step of its family.
    left : tensor, shape (run,)
        Observed log losses without those of the population.
    index : tensor of int, shape (run,)
        A run's family.
    scatter : tensor, scalar
        Variance of a run about its mean.
    roots : dict of tensors, shape (family,)
        Elements of lower Cholesky factors of the steps' precisions, given the rest.
    """

    seen: Any
    left: Any
    index: Any
    scatter: Any
    roots: Roots

    @classmethod
    def of(cls, seen: list[Any], left: Any, index: Any, scatter: Any) -> "Pooled":
        """Of changes of log loss with each of the steps, by run."""
        n = len(seen)
        by_run: Any = pt.stack(seen, axis=1)
        product = by_run[:, :, None] * by_run[:, None, :]
        precision = pt.eye(n) + sums_by(product, index) / scatter
        roots: Roots = {}
        for i in range(n):
            for j in range(i + 1):
                known = sum((roots[i, m] * roots[j, m] for m in range(j)), 0.0)
                rest = precision[:, i, j] - known
                roots[i, j] = pt.sqrt(rest) if i == j else rest / roots[j, j]
        return cls(by_run, left, index, scatter, roots)

    def most_likely(self) -> list[Any]:
        """The steps at which the runs leave least, without any drift: by step, (family,)."""
        pull = self._pull(self.left)
        each = [pull[:, i] for i in range(self.seen.type.shape[1])]
        return solved_back(self.roots, solved(self.roots, each))

    def steps(self, drift: Any) -> Any:
        """The steps, dims (family, pooled_step), given the drift at the runs."""
        n = self.seen.type.shape[1]
        return standard_steps(
            "family_steps", GroupedConditionalWhitening(n), *self.roots.values(),
            self._pull(self.left - drift),
            signature="(f)," * len(self.roots) + "(f,k)->(f,k)", dims=("family", "pooled_step"),
        )  # fmt: skip

    def _pull(self, left: Any) -> Any:
        return sums_by(self.seen * left[:, None], self.index) / self.scatter

    def absorbed(self, basis: Any) -> tuple[Any, Any]:
        """How much of products of a basis of drift families take up, when they are free.

        Parameters
        ----------
        basis : tensor, shape (run, any_step)

        Returns
        -------
        overlap : tensor, shape (any_step, any_step)
            Of basis' basis.
        pull : tensor, shape (any_step,)
            Of basis' left.
        """
        both: Any = pt.concatenate([basis, self.left[:, None]], axis=1)
        sums = sums_by(self.seen[:, :, None] * both[:, None, :], self.index)
        roots = {place: element[:, None] for place, element in self.roots.items()}
        each = [sums[:, i] for i in range(self.seen.type.shape[1])]
        rows: Any = pt.concatenate(solved(roots, each), axis=0)
        products: Any = pt.dot(rows[:, :-1].T, rows) / self.scatter
        return products[:, :-1], products[:, -1]


def sums_by(values: Any, index: Any) -> Any:
    """Sums along the first axis over those of equal index, which counts from zero."""
    last: Any = pt.max(index)
    none: Any = pt.zeros((last + 1, *(values.shape[i] for i in range(1, values.ndim))))
    return none[index].inc(values)
