"""Model cards: a law's priors and likelihood, with what they mean and why.

A card is a TOML file in ``models/`` that people read, copy, edit and compare. Its text is
kept inside every posterior that was made with it.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    PositiveFloat,
    ValidationError,
    model_validator,
)

from bayescale.drift import Frame, Walk, coordinate
from bayescale.errors import CardError, LawError, collected
from bayescale.laws import LAWS, Balance, Law, Term, find_law
from bayescale.runs import Runs
from bayescale.runs.log import ERRORS, SCALES
from bayescale.units import FLOP_PER_PF_DAY

PRIOR_MASS = 0.9
"""The share of a prior that lies between its ``low`` and ``high``."""

_NORMAL_QUANTILE = 1.6448536269514722  # of (1 + PRIOR_MASS) / 2
_UNIT_FACTORS = {"PF-day": FLOP_PER_PF_DAY}
DISTRIBUTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # name: (needed, optional) arguments, spelt as in PyMC; all on positive quantities, because
    # the logarithm of every coefficient is used
    "LogNormal": (("mu", "sigma"), ()),
    "TruncatedNormal": (("mu", "sigma", "lower"), ("upper",)),
    "HalfNormal": (("sigma",), ()),
    "Gamma": (("alpha", "beta"), ()),
    "Beta": (("alpha", "beta"), ()),
    "Exponential": (("lam",), ()),
    "Uniform": (("lower", "upper"), ()),
    # exp(scale z |z|) of a standard normal z: nearly always near one, now and then far from it
    "NearOne": (("scale",), ()),
}


REPEATED = 1.05
"""Epochs from which on tokens count as seen again."""

_MOST_ROTATED = 500  # a rotation of more runs costs more than it saves


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Prior(_Strict):
    """What is believed of one positive quantity before the runs are seen.

    Either ``low`` and ``high``, the central interval that holds 90 % of a log-normal, or
    ``dist`` with ``kwargs``, a named distribution with PyMC's argument names. With ``at``,
    the belief is about the size of the coefficient's term: in nats per token at that scale
    of the term's input, in raw units; or with ``at = "runs"`` as a multiple of the runs'
    typical loss, at the runs' typical scale (geometric means). A term that depends on two
    scales is a ratio of two parts, and ``at`` then names both. With ``across``, ``low`` and
    ``high`` are places along the runs' range of that input on a log scale: 0 is the smallest
    run, 1 the largest.
    """

    low: float | None = None
    high: float | None = None
    dist: str | None = None
    kwargs: dict[str, float] = Field(default_factory=dict)
    at: PositiveFloat | dict[str, PositiveFloat] | Literal["runs"] | None = None
    across: str | None = None

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        ci_prob = self.low is not None or self.high is not None
        if ci_prob == (self.dist is not None):
            raise ValueError("state a prior either by low and high or by dist and kwargs")
        if ci_prob:
            if self.low is None or self.high is None:
                raise ValueError("low and high belong together")
            if not self.low < self.high:
                raise ValueError(f"low is {self.low:g}, but must be below high, {self.high:g}")
            if self.kwargs:
                raise ValueError("kwargs belong to dist; low and high need none")
            if self.across is None and not self.low > 0:
                raise ValueError(f"low is {self.low:g}, but must be greater than zero")
            if self.across is not None and self.at is not None:
                raise ValueError("state a prior either at a scale or across the runs")
            return self
        if self.at == "runs" or self.across is not None:
            raise ValueError("a prior relative to the runs is stated by low and high")
        if self.dist is None or self.dist not in DISTRIBUTIONS:
            raise ValueError(
                f"distribution {self.dist!r} is unknown: use {', '.join(DISTRIBUTIONS)}"
            )
        needed, optional = DISTRIBUTIONS[self.dist]
        if not set(needed) <= set(self.kwargs) <= {*needed, *optional}:
            takes = ", ".join([*needed, *(f"[{name}]" for name in optional)])
            raise ValueError(
                f"{self.dist} takes kwargs {takes}; given {', '.join(self.kwargs) or 'none'}"
            )
        for name in ("sigma", "alpha", "beta", "lam", "scale"):
            if self.kwargs.get(name, 1.0) <= 0:
                raise ValueError(f"{self.dist} needs {name} > 0; given {self.kwargs[name]:g}")
        if self.kwargs.get("lower", 0.0) < 0:
            raise ValueError(
                f"{self.dist} needs lower of zero or more, because the quantity is positive; given "
                f"{self.kwargs['lower']:g}"
            )
        if self.kwargs.get("lower", -math.inf) >= self.kwargs.get("upper", math.inf):
            raise ValueError(f"{self.dist} needs lower below upper; given {self.kwargs}")
        return self

    def log_at(self, term: Term) -> dict[str, float]:
        """Logs of the scales that the belief is stated at, by input."""
        if isinstance(self.at, float):
            return dict.fromkeys(term.inputs, math.log(self.at))
        return {k: math.log(x) for k, x in self.at.items()} if isinstance(self.at, dict) else {}

    @property
    def stated_at(self) -> bool:
        """Whether the belief is about the coefficient's term at scales that are known."""
        return isinstance(self.at, float | dict)

    @property
    def relative(self) -> bool:
        """Whether it is stated relative to the runs."""
        return self.at == "runs" or self.across is not None

    @property
    def log_normal(self) -> tuple[float, float] | None:
        """Mean and standard deviation of the logarithm, where that is normal.

        With ``across``, those of the place along the range instead.
        """
        if self.low is not None and self.high is not None:
            if self.across is not None:
                low, high = self.low, self.high
            else:
                low, high = math.log(self.low), math.log(self.high)
            return (low + high) / 2, (high - low) / (2 * _NORMAL_QUANTILE)
        if self.dist == "LogNormal":
            return self.kwargs["mu"], self.kwargs["sigma"]
        return None

    @cached_property
    def frozen(self) -> Any:
        """The same distribution with ``rvs``, ``logpdf`` and ``ppf``, as SciPy has them."""
        k = self.kwargs
        if self.relative:
            raise CardError("a prior relative to the runs has no density before they are known")
        if self.log_normal is not None:
            return LogNormal(*self.log_normal)
        from scipy import stats  # which takes half a second to import

        match self.dist:
            case "TruncatedNormal":
                low, high = k["lower"], k.get("upper", math.inf)
                a, b = (low - k["mu"]) / k["sigma"], (high - k["mu"]) / k["sigma"]
                return stats.truncnorm(a, b, loc=k["mu"], scale=k["sigma"])
            case "HalfNormal":
                return stats.halfnorm(scale=k["sigma"])
            case "Gamma":
                return stats.gamma(k["alpha"], scale=1 / k["beta"])
            case "Beta":
                return stats.beta(k["alpha"], k["beta"])
            case "Exponential":
                return stats.expon(scale=1 / k["lam"])
            case "NearOne":
                return NearOne(k["scale"])
        return stats.uniform(k["lower"], k["upper"] - k["lower"])


