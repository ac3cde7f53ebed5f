"""The terms of a law's loss, each with one coefficient for its size.

A term converts between its size at a scale and its coefficient. So priors can be stated on sizes at
a scale, and the sampler moves in sizes at the runs' geometric means.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Known = Mapping[str, Any]
"""Values by name: coefficients that a term needs, or logs of the scales that it depends on."""


@dataclass(frozen=True, kw_only=True)
class _Level:
    """A term that does not depend on scale."""

    inputs: tuple[str, ...] = ()
    exponent: str | None = None
    needs: tuple[str, ...] = ()

    def log_value(self, log_coefficient: Any, known: Known, log_x: Known) -> Any:
        """Return the logarithm of the term at any scale."""
        return log_coefficient

    def log_coefficient(self, log_value: Any, known: Known, log_x: Known) -> Any:
        """Return the inverse of :meth:`log_value`."""
        return log_value

    def slope(self, known: Known) -> Any:
        """Return the derivative of ``log_value`` with the logarithm of the coefficient."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Constant(_Level):
    """A term that does not depend on scale, such as E."""


@dataclass(frozen=True, kw_only=True)
class Depth(_Level):
    """A constant that a log loss subtracts from the sum of its other terms.

    Runs determine that difference far better than either part, so the difference is sampled.
    """


@dataclass(frozen=True, kw_only=True)
class _Power:
    """A term that depends on one scale, by an exponent."""

    input: str
    exponent: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """The scales that it depends on."""
        return (self.input,)

    @property
    def needs(self) -> tuple[str, ...]:
        """The other coefficients that it depends on."""
        return (self.exponent,)


class _Shifted:
    """A term whose logarithm is that of its coefficient minus that of a unit."""

    def _log_unit(self, known: Known, log_x: Known) -> Any:
        """Return the logarithm of the coefficient for which the term equals one."""
        raise NotImplementedError

    def log_value(self, log_coefficient: Any, known: Known, log_x: Known) -> Any:
        """Return the logarithm of the term at scales ``exp(log_x)``."""
        return log_coefficient - self._log_unit(known, log_x)

    def log_coefficient(self, log_value: Any, known: Known, log_x: Known) -> Any:
        """Return the inverse of :meth:`log_value`."""
        return log_value + self._log_unit(known, log_x)

    def slope(self, known: Known) -> Any:
        """Return the derivative of ``log_value`` with the logarithm of the coefficient."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Amplitude(_Shifted, _Power):
    """A term of the form A / x^alpha: its coefficient is its value at x = 1."""

    def _log_unit(self, known: Known, log_x: Known) -> Any:
        return known[self.exponent] * log_x[self.input]


@dataclass(frozen=True, kw_only=True)
class CriticalScale(_Power):
    """A term of the form (X_c / x)^alpha: its coefficient is the scale where it is one nat."""

    def log_value(self, log_coefficient: Any, known: Known, log_x: Known) -> Any:
        """Return the logarithm of the term at scale ``exp(log_x)``."""
        return known[self.exponent] * (log_coefficient - log_x[self.input])

    def log_coefficient(self, log_value: Any, known: Known, log_x: Known) -> Any:
        """Return the inverse of :meth:`log_value`."""
        return log_value / known[self.exponent] + log_x[self.input]

    def slope(self, known: Known) -> Any:
        """Return the derivative of ``log_value`` with the logarithm of the coefficient."""
        return known[self.exponent]


@dataclass(frozen=True, kw_only=True)
class Balance(_Shifted):
    """The ratio of X_c / x to (Y_c / y)^(alpha / beta), where a law adds the two in one sum.

    Y_c alone then sets the size of the joint term, and this ratio says which of the two scales
    limits the loss.

    Attributes
    ----------
    input, against : str
        The scales x and y.
    against_coefficient, power, root : str
        Y_c, alpha and beta.
    """

    input: str
    against: str
    against_coefficient: str
    power: str
    root: str
    exponent: None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The scales that it depends on."""
        return (self.input, self.against)

    @property
    def needs(self) -> tuple[str, ...]:
        """The other coefficients that it depends on."""
        return (self.against_coefficient, self.power, self.root)

    def _log_unit(self, known: Known, log_x: Known) -> Any:
        y = np.log(known[self.against_coefficient]) - log_x[self.against]
        return log_x[self.input] + known[self.power] / known[self.root] * y


