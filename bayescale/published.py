"""Laws of papers: coefficients, conventions of their numbers, and ranges of validity.

The coefficients are in the model cards; this module reads the rest. A published law is a posterior
with one draw, so it answers through the same code as a fit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from bayescale.cards import ModelCard, cards_folder, load_card
from bayescale.cards.load import read_toml, validated
from bayescale.conventions import NATS, UNKNOWN, Conventions, LossUnit
from bayescale.conventions.stated import parse_conventions
from bayescale.errors import (
    MOST_NAMES,
    CardError,
    LawError,
    collected,
    did_you_mean,
    listed,
    shortened,
)
from bayescale.findings import Finding, note, note_lines
from bayescale.forecasting import forecast
from bayescale.laws.optimum import all_unique, splits
from bayescale.posterior import DEFAULT_CI_PROB, Fit, Posterior, loss_unit_of, point, quantiles
from bayescale.results import Result, TextTable
from bayescale.runs import Runs
from bayescale.units import checked_ci_prob, disordered, format_size

Ends = tuple[PositiveFloat, PositiveFloat]

BEYOND = 100.0
"""Multiple of the largest run up to which laws are compared by default."""

_POINTS = 33
_COMPARED = ("params", "flops", "tokenizer", "evaluation_set")


class PublishedLaw(BaseModel):
    """A law of a paper, from :func:`load_published`; it is frozen.

    Attributes
    ----------
    card : str
        The model card that has its law and coefficients.
    estimate : str
        The name of the coefficients on the card; empty if it is the law's own name.
    range : mapping of str to (low, high)
        The range of the runs to which the law was fitted, in raw units.
    conventions : mapping of str to str
        Conventions as in :class:`bayescale.conventions.Conventions`; the rest is unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __repr__(self) -> str:
        return f"<PublishedLaw {self.name}: {shortened(self.title)}>"

    name: str
    title: str
    card: str
    estimate: str = ""
    source: str
    arxiv: str = Field(pattern=r"^\d{4}\.\d{5}$")
    data: str
    caveats: tuple[str, ...] = Field(min_length=1)
    range: dict[Literal["params", "tokens", "flops"], Ends] = Field(min_length=1)
    conventions: dict[str, Any]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        problems = []
        _, wrong = parse_conventions(self.conventions)
        problems += wrong
        problems += disordered(self.range)
        try:
            load_card(self.card).published_values(self._key)
        except CardError as error:
            problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def _key(self) -> str:
        return self.estimate or self.name

    @cached_property
    def counts(self) -> Conventions:
        """The conventions of the law's numbers."""
        return Conventions(**parse_conventions(self.conventions)[0])

    @cached_property
    def model_card(self) -> ModelCard:
        """The model card of the law."""
        return load_card(self.card)

    @property
    def values(self) -> dict[str, float]:
        """The coefficients of the law, in raw units."""
        return self.model_card.published_values(self._key)

    def posterior(self, *, sigma: float | None = None, nu: float | None = None) -> Posterior:
        """Return the law as a posterior with one draw: see :func:`bayescale.point`."""
        return point(self.model_card, self.values, sigma=sigma, nu=nu)

    def to_json(self) -> dict[str, Any]:
        """Return the law's values for JSON."""
        values = self.model_dump(mode="json", exclude={"estimate", "conventions"})
        law = self.model_card.law
        return {
            **values,
            "law": law.name,
            "inputs": list(law.inputs),
            "coefficients": self.values,
            "conventions": self.counts.to_json(),
        }

    def __str__(self) -> str:
        law, described = self.model_card.law, self.model_card.coefficients
        lines = [f"{self.name}: {self.title}", f"{self.source}, arXiv {self.arxiv}", ""]
        lines.append(f"Law {law.name}, of {' and '.join(law.inputs)}, in {law.unit}:")
        for name, value in self.values.items():
            unit = described[name]
            lines.append(f"  {name:<8}  {value / unit.unit_factor:<12.8g}  {unit.unit}")
        ends = [
            f"{name} {format_size(low)} to {format_size(high)}"
            for name, (low, high) in self.range.items()
        ]
        lines += ["", f"Runs: {self.data}; {', '.join(ends)}", "Its numbers:"]
        lines += [
            f"  {name.replace('_', ' '):<15}  {words}"
            for name, words in self.counts.in_words().items()
            if name != "tokens_per_byte"
        ]
        return "\n".join([*lines, *(f"Caveat: {caveat}" for caveat in self.caveats)])


def published_names() -> list[str]:
    """Return the names of the published laws in alphabetical order."""
    return sorted(path.stem for path in (cards_folder() / "published").glob("*.toml"))


