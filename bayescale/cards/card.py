"""Model cards, and the rules that make a card fit its law."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from pydantic import Field, InstanceOf, model_validator

from bayescale.cards.parts import PLANE, Described, Drift, Input, Noise, Published, Recipes
from bayescale.cards.prior import Prior, Strict
from bayescale.errors import CardError, did_you_mean, shortened
from bayescale.laws import Balance, Law
from bayescale.runs import Runs
from bayescale.runs.log import ERRORS, SCALES

_MOST_ROTATED = 500  # a rotation of more runs costs more than it saves


class ModelCard(Strict):
    """A Bayesian scaling law: a law, a likelihood, and a prior on every coefficient.

    Cards are made by :func:`load_card` and are immutable.
    """

    def __repr__(self) -> str:
        return f"<ModelCard {self.name}: {shortened(self.title)}>"

    name: str
    title: str
    law: InstanceOf[Law]
    summary: str
    references: tuple[str, ...]
    learned_from: tuple[str, ...] = ()
    """Digests of the run logs that its priors were learned from, so that no log counts twice."""
    inputs: dict[str, Input] = Field(default_factory=dict)
    coefficients: dict[str, Described]
    noise: Noise
    drift: Drift | None = None
    family: dict[str, Described] = Field(default_factory=dict)
    recipes: Recipes | None = None
    published: dict[str, Published] = Field(default_factory=dict)
    text: str

    @model_validator(mode="after")
    def _fits_its_law(self) -> Self:
        problems = [problem for rule in _RULES for problem in rule(self)]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def parameters(self) -> dict[str, Described]:
        """Every quantity with a prior except the spreads between families, by name."""
        drift = self.drift.parameters if self.drift is not None else {}
        return self.coefficients | self.noise.parameters | drift

    def integrates_drift(self, runs: Runs) -> bool:
        """Whether drift can be integrated out: one axis, and the same normal noise for all runs."""
        noise = self.noise
        return (
            self.drift is not None
            and len(self.drift.along) == 1
            and noise.dist == "Normal"
            and (noise.excess, noise.shrink, noise.rounding, noise.input_errors) == (None,) * 4
            and not any(column in runs for column in (*ERRORS, "loss_step"))
            and not runs.has_checkpoints
            and len(runs) <= _MOST_ROTATED
        )

    @property
    def is_floor(self) -> bool:
        """Whether the law is the floor that a well-tuned run reaches, not the mean over seeds."""
        return self.noise.excess is not None

    @property
    def drifts_across_splits(self) -> bool:
        """Whether drift differs between splits of a budget, so that it widens their comparison."""
        return self.drift is not None and self.drift.along != ("flops",)

    def without_drift(self) -> "ModelCard":
        """Return a copy of the card without drift, which takes the law to hold exactly."""
        return self.model_copy(update={"drift": None})

    def anchored(self, runs: Runs) -> "ModelCard":
        """Return a copy of the card in which priors relative to the runs are made absolute.

        Raises
        ------
        RunLogError
            If the runs lack an input of the law.
        """
        coefficients = {
            name: self._anchor(name, described, runs)
            for name, described in self.coefficients.items()
        }
        return self.model_copy(update={"coefficients": coefficients})

    def _anchor(self, name: str, described: Described, runs: Runs) -> Described:
        prior = described.prior
        if not prior.relative:
            return described
        assert prior.low is not None
        assert prior.high is not None
        if prior.across is not None:
            log_x = np.log(runs[prior.across])
            low, high = (
                float(np.exp(log_x.min() + place * np.ptp(log_x))) / described.unit_factor
                for place in (prior.low, prior.high)
            )
            return described.model_copy(update={"prior": Prior(low=low, high=high)})
        term = self.law.terms[name]
        at = {scale: _geometric_mean(runs[scale]) for scale in term.inputs}
        times = 1.0 if isinstance(term, Balance) else _geometric_mean(runs["loss"])
        absolute = Prior(low=prior.low * times, high=prior.high * times, at=at or None)
        return described.model_copy(update={"prior": absolute})

    def published_values(self, key: str) -> dict[str, float]:
        """Return a published point estimate by coefficient, in raw units.

        Raises
        ------
        CardError
            If the card has no estimate with this name.
        """
        if key not in self.published:
            raise CardError(
                f"card {self.name!r} has no published estimate {key!r}; it has "
                f"{', '.join(self.published) or 'none'}{did_you_mean(key, self.published)}"
            )
        values = self.published[key].values
        return {
            name: float(values[name]) * self.coefficients[name].unit_factor
            for name in self.law.coefficients
        }

    def draw_prior(self, draws: int, seed: int, *, spreads: bool = False) -> dict[str, np.ndarray]:
        """Return independent draws of every coefficient, of noise and of drift from the prior.

        If the card has priors relative to the runs, call :meth:`anchored` first.

        Parameters
        ----------
        draws : int
            Number of draws.
        seed : int
            The same seed gives the same draws.
        spreads : bool
            Whether to draw the spreads between families as well, as ``<coefficient>_spread``.

        Returns
        -------
        dict of str to numpy.ndarray
            Arrays of shape (draws,), in raw units.
        """
        rng = np.random.default_rng(seed)

        def draw(described: Described) -> np.ndarray:
            values = described.prior.frozen.rvs(size=draws, random_state=rng)
            return values * (1.0 if described.prior.at else described.unit_factor)

        stated = {name: draw(self.coefficients[name]) for name in self.law.coefficients}
        values = dict(stated)
        for name, term in self.law.terms.items():
            prior = self.coefficients[name].prior
            if prior.stated_at:
                log_coefficient = term.log_coefficient(
                    np.log(stated[name]), values, prior.log_at(term)
                )
                values[name] = np.exp(log_coefficient)
        others = [name for name in self.parameters if name not in self.coefficients]
        values |= {name: draw(self.parameters[name]) for name in others}
        between = {f"{name}_spread": spread for name, spread in self.family.items()}
        return values | {name: draw(spread) for name, spread in between.items() if spreads}

    def log_prior(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the log prior density of each quantity on which the card has a prior.

        Parameters
        ----------
        values : mapping of str to array_like
            Coefficients, noise parameters and sizes of drift, in raw units.

        Returns
        -------
        dict of str to array_like
            The log density of the stated quantity: the coefficient itself in the card's unit,
            or the term's value where the card anchors it at a scale.
        """
        described = self.parameters
        density = {}
        for name, value in values.items():
            prior, factor = described[name].prior, described[name].unit_factor
            stated = value / factor
            if prior.stated_at:
                term = self.law.terms[name]
                stated = np.exp(term.log_value(np.log(value), values, prior.log_at(term)))
            density[name] = prior.frozen.logpdf(stated)
        return density


