"""Posterior: draws of a law's coefficients, with the law, card and runs they came from.

Opening, summarizing and forecasting need neither PyMC nor nutpie.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from bayescale import noise
from bayescale.cards import ModelCard, drift_frames, log_size
from bayescale.drift import coordinate
from bayescale.errors import PosteriorError, UnconvergedError
from bayescale.laws import Law
from bayescale.laws.law import all_unique
from bayescale.posterior import scatter
from bayescale.random import Purpose, generator
from bayescale.runs import Runs

DRIFTING = "posterior_drifting"
"""The group of draws that allow for drift."""


MEAN, FLOOR = "mean over seeds", "floor of tuned runs"
"""What a law's loss is: where the card has an excess, the floor that runs lie above."""

MOST_VALUES = 10_000_000
"""By draw and run that are held at once: all of 4,000 draws up to 2,500 runs."""

_NODES = 24  # of the quadrature over the widths that make up a Student-t


def _total(steps: np.ndarray, reach: xr.DataArray) -> xr.DataArray:
    """What steps of shape (step, chain, draw) add up to."""
    each = xr.DataArray(steps, dims=("step", "chain", "draw"))
    return xr.dot(each, reach, dim="step", optimize=True)


@dataclass(frozen=True, eq=False)
class Posterior:
    """A fitted law. Made by :func:`bayescale.fit`, :func:`open_posterior` or :func:`point`.

    Attributes
    ----------
    tree : xarray.DataTree
        An ordinary ArviZ tree: ``posterior`` (dims chain, draw) with every coefficient in raw
        units, ``sigma`` and ``nu``, ``sample_stats``, ``prior``, ``prior_predictive``,
        ``posterior_predictive``, ``log_likelihood``, ``log_prior``, ``observed_data``,
        ``constant_data``, and ``leave_one_out`` (dim run). Groups with values by draw and run
        hold fewer draws where runs are many: see :meth:`by_run`. All these take the law to hold
        exactly, as published coefficients do. ``posterior_drifting`` holds the draws of the model
        in which it does not: see :meth:`drifting`.
    card : ModelCard
        Priors and likelihood.
    runs : Runs or None
        The runs that were fitted; None for a published point estimate.
    record : mapping
        ``diagnostics``, ``provenance``, ``seconds`` and ``without_flagged`` as plain values.
    """

    tree: xr.DataTree
    card: ModelCard
    runs: Runs | None
    record: Mapping[str, Any]

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
        """What the law is a function of."""
        return self.law.inputs

    @property
    def members(self) -> "tuple[Posterior, ...]":
        """Itself: a posterior is a pool of one (see :class:`ModelAverage`)."""
        return (self,)

    @property
    def weights(self) -> tuple[float, ...]:
        """All of the answer."""
        return (1.0,)

    def mix(self, answers: Sequence[xr.DataArray]) -> xr.DataArray:
        """The only answer, as it is."""
        (answer,) = answers
        return answer

    @property
    def draws(self) -> xr.Dataset:
        """The ``posterior`` group, dims chain and draw."""
        return self.tree["posterior"].to_dataset()

    @property
    def families(self) -> tuple[str, ...]:
        """Families with coefficients of their own; empty where none are pooled."""
        if "family" not in self.draws.coords:
            return ()
        return tuple(str(name) for name in self.draws["family"].values)

    @cached_property
    def _rng_seed(self) -> int:
        return int(self.record.get("provenance", {}).get("seed", 0))

    @cached_property
    def _log_center(self) -> dict[str, float]:
        """Logs of the runs' geometric means, at which families' terms spread."""
        assert self.runs is not None
        return {name: float(np.log(self.runs[name]).mean()) for name in self.inputs}

    def rng(self, purpose: Purpose, place: int = 0) -> np.random.Generator:
        """Return a generator: the same seed, purpose and place give the same numbers."""
        return generator(self._rng_seed, purpose, place)

    def coefficients(self, family: str | None = None) -> dict[str, xr.DataArray]:
        """Draws of every coefficient, dims (chain, draw), in raw units.

        Parameters
        ----------
        family : str, optional
            One of :attr:`families`. Without it, where families are pooled, the coefficients
            are those of a new family, drawn from the spread between the known ones.

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
        """By family, once found: searches ask for them hundreds of times."""
        return {}

    def _coefficients_of(self, family: str | None) -> dict[str, xr.DataArray]:
        draws, law = self.draws, self.law
        values = {name: draws[name] for name in law.coefficients}
        if family is not None and family not in self.families:
            raise PosteriorError(
                f"family {family!r} is not among those of this fit: "
                f"{', '.join(self.families) or 'it does not tell families apart'}"
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

    def loss(self, inputs: Mapping[str, xr.DataArray], family: str | None = None) -> xr.DataArray:
        """The mean loss draw by draw, dims (chain, draw, ...) in nats per token.

        A law that asks how many tokens are unique takes each as seen once where none says.
        """
        inputs = all_unique(self.inputs, inputs)
        return self.law.loss(**inputs, **self.coefficients(family)) * self.drift(inputs)

    def drift(self, inputs: Mapping[str, xr.DataArray]) -> Any:
        """What the law's loss is to be multiplied by, draw by draw, dims as for :meth:`loss`.

        Within the runs as inferred with the law; beyond them the walk goes on by fresh steps,
        the same ones in every call. Exactly 1 unless these are the :meth:`drifting` draws.
        """
        known, fresh = self._log_drift(inputs)
        return xr.ufuncs.exp(known + fresh) if self._drifts else 1.0

    def _log_drift(
        self, inputs: Mapping[str, xr.DataArray], *, integrated: bool = False
    ) -> tuple[Any, Any]:
        """What runs have shown of the drift, and what is drawn afresh, or its variance."""
        known, fresh = 0.0, 0.0
        if self.runs is None or not self._drifts:
            return known, fresh
        for i, (axis, frame) in enumerate(drift_frames(self.card, self.runs).items()):
            away = coordinate(inputs, axis) - frame.center
            size = self.draws[f"drift_{axis}"]
            walk = self.draws[f"drift_walk_{axis}"].transpose("step", "chain", "draw").values
            down, up = np.split(walk, [len(frame.down.gap)])
            beyond = frame.beyond((float(-away.min()), float(away.max())))
            sides = zip((-1, 1), (frame.down, frame.up), (down, up), beyond, strict=True)
            for way, inside, inferred, past in sides:
                distance = (way * away).expand_dims(step=1, axis=-1)
                known += _total(inferred, frame.reach(inside, distance))
                reach = frame.reach(past, distance)
                if integrated:
                    fresh += size**2 * (reach**2).sum("step")
                    continue
                standard = self.rng(Purpose.drift(i, up=way > 0)).standard_normal(
                    (len(past.gap), *size.shape)
                )
                fresh += _total(size.values * standard, reach)
        return known, fresh

    def by_run(self) -> "Posterior":
        """Itself, or with fewer draws, evenly spaced, where runs are very many.

        Values by draw and run would else fill the memory: see :data:`MOST_VALUES`.
        """
        draws, n_runs = self.draws, 0 if self.runs is None else len(self.runs)
        every = -(-draws.sizes["chain"] * draws.sizes["draw"] * n_runs // MOST_VALUES)
        if every <= 1:
            return self
        some = xr.DataTree(draws.isel(draw=slice(None, None, every)))
        return replace(self, tree=xr.DataTree(children={"posterior": some}))

    def loss_of_runs(self) -> xr.DataArray:
        """The law's mean loss at the runs it was fitted to, dims (chain, draw, run).

        Where families are pooled, each run has its own family's coefficients.
        """
        inputs = self.run_inputs()
        return self.law.loss(**inputs, **self.run_coefficients()) * self.drift(inputs)

    def run_inputs(self) -> dict[str, xr.DataArray]:
        """The law's inputs of the runs it was fitted to, dims (run,)."""
        if self.runs is None:
            raise PosteriorError("a point estimate was not fitted to any runs")
        return {name: xr.DataArray(self.runs[name], dims="run") for name in self.law.inputs}

    def run_coefficients(self) -> dict[str, xr.DataArray]:
        """Coefficients of the runs' own families: a dim run where families have their own."""
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

    def sigma(self, inputs: Mapping[str, xr.DataArray] | None = None) -> xr.DataArray:
        """Scale of the scatter, dims (chain, draw, ...): at these inputs where it shrinks.

        Without inputs, and where it does not shrink, that at the runs' geometric mean.

        Raises
        ------
        PosteriorError
            If the posterior is a point estimate that states no noise.
        """
        draws = self.draws
        if "sigma" not in draws:
            raise PosteriorError(
                "this is a point estimate without a noise scale: it can say what the mean run "
                "reaches, not what one new run does"
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
        first: int = 0,
    ) -> xr.DataArray:
        """One run's deviation from the law on log loss, a fresh draw for each element.

        The numbers of a place are its own: they do not hang on which others are asked for.

        Parameters
        ----------
        template : xarray.DataArray
            Dims (chain, draw, ...).
        purpose : Purpose
            The same purpose gives the same numbers.
        inputs : mapping of str to xarray.DataArray, optional
            Where the runs are, for scatter that shrinks with scale.
        first : int
            The number of the template's first place, where others went before.

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
            standard[..., i] = noise.draw(self.rng(purpose, first + i), shape, nu, at)
        return sigma * template.copy(data=standard.reshape(template.shape))

    def log_density(
        self,
        loss: Any,
        inputs: Mapping[str, xr.DataArray],
        family: str | None = None,
    ) -> xr.DataArray:
        """Log density of one new run's loss draw by draw, dims as :meth:`loss` gives them.

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
            Per nat per token, not per unit of log loss.
        """
        mean = self.law.loss(**all_unique(self.inputs, inputs), **self.coefficients(family))
        known, variance = self._log_drift(inputs, integrated=True)
        log_loss = np.log(np.asarray(loss, dtype=float))
        deviation = log_loss - xr.ufuncs.log(mean) - known
        # fresh drift is integrated out: few draws of it come near any one loss
        if self.card.is_floor:
            found = scatter.log_density(self.draws, deviation, self.sigma(inputs), blurred=variance)
            return found - log_loss
        if "nu" not in self.draws or not self._drifts:
            se = xr.ufuncs.sqrt(variance + 0 * deviation)
            return self.scatter(deviation, se, inputs)[0] - log_loss
        # heavy tails are normals of many widths, and each of those adds to the drift's
        from scipy import stats

        places, weights = np.polynomial.legendre.leggauss(_NODES)
        nu, sigma = self.draws["nu"], self.sigma(inputs)
        density: Any = -np.inf
        for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
            precision = nu.copy(data=stats.gamma.ppf(place, nu / 2)) / (nu / 2)
            total = sigma**2 / precision + variance
            at_node = -0.5 * (deviation**2 / total + np.log(2 * np.pi * total))
            density = np.logaddexp(density, at_node + np.log(weight))
        return density - log_loss

    def scatter(
        self,
        deviation: xr.DataArray,
        se: Any = 0.0,
        inputs: Mapping[str, xr.DataArray] | None = None,
    ) -> tuple[Any, Any]:
        """Log density of deviations of log loss under the noise, and the chance of less."""
        from scipy import special

        scale = xr.ufuncs.sqrt(self.sigma(inputs) ** 2 + se**2)
        if self.card.is_floor:
            density = scatter.log_density(self.draws, deviation, scale)
            return density, scatter.cdf(self.draws, deviation, scale)
        standard = deviation / scale
        if "nu" in self.draws:
            nu = self.draws["nu"]
            density, below = noise.log_student_t(standard**2, nu), special.stdtr(nu, standard)
        else:
            density, below = noise.log_density(standard, 1.0), special.ndtr(standard)
        return density - xr.ufuncs.log(scale), below

    def new_run(
        self,
        loss: xr.DataArray,
        inputs: Mapping[str, xr.DataArray] | None = None,
        first: int = 0,
    ) -> xr.DataArray:
        """One new run for each draw of the mean loss, in nats per token.

        It scatters as the fitted runs do about the law, without any error of measurement:
        above it, where the law is a floor. ``inputs`` and ``first`` as for :meth:`noise`.
        """
        with np.errstate(over="ignore"):  # few degrees of freedom reach an endless loss
            return loss * xr.ufuncs.exp(self.noise(loss, inputs=inputs, first=first))

    @property
    def meaning(self) -> str:
        """What the law's loss is: the mean of runs, or a floor."""
        return FLOOR if self.card.is_floor else MEAN

    def drifting(self) -> "Posterior":
        """The draws that allow for the law's drift, which every forecast starts from.

        Itself where the card has no drift, or these are those draws already.

        Raises
        ------
        PosteriorError
            If they were not kept.
        """
        if self.card.drift is None or self.runs is None or self._drifts:
            return self
        if DRIFTING not in self.tree.children:
            raise PosteriorError("this posterior does not hold the draws with drift: fit again")
        tree = xr.DataTree.from_dict({"posterior": self.tree[DRIFTING].to_dataset()})
        return replace(self, tree=tree)

    def thinned(self, most: int) -> "Posterior":
        """Evenly spaced draws, at most this many in all, without the other groups."""
        draws = self.draws
        every = -(-draws.sizes["chain"] * draws.sizes["draw"] // most)
        draws = draws.isel(draw=slice(every // 2, None, every))
        return replace(self, tree=xr.DataTree.from_dict({"posterior": draws}))

    @property
    def _drifts(self) -> bool:
        drift = self.card.drift
        return drift is not None and all(name in self.draws for name in drift.parameters)

    @property
    def diagnostics(self) -> Mapping[str, Any]:
        """What the convergence gate measured: rhat_max, ess_bulk_min, ..., passed, reasons."""
        return self.record["diagnostics"]

    def require_converged(self, allow: bool = False) -> None:
        """Refuse draws that failed the convergence gate.

        Raises
        ------
        UnconvergedError
            Unless the gate was passed or ``allow`` is true.
        """
        if not (allow or self.diagnostics["passed"]):
            raise UnconvergedError(
                "this posterior failed its convergence gate, so nothing is computed from it: "
                f"{'; '.join(self.diagnostics['reasons'])}. Fit again with more --draws, or use "
                "it all the same with --allow-unconverged"
            )

    def __str__(self) -> str:
        from bayescale.posterior.summary import summarize

        return str(summarize(self))


def point(
    card: ModelCard,
    values: Mapping[str, float],
    *,
    sigma: float | None = None,
    nu: float | None = None,
) -> Posterior:
    """A point estimate as a posterior with one draw, so that it goes through the same code.

    Parameters
    ----------
    card : ModelCard
        The card whose law the values belong to.
    values : mapping of str to float
        Every coefficient, in raw units; for a published one see
        :meth:`ModelCard.published_values`.
    sigma, nu : float, optional
        Noise scale on log loss and degrees of freedom, for forecasts of one new run.

    Examples
    --------
    >>> from bayescale.cards import load_card
    >>> card = load_card("chinchilla")
    >>> besiroglu = point(card, card.published_values("besiroglu_2024"))
    >>> loss = besiroglu.loss({"params": 70e9, "tokens": 1.4e12})
    >>> round(float(loss.squeeze()), 4)
    1.9739
    """
    if set(values) != set(card.law.coefficients):
        raise PosteriorError(
            f"a point of law {card.law.name!r} needs {', '.join(card.law.coefficients)}; given "
            f"{', '.join(values)}"
        )
    noise = {k: v for k, v in {"sigma": sigma, "nu": nu}.items() if v is not None}
    dataset = xr.Dataset(
        {k: (("chain", "draw"), np.full((1, 1), float(v))) for k, v in {**values, **noise}.items()},
        coords={"chain": [0], "draw": [0]},
    )
    record = {
        "diagnostics": {"passed": True, "reasons": [], "point": True},
        "provenance": {"seed": 0},
        "seconds": {},
    }
    return Posterior(xr.DataTree.from_dict({"posterior": dataset}), card, None, record)