def _log_width(sigma: Any) -> Any:
    return np.log(sigma) + math.log(2 * math.pi) / 2


@dataclass(frozen=True)
class LogNormal:
    """The distribution of ``exp(mu + sigma z)`` for a standard normal z."""

    mu: float
    sigma: float

    def rvs(self, size: Any, random_state: np.random.Generator) -> np.ndarray:
        """Draws."""
        return np.exp(self.mu + self.sigma * random_state.standard_normal(size))

    def logpdf(self, x: Any) -> Any:
        """Log density."""
        log_x = np.log(np.asarray(x))
        return -(((log_x - self.mu) / self.sigma) ** 2) / 2 - log_x - _log_width(self.sigma)

    def ppf(self, q: Any) -> Any:
        """Quantiles."""
        from scipy.special import ndtri

        return np.exp(self.mu + self.sigma * ndtri(q))


@dataclass(frozen=True)
class NearOne:
    """The distribution of ``exp(scale z |z|)`` for a standard normal z."""

    scale: float

    def rvs(self, size: Any, random_state: np.random.Generator) -> np.ndarray:
        """Draws."""
        z = random_state.standard_normal(size)
        return np.exp(self.scale * z * np.abs(z))

    def logpdf(self, x: Any) -> Any:
        """Log density; endless at one."""
        root = np.sqrt(np.abs(np.log(x)) / self.scale)
        with np.errstate(divide="ignore"):
            return -(root**2) / 2 - _log_width(2 * self.scale * root) - np.log(x)

    def ppf(self, q: Any) -> Any:
        """Quantiles."""
        from scipy.special import ndtri

        z = ndtri(q)
        return np.exp(self.scale * z * np.abs(z))


