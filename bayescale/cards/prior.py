"""Priors on positive quantities, and their distributions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from bayescale.errors import CardError
from bayescale.laws import Term

PRIOR_MASS = 0.9
"""The share of a prior that lies between its ``low`` and ``high``."""

_NORMAL_QUANTILE = 1.6448536269514722  # at (1 + PRIOR_MASS) / 2

DISTRIBUTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "LogNormal": (("mu", "sigma"), ()),
        "TruncatedNormal": (("mu", "sigma", "lower"), ("upper",)),
        "HalfNormal": (("sigma",), ()),
        "Gamma": (("alpha", "beta"), ()),
        "Beta": (("alpha", "beta"), ()),
        "Exponential": (("lam",), ()),
        "Uniform": (("lower", "upper"), ()),
        # exp(scale z |z|) of a standard normal z: nearly always near one, sometimes far from it
        "NearOne": (("scale",), ()),
    }
)
"""Required and optional arguments of each distribution, with PyMC's names.

All are distributions of positive quantities, because the model takes the log of every coefficient.
"""


class Strict(BaseModel):
    """A frozen part of a card that refuses unknown keys and infinite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Prior(Strict):
    """The prior of a positive quantity.

    Either ``low`` and ``high``, the central interval that holds 90 % of a log-normal, or ``dist``
    with ``kwargs``, a named distribution with PyMC's argument names. With ``at``, the prior is on
    the size of the coefficient's term instead: at this scale of the term's input (in raw units) and
    in nats per token; or with ``at = "runs"`` at the runs' geometric mean scale and as a multiple
    of their geometric mean loss. A term that depends on two scales is a ratio of two parts, and
    ``at`` then names both. With ``across``, ``low`` and ``high`` are places along the runs' range
    of that input on a log scale: 0 is the smallest run, 1 the largest.
    """

    low: float | None = None
    high: float | None = None
    dist: str | None = None
    kwargs: dict[str, float] = Field(default_factory=dict)
    at: PositiveFloat | dict[str, PositiveFloat] | Literal["runs"] | None = None
    across: str | None = None

    @model_validator(mode="after")
    def _is_stated_in_one_way(self) -> Self:
        has_bounds = self.low is not None or self.high is not None
        if has_bounds == (self.dist is not None):
            raise ValueError("state a prior either by low and high, or by dist and kwargs")
        if has_bounds:
            self._check_bounds()
        else:
            self._check_distribution()
        return self

    def _check_bounds(self) -> None:
        if self.low is None or self.high is None:
            raise ValueError("low and high must be stated together")
        if not self.low < self.high:
            raise ValueError(f"low is {self.low:g}, but must be below high, {self.high:g}")
        if self.kwargs:
            raise ValueError("kwargs are for dist: leave them out beside low and high")
        if self.across is None and not self.low > 0:
            raise ValueError(f"low is {self.low:g}, but must be greater than zero")
        if self.across is not None and self.at is not None:
            raise ValueError("state a prior either with at or with across, not with both")

    def _check_distribution(self) -> None:
        if self.relative:
            raise ValueError("a prior relative to the runs must be stated by low and high")
        if self.dist is None or self.dist not in DISTRIBUTIONS:
            raise ValueError(
                f"distribution {self.dist!r} is unknown: use {', '.join(DISTRIBUTIONS)}"
            )
        required, optional = DISTRIBUTIONS[self.dist]
        if not set(required) <= set(self.kwargs) <= {*required, *optional}:
            takes = ", ".join([*required, *(f"[{name}]" for name in optional)])
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

    def log_at(self, term: Term) -> dict[str, float]:
        """Return the logs of the scales at which the prior is stated, by input."""
        if isinstance(self.at, float):
            return dict.fromkeys(term.inputs, math.log(self.at))
        return {k: math.log(x) for k, x in self.at.items()} if isinstance(self.at, dict) else {}

    @property
    def stated_at(self) -> bool:
        """Whether the prior is on the coefficient's term at known scales."""
        return isinstance(self.at, float | dict)

    @property
    def relative(self) -> bool:
        """Whether the prior is stated relative to the runs."""
        return self.at == "runs" or self.across is not None

    @property
    def log_normal(self) -> tuple[float, float] | None:
        """Mean and standard deviation of the logarithm if it is normal, else None.

        With ``across``, mean and standard deviation of the place along the range instead.
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
        """The distribution with ``rvs``, ``logpdf`` and ``ppf``, as in SciPy."""
        k = self.kwargs
        if self.relative:
            raise CardError(
                "a prior relative to the runs has no density without runs: take the card's "
                "anchored(runs)"
            )
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


class _ExpOfNormal:
    """The distribution of ``exp(g(z))`` for a standard normal z and an increasing g."""

    def rvs(self, size: Any, random_state: np.random.Generator) -> np.ndarray:
        """Draws."""
        return np.exp(self._log(random_state.standard_normal(size)))

    def ppf(self, q: Any) -> Any:
        """Quantiles."""
        from scipy.special import ndtri

        return np.exp(self._log(ndtri(q)))

    def _log(self, z: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class LogNormal(_ExpOfNormal):
    """The distribution of ``exp(mu + sigma z)`` for a standard normal z."""

    mu: float
    sigma: float

    def _log(self, z: Any) -> Any:
        return self.mu + self.sigma * z

    def logpdf(self, x: Any) -> Any:
        """Log density."""
        log_x = np.log(np.asarray(x))
        return -(((log_x - self.mu) / self.sigma) ** 2) / 2 - log_x - _log_width(self.sigma)


@dataclass(frozen=True)
class NearOne(_ExpOfNormal):
    """The distribution of ``exp(scale z |z|)`` for a standard normal z."""

    scale: float

    def _log(self, z: Any) -> Any:
        return self.scale * z * np.abs(z)

    def logpdf(self, x: Any) -> Any:
        """Log density; infinite at one."""
        root = np.sqrt(np.abs(np.log(x)) / self.scale)
        with np.errstate(divide="ignore"):
            return -(root**2) / 2 - _log_width(2 * self.scale * root) - np.log(x)
