"""The type of a scaling law: its equation and the structure of its terms.

A law is plain arithmetic. Written with operators and ``np.exp``, ``np.log``, ``np.log1p``,
``np.sqrt`` or ``np.power``, its one function takes floats, NumPy arrays, xarray objects and
PyTensor variables unchanged, so the equation that is sampled is the equation that forecasts.
"""

import hashlib
import inspect
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bayescale.errors import LawError
from bayescale.laws.terms import Constant, Known, Term

INPUTS = ("params", "tokens", "flops", "unique_tokens", "kept_fraction", "lm_loss")
"""The inputs that the package knows, as columns of a run log, in raw units; a card must describe
any other input."""

_NO_INPUTS = ("loss", "run_id", "run", "family", "isoflop", "schedule_complete")
_INPUT_NAME = re.compile(r"[a-z][a-z0-9_]*")

FLOP_PER_PARAM_TOKEN = 6.0
"""Training compute of one parameter on one token: C = 6 N D."""


def lesser(a: Any, b: Any) -> Any:
    """Return the lesser of two positive values, by arithmetic that suits PyTensor variables too."""
    ratio = a / b  # dividing first keeps digits if one value is far larger
    return a / ((ratio + 1.0 + abs(ratio - 1.0)) / 2.0)


@dataclass(frozen=True, kw_only=True)
class Law:
    """A scaling law: the loss as a function of scale, with named coefficients.

    To add a law, write its function, this record, and a model card with a prior on every
    coefficient. Nothing else in the package has to change.

    Parameters
    ----------
    name : str
        The law's name, as cards and the command line spell it.
    inputs : tuple of str
        What the law is a function of: some of :data:`INPUTS`, in raw units, and any other positive
        numeric columns of the log, such as ``lr``, which the card then describes in ``[inputs]``.
    coefficients : tuple of str
        The coefficients' names, as the paper writes them.
    loss : callable
        ``loss(<inputs>, *, <coefficients>)`` in nats per token, by plain arithmetic.
    optimum : callable, optional
        ``optimum(flops, *, <coefficients>)`` returns the ``(params, tokens)`` that minimize the
        loss with ``flops = 6 * params * tokens``. By default the minimum is found numerically.
    terms : mapping of str to Term, optional
        The parts of the loss by the coefficient that sets their size. Priors may then be
        stated on a part's value at a scale, and sampling happens on those values at the
        runs' geometric means, which is many times faster. The prior is left unchanged.
    sum_of_terms : bool
        Whether the loss is the sum of ``terms``; its level and the terms' shares are then sampled.
    root : str, optional
        With ``sum_of_terms``, a coefficient r: the terms that depend on scale, to the power 1 / r,
        then add up to their joint part of the loss to the power 1 / r.
    falls_with : tuple of str, optional
        The inputs with which the loss never rises, at any plausible coefficients; by default all
        inputs. The law's contract checks this.
    reference : str
        The paper and the equation.
    unit : str
        Unit of the loss.

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
        problems += _input_problems(self)
        problems += [
            f"falls_with names {name!r}, which is not an input"
            for name in self.falls_with or ()
            if name not in self.inputs
        ]
        if self.root is not None and (
            not self.sum_of_terms or self.root not in set(self.coefficients) - set(self.terms)
        ):
            problems.append(
                f"root is {self.root!r}, but must be a coefficient that has no term, of a law "
                "with sum_of_terms=True"
            )
        if self.sum_of_terms and not problems and not _is_sum_of_terms(self):
            problems.append(
                "loss is not the sum of the terms, although sum_of_terms is True: set it to False "
                "or correct the terms"
            )
        if problems:
            raise LawError(f"law {self.name!r} is ill-defined: {'; '.join(problems)}")

    @property
    def foreign(self) -> tuple[str, ...]:
        """Inputs that are not in :data:`INPUTS`, which the card must describe."""
        return tuple(name for name in self.inputs if name not in INPUTS)

    def __repr__(self) -> str:
        return f"<Law {self.name} of {', '.join(self.inputs)}: {', '.join(self.coefficients)}>"

    def __reduce__(self) -> Any:  # other processes find the law by its reference
        reference = _reference(self)
        digest = _digest(reference)
        _known[reference, digest] = self  # unpickling in this process returns the same object
        return (_found, (reference, digest))


_known: dict[tuple[str, str], Law] = {}


def _found(reference: str, digest: str) -> Law:
    """Return the law of a reference: one object per process, so that its model compiles once."""
    from bayescale.laws import find_law

    if (reference, digest) not in _known:
        law = find_law(reference)
        if _digest(reference) != digest:
            raise LawError(
                f"law file {reference.rpartition(':')[0]!r} differs from the file that the law was "
                "sent from: copy that file to every computer that runs workers, under the same path"
            )
        _known[reference, digest] = law
    return _known[reference, digest]


def _digest(reference: str) -> str:
    """Return the digest of the file in a reference; empty for the package's own laws."""
    path, _, _ = reference.rpartition(":")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""


def _reference(law: Law) -> str:
    """Return how another process finds a law: its name, or ``file.py:NAME``."""
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


def _input_problems(law: Law) -> list[str]:
    problems = [
        f"input {name!r} cannot be a column of numbers: name it in lower case, with digits and "
        f"underscores, and not {', '.join(_NO_INPUTS)}"
        for name in law.inputs
        if not _INPUT_NAME.fullmatch(name) or name in _NO_INPUTS
    ]
    if not set(law.inputs) & set(INPUTS):
        problems.append(
            f"inputs are {', '.join(law.inputs) or 'none'}, but at least one must be among "
            f"{', '.join(INPUTS)}: name one that the loss depends on"
        )
    return problems


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
            for other in (*term.needs, *getattr(term, "bend_needs", ()))
            if other not in law.coefficients
        ]
    return problems


def _is_sum_of_terms(law: Law) -> bool:
    values = {name: 1.1 + 0.1 * i for i, name in enumerate(law.coefficients)}
    inputs = {name: 2.0 + 0.3 * i for i, name in enumerate(law.inputs)}
    log_x = {name: math.log(x) for name, x in inputs.items()}
    parts = {
        name: math.exp(term.log_value(math.log(values[name]), values, log_x))
        for name, term in law.terms.items()
    }
    together = float(sum_of_parts(law, parts, values))
    return math.isclose(together, float(law.loss(**inputs, **values)), rel_tol=1e-9)


def sum_of_parts(law: Law, parts: Mapping[str, Any], known: Known) -> Any:
    """Return the sum of the parts of a law with ``sum_of_terms``: floats or arrays of one shape."""
    root = 1.0 if law.root is None else known[law.root]
    plain = [part for name, part in parts.items() if isinstance(law.terms[name], Constant)]
    joint = [part for name, part in parts.items() if not isinstance(law.terms[name], Constant)]
    return sum(plain) + sum(part ** (1.0 / root) for part in joint) ** root
