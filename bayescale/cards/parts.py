"""Parts of a card: described quantities, residual noise, drift and published estimates."""

from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from bayescale.cards.prior import Prior, Strict
from bayescale.drift import TILT, Walk
from bayescale.units import FLOP_PER_PF_DAY

_UNIT_FACTORS = MappingProxyType({"PF-day": FLOP_PER_PF_DAY})


class Described(Strict):
    """A quantity of the model: its prior, its unit, its meaning, and the reason for the prior."""

    prior: Prior
    unit: str
    meaning: str
    why: str

    @property
    def unit_factor(self) -> float:
        """The number of raw units in one unit of the card."""
        return _UNIT_FACTORS.get(self.unit, 1.0)


class Input(Strict):
    """An input of a law that the package does not know: a positive column of the log.

    The priors are meant for values within ``range``, and answers at other values say so. Values
    outside ``guard`` are refused, because they are probably in another unit.
    """

    unit: str
    meaning: str
    range: tuple[PositiveFloat, PositiveFloat]
    guard: tuple[PositiveFloat, PositiveFloat]

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        (least, most), (low, high) = self.guard, self.range
        if not least <= low < high <= most:
            raise ValueError(
                f"range is {low:g} to {high:g} and guard {least:g} to {most:g}: write the smaller "
                "number first, and a guard that holds the range"
            )
        return self


class Rounding(Strict):
    """The rounding of losses: to a ``step`` of the loss in nats, or of its logarithm."""

    step: PositiveFloat
    of: Literal["loss", "log loss"]
    why: str


class InputErrors(Strict):
    """Standard errors of the logs of scales, the same for all runs.

    If ``flops`` has an error, a law of params and tokens takes tokens as flops / (6 params).
    """

    params: PositiveFloat | None = None
    tokens: PositiveFloat | None = None
    flops: PositiveFloat | None = None
    why: str

    @property
    def values(self) -> dict[str, float]:
        """The errors that are stated, by scale."""
        return {name: v for name, v in self.model_dump(exclude={"why"}).items() if v is not None}


PLANE = ("flops", "tokens_per_param")
"""The axes of drift in two dimensions: compute, and tokens per parameter."""

NOISE_PARAMETERS = ("sigma", "nu", "excess", "shrink", "shared")


class Noise(Strict):
    """Residual noise: how one run's log loss departs from the law. See :mod:`bayescale.noise`.

    ``sigma`` is the noise's scale, ``nu`` a Student-t's degrees of freedom. With ``excess``, runs
    lie above the law by an amount of this size: the law is then the floor that a well-tuned run
    reaches, not the mean over seeds. With ``shrink``, k, the scale is proportional to size^-k, and
    equals ``sigma`` at the runs' geometric mean. ``shared`` is the share of the noise's variance
    that rows of one training run have in common; it is used where the log's column ``run`` says
    which rows these are. ``rounding`` and ``input_errors`` state how precisely the log gives losses
    and scales; its columns ``loss_step``, ``params_se``, ``tokens_se`` and ``flops_se`` can state
    this for each run.
    """

    dist: Literal["StudentT", "Normal"]
    sigma: Described
    nu: Described | None = None
    excess: Described | None = None
    shrink: Described | None = None
    shared: Described | None = None
    rounding: Rounding | None = None
    input_errors: InputErrors | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.dist == "StudentT") != (self.nu is not None):
            raise ValueError("StudentT needs a prior on nu, and Normal must not have one")
        if self.shared is not None and not _lies_within_one(self.shared.prior):
            raise ValueError(
                "shared is a share of variance, so its prior must lie between 0 and 1: use "
                'dist = "Beta", or "Uniform"'
            )
        return self

    @property
    def parameters(self) -> dict[str, Described]:
        """The noise's own parameters by name."""
        named = {name: getattr(self, name) for name in NOISE_PARAMETERS}
        return {name: described for name, described in named.items() if described is not None}


def _lies_within_one(prior: Prior) -> bool:
    return prior.dist == "Beta" or (prior.dist == "Uniform" and prior.kwargs["upper"] <= 1)


class Drift(Strict):
    """Model discrepancy: how mean losses depart from the law, away from the center of the runs.

    ``along`` names the scales: inputs of the law; for a law of params and tokens also ``flops`` and
    ``tokens_per_param``. ``walk`` says which quantity is a random walk along the logarithm of a
    scale: the ``level`` of the law's error on log loss, or its local ``slope``. Changes of the
    slope last, unless they fade over ``fades_over`` e-folds. ``size`` is the walks' scale q, one
    for all scales or one for each. With ``tilt``, for drift along flops and tokens_per_param, the
    slope of the error with tokens per parameter is a random walk along compute as well, whose size
    is this multiple of the size for tokens per parameter. See :mod:`bayescale.drift`.
    """

    along: tuple[str, ...] = Field(min_length=1)
    walk: Walk
    fades_over: float | None = Field(default=None, gt=0)
    tilt: float | None = Field(default=None, gt=0)
    size: Described | dict[str, Described]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.fades_over is not None and self.walk != "slope":
            raise ValueError('fades_over needs walk = "slope": state that, or leave fades_over out')
        if self.tilt is not None and (self.along != PLANE or self.walk != "slope"):
            raise ValueError(
                f'tilt needs walk = "slope" and along = {list(PLANE)}: state these, or leave it out'
            )
        if isinstance(self.size, dict) and set(self.size) != set(self.along):
            raise ValueError(
                f"size is stated for {', '.join(self.size) or 'nothing'}, but drift is along "
                f"{', '.join(self.along)}: state one size for all of them, or one for each"
            )
        return self

    @property
    def walks(self) -> tuple[str, ...]:
        """Names of the walks: one for each axis, and the tilt."""
        return self.along if self.tilt is None else (*self.along, TILT)

    @property
    def sizes(self) -> dict[str, Described]:
        """The walks' scales by axis."""
        stated = self.size if isinstance(self.size, dict) else dict.fromkeys(self.along, self.size)
        return {axis: stated[axis] for axis in self.along}

    @property
    def parameters(self) -> dict[str, Described]:
        """The walks' scales by the names of their draws, one for each axis."""
        return {f"drift_{axis}": size for axis, size in self.sizes.items()}


class Recipes(Strict):
    """How recipes that share a law differ: see :mod:`bayescale.cards.recipes`.

    ``level``, ``compute`` and ``tokens_per_param`` are standard deviations of the difference
    between two recipes in log loss, at the center of the runs and for an e-fold of each scale, for
    a ``scale`` of one. ``own`` is the drift of each recipe as a multiple of the shared drift.
    ``paired`` is the share of the noise variance that runs of the same size have in common.
    """

    level: PositiveFloat
    compute: PositiveFloat
    tokens_per_param: PositiveFloat
    paired: float = Field(ge=0, lt=1)
    scale: Described
    own: Described

    @property
    def parameters(self) -> dict[str, Described]:
        """The sampled quantities, by the names of their draws."""
        return {"drift_difference": self.scale, "drift_own": self.own}


class Published(BaseModel):
    """A published point estimate of the coefficients, in the card's units."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    source: str

    @property
    def values(self) -> dict[str, Any]:
        """The coefficients by name, in the card's units."""
        return dict(self.model_extra or {})