class Described(_Strict):
    """A quantity of the model: its prior, its unit, what it means and why this prior."""

    prior: Prior
    unit: str
    meaning: str
    why: str

    @property
    def unit_factor(self) -> float:
        """Raw units in one unit of the card."""
        return _UNIT_FACTORS.get(self.unit, 1.0)


class Rounding(_Strict):
    """What losses are rounded to: a ``step`` of the loss in nats, or of its logarithm."""

    step: PositiveFloat
    of: Literal["loss", "log loss"]
    why: str


class InputErrors(_Strict):
    """Standard errors of the logs of scales, alike for all runs.

    With ``flops``, a law of params and tokens takes tokens as flops / (6 params).
    """

    params: PositiveFloat | None = None
    tokens: PositiveFloat | None = None
    flops: PositiveFloat | None = None
    why: str

    @property
    def values(self) -> dict[str, float]:
        """Those that are stated, by scale."""
        return {name: v for name, v in self.model_dump(exclude={"why"}).items() if v is not None}


class Noise(_Strict):
    """How one run's log loss scatters about the law. See :mod:`bayescale.noise`.

    ``sigma`` is the scatter's scale, ``nu`` a Student-t's degrees of freedom. With ``excess``,
    runs lie above the law by as much: it is then the floor that a well-tuned run reaches, not
    the mean of runs. With ``shrink``, k, the scale goes as size^-k about the runs' geometric
    mean, where it is ``sigma``. ``shared`` is the share of the scatter's variance that rows of
    one training run have in common; it is used where the log's column ``run`` says which.
    ``rounding`` and ``input_errors`` state what the log knows only roughly; its own columns
    ``loss_step``, ``params_se``, ``tokens_se`` and ``flops_se`` say it run by run.
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
    def _degrees_of_freedom(self) -> Self:
        if (self.dist == "StudentT") != (self.nu is not None):
            raise ValueError("StudentT needs a prior on nu, and Normal takes none")
        if self.shared is not None and not _within_one(self.shared.prior):
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


NOISE_PARAMETERS = ("sigma", "nu", "excess", "shrink", "shared")


def _within_one(prior: Prior) -> bool:
    return prior.dist == "Beta" or (prior.dist == "Uniform" and prior.kwargs["upper"] <= 1)


class Drift(_Strict):
    """How far the truth wanders from the law on log loss, away from the center of the runs.

    ``along`` names the scales: inputs of the law, or ``flops`` for a law of params and
    tokens. ``walk`` says what wanders, per e-fold of scale: the ``level`` of the law's error,
    or its local ``slope``, whose changes last unless they die away over ``fades_over`` e-folds.
    ``size`` is the walk's scale q. See :mod:`bayescale.drift`.
    """

    along: tuple[str, ...] = Field(min_length=1)
    walk: Walk
    fades_over: float | None = Field(default=None, gt=0)
    size: Described

    @model_validator(mode="after")
    def _a_slope_fades(self) -> Self:
        if self.fades_over is not None and self.walk != "slope":
            raise ValueError('fades_over is for a slope: say walk = "slope", or leave it out')
        return self

    @property
    def parameters(self) -> dict[str, Described]:
        """The walks' scales by name, one an axis."""
        return {f"drift_{axis}": self.size for axis in self.along}