def load_published(name: str) -> PublishedLaw:
    """Return a published law by name.

    Parameters
    ----------
    name : str
        One of :func:`published_names`.

    Raises
    ------
    LawError
        If there is no published law of that name.

    Examples
    --------
    >>> besiroglu = load_published("besiroglu_2024")
    >>> from bayescale.forecasting import forecast
    >>> answer = forecast(besiroglu.posterior(), flops=5.76e23)
    >>> round(float(answer.points["tokens"].item() / answer.points["params"].item()), 2)
    18.39
    """
    if name not in published_names():
        raise LawError(
            f"published law {name!r} is unknown: use one of "
            f"{listed(published_names(), MOST_NAMES)}{did_you_mean(name, published_names())}"
        )
    path = cards_folder() / "published" / f"{name}.toml"
    return parse_published(path.read_text(encoding="utf-8"), name, place=str(path.name))


def parse_published(text: str, name: str, place: str = "published law") -> PublishedLaw:
    """Return a published law from its TOML text.

    Raises
    ------
    CardError
        If the text is invalid; lists all problems.
    """
    return validated(PublishedLaw, {**read_toml(text, place), "name": name}, place)


# the comparison with a fit


@dataclass(frozen=True, eq=False)
class PublishedComparison(Result):
    """Mean loss along a scale, by a fit and by published laws.

    Attributes
    ----------
    scale : str
        ``flops``, along each law's own best split if it has one; or ``params`` or ``tokens``.
    curves : pandas.DataFrame
        One row per law and point: ``law``, ``published``, the scale, ``loss_median``,
        ``loss_lower``, ``loss_upper``.
    laws : pandas.DataFrame
        One row per published law: ``error_median``, ``error_lower``, ``error_upper`` of the log's
        runs about it, as shares of its loss, and ``n_runs`` with its inputs.
    runs : pandas.DataFrame
        The fit's runs: the scale and ``loss``.
    warnings : tuple of Finding
        Codes ``conventions_differ``, ``conventions_unknown``, ``outside_range``.
    """

    in_figures = True

    law: str
    scale: str
    curves: pd.DataFrame
    laws: pd.DataFrame
    runs: pd.DataFrame
    ci_prob: float
    warnings: tuple[Finding, ...]
    loss_unit: LossUnit = NATS

    def _table(self) -> pd.DataFrame:
        return self.curves

    def _json(self) -> dict[str, Any]:
        return {
            "law": self.law,
            "scale": self.scale,
            "unit": self.loss_unit.label,
            "interval": self.ci_prob,
            "laws": self.laws,
            "curves": self.curves,
            "warnings": [warning.to_json() for warning in self.warnings],
        }

    def _content(self) -> Iterator[str | TextTable]:
        own = self.curves[~self.curves["published"]]
        at = own[self.scale].iloc[[0, len(own) // 2, -1]].to_numpy()
        heads = [f"{x:.3g}" if self.scale == "flops" else format_size(x) for x in at]
        rows = []
        for name, curve in self.curves.groupby("law", sort=False):
            losses = np.interp(np.log(at), np.log(curve[self.scale]), curve["loss_median"])
            cells = (f"{loss:.4f}" for loss in losses)
            rows.append((str(name), *cells, self._runs_about(str(name))))
        yield f"Mean loss along {self.scale}:"
        yield TextTable(("", *heads, "the log's runs"), tuple(rows), indent="  ")
        yield from note_lines(self.warnings)

    def _runs_about(self, name: str) -> str:
        row = self.laws[self.laws["law"] == name]
        if row.empty or not row["n_runs"].item():
            return ""
        ends = f"{row['error_lower'].item():+.1%} to {row['error_upper'].item():+.1%}"
        return f"{row['error_median'].item():+.1%} off ({self.ci_prob:.0%} of them {ends})"


def compare_published(
    fit: Fit,
    names: Sequence[str],
    *,
    beyond: float = BEYOND,
    ci_prob: float = DEFAULT_CI_PROB,
    allow_unconverged: bool = False,
) -> PublishedComparison:
    """Compare a fit with published laws: along compute or its one scale, and at its own runs.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit with its runs.
    names : sequence of str
        Names from :func:`published_names`.
    beyond : float
        Multiple of the largest run up to which laws are compared.
    ci_prob : float
        Mass of the fit's central intervals, and of the runs about a published law.
    allow_unconverged : bool
        Compare even if the fit failed its convergence checks.

    Returns
    -------
    PublishedComparison

    Raises
    ------
    LawError
        If no name is given or a name is unknown, or a law cannot answer along the scale.
    CardError
        If the fit has no runs.

    Notes
    -----
    The loss of a law of params and tokens at a budget is that of its own best split, with
    C = 6 N D. A published law has no uncertainty.
    """
    laws = [load_published(name) for name in names]
    if not laws:
        raise LawError(f"name at least one of {', '.join(published_names())}")
    ci_prob = checked_ci_prob(ci_prob)
    if fit.runs is None:
        raise CardError("a point estimate was not fitted to any runs: there is nothing to compare")
    if not 1 <= beyond < np.inf:
        raise LawError(f"beyond is {beyond:g}, but must be finite and 1 or more")
    scale = _scale_of(fit.inputs)
    unable = [law for law in laws if scale not in _scales_of(law.model_card.law.inputs)]
    if unable:
        others = [f"{law.name} is of {' and '.join(law.model_card.law.inputs)}" for law in unable]
        raise LawError(
            collected(f"{fit.name} is compared along {scale}, of which others say nothing:", others)
        )
    x = fit.runs[scale]
    path = np.geomspace(x.min(), x.max() * beyond, _POINTS)
    allow = {"ci_prob": ci_prob, "allow_unconverged": allow_unconverged}
    unit = loss_unit_of(fit)
    answers = {fit.name: (False, forecast(fit, **{scale: path}, loss_unit=unit, **allow))}
    answers |= {
        law.name: (
            True,
            forecast(law.posterior(), **{scale: path}, loss_unit=unit, ci_prob=ci_prob),
        )
        for law in laws
    }
    columns = [scale, "loss_median", "loss_lower", "loss_upper"]
    curves = [
        found.to_frame()[columns].assign(law=name, published=published)
        for name, (published, found) in answers.items()
    ]
    return PublishedComparison(
        law=fit.name,
        scale=scale,
        curves=pd.concat(curves, ignore_index=True),
        laws=pd.DataFrame([_errors(law, fit.runs, ci_prob) for law in laws]),
        runs=fit.runs.frame[[scale]].assign(loss=unit.of(fit.runs["loss"])),
        loss_unit=unit,
        ci_prob=ci_prob,
        warnings=tuple(note for law in laws for note in _notes(law, fit.runs)),
    )


def _scales_of(inputs: Sequence[str]) -> tuple[str, ...]:
    return ("flops",) if splits(inputs) else tuple(inputs) if len(inputs) == 1 else ()


def _scale_of(inputs: Sequence[str]) -> str:
    scales = [name for name in _scales_of(inputs) if name in ("params", "tokens", "flops")]
    if not scales:
        raise LawError(
            f"a law of {' and '.join(inputs)} is along no scale that a published law is along"
        )
    return scales[0]


def _errors(law: PublishedLaw, runs: Runs, ci_prob: float) -> dict[str, Any]:
    """Return quantiles of the runs' losses over the law's losses there, as shares."""
    inputs, nothing = law.model_card.law.inputs, dict.fromkeys(("median", "lower", "upper"), np.nan)
    known = {name: np.array(runs[name]) for name in (*inputs, "tokens") if name in runs}
    known = all_unique(inputs, known)
    error, n = nothing, 0
    if set(inputs) <= set(known):
        expected = law.model_card.law.loss(**{name: known[name] for name in inputs}, **law.values)
        share = np.asarray(runs["loss"] / expected - 1, dtype=float)
        share = share[np.isfinite(share)]
        error, n = (quantiles(share, ci_prob) if share.size else nothing), share.size
    return {"law": law.name, **{f"error_{end}": v for end, v in error.items()}, "n_runs": n}


def _notes(law: PublishedLaw, runs: Runs) -> list[Finding]:
    """Return warnings if the log and the law follow different conventions, or may do so."""
    differ, unknown = [], []
    theirs, ours = law.counts.to_json(), runs.conventions.to_json()
    for name in _COMPARED:
        if theirs[name] == UNKNOWN or name not in {**law.conventions, "params": 0, "flops": 0}:
            continue
        if ours[name] == UNKNOWN:
            unknown.append(f"{name.replace('_', ' ')} ({theirs[name]})")
        elif ours[name] != theirs[name]:
            differ.append(f"{name.replace('_', ' ')}: {ours[name]} here, {theirs[name]} there")
    notes = []
    if differ:
        notes.append(
            note(
                "conventions_differ",
                f"{law.name} counts otherwise ({'; '.join(differ)}): its losses and sizes are not "
                "this log's, and only exponents can be held side by side",
            )
        )
    if unknown:
        notes.append(
            note(
                "conventions_unknown",
                f"the log does not state what {law.name} does: {', '.join(unknown)}. State it with "
                "`conventions=` when fitting, or take the comparison as a rough one",
            )
        )
    return notes
