"""Types of the arguments of public functions: one check and one message for each name."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from bayescale.errors import ArgumentError, shortened


class _Kind(NamedTuple):
    """The values that an argument takes besides its default."""

    takes: Callable[[Any], bool]
    needed: str


def _is_number(value: Any) -> bool:
    if isinstance(value, bool | np.bool_ | str | bytes):
        return False
    return isinstance(value, Real) or (hasattr(value, "__float__") and np.ndim(value) == 0)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return _is_number(value) or isinstance(value, str)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)


def _are_splits(value: Any) -> bool:
    return _is_list(value) and all(_is_list(pair) and len(pair) == 2 for pair in value)


def _are_laws(value: Any) -> bool:
    each = value if _is_list(value) else [value]
    return all(isinstance(one, str) or hasattr(one, "law") or hasattr(one, "terms") for one in each)


def _is_path(value: Any) -> bool:
    return isinstance(value, str | Path)


_SIZE = _Kind(_is_size, "one number, or a text such as '70B'")
_WHOLE = _Kind(_is_whole, "a whole number, such as 1000")

KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "tolerance": _Kind(_is_number, "a share of the loss, such as 0.02 for 2 %"),
        "overfit": _Kind(_is_number, "a share of the loss, such as 0.02 for 2 %"),
        "price": _Kind(_is_number, "dollars per FLOP, such as 2e-18"),
        "sigma": _Kind(_is_number, "a number, such as 0.005"),
        "nu": _Kind(_is_number, "a number, such as 5.0"),
        "family": _Kind(lambda x: isinstance(x, str), "the name of a family"),
        "at": _Kind(lambda x: isinstance(x, Mapping), "a mapping, such as {'lr': 1e-3}"),
        "coefficients": _Kind(lambda x: isinstance(x, Mapping), "a mapping, such as {'E': 1.8}"),
        "scales": _Kind(lambda x: isinstance(x, Mapping), "a mapping, such as {'params': [1e9]}"),
        "max_tokens": _SIZE,
        "max_params": _SIZE,
        "budget": _SIZE,
        "target_params": _SIZE,
        "target_tokens": _SIZE,
        "target_flops": _SIZE,
        "inference_tokens": _Kind(
            lambda x: _is_size(x) or _is_list(x), "one number, or the two ends of an interval"
        ),
        "sizes": _Kind(_is_list, "a list of params, such as [7e9, 13e9]"),
        "options": _Kind(_are_splits, "a list of pairs of params and tokens: [(7e9, 1e12)]"),
        "cluster": _Kind(
            lambda x: hasattr(x, "flops_in"),
            "a bayescale.Cluster, such as bayescale.Cluster.of('h100', 512)",
        ),
        "candidates": _Kind(
            lambda x: hasattr(x, "columns"), "a pandas.DataFrame with one row per run"
        ),
        "backtest": _Kind(
            lambda x: hasattr(x, "forecasts") or (isinstance(x, Mapping) and "laws" in x),
            "a backtest of the fit, such as fit.backtest()",
        ),
        "path": _Kind(_is_path, "the path of a file"),
        "source": _Kind(_is_path, "the path of a file, or a name"),
        "answer_tokens": _Kind(_is_list, "a list of lengths, such as [1, 5, 25]"),
        "utilization": _Kind(
            lambda x: _is_number(x) or hasattr(x, "sizes"), "a share of the peak, such as 0.4"
        ),
        "law": _Kind(_are_laws, "a law or its name, such as 'chinchilla', or a list of these"),
        "gpu_price": _Kind(_is_number, "dollars per hour of one GPU, such as 2.5"),
        "gpu_memory": _Kind(_is_number, "bytes of one GPU, such as 80e9"),
        "peak": _Kind(_is_number, "FLOP/s of one GPU, such as 989e12"),
        "draws": _WHOLE,
        "tune": _WHOLE,
        "chains": _WHOLE,
        "seed": _WHOLE,
        "gpu": _Kind(lambda x: isinstance(x, str), "the name of a GPU, such as 'h100'"),
        "gpus": _Kind(_is_whole, "a whole number, such as 512"),
    }
)
"""What arguments take, by name."""


def checks_arguments[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Make a function refuse arguments of a wrong type, by :data:`KINDS`.

    The default of a parameter is always taken.
    """
    signature = inspect.signature(function)
    known = {name: p.default for name, p in signature.parameters.items() if name in KINDS}

    @wraps(function)
    def checked(*arguments: P.args, **options: P.kwargs) -> R:
        given = {**dict(zip(signature.parameters, arguments, strict=False)), **options}
        for name, value in given.items():
            if name in known and value is not known[name]:
                require_kind(name, value)
        return function(*arguments, **options)

    return checked


def require_kind(kind: str, value: Any, name: str | None = None) -> None:
    """Refuse a value of a wrong type for an argument, whose name is ``kind`` unless given.

    Raises
    ------
    ArgumentError
        With the argument, its value, and what is needed.

    Examples
    --------
    >>> require_kind("tolerance", "2%")
    Traceback (most recent call last):
    ...
    bayescale.errors.ArgumentError: `tolerance=` is '2%', but must be a share of the loss, ...
    """
    known = KINDS[kind]
    if not known.takes(value):
        raise ArgumentError(
            f"`{name or kind}=` is {shortened(repr(value), 60)}, but must be {known.needed}"
        )
