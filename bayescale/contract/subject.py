"""The subject of the contract's checks: a law at some runs, with draws from its prior."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bayescale.cards import Input, ModelCard
from bayescale.laws import Law
from bayescale.laws.law import INPUTS
from bayescale.laws.optimum import all_unique
from bayescale.runs import Runs

DRAWS = 200
"""Number of draws from the prior at which a law is examined."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A law at some runs, with coefficients from its card's prior."""

    law: Law
    card: ModelCard | None
    runs: Runs
    card_problem: str | None

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """The law's inputs, shape (run,)."""
        columns = (*INPUTS, *self.law.foreign)
        known = {name: np.array(self.runs[name]) for name in columns if name in self.runs}
        known = all_unique(self.law.inputs, known)
        return {name: known[name] for name in self.law.inputs}

    @cached_property
    def draws(self) -> dict[str, np.ndarray]:
        """Coefficients, shape (draw,)."""
        if self.card is None:  # any values will do
            return {name: np.full(1, 1.1 + 0.1 * i) for i, name in enumerate(self.law.coefficients)}
        draws = self.card.anchored(self.runs).draw_prior(DRAWS, seed=1)
        return {name: draws[name] for name in self.law.coefficients}

    @cached_property
    def middle(self) -> dict[str, float]:
        """The coefficients' medians."""
        return {name: float(np.median(values)) for name, values in self.draws.items()}

    @cached_property
    def losses(self) -> np.ndarray:
        """Losses of every draw at every run, shape (draw, run)."""
        return self.loss(self.inputs)

    def loss(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the loss of every draw at these inputs, shape (draw, run)."""
        columns = {name: values[:, None] for name, values in self.draws.items()}
        with np.errstate(all="ignore"):
            return np.asarray(self.law.loss(**inputs, **columns), dtype=float)

    @cached_property
    def graph(self) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
        """The function that evaluates the sampler's losses (run,) and gradient."""
        from bayescale.inference.model.symbolic import loss_and_slopes

        return loss_and_slopes(self.law)

    def one_by_one(self) -> np.ndarray:
        """Return the loss at each run from floats, at the medians."""
        points = zip(*self.inputs.values(), strict=True)
        return np.array([self.at(*map(float, point)) for point in points])

    def at(self, *point: float) -> Any:
        """Return the loss at one point from floats, at the medians."""
        named = dict(zip(self.inputs, point, strict=True))
        with np.errstate(all="ignore"):
            return self.law.loss(**named, **self.middle)

    def worst(self, bad: np.ndarray) -> str:
        """Return a text on the draws that an array (draw,) marks, with one as an example."""
        i = int(np.flatnonzero(bad)[0])
        values = ", ".join(f"{name} {values[i]:.3g}" for name, values in self.draws.items())
        return f"in {int(bad.sum())} of {len(bad)} draws of the prior, such as {values}"


_SCRAMBLED = np.array([4, 7, 2, 0, 5, 8, 3, 1, 6]) / 8  # not in the order of sizes
_ANY_RANGE = (1.0, 100.0)


def language_models(law: Law, described: Mapping[str, Input]) -> Runs:
    """Return the runs at which a law is examined by default.

    Inputs that the package does not know vary over the range that the card states.
    """
    params = np.geomspace(1e7, 1e11, 9)
    loss = np.geomspace(4.0, 1.9, 9)
    scales = {"params": params, "tokens": 20 * params, "flops": 120 * params**2}
    scales |= {"unique_tokens": 8 * params, "kept_fraction": np.full(9, 0.4), "lm_loss": loss}
    for name in law.foreign:
        low, high = described[name].range if name in described else _ANY_RANGE
        scales[name] = low * (high / low) ** _SCRAMBLED
    frame = pd.DataFrame({"run_id": [f"{n:.0e}" for n in params], **scales, "loss": loss})
    return Runs(frame=frame, columns={}, source="language models of 1e7 to 1e11 params")
