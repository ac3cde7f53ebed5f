"""The posterior of one law: its draws, with the law, card and runs that they came from.

Opening, summarizing and forecasting need neither PyMC nor nutpie.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from bayescale.cards import ModelCard
from bayescale.errors import PosteriorError
from bayescale.laws import Law
from bayescale.posterior.held import checked_inputs, held_inputs
from bayescale.posterior.methods import FLOOR, MEAN, FitMethods
from bayescale.posterior.predict import View, families_of
from bayescale.random import Purpose, generator
from bayescale.runs import Runs

EXACT, DRIFTING = "posterior", "posterior_drifting"
"""The group of draws that take the law to hold exactly, and the group that allows for drift."""


@dataclass(frozen=True, eq=False)
class Posterior(FitMethods):
    """A posterior of one law, from :func:`bayescale.fit`, :func:`open_posterior` or :func:`point`.

    Attributes
    ----------
    tree : xarray.DataTree
        An ordinary ArviZ tree: ``posterior`` (dims chain, draw) with every coefficient in raw
        units, ``sigma`` and ``nu``, ``sample_stats``, ``prior``, ``prior_predictive``,
        ``posterior_predictive``, ``log_likelihood``, ``log_prior``, ``observed_data``,
        ``constant_data``, and ``leave_one_out`` (dim run). Groups with values by draw and run hold
        fewer draws for long logs: see :meth:`View.by_run`. All these groups take the law to hold
        exactly, as published coefficients do. ``posterior_drifting`` holds the draws of the model
        that allows for drift.
    card : ModelCard
        Priors and likelihood.
    runs : Runs or None
        The runs that were fitted; None for a published point estimate.
    record : mapping
        ``diagnostics``, ``provenance``, ``seconds`` and ``without_outliers`` as plain values.
    at : mapping of str to float
        Values of inputs that :meth:`holding` stated.
    """

    tree: xr.DataTree
    card: ModelCard
    runs: Runs | None
    record: Mapping[str, Any]
    at: Mapping[str, float] = field(default_factory=dict)

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
    def members(self) -> "tuple[Posterior, ...]":
        """The fits of single laws: this one."""
        return (self,)

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of this law in the answer: 1."""
        return (1.0,)

    @property
    def meaning(self) -> str:
        """What the law's loss is: the mean over seeds, or a floor."""
        return FLOOR if self.card.is_floor else MEAN

    @property
    def diagnostics(self) -> Mapping[str, Any]:
        """Results of the convergence checks: rhat_max, ess_bulk_min, ..., passed, reasons."""
        return self.record["diagnostics"]

    @property
    def draws(self) -> xr.Dataset:
        """The ``posterior`` group, dims chain and draw; for a refit, its only draws."""
        return self.tree[EXACT if EXACT in self.tree.children else DRIFTING].to_dataset()

    @property
    def families(self) -> tuple[str, ...]:
        """Families with coefficients of their own; empty if there are none."""
        return families_of(self.draws)

    @cached_property
    def exact(self) -> View:
        """The view that takes the law to hold exactly.

        Raises
        ------
        PosteriorError
            If the fit does not hold these draws, as a refit with drift does not.
        """
        if EXACT not in self.tree.children:
            raise PosteriorError(
                "this fit holds only draws that allow for drift: refit with `drift=False`"
            )
        draws = self.tree[EXACT].to_dataset()
        return View(draws, self.card, self.runs, self.seed, held=self.held)

    @cached_property
    def drifting(self) -> View:
        """The view that allows for the law's drift; the exact one if the card has no drift.

        Raises
        ------
        PosteriorError
            If the fit does not hold these draws.
        """
        if self.card.drift is None or self.runs is None:
            return self.exact
        if DRIFTING not in self.tree.children:
            raise PosteriorError("this posterior does not hold the draws with drift: fit again")
        draws = self.tree[DRIFTING].to_dataset()
        return View(draws, self.card, self.runs, self.seed, drifts=True, held=self.held)

    @cached_property
    def held(self) -> Mapping[str, float]:
        """Values of inputs that the package does not know: as stated, or as in the largest run."""
        return held_inputs(self.law, self.runs, self.at)

    def holding(self, at: Mapping[str, Any] | None) -> "Posterior":
        """Return the fit with inputs that the package does not know held at values, by name.

        Raises
        ------
        LawError
            If the law has no such input, or a value is outside the card's guard.
        """
        return replace(self, at={**self.at, **checked_inputs(self.card, at or {})}) if at else self

    def view(self, drift: bool) -> View:
        """Return the view that allows for drift, or the exact one."""
        return self.drifting if drift else self.exact

    @cached_property
    def seed(self) -> int:
        """The seed of the sampler and of all later draws."""
        return int(self.record.get("provenance", {}).get("seed", 0))

    def rng(self, purpose: Purpose, place: int = 0) -> np.random.Generator:
        """Return a generator: the same seed, purpose and place give the same numbers."""
        return generator(self.seed, purpose, place)

    def combine(self, answer: "Callable[[Posterior], xr.DataArray]") -> xr.DataArray:
        """Return the answer of the law: see :meth:`ModelAverage.combine`."""
        return answer(self)

    def mix(self, answers: Sequence[xr.DataArray]) -> xr.DataArray:
        """Return the only answer, as it is: see :meth:`ModelAverage.mix`."""
        (answer,) = answers
        return answer


def point(
    card: ModelCard,
    values: Mapping[str, float],
    *,
    sigma: float | None = None,
    nu: float | None = None,
) -> Posterior:
    """Make a posterior with a single draw from a point estimate, for all functions that take fits.

    Parameters
    ----------
    card : ModelCard
        The card whose law the values belong to.
    values : mapping of str to float
        Every coefficient, in raw units; for a published estimate see
        :meth:`ModelCard.published_values`.
    sigma, nu : float, optional
        Noise scale on log loss and degrees of freedom, for forecasts of a single new run.

    Returns
    -------
    Posterior
        One chain of one draw, without runs.

    Raises
    ------
    PosteriorError
        If coefficients are missing or unknown.

    Examples
    --------
    >>> from bayescale.cards import load_card
    >>> card = load_card("chinchilla")
    >>> besiroglu = point(card, card.published_values("besiroglu_2024"))
    >>> loss = besiroglu.exact.loss({"params": 70e9, "tokens": 1.4e12})
    >>> round(float(loss.squeeze()), 4)
    1.9739
    """
    if set(values) != set(card.law.coefficients):
        raise PosteriorError(
            f"a point estimate of law {card.law.name!r} needs {', '.join(card.law.coefficients)}; "
            f"given {', '.join(values) or 'none'}"
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
    return Posterior(xr.DataTree.from_dict({EXACT: dataset}), card, None, record)