@dataclass(frozen=True, kw_only=True)
class OuterAmplitude(_Power):
    """A term (A / x^alpha)^kappa: the loss due to x alone in a law with an outer exponent.

    Attributes
    ----------
    outer : str
        The coefficient kappa.
    """

    outer: str

    @property
    def needs(self) -> tuple[str, ...]:
        """The other coefficients that it depends on."""
        return (self.exponent, self.outer)

    def log_value(self, log_coefficient: Any, known: Known, log_x: Known) -> Any:
        """Return the logarithm of the term at scale ``exp(log_x)``."""
        return known[self.outer] * (log_coefficient - known[self.exponent] * log_x[self.input])

    def log_coefficient(self, log_value: Any, known: Known, log_x: Known) -> Any:
        """Return the inverse of :meth:`log_value`."""
        return log_value / known[self.outer] + known[self.exponent] * log_x[self.input]

    def slope(self, known: Known) -> Any:
        """Return the derivative of ``log_value`` with the logarithm of the coefficient."""
        return known[self.outer]


@dataclass(frozen=True, kw_only=True)
class Bent(Amplitude):
    """A term A / x^alpha times a factor, the bend, that depends on this or another scale.

    Priors are on its power law alone, and the sampler moves in the size of the whole term.

    Attributes
    ----------
    bend_needs, bend_inputs : tuple of str
        Coefficients and inputs that the bend depends on.
    """

    @property
    def bend_needs(self) -> tuple[str, ...]:
        """Coefficients that the bend depends on."""
        raise NotImplementedError

    @property
    def bend_inputs(self) -> tuple[str, ...]:
        """Inputs that the bend depends on."""
        return self.inputs

    def log_bend(self, known: Known, log_x: Known) -> Any:
        """Return the logarithm of the term over its power law, at scales ``exp(log_x)``."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Sloped(Bent):
    """A term A / x^alpha of which runs determine the slope, which is alpha times its size.

    This is so if another term is a constant that is hardly known.
    """

    @property
    def bend_needs(self) -> tuple[str, ...]:
        """The exponent."""
        return (self.exponent,)

    def log_bend(self, known: Known, log_x: Known) -> Any:
        """Return the log of the slope over the size, at any scale."""
        return np.log(known[self.exponent])


@dataclass(frozen=True, kw_only=True)
class Onset(Bent):
    """A term A / x^alpha (1 + (x_0 / x)^(k alpha))^(-1/k), which is constant below x_0.

    Attributes
    ----------
    start, sharpness : str
        The coefficients x_0 and k.
    """

    start: str
    sharpness: str

    @property
    def bend_needs(self) -> tuple[str, ...]:
        """Coefficients that the bend depends on."""
        return (self.start, self.sharpness)

    def log_bend(self, known: Known, log_x: Known) -> Any:
        """Return the logarithm of the term over its power law, at scale ``exp(log_x)``."""
        k = known[self.sharpness]
        power = k * known[self.exponent] * (np.log(known[self.start]) - log_x[self.input])
        return -np.log1p(np.exp(power)) / k


@dataclass(frozen=True, kw_only=True)
class Decay(_Shifted, _Power):
    """A term of the form k exp(-gamma x): its coefficient is its value at x = 0."""

    def _log_unit(self, known: Known, log_x: Known) -> Any:
        return known[self.exponent] * np.exp(log_x[self.input])


Term = Constant | Depth | Amplitude | OuterAmplitude | CriticalScale | Balance | Decay
