"""Summaries of posteriors: medians, intervals and outliers."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any, overload

import numpy as np
import pandas as pd

from bayescale.conventions import NATS, LossUnit
from bayescale.errors import MOST_LISTED
from bayescale.posterior.average import ModelAverage
from bayescale.posterior.fit import Fit, loss_unit_of, runs_by_family
from bayescale.posterior.methods import asks_fit
from bayescale.posterior.posterior import DRIFTING, Posterior
from bayescale.posterior.record import diagnosis
from bayescale.posterior.resampling import overconfident, widen
from bayescale.results import DEFAULT_CI_PROB, Content, Result, TextTable, quantiles
from bayescale.units import three_digits

_DRIFT = "drift_"
_NOISE = ("sigma", "nu")
_MOST_FAMILIES = 20  # in a table of their own coefficients


@dataclass(frozen=True, eq=False)
class Summary(Result):
    """Coefficients of a posterior, and whether the sampler converged.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row per coefficient: ``median``, ``lower``, ``upper`` in ``unit`` (the card's),
        ``contraction`` (share of the prior's spread on the log scale that the runs removed), and
        ``prior_median``, ``prior_lower``, ``prior_upper``, which are NaN if the fit holds no draws
        of the prior.
    ci_prob : float
        Mass of the central interval between lower and upper.
    by_family : pandas.DataFrame or None
        One row per family and coefficient of its own: ``family``, ``n_runs``, ``coefficient``,
        ``unit``, ``median``, ``lower`` and ``upper``.
    overconfident : mapping of str to float
        Coefficients that would vary more over fresh logs than their intervals say, with the ratio:
        see :func:`bayescale.resampling_ratio`.
    """

    law: str
    card: str
    n_runs: int
    frame: pd.DataFrame
    ci_prob: float
    diagnostics: Mapping[str, Any]
    seconds: Mapping[str, float]
    outliers: pd.DataFrame
    without_outliers: Mapping[str, Any] | None
    families: tuple[str, ...]
    by_family: pd.DataFrame | None = None
    loss_unit: LossUnit = NATS
    overconfident: Mapping[str, float] = MappingProxyType({})

    def _table(self) -> pd.DataFrame:
        return self.frame

    def _json(self) -> Mapping[str, Any]:
        columns = ("median", "lower", "upper", "unit", "contraction")
        rows = {
            str(name): {c: row[c] for c in columns} | {"prior": _prior_json(row)}
            for name, row in self.frame.iterrows()
        }
        return {
            "law": self.law,
            "card": self.card,
            "n_runs": self.n_runs,
            "unit": self.loss_unit.label,
            "interval": self.ci_prob,
            "coefficients": {n: q for n, q in rows.items() if not n.startswith(_DRIFT)},
            "drift": {n: q for n, q in rows.items() if n.startswith(_DRIFT)},
            "diagnostics": self.diagnostics,
            "seconds": self.seconds,
            "families": self.families,
            "by_family": _family_json(self.by_family),
            "outliers": self.outliers,
            "without_outliers": self.without_outliers,
        }

    def brief(self) -> tuple[str, ...]:
        """Return the fit's name, the law's coefficients and the convergence checks."""
        own = self.frame[~self.frame.index.isin((*_NOISE, *self._drift()))]
        shown = (f"{name} {' '.join(rounded(row))}" for name, row in own.iterrows())
        return (self._headline(), ", ".join(shown), diagnosis(self.diagnostics))

    def short(self) -> Content:
        """Yield the table and the convergence checks, without the explanations of the full text."""
        yield self._headline()
        yield ""
        yield self._coefficients(short=True)
        yield ""
        yield self._units()
        yield from self._marks()
        yield diagnosis(self.diagnostics)
        if n := len(self.outliers):
            yield f"Outliers or influential runs: {n}; `fit.summary()` names them."

    def _headline(self) -> str:
        return f"{self.law} fitted to {self.n_runs:,} runs (card {self.card})"

    def _drift(self) -> list[str]:
        return [str(name) for name in self.frame.index if str(name).startswith(_DRIFT)]

    def _coefficients(self, short: bool = False) -> TextTable:
        def row_of(name: str, row: pd.Series) -> dict[str, str]:
            median, interval = rounded(row)
            times, less = self.overconfident.get(name), row["contraction"]
            contraction = {"contraction": "" if np.isnan(less) else f"{less:.0%}"}
            return {
                "": name,
                "median": median,
                f"{self.ci_prob:.0%} interval": interval + (f" (x{times:.1f})" if times else ""),
                **({} if short else contraction),
            }

        return TextTable.of(row_of(str(name), row) for name, row in self.frame.iterrows())

    def _units(self) -> str:
        """Return the units of the coefficients that have one."""
        names: dict[str, list[str]] = {}
        for name, unit in self.frame["unit"].items():
            names.setdefault(unit, []).append(str(name))
        names.pop("dimensionless", None)
        return "Units: " + "; ".join(f"{', '.join(of)} in {unit}" for unit, of in names.items())

    def _marks(self) -> Iterator[str]:
        if self.overconfident:
            yield (
                "(x...): overconfident. Over fresh logs it would vary so many times more than its "
                "interval says. Forecasts allow for that by drift; a summary with `robust=True` "
                "has wider intervals."
            )

    def _content(self) -> Content:
        yield self._headline()
        yield ""
        yield self._coefficients()
        yield ""
        yield self._units()
        yield from self._marks()
        yield "contraction: the share of the prior's spread that the runs removed"
        if not self.loss_unit.is_fitted:
            yield (
                f"coefficients are those of a loss in nats per token; answers are in the log's own "
                f"unit, {self.loss_unit.words}"
            )
        if self._drift():
            yield (
                "drift: how far real losses depart from the law; every forecast allows for it, "
                "the other rows take the law to hold exactly"
            )
        if self.by_family is not None:
            yield ""
            yield f"families, with coefficients of their own ({self.ci_prob:.0%} intervals):"
            yield _family_table(self.by_family)
            if (more := len(self.families) - _MOST_FAMILIES) > 0:
                yield f"and {more} more families"
        yield ""
        yield diagnosis(self.diagnostics)
        if len(self.outliers):
            yield ""
            yield from _outlier_lines(self.outliers, self.without_outliers)


def rounded(row: pd.Series | Mapping[Any, Any]) -> tuple[str, str]:
    """Write a median and its interval with three digits, or as many as tell the ends apart."""
    median, lower, upper = (float(row[name]) for name in ("median", "lower", "upper"))
    digits, spread = 3, upper - lower
    if spread > 0 and np.isfinite(spread) and median:
        digits = max(digits, math.ceil(math.log10(abs(median) / spread)) + 1)
    texts = [three_digits(value, digits, pad=True) for value in (median, lower, upper)]
    return texts[0], f"{texts[1]} to {texts[2]}"


def _prior_json(row: pd.Series) -> dict[str, float] | None:
    prior = {name: float(row[f"prior_{name}"]) for name in ("median", "lower", "upper")}
    return None if np.isnan(prior["median"]) else prior


def _outlier_lines(outliers: pd.DataFrame, without: Mapping[str, Any] | None) -> Iterator[str]:
    shown = [
        f"{row.run_id} (loss {row.loss:.3f}, law says {row.expected:.3f}; {row.why})"
        for row in outliers.head(MOST_LISTED).itertuples()
    ]
    n = len(outliers)
    more = f" and {n - MOST_LISTED} more" if n > MOST_LISTED else ""
    which = f"{n} outliers or influential runs" if n > 1 else "1 outlier or influential run"
    yield f"{which} by leave-one-out: {'; '.join(shown)}{more}."
    if without is not None:
        moves = [
            f"{name} {rounded(move['with'])[0]} -> {' ('.join(rounded(move['without']))})"
            for name, move in without["coefficients"].items()
        ]
        yield (
            f"Without the outliers (90% intervals): {'; '.join(moves)}. Keep them if they are "
            "sound runs."
            + ("" if without["passed"] else " (That refit failed its convergence checks.)")
        )


@dataclass(frozen=True, eq=False)
class ModelAverageSummary(Result):
    """Coefficients of each law of a model average.

    Attributes
    ----------
    laws : tuple of Summary
    weights : tuple of float
        The laws' shares of the answer.
    """

    laws: tuple[Summary, ...]
    weights: tuple[float, ...]
    diagnostics: Mapping[str, Any]

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of all laws together."""
        names = {name for law in self.laws for name in law.seconds}
        return {name: sum(law.seconds.get(name, 0.0) for law in self.laws) for name in names}

    def _table(self) -> pd.DataFrame:
        return pd.concat({law.law: law.to_frame() for law in self.laws}, names=["law"])

    def _json(self) -> Mapping[str, Any]:
        answers = {law.law: law.to_json() for law in self.laws}
        shared = ("n_runs", "unit", "interval", "families")
        first = answers[self.laws[0].law]
        own = ("law", "seconds", *shared)
        return {
            "laws": {
                name: {key: value for key, value in answer.items() if key not in own}
                for name, answer in answers.items()
            },
            "weights": {law.law: w for law, w in zip(self.laws, self.weights, strict=True)},
            **{key: first[key] for key in shared},
            "seconds": self.seconds,
        }

    def brief(self) -> tuple[str, ...]:
        """Return the laws with their weights, and the convergence checks."""
        return (next(iter(self._content())), diagnosis(self.diagnostics))  # type: ignore[arg-type]

    def short(self) -> Content:
        """Yield the tables and the convergence checks, without what :meth:`content` explains."""
        yield next(iter(self._content()))
        for law in self.laws:
            yield ""
            yield from law.short()

    def _content(self) -> Content:
        shares = [f"{law.law} {w:.0%}" for law, w in zip(self.laws, self.weights, strict=True)]
        yield f"{len(self.laws)} laws averaged ({', '.join(shares)}); forecasts use all of them."
        for law in self.laws:
            yield ""
            yield from law._content()  # noqa: SLF001 one result shows another


@overload
def summarize(fit: Posterior, ci_prob: float = ..., *, robust: bool = ...) -> Summary: ...
@overload
def summarize(
    fit: Fit, ci_prob: float = ..., *, robust: bool = ...
) -> Summary | ModelAverageSummary: ...
@asks_fit
def summarize(
    fit: Fit, ci_prob: float = DEFAULT_CI_PROB, *, robust: bool = False
) -> Summary | ModelAverageSummary:
    """Summarize every coefficient, the noise and the drift by medians and central intervals.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    ci_prob : float
        Mass of the central intervals, 0.9 by default.
    robust : bool
        Widen intervals of coefficients to their spread over fresh logs: see
        :func:`bayescale.widen`.

    Returns
    -------
    Summary or ModelAverageSummary
        Coefficients and noise take the law to hold exactly, as published ones do.

    Raises
    ------
    PosteriorError
        If ``robust`` is asked for, and there are too few runs, or the fit has families.
    """
    fit = widen(fit) if robust else fit
    if isinstance(fit, ModelAverage):
        laws = tuple(_summary(member, ci_prob) for member in fit.members)
        return ModelAverageSummary(laws, fit.weights, fit.diagnostics)
    return _summary(fit.members[0], ci_prob)


def _summary(posterior: Posterior, ci_prob: float) -> Summary:
    card, draws = posterior.card, posterior.draws
    described = card.coefficients | card.noise.parameters
    sources = {name: draws for name in described if name in draws}
    if card.drift is not None and DRIFTING in posterior.tree.children:
        described |= card.drift.parameters
        sources |= dict.fromkeys(card.drift.parameters, posterior.drifting.draws)
    has_prior = "prior" in posterior.tree.children
    prior = posterior.tree["prior"].to_dataset() if has_prior else {}
    rows = {}
    for name, source in sources.items():
        factor = described[name].unit_factor
        before = quantiles(prior[name].values / factor if name in prior else np.nan, ci_prob)
        rows[name] = quantiles(source[name].values / factor, ci_prob) | {
            "unit": described[name].unit,
            "contraction": contraction(posterior, name) if source is draws else float("nan"),
            **{f"prior_{key}": value for key, value in before.items()},
        }
    return Summary(
        law=card.law.name,
        card=card.name,
        n_runs=0 if posterior.runs is None else len(posterior.runs),
        frame=pd.DataFrame.from_dict(rows, orient="index"),
        ci_prob=ci_prob,
        diagnostics=posterior.diagnostics,
        seconds=posterior.record.get("seconds", {}),
        outliers=outliers(posterior),
        without_outliers=posterior.record.get("without_outliers"),
        families=posterior.families,
        by_family=_by_family(posterior, ci_prob),
        loss_unit=loss_unit_of(posterior),
        overconfident=overconfident(posterior),
    )


def _by_family(posterior: Posterior, ci_prob: float) -> pd.DataFrame | None:
    """Tabulate families' own coefficients, one row a family and coefficient, in the card's unit."""
    counts, rows = runs_by_family(posterior), []
    for family, n in counts.items():
        own = posterior.exact.coefficients(family)
        for name in posterior.card.family:
            described = posterior.card.coefficients[name]
            values = quantiles(own[name].values / described.unit_factor, ci_prob)
            row = {"family": family, "n_runs": n, "coefficient": name, "unit": described.unit}
            rows.append(row | values)
    return pd.DataFrame(rows) if rows else None


def _family_json(table: pd.DataFrame | None) -> dict[str, Any]:
    """Give each family's number of runs and own coefficients."""
    found: dict[str, Any] = {}
    for row in [] if table is None else table.to_dict(orient="records"):
        one = found.setdefault(row["family"], {"n_runs": row["n_runs"], "coefficients": {}})
        values = {key: row[key] for key in ("median", "lower", "upper", "unit")}
        one["coefficients"][row["coefficient"]] = values
    return found


def _family_table(table: pd.DataFrame) -> TextTable:
    rows: dict[str, dict[str, str]] = {}
    for row in table.to_dict(orient="records"):
        cells = rows.setdefault(row["family"], {"": row["family"], "runs": str(row["n_runs"])})
        cells[row["coefficient"]] = "{} ({})".format(*rounded(row))
    return TextTable.of(islice(rows.values(), _MOST_FAMILIES))


def _why(row: pd.Series) -> str:
    reasons = [f"p = {row['p_value']:.2g}"] if row["outlier"] else []
    if row["influential"]:
        reasons.append(f"moves {row['moves_coefficient']} by {row['moves']:.1f} sd")
    return " and ".join(reasons)


def finite(value: float) -> float | None:
    """Return the number for JSON, which has no infinity."""
    return float(value) if np.isfinite(value) else None


def contraction(posterior: Posterior, name: str) -> float:
    """Return the share of a coefficient's prior spread, on the log scale, that the runs removed.

    NaN for a point estimate, which has no prior.
    """
    if "prior" not in posterior.tree.children:
        return float("nan")
    prior = posterior.tree["prior"].to_dataset()[name].values
    return float(1 - np.log(posterior.draws[name].values).std() / np.log(prior).std())


def outliers(posterior: Posterior) -> pd.DataFrame:
    """List runs that leave-one-out finds far off the law or moving it much, worst first.

    Returns
    -------
    pandas.DataFrame
        ``run_id``, ``loss``, ``expected`` (in the log's own unit), ``p_value`` (two-sided, of the
        run given all others), ``moves`` (largest shift of a coefficient's mean on leaving the run
        out, in posterior standard deviations), ``moves_coefficient`` and ``why``.
    """
    columns = ["run_id", "loss", "expected", "p_value", "moves", "moves_coefficient", "why"]
    if "leave_one_out" not in posterior.tree.children or posterior.runs is None:
        return pd.DataFrame(columns=columns)
    unit = loss_unit_of(posterior)
    loo = posterior.tree["leave_one_out"].to_dataset()
    shift = abs(loo["shift"])
    largest = shift.fillna(-1.0).argmax("coefficient")  # NaN where a coefficient has one value
    frame = pd.DataFrame(
        {
            "run_id": posterior.runs["run_id"],
            "loss": unit.of(posterior.runs["loss"]),
            "expected": unit.of(loo["expected"].values),
            "p_value": loo["p_value"].values,
            "moves": shift.max("coefficient").values,
            "moves_coefficient": loo["coefficient"].values[largest.values].astype(str),
            "outlier": loo["outlier"].values.astype(bool),
            "influential": loo["influential"].values.astype(bool),
        }
    )
    flagged = frame[frame["outlier"] | frame["influential"]].copy()
    flagged["why"] = [_why(row) for _, row in flagged.iterrows()]
    return flagged.sort_values("p_value")[columns].reset_index(drop=True)
