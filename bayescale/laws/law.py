"""The type of a scaling law: one equation, and what is known of its shape.

A law is plain arithmetic. Written with operators and ``np.exp``, ``np.log``, ``np.log1p``,
``np.sqrt`` or ``np.power``, its one function takes floats, NumPy arrays, xarray objects and
PyTensor variables unchanged, so the equation that is sampled is the equation that forecasts.
"""

import hashlib
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from bayescale.errors import LawError

INPUTS = ("params", "tokens", "flops", "unique_tokens", "kept_fraction", "lm_loss")
"""What a law can be a function of: columns of a run log, in raw units."""

FLOP_PER_PARAM_TOKEN = 6.0
"""Training compute of one parameter on one token: C = 6 N D."""

Known = Mapping[str, Any]
"""Values by name: of the coefficients a term needs, or logs of the scales it depends on."""


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A part of the loss that no scale changes, such as E."""

    inputs: tuple[str, ...] = ()
    exponent: str | None = None
    needs: tuple[str, ...] = ()

    def log_value(self, log_coefficient: Any, known: Known, log_x: Known) -> Any:
        """The logarithm of the part at any scale."""
        return log_coefficient

    def log_coefficient(self, log_value: Any, known: Known, log_x: Known) -> Any:
        """The inverse of :meth:`log_value`."""
        return log_value

    def slope(self, known: Known) -> Any:
        """Change of ``log_value`` with the logarithm of the coefficient."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class _Power:
    """A part that depends on one scale, by an exponent."""

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


@dataclass(frozen=True, kw_only=True)
class Amplitude(_Power):
    """A part of the form A / x^alpha: its coefficient is its value at x = 1."""

    def log_value(self, log_coefficient: Any, known: Known, log_x: Known) -> Any:
        """The logarithm of the part at scale ``exp(log_x)``."""
        return log_coefficient - known[self.exponent] * log_x[self.input]

    def log_coefficient(self, log_value: Any, known: Known, log_x: Known) -> Any:
        """The inverse of :meth:`log_value`."""
        return log_value + known[self.exponent] * log_x[self.input]

    def slope(self, known: Known) -> Any:
        """Change of ``log_value`` with the logarithm of the coefficient."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class CriticalScale(_Power):
    """A part of the form (X_c / x)^alpha: its coefficient is where it equals one nat."""

    def log_value(self, log_coefficient: Any, known: Known, log_x: Known) -> Any:
        """The logarithm of the part at scale ``exp(log_x)``."""
        return known[self.exponent] * (log_coefficient - log_x[self.input])

    def log_coefficient(self, log_value: Any, known: Known, log_x: Known) -> Any:
        """The inverse of :meth:`log_value`."""
        return log_value / known[self.exponent] + log_x[self.input]

    def slope(self, known: Known) -> Any:
        """Change of ``log_value`` with the logarithm of the coefficient."""
        return known[self.exponent]


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How X_c / x stands to (Y_c / y)^(alpha / beta), where a law joins the two in one sum.

    The size of the joint part is then set by Y_c alone, and this ratio says which of the two
    scales limits the loss.

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

    def log_value(self, log_coefficient: Any, known: Known, log_x: Known) -> Any:
        """The logarithm of the ratio at these scales."""
        return log_coefficient - self._log_unit(known, log_x)

    def log_coefficient(self, log_value: Any, known: Known, log_x: Known) -> Any:
        """The inverse of :meth:`log_value`."""
        return log_value + self._log_unit(known, log_x)

    def slope(self, known: Known) -> Any:
        """Change of ``log_value`` with the logarithm of the coefficient."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Onset(Amplitude):
    """A part A / x^alpha (1 + (x_0 / x)^(k alpha))^(-1/k) that is level below x_0.

    Beliefs are about its power law, continued; ``log_bend`` is what the onset takes from it.

    Attributes
    ----------
    start, sharpness : str
        The coefficients x_0 and k.
    """

    start: str
    sharpness: str

    def log_bend(self, known: Known, log_x: Known) -> Any:
        """The logarithm of the part over its power law, at scale ``exp(log_x)``."""
        k = known[self.sharpness]
        power = k * known[self.exponent] * (np.log(known[self.start]) - log_x[self.input])
        return -np.log1p(np.exp(power)) / k


