"""A view: draws of one law that predict losses, with or without the law's drift."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from bayescale import noise
from bayescale.cards import (
    ModelCard,
    drift_components,
    log_size,
)
from bayescale.errors import MOST_NAMES, PosteriorError, did_you_mean, listed
from bayescale.laws import Law
from bayescale.laws.optimum import all_unique
from bayescale.posterior import residuals
from bayescale.posterior.walks import Walks
from bayescale.random import Purpose, generator
from bayescale.runs import Runs

MOST_VALUES = 10_000_000
"""The most values by draw and run in memory at once: 4,000 draws of 2,500 runs."""

ORDER = ("chain", "draw", "run")


@dataclass(frozen=True, eq=False, repr=False)
class View:
    """Draws of one law, with the losses, single runs and densities that they predict.

    ``fit.exact`` and ``fit.drifting`` make views; :mod:`bayescale.posterior.fit` says which
    question uses which.

    Attributes
    ----------
    draws : xarray.Dataset
        Dims chain and draw.
    card : ModelCard
    runs : Runs or None
        The runs that were fitted.
    seed : int
        Seed of all draws from the view.
    drifts : bool
        Whether losses depart from the law by drift.
    held : mapping of str to float
        Values of inputs that the package does not know, if a question does not state them.
    """

    draws: xr.Dataset
    card: ModelCard
    runs: Runs | None
    seed: int
    drifts: bool = False
    held: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        how = "with its drift" if self.drifts else "taken to hold exactly"
        return f"<View: {self.name}, {how}, {self.n_draws} draws>"

    @property
    def law(self) -> Law:
        """The law whose coefficients these are."""
        return self.card.law

    @property
    def name(self) -> str:
        """The law's name."""
        return self.law.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the law's inputs."""
        return self.law.inputs

    @property
    def families(self) -> tuple[str, ...]:
        """Families with their own coefficients; empty if there are none."""
        return families_of(self.draws)

    @property
    def coords(self) -> dict[str, xr.DataArray]:
        """The coordinates of the draws: chain and draw."""
        return {name: self.draws[name] for name in ("chain", "draw")}

    def as_draws(self, values: np.ndarray, *dims: str) -> xr.DataArray:
        """Return values of shape (draw, ...), chain by chain, with the dims chain, draw and these.

        Raises
        ------
        ValueError
            If the number of dims is not that of the values.
        """
        coords = self.coords
        shape = tuple(len(each) for each in coords.values())
        return xr.DataArray(
            values.reshape(*shape, *values.shape[1:]), dims=(*coords, *dims), coords=coords
        )

    def combine(self, answer: "Callable[[View], xr.DataArray]") -> xr.DataArray:
        """Return the answer of this view: see :meth:`AverageView.combine`."""
        return answer(self)

    def rng(self, purpose: Purpose, place: int = 0) -> np.random.Generator:
        """Return a generator: the same seed, purpose and place give the same numbers."""
        return generator(self.seed, purpose, place)

    def without_walk(self) -> "View":
        """Return these draws with losses that follow the law exactly."""
        return replace(self, drifts=False)

    def thinned(self, most: int) -> "View":
        """Return a view of evenly spaced draws, at most this many."""
        every = -(-self.n_draws // most)
        if every not in self._thinned:
            draws = self.draws.isel(draw=slice(every // 2, None, every))
            self._thinned[every] = self if every <= 1 else replace(self, draws=draws)
        return self._thinned[every]

    def repeated(self, least: int) -> "View":
        """Return a view of at least this many draws, with each draw repeated equally often."""
        times = -(-least // self.n_draws)
        if times not in self._repeated:
            n = times * self.draws.sizes["draw"]
            draws = self.draws.isel(draw=np.arange(n) // times).assign_coords(draw=np.arange(n))
            self._repeated[times] = self if times <= 1 else replace(self, draws=draws)
        return self._repeated[times]

    # caches, so that questions share what these views have computed

    @cached_property
    def _thinned(self) -> "dict[int, View]":
        return {}

    @cached_property
    def _repeated(self) -> "dict[int, View]":
        return {}

    def by_run(self) -> "View":
        """Return a view of fewer draws if values by draw and run would need too much memory."""
        n_runs = 0 if self.runs is None else len(self.runs)
        every = -(-self.n_draws * n_runs // MOST_VALUES)
        if every <= 1:
            return self
        return replace(self, draws=self.draws.isel(draw=slice(None, None, every)))

    @property
    def n_draws(self) -> int:
        """The number of draws, over all chains."""
        return self.draws.sizes["chain"] * self.draws.sizes["draw"]

    # coefficients

    def coefficients(self, family: str | None = None) -> dict[str, xr.DataArray]:
        """Return draws of every coefficient, dims (chain, draw), in raw units.

        Parameters
        ----------
        family : str, optional
            One of :attr:`families`. Without it, if families have coefficients of their own, the
            coefficients are those of a new family, drawn from the spread between families.

        Raises
        ------
        PosteriorError
            If there is no such family.
        """
        if family not in self._coefficients:
            self._coefficients[family] = self._coefficients_of(family)
        return dict(self._coefficients[family])

    @cached_property
    def _coefficients(self) -> dict[str | None, dict[str, xr.DataArray]]:
        """A cache of coefficients by family: searches use them hundreds of times."""
        return {}

    @cached_property
    def _log_center(self) -> dict[str, float]:
        """Logs of the runs' geometric means, at which families' terms spread."""
        assert self.runs is not None
        return {name: float(np.log(self.runs[name]).mean()) for name in self.inputs}

    def _coefficients_of(self, family: str | None) -> dict[str, xr.DataArray]:
        draws, law = self.draws, self.law
        values = {name: draws[name] for name in law.coefficients}
        if family is not None and family not in self.families:
            raise PosteriorError(
                f"family {family!r} is not among those of this fit: "
                f"{listed(self.families, MOST_NAMES) or 'it has no families'}"
                f"{did_you_mean(family, self.families)}"
            )
        rng, population = self.rng(Purpose.NEW_FAMILY), dict(values)
        for name in self.card.family if self.families else ():
            if family is not None:
                values[name] = draws[f"{name}_by_family"].sel(family=family, drop=True)
                continue
            term = law.terms[name]
            size = term.log_value(np.log(draws[name]), population, self._log_center)
            size = size + draws[f"{name}_spread"] * rng.standard_normal(draws[name].shape)
            values[name] = np.exp(term.log_coefficient(size, values, self._log_center))
        return values

    def run_coefficients(self) -> dict[str, xr.DataArray]:
        """Return each run's coefficients: those that differ between families have a dim run."""
        draws = self.draws
        if not self.families or not all(f"{name}_by_family" in draws for name in self.card.family):
            return self.coefficients()
        assert self.runs is not None
        family = xr.DataArray(self.runs["family"].astype(str), dims="run")
        return {
            name: draws[f"{name}_by_family"].sel(family=family).drop_vars("family")
            if name in self.card.family
            else draws[name]
            for name in self.law.coefficients
        }

    # mean losses

    def loss(self, inputs: Mapping[str, xr.DataArray], family: str | None = None) -> xr.DataArray:
        """Return the mean loss over seeds draw by draw, dims (chain, draw, ...), in nats per token.

        A law of unique tokens takes each token as seen once if ``inputs`` has no ``unique_tokens``.
        """
        inputs = self._complete(inputs)
        return self.law.loss(**inputs, **self.coefficients(family)) * self.drift(inputs)

    def losses(self, inputs: Mapping[str, np.ndarray], family: str | None = None) -> np.ndarray:
        """Return :meth:`loss` as an array, which is several times as fast, for searches.

        Inputs have shape (point,) or (draw, point), and losses (draw, point), chain by chain.
        """
        inputs = self._complete(inputs)
        given = self.coefficients(family).items()
        columns = {name: x.transpose(*ORDER[:2]).values.reshape(-1, 1) for name, x in given}
        loss = self.law.loss(**inputs, **columns)
        if self.runs is None or not self.drifts:
            return loss
        total = sum(
            walk.factor(inputs) * path.of_draws(walk.distance(inputs))
            for walk, path in self.walks.reaching(inputs)
        )
        return loss * np.exp(total)

    def _complete(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add inputs that need not be stated: unique tokens, kept fraction, and held inputs."""
        like = next(iter(inputs.values())) * 0.0
        held = {name: like + value for name, value in self.held.items() if name not in inputs}
        return {**held, **all_unique(self.inputs, inputs)}

    def run_inputs(self) -> dict[str, xr.DataArray]:
        """Return the law's inputs at the fitted runs, dims (run,)."""
        if self.runs is None:
            raise PosteriorError("a point estimate was not fitted to any runs")
        return {name: xr.DataArray(self.runs[name], dims="run") for name in self.law.inputs}

    def loss_of_runs(self) -> xr.DataArray:
        """Return the mean loss at the fitted runs, dims (chain, draw, run).

        Each run has the coefficients of its family, if families have coefficients of their own.
        """
        inputs = self.run_inputs()
        return self.law.loss(**inputs, **self.run_coefficients()) * self.drift(inputs)

    def log_mean_of_runs(self) -> xr.DataArray:
        """Return the log of the mean loss at the fitted runs, with their ids."""
        assert self.runs is not None
        log_mean = xr.ufuncs.log(self.loss_of_runs()).transpose(*ORDER)
        return log_mean.assign_coords(run=self.runs["run_id"])

    def drift(self, inputs: Mapping[str, xr.DataArray]) -> Any:
        """Return the factor on the law's loss draw by draw, dims as for :meth:`loss`.

        Among the runs it is inferred with the law. Beyond them the walk continues by random steps,
        which are the same in every call. It is exactly 1 if the law is taken to hold exactly.
        """
        if self.runs is None or not self.drifts:
            return 1.0
        walks = self.walks.reaching(inputs)
        total = sum(walk.factor(inputs) * path.at(walk.distance(inputs)) for walk, path in walks)
        return xr.ufuncs.exp(total)

    @cached_property
    def walks(self) -> Walks:
        """The walks of the drift; without runs there are none."""
        components = {} if self.runs is None else drift_components(self.card, self.runs)
        return Walks(components, self.draws, self.seed)

    # single runs

    def sigma(self, inputs: Mapping[str, xr.DataArray] | None = None) -> xr.DataArray:
        """Return the scale of the residual noise, dims (chain, draw, ...).

        If the noise shrinks with size, it is the scale at these inputs, or without inputs the scale
        at the runs' geometric mean.

        Raises
        ------
        PosteriorError
            If the posterior is a point estimate that states no noise.
        """
        draws = self.draws
        if "sigma" not in draws:
            raise PosteriorError(
                "this is a point estimate without a noise scale: it can give the mean loss over "
                "seeds, not the loss of a single new run"
            )
        if "shrink" not in draws or inputs is None or self.runs is None:
            return draws["sigma"]
        of_runs = log_size({name: self.runs[name] for name in self.inputs})
        return draws["sigma"] * xr.ufuncs.exp(
            -draws["shrink"] * (log_size(inputs) - float(of_runs.mean()))
        )

    def noise(
        self,
        template: xr.DataArray,
        purpose: Purpose = Purpose.NEW_RUN,
        inputs: Mapping[str, xr.DataArray] | None = None,
    ) -> xr.DataArray:
        """Return a draw of residual noise on log loss for each element of a template.

        The numbers of one place do not depend on which other places are drawn.

        Parameters
        ----------
        template : xarray.DataArray
            Dims (chain, draw, ...).
        purpose : Purpose
            The same purpose gives the same numbers.
        inputs : mapping of str to xarray.DataArray, optional
            Inputs of the new runs, for noise that shrinks with size.

        Raises
        ------
        PosteriorError
            If the posterior is a point estimate that states no noise.
        """
        sigma, draws = self.sigma(inputs), self.draws
        template = template.transpose("chain", "draw", ...)
        shape = template.shape[:2]
        nu = draws["nu"].values if "nu" in draws else None
        excess = None
        if "excess" in draws:
            excess = (draws["excess"] / sigma).broadcast_like(template).transpose(*template.dims)
            excess = excess.values.reshape(*shape, -1)
        standard = np.empty((*shape, math.prod(template.shape[2:])))
        for i in range(standard.shape[-1]):
            at = None if excess is None else excess[..., i]
            standard[..., i] = noise.draw(self.rng(purpose, i), shape, nu, at)
        return sigma * template.copy(data=standard.reshape(template.shape))

    def new_run(
        self, loss: xr.DataArray, inputs: Mapping[str, xr.DataArray] | None = None
    ) -> xr.DataArray:
        """Return the loss of a single new run for each draw of the mean loss, in nats per token.

        The new run has the residual noise of the fitted runs, without any error of measurement. If
        the law is a floor, the run lies above it. ``inputs`` as for :meth:`noise`.
        """
        with np.errstate(over="ignore"):  # few degrees of freedom reach an infinite loss
            return loss * xr.ufuncs.exp(self.noise(loss, inputs=inputs))

    def log_density(
        self,
        loss: Any,
        inputs: Mapping[str, xr.DataArray],
        family: str | None = None,
    ) -> xr.DataArray:
        """Return the log density of a single new run's loss draw by draw, dims as :meth:`loss`.

        Parameters
        ----------
        loss : array_like, shape (point,)
            Observed losses in nats per token.
        inputs : mapping of str to xarray.DataArray
            The law's inputs, dims (point,).
        family : str, optional
            As in :meth:`loss`.

        Returns
        -------
        xarray.DataArray
            Densities per nat per token, not per unit of log loss.
        """
        mean = self.law.loss(**self._complete(inputs), **self.coefficients(family))
        # integrate out drift beyond the runs, because few of its draws come near a given loss
        known, variance = self.walks.integrated(inputs) if self.drifts else (0.0, 0.0)
        log_loss = np.log(np.asarray(loss, dtype=float))
        deviation = log_loss - xr.ufuncs.log(mean) - known
        density = residuals.log_density(
            self.draws,
            deviation,
            self.sigma(inputs),
            variance=variance if self.drifts else None,
            fine=self.drifts,
        )
        return density - log_loss


def families_of(draws: xr.Dataset) -> tuple[str, ...]:
    """Return the families that have coefficients of their own."""
    if "family" not in draws.coords:
        return ()
    return tuple(str(name) for name in draws["family"].values)
