"""Several laws fitted to the same runs, answering as one.

Few runs cannot choose among laws, and the law that fits best is often not the one that
extrapolates best. A pool keeps a posterior for each and mixes their draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from bayescale.errors import PosteriorError, collected
from bayescale.posterior.posterior import Posterior
from bayescale.runs import Runs


@dataclass(frozen=True, eq=False)
class ModelAverage:
    """One posterior a law, with the share of the pooled answer that each gives.

    Answers to the same calls as a :class:`Posterior` where a question has one answer for all
    laws; functions ask each of ``members`` and ``mix`` what they say.

    Parameters
    ----------
    members : tuple of Posterior
        Of different laws, of the same inputs, fitted to the same runs.
    weights : tuple of float
        Shares, positive, with sum one.

    Raises
    ------
    PosteriorError
        If the laws repeat or take different inputs, the runs differ, or the weights do not fit.
    """

    members: tuple[Posterior, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        problems = []
        names = [member.law.name for member in self.members]
        if not names:
            problems.append("it has no laws")
        if len(set(names)) < len(names):
            problems.append(f"its laws repeat: {', '.join(names)}")
        inputs = {member.law.name: member.law.inputs for member in self.members}
        if len({frozenset(given) for given in inputs.values()}) > 1:
            of = [f"{name} is of {' and '.join(given)}" for name, given in inputs.items()]
            problems.append(f"its laws are for different inputs: {'; '.join(of)}")
        if len({m.runs.digest if m.runs is not None else None for m in self.members}) > 1:
            problems.append("its posteriors were fitted to different run logs")
        if len({member.card.is_floor for member in self.members}) > 1:
            problems.append(
                "some of its laws are floors and others the mean of runs: give all cards "
                "[noise.excess], or none"
            )
        if len(self.weights) != len(names):
            problems.append(f"{len(self.weights)} weights are given for {len(names)} laws")
        elif not (min(self.weights) >= 0 and np.isclose(sum(self.weights), 1)):
            problems.append(f"its weights must be zero or more with sum one: {self.weights}")
        if problems:
            raise PosteriorError(collected("these laws cannot be pooled:", problems))

    @property
    def name(self) -> str:
        """The laws' names."""
        return " + ".join(member.law.name for member in self.members)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What every law is a function of."""
        return self.members[0].law.inputs

    @property
    def runs(self) -> Runs | None:
        """The runs that every law was fitted to."""
        return self.members[0].runs

    @property
    def meaning(self) -> str:
        """What the laws' loss is: the mean of runs, or a floor."""
        return self.members[0].meaning

    @property
    def families(self) -> tuple[str, ...]:
        """Families with coefficients of their own."""
        return self.members[0].families

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """The first member's record, with the diagnostics of all: the worst of each figure."""
        each = {member.law.name: member.diagnostics for member in self.members}
        return {**self.members[0].record, "diagnostics": worst_diagnostics(each)}

    @property
    def diagnostics(self) -> Mapping[str, Any]:
        """Of all laws, the worst of each figure; passed only where every law passed."""
        return self.record["diagnostics"]

    def require_converged(self, allow: bool = False) -> None:
        """Refuse a pool with a law that failed the convergence gate: see Posterior's."""
        for member in self.members:
            member.require_converged(allow)

    def mix(self, answers: Sequence[xr.DataArray]) -> xr.DataArray:
        """Draws of the pooled answer from the draws of each law's, in proportion to weights.

        Parameters
        ----------
        answers : sequence of xarray.DataArray
            One a member, dims (chain, draw, ...).

        Returns
        -------
        xarray.DataArray
            Dims (chain, draw, ...), all in one chain: each law gives evenly spaced draws.
        """
        flat = [answer.stack(sample=("chain", "draw")) for answer in answers]
        # as many draws in all as keep the most heavily weighted law's draws nearly whole
        total = min(x.sizes["sample"] / w for x, w in zip(flat, self.weights, strict=True) if w)
        taken = []
        for x, weight in zip(flat, self.weights, strict=True):
            n = round(total * weight)
            every = np.linspace(0, x.sizes["sample"] - 1, n).round().astype(int)
            taken.append(x.isel(sample=every).drop_vars(["sample", "chain", "draw"]))
        mixed = xr.concat(taken, dim="sample").rename(sample="draw").expand_dims("chain")
        return mixed.transpose("chain", "draw", ...)

    def __str__(self) -> str:
        from bayescale.posterior.summary import summarize

        return str(summarize(self))


def model_weights(
    laws: Sequence[str], weights: Mapping[str, float] | None = None
) -> tuple[float, ...]:
    """Shares with sum one, in the order of the laws: equal where none are given.

    Raises
    ------
    PosteriorError
        If the weights are not one for each law, or are negative or all zero.
    """
    if weights is None:
        return (1 / len(laws),) * len(laws)
    values = list(weights.values())
    if set(weights) != set(laws) or min(values) < 0 or not 0 < sum(values) < np.inf:
        given = ", ".join(f"{name}={value:g}" for name, value in weights.items())
        raise PosteriorError(
            f"weights need one share of zero or more for each of {', '.join(laws)}, not all "
            f"zero; given {given or 'none'}"
        )
    return tuple(weights[law] / sum(values) for law in laws)


def worst_diagnostics(each: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The worst of each figure over several samplings, and every reason with its name."""
    worst: dict[str, Any] = {}
    for figure, pick in _WORST.items():
        if all(figure in diagnostics for diagnostics in each.values()):
            worst[figure] = pick(diagnostics[figure] for diagnostics in each.values())
    reasons = [(name, why) for name, d in each.items() for why in d["reasons"]]
    worst["reasons"] = [f"{name}: {why}" if len(each) > 1 else why for name, why in reasons]
    return worst


_WORST: Mapping[str, Any] = {
    "rhat_max": max,
    "ess_bulk_min": min,
    "ess_tail_min": min,
    "divergences": sum,
    "n_draws": sum,
    "attempts": max,
    "passed": all,
}

Fit = Posterior | ModelAverage
"""One law's posterior, or several laws': both have members, weights and mix."""
