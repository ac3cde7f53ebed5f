"""The base of all results: a table, JSON, text and HTML, all made from the result's own fields.

A result is a frozen dataclass that derives from :class:`Result`. Its methods return the values of
its JSON (:meth:`Result._json`, by default its fields) and its content (:meth:`Result._content`,
lines and tables). Terminal and notebook show the same content, and JSON reduces draws to quantiles.
"""

import dataclasses
import html
import importlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice, takewhile
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.layout import TextTable, lay_out, width

DEFAULT_CI_PROB = 0.9
"""Mass of central intervals by default."""

LONGEST_REPR = 160

LINES_OF_BRIEF = 3
"""The number of lines of a brief answer, if the result does not choose them."""


def quantiles(values: Any, ci_prob: float = DEFAULT_CI_PROB) -> dict[str, float]:
    """Return median, lower and upper end of the central interval of draws, over all dims.

    They are taken by rank if a draw is infinite: see :func:`quantiles_by_rank`.
    """
    flat = np.asarray(values, dtype=float).ravel()
    if np.isinf(flat).any():
        return quantiles_by_rank(flat, ci_prob)
    lower, median, upper = np.quantile(flat, [(1 - ci_prob) / 2, 0.5, (1 + ci_prob) / 2])
    return {"median": float(median), "lower": float(lower), "upper": float(upper)}


def quantiles_by_rank(values: Any, ci_prob: float = DEFAULT_CI_PROB) -> dict[str, float]:
    """Return :func:`quantiles` of draws that may be infinite; NaN draws are left out.

    Quantiles are taken by rank, because a finite and an infinite draw have no value between them.
    """
    flat = np.asarray(values, dtype=float).ravel()
    flat = flat[~np.isnan(flat)]
    if not flat.size:
        return dict.fromkeys(("median", "lower", "upper"), math.nan)
    at = [0.5, (1 - ci_prob) / 2, (1 + ci_prob) / 2]
    found = np.quantile(flat, at, method="inverted_cdf")
    return dict(zip(("median", "lower", "upper"), map(float, found), strict=True))


def quantiles_in_row(row: Mapping[Any, Any], name: str) -> dict[str, float]:
    """Return the quantiles that a row of a table holds as ``{name}_median`` and so on."""
    return {key: row[f"{name}_{key}"] for key in ("median", "lower", "upper")}


def quantiles_of_columns(values: np.ndarray, at: Sequence[float]) -> np.ndarray:
    """Return quantiles over all axes but the last, by rank in columns with infinite draws.

    Parameters
    ----------
    values : numpy.ndarray, shape (..., column)
    at : sequence of float

    Returns
    -------
    numpy.ndarray, shape (len(at), column)
    """
    flat = values.reshape(-1, values.shape[-1])
    return quantiles_of_sorted(np.sort(flat.T, axis=1), at)


def quantiles_of_sorted(
    values: np.ndarray, at: Sequence[float], form: Callable[[Any], Any] = np.asarray
) -> np.ndarray:
    """Return quantiles of sorted rows, by rank in those with infinite draws.

    Parameters
    ----------
    values : numpy.ndarray, shape (row, draw)
        In increasing order; rows with NaN give NaN.
    at : sequence of float
    form : callable, optional
        An increasing function: the quantiles are those of its values.

    Returns
    -------
    numpy.ndarray, shape (len(at), row)
    """
    n = values.shape[1]
    infinite = np.isinf(form(values[:, -1])) | np.isinf(form(values[:, 0]))
    found = []
    for p in at:
        place = p * (n - 1)
        below, above = (form(values[:, i]) for i in (int(place), min(int(place) + 1, n - 1)))
        with np.errstate(invalid="ignore"):  # between infinite draws, which are replaced
            between = below + (above - below) * (place - int(place))
        by_rank = form(values[:, max(math.ceil(p * n) - 1, 0)])
        found.append(np.where(infinite, by_rank, between))
    return np.where(np.isnan(values[:, -1]), np.nan, found)