@dataclass(frozen=True, kw_only=True)
class Decay(_Power):
    """A part of the form k exp(-gamma x): its coefficient is its value at x = 0."""

    def log_value(self, log_coefficient: Any, known: Known, log_x: Known) -> Any:
        """The logarithm of the part at scale ``exp(log_x)``."""
        return log_coefficient - known[self.exponent] * np.exp(log_x[self.input])

    def log_coefficient(self, log_value: Any, known: Known, log_x: Known) -> Any:
        """The inverse of :meth:`log_value`."""
        return log_value + known[self.exponent] * np.exp(log_x[self.input])

    def slope(self, known: Known) -> Any:
        """Change of ``log_value`` with the logarithm of the coefficient."""
        return 1.0


Term = Constant | Amplitude | CriticalScale | Balance | Decay


def lesser(a: Any, b: Any) -> Any:
    """The lesser of two positive values, by arithmetic that PyTensor variables share."""
    ratio = a / b  # which keeps digits where one is far larger
    return a / ((ratio + 1.0 + abs(ratio - 1.0)) / 2.0)


@dataclass(frozen=True, kw_only=True)
class Law:
    """A scaling law: the loss as a function of scale, with named coefficients.

    To add one, write its function and this record, and a model card with a prior for every
    coefficient; nothing else in the package has to change.

    Parameters
    ----------
    name : str
        The law's name, as cards and the command line spell it.
    inputs : tuple of str
        What the law is a function of, out of :data:`INPUTS`, in raw units.
    coefficients : tuple of str
        The coefficients' names, as the paper writes them.
    loss : callable
        ``loss(<inputs>, *, <coefficients>)`` in nats per token, by plain arithmetic.
    optimum : callable, optional
        ``optimum(flops, *, <coefficients>)`` giving ``(params, tokens)`` of least loss with
        ``flops = 6 * params * tokens``. Found numerically where it is None.
    terms : mapping of str to Term, optional
        The parts of the loss by the coefficient that sets their size. Priors may then be
        stated on a part's value at a scale, and sampling happens on those values at the
        runs' geometric means, which is many times faster. The prior is left unchanged.
    sum_of_terms : bool
        Whether the loss is the sum of ``terms``; it is then sampled as one level and shares.
    root : str, optional
        With ``sum_of_terms``, a coefficient r: terms to the power 1 / r are then what adds up, to
        the loss to that power.
    falls_with : tuple of str, optional
        The inputs with which the loss only falls, at any coefficients that are believed; all of
        them where not given. The law's contract holds it to that.
    reference : str
        The paper and the equation.
    unit : str
        Of what ``loss`` gives.

    Raises
    ------
    LawError
        If the names do not fit the functions' signatures, or the loss is not the sum of the
        terms it is said to be.
    """

    name: str
    inputs: tuple[str, ...]
    coefficients: tuple[str, ...]
    loss: Callable[..., Any]
    optimum: Callable[..., Any] | None = None
    terms: Mapping[str, Term] = field(default_factory=dict)
    sum_of_terms: bool = False
    root: str | None = None
    falls_with: tuple[str, ...] | None = None
    reference: str = ""
    unit: str = "nats/token"

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", MappingProxyType(dict(self.terms)))
        if self.falls_with is None:
            object.__setattr__(self, "falls_with", tuple(self.inputs))
        problems = [
            *_signature_problems(self.loss, "loss", self.inputs, self.coefficients),
            *(
                _signature_problems(self.optimum, "optimum", ("flops",), self.coefficients)
                if self.optimum
                else ()
            ),
            *_term_problems(self),
        ]
        unknown = [name for name in self.inputs if name not in INPUTS]
        if unknown or not self.inputs:
            problems.append(f"inputs are {self.inputs}, but must be some of {', '.join(INPUTS)}")
        problems += [
            f"falls_with names {name!r}, which is not an input"
            for name in self.falls_with or ()
            if name not in self.inputs
        ]
        if self.root is not None and (
            not self.sum_of_terms or self.root not in set(self.coefficients) - set(self.terms)
        ):
            problems.append(
                f"root is {self.root!r}, but must be a coefficient that is no term's, of a law "
                "with sum_of_terms"
            )
        if self.sum_of_terms and not problems and not _is_sum_of_terms(self):
            problems.append("loss is not the sum of the terms, although sum_of_terms is True")
        if problems:
            raise LawError(f"law {self.name!r} is ill-defined: {'; '.join(problems)}")

    def __reduce__(self) -> Any:  # workers find the law where it is written
        reference = _reference(self)
        digest = _digest(reference)
        _known[reference, digest] = self  # where it was sent from, it comes back as itself
        return (_found, (reference, digest))