class Published(BaseModel):
    """A published point estimate of the coefficients, in the card's units."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    source: str

    @property
    def values(self) -> dict[str, float]:
        """The coefficients by name, in the card's units."""
        return dict(self.model_extra or {})


class ModelCard(_Strict):
    """A Bayesian scaling law: law, likelihood, and a prior on every coefficient.

    Made by :func:`load_card`; frozen.
    """

    name: str
    title: str
    law: InstanceOf[Law]
    summary: str
    references: tuple[str, ...]
    coefficients: dict[str, Described]
    noise: Noise
    drift: Drift | None = None
    family: dict[str, Described] = Field(default_factory=dict)
    published: dict[str, Published] = Field(default_factory=dict)
    text: str

    @model_validator(mode="after")
    def _fits_its_law(self) -> Self:
        law: Law = self.law
        problems: list[str] = []
        problems += [
            f"coefficients.{name} is missing; law {law.name!r} has it"
            for name in law.coefficients
            if name not in self.coefficients
        ]
        for name, described in self.coefficients.items():
            term = law.terms.get(name)
            if name not in law.coefficients:
                problems.append(
                    f"coefficients.{name} is not a coefficient of law {law.name!r}, which has "
                    f"{', '.join(law.coefficients)}"
                )
            elif described.prior.at is not None and (
                term is None
                or (described.prior.at != "runs" and not term.inputs)
                or (isinstance(described.prior.at, float) and len(term.inputs) > 1)
                or (
                    isinstance(described.prior.at, dict)
                    and set(described.prior.at) != set(term.inputs)
                )
            ):
                needs = (
                    f"; its term depends on {' and '.join(term.inputs)}"
                    if term and term.inputs
                    else ""
                )
                problems.append(f"coefficients.{name} has no scale to state a prior at{needs}")
            elif described.prior.across is not None and (
                term is not None or described.prior.across not in law.inputs
            ):
                problems.append(
                    f"coefficients.{name} cannot lie across the runs' {described.prior.across}: "
                    f"only a coefficient that is a scale of {' or '.join(law.inputs)} can"
                )
        if self.drift is not None:
            axes = {*law.inputs, *(("flops",) if {"params", "tokens"} <= set(law.inputs) else ())}
            problems += [
                f"drift.along names {axis!r}, but law {law.name!r} goes along "
                f"{', '.join(sorted(axes))}"
                for axis in self.drift.along
                if axis not in axes
            ]
            if self.drift.size.prior.at is not None or self.drift.size.prior.across is not None:
                problems.append("drift.size has no scale to state a prior at")
        if self.noise.shrink is not None and not set(law.inputs) & set(SCALES):
            problems.append(
                f"noise.shrink needs a law of params, tokens or flops; law {law.name!r} is of "
                f"{' and '.join(law.inputs)}"
            )
        problems += [
            f"noise.{name} has no scale to state a prior at"
            for name, described in self.noise.parameters.items()
            if described.prior.at is not None or described.prior.across is not None
        ]
        problems += [
            f"family.{name} cannot differ between families: only the size of a term can, here "
            f"{', '.join(law.terms) or 'none'}"
            for name in self.family
            if name not in law.terms
        ]
        problems += [
            f"family.{name} needs a log-normal prior on coefficients.{name}: state low and high"
            for name in self.family
            if name in self.coefficients and self.coefficients[name].prior.log_normal is None
        ]
        for key, point in self.published.items():
            wrong = {k for k, v in point.values.items() if not isinstance(v, int | float)}
            if wrong or set(point.values) != set(law.coefficients):
                problems.append(
                    f"published.{key} must give a number for each of {', '.join(law.coefficients)}"
                    f"; it gives {', '.join(point.values) or 'none'}"
                )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def parameters(self) -> dict[str, Described]:
        """Every quantity with a prior but the spreads between families, by name."""
        drift = self.drift.parameters if self.drift is not None else {}
        return self.coefficients | self.noise.parameters | drift

    def integrates_drift(self, runs: Runs) -> bool:
        """Whether drift can be integrated out: one axis, and normal noise alike for all runs."""
        noise = self.noise
        return (
            self.drift is not None
            and len(self.drift.along) == 1
            and noise.dist == "Normal"
            and (noise.excess, noise.shrink, noise.rounding, noise.input_errors) == (None,) * 4
            and not any(column in runs for column in (*ERRORS, "loss_step"))
            and not has_checkpoints(runs)
            and len(runs) <= _MOST_ROTATED
        )

    @property
    def of_floor(self) -> bool:
        """Whether the law is the floor that a well-tuned run reaches, not the mean of runs."""
        return self.noise.excess is not None

    @property
    def drifts_along_compute(self) -> bool:
        """Whether drift moves the losses of all splits of a budget alike."""
        return self.drift is not None and self.drift.along == ("flops",)

    def without_drift(self) -> "ModelCard":
        """The same card for a law that is taken to hold exactly."""
        return self.model_copy(update={"drift": None})

    def anchored(self, runs: Runs) -> "ModelCard":
        """The same card with priors that are relative to the runs made absolute.

        Raises
        ------
        RunLogError
            If the runs lack an input of the law.
        """
        loss = float(np.exp(np.log(runs["loss"]).mean()))

        def absolute(name: str, described: Described) -> Described:
            prior, unit = described.prior, described.unit_factor
            if not prior.relative:
                return described
            assert prior.low is not None
            assert prior.high is not None
            if prior.across is not None:
                log_x = np.log(runs[prior.across])
                low, high = (
                    float(np.exp(log_x.min() + place * np.ptp(log_x))) / unit
                    for place in (prior.low, prior.high)
                )
                return described.model_copy(update={"prior": Prior(low=low, high=high)})
            term = self.law.terms[name]
            at = {scale: float(np.exp(np.log(runs[scale]).mean())) for scale in term.inputs}
            times = 1.0 if isinstance(term, Balance) else loss
            stated = Prior(low=prior.low * times, high=prior.high * times, at=at or None)
            return described.model_copy(update={"prior": stated})

        coefficients = {name: absolute(name, d) for name, d in self.coefficients.items()}
        return self.model_copy(update={"coefficients": coefficients})

    def published_values(self, key: str) -> dict[str, float]:
        """A published point estimate, in raw units.

        Raises
        ------
        CardError
            If the card knows no estimate of that name.
        """
        if key not in self.published:
            raise CardError(
                f"card {self.name!r} has no published estimate {key!r}; it has "
                f"{', '.join(self.published) or 'none'}"
            )
        values = self.published[key].values
        return {
            name: float(values[name]) * self.coefficients[name].unit_factor
            for name in self.law.coefficients
        }

    def draw_prior(self, draws: int, seed: int, *, spreads: bool = False) -> dict[str, np.ndarray]:
        """Independent draws of every coefficient, of noise and of drift from the prior.

        A card with priors relative to the runs is to be :meth:`anchored` first.

        Parameters
        ----------
        draws : int
            How many.
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
        """Log density of each quantity on which the card states a belief.

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


