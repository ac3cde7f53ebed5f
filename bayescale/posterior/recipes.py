"""The posterior of recipes that share a law: losses of each of them, draw by draw."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.cards import ModelCard, drift_components
from bayescale.cards.recipes import OWN_STEPS
from bayescale.drift import coordinate
from bayescale.errors import PosteriorError
from bayescale.noise import draw
from bayescale.posterior.converged import refuse_unconverged
from bayescale.posterior.fit import Fit
from bayescale.posterior.predict import View
from bayescale.posterior.walks import Walks
from bayescale.random import Purpose, generator
from bayescale.runs import Runs, read_runs

_SEED_OF_RECIPE = 1000  # so that recipes' seeds differ from those of the shared drift


def runs_of_fits(fits: Mapping[str, Fit]) -> Runs:
    """Return a log with the runs of several fits, each of which is a recipe.

    Parameters
    ----------
    fits : mapping of str to Posterior or ModelAverage
        Fits of laws of params and tokens, by the name of the recipe.

    Raises
    ------
    PosteriorError
        If there are fewer than two fits, one has no runs with params and tokens, or the logs have
        different conventions.
    """
    parts, stated = [], {}
    for name, fit in fits.items():
        if fit.runs is None or not {"params", "tokens"} <= set(fit.runs.columns):
            raise PosteriorError(f"{name} holds no runs of params and tokens: fit a log with both")
        frame = fit.runs.to_frame()[["run_id", "params", "tokens", "loss"]]
        parts.append(frame.assign(run_id=name + " " + frame["run_id"].astype(str), family=name))
        stated[name] = fit.runs.conventions
    first = next(iter(stated.values()), None)
    unlike = [name for name, conventions in stated.items() if conventions != first]
    if len(parts) < 2 or unlike:
        raise PosteriorError(
            f"{unlike[0]} has other conventions than the first fit: convert one of the logs "
            "(`convert=`) and fit it again, so that both count alike"
            if unlike
            else "a comparison needs two fits or more, or one log with a column of recipes"
        )
    joined = read_runs(pd.concat(parts, ignore_index=True))
    return replace(joined, conventions=first or joined.conventions)


@dataclass(frozen=True, eq=False)
class Recipes:
    """A posterior of several recipes, made by :func:`bayescale.fit_recipes`.

    Attributes
    ----------
    draws : xarray.Dataset
        Dims chain and draw: the law's coefficients, the shared drift, and by recipe ``own_walk_*``
        and ``trend``.
    card : ModelCard
    runs : Runs
        The recipe of a run is in its column ``family``.
    seed : int
    diagnostics : mapping
    """

    draws: xr.Dataset
    card: ModelCard
    runs: Runs
    seed: int
    diagnostics: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The recipes."""
        return tuple(map(str, self.draws["recipe"].values))

    def require_converged(self, allow: bool = False) -> None:
        """Refuse draws that failed the convergence checks, unless ``allow`` is true.

        Raises
        ------
        UnconvergedError
            Unless they passed.
        """
        refuse_unconverged(self.diagnostics, allow)

    def log_loss(self, inputs: Mapping[str, xr.DataArray]) -> xr.DataArray:
        """Return the log of each recipe's mean loss, dims (recipe, chain, draw, ...)."""
        shared = xr.ufuncs.log(self._shared.loss(inputs))
        parts = [shared + self._own(i, inputs) for i in range(len(self.names))]
        found: Any = xr.concat(parts, xr.DataArray(list(self.names), dims="recipe", name="recipe"))
        return found

    def noise(self, n: int) -> np.ndarray:
        """Return independent draws of residual noise on log loss, shape (n, chain, draw)."""
        sigma, nu = (self.draws[name].values for name in ("sigma", "nu"))
        rng = generator(self.seed, Purpose.VERSUS)
        return np.stack([sigma * draw(rng, sigma.shape, nu) for _ in range(n)])

    @cached_property
    def _shared(self) -> View:
        own = self.draws["drift_own"]
        whole = xr.ufuncs.sqrt(1 + own**2 / 2)
        sizes = {name: self.draws[name] / whole for name in self._sizes}
        return View(self.draws.assign(sizes), self.card, self.runs, self.seed, drifts=True)

    @property
    def _sizes(self) -> list[str]:
        assert self.card.drift is not None
        return list(self.card.drift.parameters)

    def _own(self, i: int, inputs: Mapping[str, xr.DataArray]) -> xr.DataArray:
        """Return the departure of a recipe's log loss from that which all recipes share."""
        level, compute, ratio = (
            self.draws["trend"].isel(recipe=i, trend_part=j, drop=True) for j in range(3)
        )
        away = {
            axis: coordinate(inputs, axis) - self._centers[axis]
            for axis in ("flops", "tokens_per_param")
        }
        departure = level + compute * away["flops"] + ratio * away["tokens_per_param"]
        walks = self._own_walks[i].reaching(inputs)
        for walk, path in walks:
            departure = departure + walk.factor(inputs) * path.at(walk.distance(inputs))
        return departure

    @cached_property
    def _centers(self) -> dict[str, float]:
        inputs = {name: np.array(self.runs[name]) for name in self.card.law.inputs}
        return {
            axis: float(coordinate(inputs, axis).mean()) for axis in ("flops", "tokens_per_param")
        }

    @cached_property
    def _own_walks(self) -> list[Walks]:
        components = drift_components(self.card, self.runs, OWN_STEPS)
        own = self.draws["drift_own"]
        share = own / np.sqrt(2) / xr.ufuncs.sqrt(1 + own**2 / 2)
        sizes = {name: self.draws[name] * share for name in self._sizes}
        return [
            Walks(
                components,
                xr.Dataset(
                    sizes
                    | {
                        f"drift_walk_{name}": self.draws[f"own_walk_{name}"]
                        .isel(recipe=i, drop=True)
                        .rename(own_step="step")
                        for name in components
                    }
                ),
                self.seed + _SEED_OF_RECIPE * (i + 1),
            )
            for i in range(len(self.names))
        ]