_known: dict[tuple[str, str], Law] = {}


def _found(reference: str, digest: str) -> Law:
    """The law of a reference, the same each time: a model is compiled once a law and process."""
    from bayescale.laws import find_law

    if (reference, digest) not in _known:
        law = find_law(reference)
        if _digest(reference) != digest:
            raise LawError(
                f"law file {reference.rpartition(':')[0]!r} is not the one that the law was sent "
                "from: copy it to every computer that workers run on, under the same path"
            )
        _known[reference, digest] = law
    return _known[reference, digest]


def _digest(reference: str) -> str:
    """Of the file that a reference names; empty for the package's own laws."""
    path, _, _ = reference.rpartition(":")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""


def _reference(law: Law) -> str:
    """By what another process finds a law: its name, or ``file.py:NAME``."""
    from bayescale.laws import LAWS

    if LAWS.get(law.name) is law:
        return law.name
    module = sys.modules.get(law.loss.__module__)
    path = getattr(module, "__file__", None)
    names = [name for name, value in vars(module or object).items() if value is law]
    if path is None or not names or Path(path).suffix != ".py":
        raise LawError(
            f"law {law.name!r} cannot be sent to another process, because it is not at the top of "
            "a file: move it there, or stay in this process with executor=Serial()"
        )
    return f"{path}:{names[0]}"


def _signature_problems(
    function: Callable[..., Any], what: str, inputs: tuple[str, ...], names: tuple[str, ...]
) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    given = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
    keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    if given == inputs and keywords == set(names):
        return []
    takes = ", ".join((*given, "*", *sorted(keywords)))
    needs = ", ".join((*inputs, "*", *sorted(names)))
    return [f"{what} takes ({takes}) but needs ({needs})"]


def _term_problems(law: Law) -> list[str]:
    problems = [
        f"term {name!r} is not a coefficient" for name in law.terms if name not in law.coefficients
    ]
    for name, term in law.terms.items():
        problems += [
            f"term {name!r} scales with {scale!r}, which is not an input"
            for scale in term.inputs
            if scale not in law.inputs
        ]
        problems += [
            f"term {name!r} needs {other!r}, which is not a coefficient"
            for other in term.needs
            if other not in law.coefficients
        ]
    return problems


def _is_sum_of_terms(law: Law) -> bool:
    values = {name: 1.1 + 0.1 * i for i, name in enumerate(law.coefficients)}
    inputs = {name: 2.0 + 0.3 * i for i, name in enumerate(law.inputs)}
    log_x = {name: math.log(x) for name, x in inputs.items()}
    parts = [
        math.exp(term.log_value(math.log(values[name]), values, log_x))
        for name, term in law.terms.items()
    ]
    together = float(sum_of_parts(law, parts, values))
    return math.isclose(together, float(law.loss(**inputs, **values)), rel_tol=1e-9)