def cards_folder() -> Path:
    """Where the package's own cards are: in the wheel, or beside the package in a checkout."""
    installed = Path(str(resources.files("bayescale"))) / "models"
    return installed if installed.is_dir() else installed.parents[1] / "models"


def card_names() -> list[str]:
    """Names of the cards that come with the package, in alphabetical order."""
    return sorted(path.stem for path in cards_folder().glob("*.toml"))


def load_card(source: str | Path, *, law: Law | Sequence[Law] | None = None) -> ModelCard:
    """Read a model card.

    Parameters
    ----------
    source : str or Path
        The name of one of the package's cards, or a path to a TOML file.
    law : Law or sequence of Law, optional
        The law, where it is the caller's own rather than one of the package's; or several, of
        which the card names one, or one of the package's.

    Raises
    ------
    CardError
        If there is no such card, it is not TOML, or it does not fit its law. All problems of
        a card are told at once.

    Examples
    --------
    >>> load_card("chinchilla").law.inputs
    ('params', 'tokens')
    """
    path = Path(source)
    if path.suffix != ".toml":
        if str(source) not in card_names():
            raise CardError(
                f"model card {str(source)!r} is unknown: use one of {', '.join(card_names())}, or "
                "a path ending in .toml"
            )
        path = cards_folder() / f"{source}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CardError(f"model card {str(path)!r} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"model card {str(path)!r} cannot be read: {error}") from error
    return parse_card(text, law=law, place=str(path))