def _geometric_mean(values: np.ndarray) -> float:
    return float(np.exp(np.log(values).mean()))


# rules by which a card fits its law


def _inputs_suit_the_law(card: ModelCard) -> Iterator[str]:
    for name in card.law.foreign:
        if name not in card.inputs:
            yield (
                f"inputs.{name} is missing; law {card.law.name!r} has that input, which the "
                "package does not know: state its unit, meaning, range and guard"
            )
    for name in card.inputs:
        if name not in card.law.foreign:
            others = ", ".join(card.law.foreign) or "none"
            yield (
                f"inputs.{name} must not be stated: leave it out. [inputs] is for the inputs of "
                f"law {card.law.name!r} that the package does not know: {others}"
            )


def _coefficients_are_complete(card: ModelCard) -> Iterator[str]:
    for name in card.law.coefficients:
        if name not in card.coefficients:
            yield f"coefficients.{name} is missing: law {card.law.name!r} needs a prior on it"


def _coefficients_suit_the_law(card: ModelCard) -> Iterator[str]:
    law = card.law
    for name, described in card.coefficients.items():
        term, prior = law.terms.get(name), described.prior
        if name not in law.coefficients:
            yield (
                f"coefficients.{name} is not a coefficient of law {law.name!r}, which has "
                f"{', '.join(law.coefficients)}"
            )
        elif prior.at is not None and not _has_scale(prior, term):
            inputs = term.inputs if term is not None else ()
            needs = f"; its term depends on {' and '.join(inputs)}" if inputs else ""
            yield f"coefficients.{name} has no scale to state a prior at{needs}"
        elif prior.across is not None and (term is not None or prior.across not in law.inputs):
            yield (
                f"coefficients.{name} cannot have a prior across the runs' {prior.across}: only a "
                f"coefficient that is a value of {' or '.join(law.inputs)} can"
            )


def _has_scale(prior: Prior, term: Any) -> bool:
    """Return whether a prior is stated at exactly the scales that a term depends on."""
    if term is None:
        return False
    if isinstance(prior.at, dict):
        return set(prior.at) == set(term.inputs)
    return prior.at == "runs" or len(term.inputs) == 1


def _drift_suits_the_law(card: ModelCard) -> Iterator[str]:
    if card.drift is None:
        return
    inputs = set(card.law.inputs) - set(card.law.foreign)
    axes = inputs | (set(PLANE) if {"params", "tokens"} <= inputs else set())
    for axis in card.drift.along:
        if axis not in axes:
            yield (
                f"drift.along names {axis!r}, but law {card.law.name!r} can only drift along "
                f"{', '.join(sorted(axes))}"
            )
    priors = [size.prior for size in card.drift.sizes.values()]
    if any(prior.at is not None or prior.across is not None for prior in priors):
        yield "drift.size has no scale to state a prior at: leave at and across out"


def _noise_suits_the_law(card: ModelCard) -> Iterator[str]:
    if card.noise.shrink is not None and not set(card.law.inputs) & set(SCALES):
        yield (
            f"noise.shrink needs a law of params, tokens or flops; law {card.law.name!r} is of "
            f"{' and '.join(card.law.inputs)}"
        )
    for name, described in card.noise.parameters.items():
        if described.prior.at is not None or described.prior.across is not None:
            yield f"noise.{name} has no scale to state a prior at: leave at and across out"


def _families_suit_the_law(card: ModelCard) -> Iterator[str]:
    for name in card.family:
        if name not in card.law.terms:
            yield (
                f"family.{name} cannot differ between families: only the size of a term can, here "
                f"{', '.join(card.law.terms) or 'none'}"
            )
    for name in card.family:
        if name in card.coefficients and card.coefficients[name].prior.log_normal is None:
            yield (
                f"family.{name} needs a log-normal prior on coefficients.{name}: state low and high"
            )


def _published_estimates_are_complete(card: ModelCard) -> Iterator[str]:
    for key, point in card.published.items():
        values = point.values
        numbers = all(isinstance(value, int | float) for value in values.values())
        if not numbers or set(values) != set(card.law.coefficients):
            yield (
                f"published.{key} must give a number for each of "
                f"{', '.join(card.law.coefficients)}; it gives {', '.join(values) or 'none'}"
            )


_RULES = (
    _inputs_suit_the_law,
    _coefficients_are_complete,
    _coefficients_suit_the_law,
    _drift_suits_the_law,
    _noise_suits_the_law,
    _families_suit_the_law,
    _published_estimates_are_complete,
)