def sum_of_parts(law: Law, parts: Sequence[Any], known: Known) -> Any:
    """What parts add up to where ``sum_of_terms`` is true, of floats or arrays of one shape."""
    root = 1.0 if law.root is None else known[law.root]
    return sum(part ** (1.0 / root) for part in parts) ** root


def compute_optimal(
    law: Law, flops: Any, coefficients: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """The split of a compute budget that gives the least loss, with C = 6 N D.

    Each token is seen once.

    Parameters
    ----------
    law : Law
        A law of ``params`` and ``tokens``.
    flops : array_like
        Budgets in FLOP; broadcasts against the coefficients.
    coefficients : mapping of str to array_like
        Values of the law's coefficients, usually one per draw.

    Returns
    -------
    params, tokens : numpy.ndarray
        Raw counts, in the broadcast shape.

    Raises
    ------
    LawError
        If the law is not a function of params and tokens, or has no least loss between one
        parameter and one token at this budget.

    Examples
    --------
    >>> from bayescale.laws import CHINCHILLA
    >>> besiroglu = dict(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
    >>> params, tokens = compute_optimal(CHINCHILLA, 5.76e23, besiroglu)
    >>> round(float(tokens / params), 2)
    18.39
    """
    require_split(law)
    if law.optimum is not None:
        params, tokens = law.optimum(flops, **coefficients)
        return np.asarray(params), np.asarray(tokens)
    return _numeric_optimum(law, flops, coefficients)


OF_THE_DATA = ("unique_tokens", "kept_fraction")
"""Inputs that need not be given: all tokens are then unique, and none was pruned."""


def splits(inputs: Iterable[str]) -> bool:
    """Whether laws of these inputs split a budget: of params and tokens, of whatever data."""
    return {"params", "tokens"} <= set(inputs) <= {"params", "tokens", *OF_THE_DATA}


def all_unique(inputs: Iterable[str], scales: Mapping[str, Any]) -> Mapping[str, Any]:
    """The scales, with each token seen once and all data kept where a law asks and none says."""
    if "tokens" not in scales:
        return scales
    tokens = scales["tokens"]
    plain = {"unique_tokens": tokens, "kept_fraction": 0.0 * tokens + 1.0}
    return {**{n: plain[n] for n in OF_THE_DATA if n in inputs and n not in scales}, **scales}


def require_split(law: Law) -> None:
    """Refuse a law that is not a function of params and tokens.

    Raises
    ------
    LawError
        Because there is nothing to split between.
    """
    if not splits(law.inputs):
        raise LawError(
            f"law {law.name!r} is a function of {', '.join(law.inputs)}, so it cannot split a "
            "budget: use a law of params and tokens, such as chinchilla or kaplan"
        )


def _numeric_optimum(
    law: Law, flops: Any, coefficients: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import elementwise

    names = tuple(coefficients)
    pairs = np.asarray(flops, dtype=float) / FLOP_PER_PARAM_TOKEN
    pairs, *values = np.broadcast_arrays(
        pairs, *(np.asarray(coefficients[name], dtype=float) for name in names)
    )

    def loss(log_params: np.ndarray, pairs: np.ndarray, *values: np.ndarray) -> np.ndarray:
        params = np.exp(log_params)
        by_name = dict(zip(names, values, strict=True))
        scales = all_unique(law.inputs, {"params": params, "tokens": pairs / params})
        return law.loss(**scales, **by_name)

    middle = 0.5 * np.log(pairs)
    args = (pairs, *values)
    bracket = elementwise.bracket_minimum(
        loss, middle, xl0=middle - 1, xr0=middle + 1, xmin=0.0, xmax=np.log(pairs), args=args
    )
    found = elementwise.find_minimum(
        loss, bracket.bracket, args=args, tolerances={"xatol": 1e-10, "xrtol": 1e-10}
    )
    if not np.all(found.success):
        raise LawError(
            f"law {law.name!r} has no least loss between one parameter and one token for "
            f"{int(np.sum(~found.success))} of {found.success.size} sets of coefficients"
        )
    params = np.exp(found.x)
    return params, pairs / params
