"""The posterior of a sweep: draws of the valley, at any size of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayescale.posterior.converged import refuse_unconverged
from bayescale.random import Purpose, generator
from bayescale.tuning.basis import Basis
from bayescale.tuning.card import load_tuning_card
from bayescale.tuning.sweep import Sweep
from bayescale.tuning.valley import excess

MOST_DRAWS = 800
"""Draws that answers use, evenly spaced."""


class Valley(NamedTuple):
    """Draws of the valley at one size of a run, shape (draw,) each.

    Attributes
    ----------
    level : numpy.ndarray
        Log of the well-tuned loss.
    lr, batch : numpy.ndarray
        Logs of the best learning rate and batch size, relative to the center; batch is None if the
        sweep has no batch sizes.
    curve : numpy.ndarray
        Log of the curvature in learning rate.
    coefficients : mapping of str to numpy.ndarray
    """

    level: np.ndarray
    lr: np.ndarray
    batch: np.ndarray | None
    curve: np.ndarray
    coefficients: Mapping[str, np.ndarray]

    def excess(self, lr: np.ndarray, batch: np.ndarray | None) -> np.ndarray:
        """Return the excess at settings that are logs relative to the center, (draw, setting)."""
        columns = {name: x[:, None] for name, x in self.coefficients.items()}
        z1 = lr - self.lr[:, None]
        z2 = None if batch is None or self.batch is None else batch - self.batch[:, None]
        return excess(columns, self.curve[:, None], z1, z2)


@dataclass(frozen=True, eq=False)
class Tuning:
    """A posterior of learning rate and batch size, from :func:`bayescale.fit_tuning`.

    Attributes
    ----------
    draws : xarray.Dataset
        Draws of the card's coefficients (chain, draw), and of ``u``, ``v``, ``w`` and ``k`` of each
        cell.
    sweep : Sweep
    record : mapping
        ``diagnostics``, ``provenance`` and ``seconds``.
    """

    draws: xr.Dataset
    sweep: Sweep
    record: Mapping[str, Any]

    @property
    def diagnostics(self) -> Mapping[str, Any]:
        """Results of the convergence checks."""
        return self.record["diagnostics"]

    def require_converged(self, allow: bool = False) -> None:
        """Raise an error if the draws failed the convergence checks, unless ``allow`` is true.

        Raises
        ------
        UnconvergedError
            If they failed and ``allow`` is false.
        """
        refuse_unconverged(self.diagnostics, allow)

    def rng(self, purpose: Purpose) -> np.random.Generator:
        """Return the generator of one purpose."""
        return generator(int(self.record["provenance"]["seed"]), purpose)

    def values(self) -> dict[str, np.ndarray]:
        """Return evenly spaced draws by name, each (draw,) or (draw, cell)."""
        flat = {
            str(name): x.transpose("chain", "draw", ...).values.reshape(-1, *x.shape[2:])
            for name, x in self.draws.data_vars.items()
        }
        n = len(next(iter(flat.values())))
        every = np.linspace(0, n - 1, min(n, MOST_DRAWS)).round().astype(int)
        return {name: x[every] for name, x in flat.items()}

    def noise(self, excess: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return draws of the noise of runs with these excesses of log loss, (draw, run)."""
        v = {name: x[:, None] for name, x in self.values().items() if x.ndim == 1}
        above = np.exp(v["noise_skew"])
        scale = np.sqrt(v["noise"] ** 2 + (v["noise_excess"] * excess) ** 2)
        size = abs(rng.standard_t(np.broadcast_to(v["noise_dof"], excess.shape)))
        is_above = rng.random(excess.shape) < above / (above + 1 / above)
        return scale * np.where(is_above, size * above, -size / above)

    def valley(self, params: float, tokens: float) -> Valley:
        """Return the valley at a size: the cell's if the size was swept, else a new cell's."""
        values, cells = self.values(), self.sweep.cells
        same = np.isclose(cells["params"], params) & np.isclose(cells["tokens"], tokens)
        if same.any():
            return self.valley_of_cell(int(np.flatnonzero(same)[0]), values)
        n, d = self.sweep.places(params, tokens)
        rng = self.rng(Purpose.NEW_RUN)

        def new(law: np.ndarray, spread: str) -> np.ndarray:
            return law + values[spread] * rng.standard_normal(len(law))

        def along(what: str) -> np.ndarray:
            start = values["curve_lr" if what == "curve" else f"{what}_0"]
            return start + values[f"{what}_params"] * n + values[f"{what}_tokens"] * d

        return Valley(
            level=new(self._frontier(values, n, d), "cells_level"),
            lr=new(along("lr"), "cells_lr"),
            batch=None if self.sweep.batch is None else new(along("batch"), "cells_batch"),
            curve=new(along("curve"), "cells_curve"),
            coefficients={name: x for name, x in values.items() if x.ndim == 1},
        )

    def _frontier(self, values: Mapping[str, np.ndarray], n: float, d: float) -> np.ndarray:
        mean, directions = self._basis.at(np.array([n]), np.array([d]))
        return mean[0] + values["frontier"] @ directions[:, 0]

    @cached_property
    def _basis(self) -> Basis:
        return self.sweep.basis(load_tuning_card())

    def valley_of_cell(self, cell: int, values: Mapping[str, np.ndarray] | None = None) -> Valley:
        """Return the valley of a cell of the sweep."""
        values = self.values() if values is None else values
        return Valley(
            level=values["u"][:, cell],
            lr=values["v"][:, cell],
            batch=None if self.sweep.batch is None else values["w"][:, cell],
            curve=values["k"][:, cell],
            coefficients={name: x for name, x in values.items() if x.ndim == 1},
        )
