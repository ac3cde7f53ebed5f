"""Draws of the drift: inferred among the runs, and carried on by random steps beyond them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from bayescale.drift import Component, Path
from bayescale.random import Purpose, generator

_DIMS = ("node", "chain", "draw")


@dataclass(frozen=True, eq=False)
class Walks:
    """Draws of the walks of a law's drift.

    Attributes
    ----------
    components : mapping of str to Component
        Each walk by name.
    draws : xarray.Dataset
        With the steps of each walk among the runs, and its size.
    seed : int
        Seed of the steps beyond the runs.
    """

    components: Mapping[str, Component]
    draws: xr.Dataset
    seed: int
    _longest: dict[str, Path] = field(default_factory=dict, init=False)

    def reaching(self, inputs: Mapping[str, Any]) -> list[tuple[Component, Path]]:
        """Return each walk with its path, which reaches as far as these inputs or farther.

        Paths have dims (node, chain, draw), and the same steps in every call.
        """
        found = []
        for position, (name, walk) in enumerate(self.components.items()):
            away, path = walk.distance(inputs), self._longest.get(name)
            reach = (float(-away.min()), float(away.max()))
            ends = (0.0, 0.0) if path is None else path.ends
            if path is None or reach[0] > ends[0] or reach[1] > ends[1]:
                farther = (max(reach[0], ends[0]), max(reach[1], ends[1]))
                # searches ask hundreds of times, for little more or nothing more
                path = self._longest[name] = self._path(position, name, walk, farther)
            found.append((walk, path))
        return found

    def integrated(self, inputs: Mapping[str, xr.DataArray]) -> tuple[Any, Any]:
        """Return the drift inferred from the runs, and the variance of that beyond them."""
        known, variance = 0.0, 0.0
        for position, (name, walk) in enumerate(self.components.items()):
            away, factor, frame = walk.distance(inputs), walk.factor(inputs), walk.frame
            known += factor * self._path(position, name, walk, (0.0, 0.0)).at(away)
            size = self.draws[f"drift_{walk.sized_by}"]
            beyond = frame.beyond((float(-away.min()), float(away.max())))
            for past, distance in zip(beyond, (-away, away), strict=True):
                reach = frame.reach(past, distance.expand_dims(step=1, axis=-1))
                variance += (size * factor) ** 2 * (reach**2).sum("step")
        return known, variance

    def _path(self, position: int, name: str, walk: Component, reach: tuple[float, float]) -> Path:
        frame = walk.frame
        size = self.draws[f"drift_{walk.sized_by}"].transpose(*_DIMS[1:]).values
        steps = self.draws[f"drift_walk_{name}"].transpose("step", *_DIMS[1:]).values
        sides, values = [], []
        for up, inside, past, inferred in zip(
            (False, True),
            (frame.down, frame.up),
            frame.beyond(reach),
            np.split(steps, [len(frame.down.gap)]),
            strict=True,
        ):
            rng = generator(self.seed, Purpose.drift(position, up=up))
            fresh = size * rng.standard_normal((len(past.gap), *size.shape))
            sides.append(inside.then(past))
            values.append(np.concatenate([inferred, fresh]))
        path = frame.path(sides, values)
        level, slope = (xr.DataArray(x, dims=_DIMS) for x in (path.level, path.slope))
        return replace(path, level=level, slope=slope)
