"""Several laws fitted to the same runs, averaged.

Few runs cannot choose among laws, and the law that fits best is often not the one that
extrapolates best. A model average keeps a posterior for each law and mixes their draws.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from bayescale.errors import PosteriorError, collected, did_you_mean
from bayescale.posterior.methods import FitMethods
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predict import View
from bayescale.posterior.record import worst_diagnostics
from bayescale.runs import Runs


def mix(answers: Sequence[xr.DataArray], weights: Sequence[float]) -> xr.DataArray:
    """Mix the draws of several laws' answers in proportion to the laws' weights.

    Every answer of a model average is made by this function.

    Parameters
    ----------
    answers : sequence of xarray.DataArray
        One for each law, dims (chain, draw, ...).
    weights : sequence of float

    Returns
    -------
    xarray.DataArray
        Dims (chain, draw, ...) with a single chain, which holds evenly spaced draws of each law.
    """
    flat = [answer.stack(sample=("chain", "draw")) for answer in answers]
    every = shares([x.sizes["sample"] for x in flat], weights)
    taken = [
        x.isel(sample=each).drop_vars(["sample", "chain", "draw"])
        for x, each in zip(flat, every, strict=True)
    ]
    mixed = xr.concat(taken, dim="sample").rename(sample="draw").expand_dims("chain")
    return mixed.transpose("chain", "draw", ...)


def shares(n_draws: Sequence[int], weights: Sequence[float]) -> list[np.ndarray]:
    """Return the indices of each law's draws in a mixture: evenly spaced, in proportion to weights.

    The total is chosen so that nearly all draws of the law with the largest weight are used.
    """
    total = min(n / weight for n, weight in zip(n_draws, weights, strict=True) if weight)
    return [
        np.linspace(0, n - 1, round(total * weight)).round().astype(int)
        for n, weight in zip(n_draws, weights, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class AverageView:
    """The views of several laws, with the interface of a single view.

    Attributes
    ----------
    views : tuple of View
    weights : tuple of float
    """

    views: tuple[View, ...]
    weights: tuple[float, ...]

    def combine(self, answer: Callable[[View], xr.DataArray]) -> xr.DataArray:
        """Return the mixed answers of the laws' views, dims (chain, draw, ...)."""
        return mix([answer(view) for view in self.views], self.weights)

    def loss(self, inputs: Mapping[str, xr.DataArray], family: str | None = None) -> xr.DataArray:
        """Return the mean loss over seeds: see :meth:`View.loss`."""
        return self.combine(lambda view: view.loss(inputs, family))

    def new_run(self, inputs: Mapping[str, xr.DataArray], family: str | None = None) -> Any:
        """Draw a single new run at these inputs: see :meth:`View.new_run`."""
        return self.combine(lambda view: view.new_run(view.loss(inputs, family), inputs))


@dataclass(frozen=True, eq=False)
class ModelAverage(FitMethods):
    """The posteriors of several laws, with a weight for each.

    It has the interface of :class:`Posterior` wherever the laws have one answer together; see
    :class:`bayescale.posterior.Fit`.

    Parameters
    ----------
    members : tuple of Posterior
        Posteriors of different laws of the same inputs, fitted to the same runs.
    weights : tuple of float
        The laws' weights, zero or more, with sum one.

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
            each = [f"{name} is of {' and '.join(given)}" for name, given in inputs.items()]
            problems.append(f"its laws are for different inputs: {'; '.join(each)}")
        if len({m.runs.digest if m.runs is not None else None for m in self.members}) > 1:
            problems.append("its posteriors were fitted to different run logs")
        if len({member.card.is_floor for member in self.members}) > 1:
            problems.append(
                "some of its laws are floors and others means over seeds: give all cards "
                "[noise.excess], or none"
            )
        if len(self.weights) != len(names):
            problems.append(f"{len(self.weights)} weights are given for {len(names)} laws")
        elif not (min(self.weights) >= 0 and np.isclose(sum(self.weights), 1)):
            problems.append(f"its weights must be zero or more with sum one: {self.weights}")
        if problems:
            raise PosteriorError(collected("these laws cannot be averaged:", problems))

    def __len__(self) -> int:
        """Count the laws."""
        return len(self.members)

    @cached_property
    def tree(self) -> xr.DataTree:
        """A tree that holds each law's ArviZ tree as a group with the law's name.

        Functions of ArviZ take the tree of a single law: ``fit["chinchilla"].tree``.
        """
        return xr.DataTree.from_dict(
            {
                f"{member.name}/{path.strip('/')}".rstrip("/"): node.to_dataset()
                for member in self.members
                for path, node in ((group.path, group) for group in member.tree.subtree)
            }
        )

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
        """What the laws' loss is: the mean over seeds, or a floor."""
        return self.members[0].meaning

    @property
    def families(self) -> tuple[str, ...]:
        """Families with coefficients of their own."""
        return self.members[0].families

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """The first member's record, with the worst of each diagnostic over all members."""
        each = {member.law.name: member.diagnostics for member in self.members}
        return {**self.members[0].record, "diagnostics": worst_diagnostics(each)}

    @property
    def diagnostics(self) -> Mapping[str, Any]:
        """The worst of each diagnostic over all laws; ``passed`` only if every law passed."""
        return self.record["diagnostics"]

    @property
    def exact(self) -> AverageView:
        """The view that takes every law to hold exactly."""
        return self.view(drift=False)

    @property
    def drifting(self) -> AverageView:
        """The view that allows for every law's drift."""
        return self.view(drift=True)

    def view(self, drift: bool) -> AverageView:
        """Return the view that allows for drift, or the exact one."""
        return AverageView(tuple(member.view(drift) for member in self.members), self.weights)

    @property
    def held(self) -> Mapping[str, float]:
        """Values of inputs that the package does not know: as stated, or as in the largest run."""
        return self.members[0].held

    @property
    def at(self) -> Mapping[str, float]:
        """Values of inputs that :meth:`holding` stated."""
        return self.members[0].at

    def holding(self, at: Mapping[str, Any] | None) -> "ModelAverage":
        """Return the average with inputs held at values: see :meth:`Posterior.holding`."""
        return ModelAverage(tuple(member.holding(at) for member in self.members), self.weights)

    def combine(self, answer: Callable[[Posterior], xr.DataArray]) -> xr.DataArray:
        """Return the average's answer, made from each law's answer, dims (chain, draw, ...)."""
        return self.mix([answer(member) for member in self.members])

    def mix(self, answers: Sequence[xr.DataArray]) -> xr.DataArray:
        """Return the mixed answers of the members: see :func:`mix`."""
        return mix(answers, self.weights)


def model_weights(
    laws: Sequence[str], weights: Mapping[str, float] | None = None
) -> tuple[float, ...]:
    """Return weights with sum one, in the order of the laws; equal if none are given.

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
        near = "".join(did_you_mean(name, laws) for name in weights if name not in laws)
        raise PosteriorError(
            f"weights need one share of zero or more for each of {', '.join(laws)}, not all "
            f"zero; given {given or 'none'}{near}"
        )
    return tuple(weights[law] / sum(values) for law in laws)