def withheld(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same keys with null instead of every number, for an answer that is not given."""
    empty = dict.fromkeys(("median", "lower", "upper"))
    return {
        name: withheld(value)
        if isinstance(value, Mapping)
        else dict(empty)
        if isinstance(value, xr.DataArray)
        else None
        for name, value in values.items()
    }


def plain(value: Any, ci_prob: float = DEFAULT_CI_PROB) -> Any:
    """Return a value in types that JSON has.

    Draws become their quantiles, tables lists of rows, results their JSON, and numbers that are not
    finite become null.
    """
    if isinstance(value, Result):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(key): plain(item, ci_prob) for key, item in value.items()}
    if isinstance(value, xr.DataArray):
        return plain(quantiles(value, ci_prob))
    if isinstance(value, pd.DataFrame):
        return plain(value.to_dict(orient="records"))
    if isinstance(value, np.ndarray) and value.ndim:
        return [plain(item) for item in value.tolist()]
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, ci_prob) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


Content = Iterable[str | TextTable]
"""Lines and tables, from top to bottom."""


class Result:
    """The base of all results.

    Subclasses are frozen dataclasses. They override :meth:`_content`, and :meth:`_json` and
    :meth:`_table` if JSON and the table do not hold the fields alone. Warnings of the fit on which
    a result rests are in its field ``cautions``, lines that are shown last.

    Notes
    -----
    Fields of one name mean the same in all results: ``law`` is the name of the law or of the model
    average, ``ci_prob`` the mass of central intervals, ``loss_unit`` the unit of losses, ``drift``
    whether the law's drift is allowed for, ``by_law`` and ``weights`` the result and the weight of
    each law of an average (empty for one law), and ``provenance`` the seed, versions and digests
    of the fit.
    """

    cautions: tuple[str, ...] = ()

    in_figures: ClassVar[bool] = False
    """Whether a notebook also shows the figure, because it shows more than the table."""

    def __init_subclass__(cls) -> None:
        """Keep the one-line ``repr``, because that of a dataclass would print every array."""
        cls.__repr__ = Result.__repr__

    def _content(self) -> Content:
        """Yield the lines and tables that the result shows; the first line is its headline."""
        raise TypeError(f"{type(self).__name__} does not say what it shows")

    def brief(self) -> tuple[str, ...]:
        """Return the answer alone: its first one to three lines."""
        lines = takewhile(lambda part: isinstance(part, str) and part, self._content())
        return tuple(map(str, islice(lines, LINES_OF_BRIEF)))

    def _json(self) -> Mapping[str, Any]:
        """Return the values under their JSON keys; they may be draws and tables."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        found = {field.name: getattr(self, field.name) for field in fields}
        found["interval"] = found.pop("ci_prob", None)
        return found

    def _table(self) -> pd.DataFrame:
        """Return the result's table."""
        return pd.DataFrame([self.to_json()])

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the result's table."""
        return self._kept_table.copy()

    @cached_property
    def _kept_table(self) -> pd.DataFrame:
        """The table, made once: a page asks for it several times, and it reduces all draws."""
        return self._table()

    def plot(self, ax: Any = None, **look: Any) -> Any:
        """Draw the result with the function of :mod:`bayescale.plotting` that suits it.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw into; a new figure if not given.
        **look
            Options of that function, such as ``scale`` or ``runs``.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        FigureError
            If there is no figure of such a result.
        """
        return importlib.import_module("bayescale.plotting").plot_result(self, ax, **look)

    def to_json(self) -> dict[str, Any]:
        """Return plain values under the JSON keys of the command line."""
        values = dict(self._json())
        if hasattr(self, "provenance"):
            values["cautions"] = self.cautions
        return plain(values, getattr(self, "ci_prob", DEFAULT_CI_PROB))

    def content(self) -> Content:
        """Return the lines and tables that are shown."""
        return [*self._content(), *self.cautions]

    def __str__(self) -> str:
        """Return the text that the command prints: lines and tables at the terminal's width."""
        return lay_out(self.content(), width())

    def __repr__(self) -> str:
        headline = str(next(iter(self._content()), "")).strip().rstrip(":")
        text = f"<{type(self).__name__}: {headline}>"
        return text if len(text) <= LONGEST_REPR else f"{text[: LONGEST_REPR - 4]}...>"

    def content_html(self) -> str:
        """Return the lines and tables that the result shows, as HTML elements."""
        parts: list[str] = []
        lines: list[str] = []
        for part in [*self.content(), None]:
            if isinstance(part, str):
                lines.append(html.escape(part))
                continue
            if lines:
                parts.append(f'<div style="white-space: pre-wrap">{"\n".join(lines)}</div>')
                lines = []
            if part is not None:
                parts.append(part.to_html())
        return "".join(parts)

    def _repr_html_(self) -> str:
        if not self.in_figures:
            return self.content_html()
        return self.content_html() + importlib.import_module("bayescale.plotting").result_html(self)


def with_each_law[P, R](fit: Any, parts: Sequence[P], make: Callable[..., R]) -> R:
    """Return the answer of a fit, with that of each law if the fit averages several.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    parts : sequence
        The part of the answer from each member, in the order of ``fit.members``.
    make : callable
        ``make(fit, parts, **more)`` returns the result of a fit from its members' parts. For an
        average of laws it is called once per member, and then with ``by_law`` and ``weights``.
    """
    if len(fit.members) == 1:
        return make(fit, list(parts))
    by_law = tuple(make(member, [part]) for member, part in zip(fit.members, parts, strict=True))
    return make(fit, list(parts), by_law=by_law, weights=fit.weights)


def laws_json(result: Any, keys: Callable[[Any], Mapping[str, Any]]) -> dict[str, Any]:
    """Return each law's weight and values by the law's name; empty for a single law."""
    return {
        law.law: {"weight": weight, **keys(law)}
        for law, weight in zip(result.by_law, result.weights, strict=True)
    }


def interval_text(
    values: Mapping[str, float], form: Callable[[float], str], ci_prob: float | None = None
) -> str:
    """Return a median with its interval, such as ``1.92 (90% interval 1.82 to 1.99)``."""
    mass = "" if ci_prob is None else f"{ci_prob:.0%} interval "
    lower, upper = form(values["lower"]), form(values["upper"])
    return f"{form(values['median'])} ({mass}{lower} to {upper})"