def parse_card(
    text: str, *, law: Law | Sequence[Law] | None = None, place: str = "model card"
) -> ModelCard:
    """Make a card from its TOML text. See :func:`load_card`."""
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers and nesting too long
        raise CardError(f"{place} is not valid TOML: {error}") from error
    if "text" in content:
        raise CardError(f"{place} has an unknown key 'text'")
    content |= {"text": text, "law": _law_of(content.get("law"), law, place)}
    try:
        return ModelCard.model_validate(content)
    except ValidationError as error:
        problems = [line for item in error.errors() for line in _problem(item).splitlines()]
        raise CardError(collected(f"{place} cannot be used:", problems)) from None


def _law_of(name: Any, own: Law | Sequence[Law] | None, place: str) -> Law:
    # a card names its law and never a file: opening a card runs no code
    for law in (own,) if isinstance(own, Law) else own or ():
        if law.name == name:
            return law
    if isinstance(own, Law):
        raise CardError(f"{place} is for law {name!r}, not for law {own.name!r}")
    if name not in LAWS:
        raise CardError(
            f"{place} is for law {name!r}, which is not one of {', '.join(LAWS)}; if it is your "
            "own, name its file as well: --law file.py:NAME"
        )
    return LAWS[name]


def _problem(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"])
    match item["type"]:
        case "extra_forbidden":
            return f"{place} is an unknown key"
        case "missing":
            return f"{place} is missing"
        case "value_error":
            return f"{place}: {item['ctx']['error']}" if place else str(item["ctx"]["error"])
    message = item["msg"][0].lower() + item["msg"][1:]
    return f"{place} is {item['input']!r}: {message}"


# how a card meets a run log


def has_checkpoints(runs: Runs) -> bool:
    """Whether several rows are of one training run."""
    return "run" in runs and len(np.unique(runs["run"])) < len(runs)


def drift_frames(card: ModelCard, runs: Runs) -> dict[str, Frame]:
    """Where the drift takes its steps among these runs, by axis."""
    if card.drift is None:
        return {}
    inputs = {name: runs[name] for name in card.law.inputs}
    each_run = card.integrates_drift(runs)
    walk, fades_over = card.drift.walk, card.drift.fades_over
    return {
        axis: Frame.of(coordinate(inputs, axis), walk, fades_over, each_run=each_run)
        for axis in card.drift.along
    }


def drift_bases(card: ModelCard, runs: Runs) -> dict[str, np.ndarray]:
    """What each step of the drift has added at each run, (run, step), by axis."""
    inputs = {name: runs[name] for name in card.law.inputs}
    frames = drift_frames(card, runs)
    return {axis: frame.basis(coordinate(inputs, axis)) for axis, frame in frames.items()}


def choose_card(
    runs: Runs, law: str | Law | None = None, card: str | Path | ModelCard | None = None
) -> ModelCard:
    """The card for a law of these runs: see :func:`bayescale.fit`.

    Raises
    ------
    LawError, CardError
        If the law is unknown, or the card is not one of its cards.
    """
    if isinstance(law, str):
        law = find_law(law)
    if isinstance(card, ModelCard):
        chosen = card
    elif card is not None:
        own = law if law is not None and _is_own(law) else None
        chosen = load_card(card, law=own)
    elif law is not None and _is_own(law):
        raise CardError(
            f"law {law.name!r} is your own, so it needs a card of priors: name one with --card"
        )
    else:
        chosen = load_card(law.name if law is not None else default_laws(runs)[0])
    if law is not None and chosen.law.name != law.name:
        raise CardError(
            f"card {chosen.name!r} is for law {chosen.law.name!r}, not for law {law.name!r}"
        )
    return chosen


def cards_for_laws(
    runs: Runs,
    laws: Sequence[str | Law | ModelCard],
    card: str | Path | ModelCard | None = None,
) -> tuple[ModelCard, ...]:
    """The cards of several laws of these runs: see :func:`bayescale.fit`.

    Raises
    ------
    LawError, CardError
        If a law is unknown or repeated, the laws are functions of different inputs, or a card
        is given, which would be for one law only.
    """
    if card is not None:
        raise CardError("one card cannot serve several laws: give their cards in place of laws")
    cards = tuple(law if isinstance(law, ModelCard) else choose_card(runs, law) for law in laws)
    names = [chosen.law.name for chosen in cards]
    if not names or len(set(names)) < len(names):
        raise LawError(f"name each law once; given {', '.join(names) or 'none'}")
    if len({frozenset(chosen.law.inputs) for chosen in cards}) > 1:
        of = [f"{chosen.law.name} is of {' and '.join(chosen.law.inputs)}" for chosen in cards]
        raise LawError(
            f"laws of different inputs cannot be compared or pooled: {'; '.join(of)}. Choose laws "
            "of the same inputs"
        )
    return cards


def laws_with_cards(
    laws: Sequence[str], cards: Sequence[str | Path]
) -> tuple[Law | ModelCard, ...]:
    """Laws by name, each as the card that is for it, where one is; the cards', where none is named.

    Raises
    ------
    LawError, CardError
        If a law is unknown, or a card is for none of the laws or for one that has a card already.
    """
    found = [find_law(name) for name in laws]
    chosen: dict[str, ModelCard] = {}
    for source in cards:
        card = load_card(source, law=found)
        if found and card.law.name not in {law.name for law in found}:
            raise CardError(
                f"card {str(source)!r} is for law {card.law.name!r}, which is not among "
                f"{', '.join(law.name for law in found)}: name that law too, or leave the card out"
            )
        if card.law.name in chosen:
            raise CardError(f"card {str(source)!r} is a second one for law {card.law.name!r}")
        chosen[card.law.name] = card
    return tuple(chosen.get(law.name, law) for law in found) if found else tuple(chosen.values())


def _is_own(law: Law) -> bool:
    return LAWS.get(law.name) is not law


def _repeats(runs: Runs) -> bool:
    """Whether any run has seen tokens again, so that laws of fresh data do not apply."""
    if "unique_tokens" not in runs:
        return False
    return bool((runs["tokens"] > REPEATED * runs["unique_tokens"]).any())


def default_laws(runs: Runs) -> tuple[str, ...]:
    """Names of the laws that a log's columns can carry, pooled where none is named.

    Raises
    ------
    LawError
        If the log has no complete column of scale.
    """
    complete = {
        c for c in ("params", "tokens", "flops") if c in runs and np.isfinite(runs[c]).all()
    }
    if {"params", "tokens"} <= complete:
        if "kept_fraction" in runs and (runs["kept_fraction"] < 1).any():
            return ("pruned",)
        return ("repetition",) if _repeats(runs) else ("chinchilla", "kaplan_irreducible")
    for column, name in (("flops", "compute"), ("params", "params"), ("tokens", "tokens")):
        if column in complete:
            return (f"henighan_{name}", f"saturating_{name}")
    raise LawError(f"{runs.source} has no column of scale without gaps: fill one in")
