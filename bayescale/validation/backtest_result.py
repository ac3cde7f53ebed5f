"""The result of a backtest: forecasts of held-out larger runs, and the losses of these runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from bayescale.errors import listed
from bayescale.results import Result, TextTable
from bayescale.runs import Runs
from bayescale.units import three_digits
from bayescale.validation import scores
from bayescale.validation.held_out import AVERAGE, Samples, aggregate, scored_average

RATIO_BINS = ((1.0, 3.0), (3.0, 10.0), (10.0, 30.0), (30.0, 100.0), (100.0, np.inf))

_LEGEND = (
    "times larger: than the largest run fitted.\n"
    "RMSLE, CRPS: error on log loss (0.01 is about 1 %).\n"
    "log density: of the observed loss, higher is better.\n"
    "50%, 90%: share of runs inside these intervals; near 50 and 90 is right, less is "
    "overconfident."
)


class Missing(NamedTuple):
    """A refit without a result."""

    law: str
    cutoff: float
    why: str


@dataclass(frozen=True, eq=False)
class Backtest(Result):
    """Forecasts of held-out larger runs, with the losses that those runs reached.

    Attributes
    ----------
    laws : tuple of str
        Two or more are also scored as their model average, named ``average``.
    weights : tuple of float
        Each law's weight in the average.
    scale : str
        The scale of sizes and cutoffs: ``flops``, or the laws' only input.
    cutoffs : tuple of float
        Sizes up to which runs were fitted.
    forecasts : pandas.DataFrame
        One row per law, cutoff and held-out run: ``law``, ``cutoff``, ``run_id``, ``ratio`` (size
        over that of the largest training run), ``n_train``, ``loss`` (observed), ``median``,
        ``lower50``, ``upper50``, ``lower90``, ``upper90`` (of a single new run, nats per token),
        ``log_error`` (log median minus log observed), ``lpd`` (log predictive density per nat per
        token), ``crps`` (of log loss, the outermost 1 % of draws moved inward), ``pit`` (share of
        draws at or below the observed loss), ``half_width90`` (of the interval of log mean loss),
        ``covered50``, ``covered90``, ``converged``.
    splits : pandas.DataFrame
        One row per law, cutoff and larger budget whose best size the log measures: see
        :func:`bayescale.validation.split_forecasts.scored_splits`. Empty without any.
    across : pandas.DataFrame
        Forecasts of runs whose tokens per parameter lie outside the fitted range, one row per law,
        refit and held-out run: ``law``, ``training`` (which runs were fitted), ``run_id``, ``side``
        (1 for more tokens per parameter, -1 for fewer), ``distance`` (e-folds outside the fitted
        range), ``log_error``, ``half_width90``, ``covered90``, ``converged``.
    missing : tuple of Missing
        Refits that failed or were lost with their worker.
    samples : mapping of (str, float) to Sample
        The scored forecasts, by law and cutoff.
    runs : Runs
        The whole log.
    seed : int
    """

    in_figures = True

    laws: tuple[str, ...]
    weights: tuple[float, ...]
    scale: str
    cutoffs: tuple[float, ...]
    forecasts: pd.DataFrame
    splits: pd.DataFrame
    across: pd.DataFrame
    missing: tuple[Missing, ...]
    samples: Samples
    runs: Runs
    seed: int

    @property
    def answer(self) -> str:
        """The name of the forecasts that answers rest on: the average, or the only law."""
        return AVERAGE if self.laws[1:] else self.laws[0]

    def averaged(self, weights: Sequence[float]) -> pd.DataFrame:
        """Return scored forecasts of the model average with other weights, as in ``forecasts``."""
        return scored_average(self.runs, self.samples, self.laws, weights, self.cutoffs, self.scale)

    def rows(self) -> pd.DataFrame:
        """Return scores by law, cutoff and bin of ratio, with the JSON keys as columns.

        ``ratio`` is the geometric mean of the ratios in the row.
        """
        rows = []
        for (law, cutoff, _), part in self._binned().groupby(["law", "cutoff", "bin"], sort=False):
            rows.append(
                {
                    "law": law,
                    "cutoff_flops": cutoff if self.scale == "flops" else None,
                    "cutoff": cutoff,
                    "ratio": float(np.exp(np.log(part["ratio"]).mean())),
                    "n_train": int(part["n_train"].iloc[0]),
                    "n_test": len(part),
                    **aggregate(part),
                }
            )
        return pd.DataFrame(rows)

    def summary(self) -> pd.DataFrame:
        """Return scores by law and bin of ratio over all cutoffs, and by law over all ratios.

        The columns are ``n`` (forecasts), ``n_cutoffs``, and ``rmsle``, ``crps``, ``lpd``,
        ``coverage50``, ``coverage90`` and ``msce``, averaged over forecasts.
        """
        rows = []
        for law, of_law in self._binned().groupby("law", sort=False):
            parts = [(RATIO_BINS[cast(int, i)], part) for i, part in of_law.groupby("bin")]
            for (lower, upper), part in [*parts, ((1.0, np.inf), of_law)]:
                row = {"law": law, "lower": lower, "upper": None if upper == np.inf else upper}
                row |= {"n": len(part), "n_cutoffs": part["cutoff"].nunique()}
                row |= aggregate(part) | {"msce": scores.msce(part["pit"])}
                rows.append(row | {"ratios": _bin_name(lower, upper)})
        return pd.DataFrame(rows)

    def _binned(self) -> pd.DataFrame:
        ends = [upper for _, upper in RATIO_BINS[:-1]]
        ratio = self.forecasts["ratio"]
        return self.forecasts.assign(bin=np.digitize(ratio, ends, right=True))

    def unconverged(self) -> list[dict[str, Any]]:
        """Return law and cutoff of refits that failed their convergence checks."""
        return [
            {"law": law, "cutoff": cutoff}
            for (law, cutoff), sample in self.samples.items()
            if not sample.converged
        ] + [
            {"law": row["law"], "cutoff": None, "training": row["training"]}
            for row in self._across_refits().to_dict(orient="records")
            if not row["converged"]
        ]

    def _table(self) -> pd.DataFrame:
        return self.forecasts

    def _json(self) -> dict[str, Any]:
        return {
            "laws": self.laws,
            "weights": dict(zip(self.laws, self.weights, strict=True)),
            "scale": self.scale,
            "cutoffs": self.cutoffs,
            "interval": 0.9,
            "rows": self.rows(),
            "summary": {
                law: part.drop(columns="law")
                for law, part in self.summary().groupby("law", sort=False)
            },
            "splits": self.splits,
            "across": self.across,
            "missing": [item._asdict() for item in self.missing],
            "unconverged": self.unconverged(),
            "seed": self.seed,
            "runs_sha256": self.runs.digest,
        }

    def brief(self) -> tuple[str, ...]:
        """Return the number of forecasts, and the scores of the answer over all of them."""
        overall = self.summary()
        last = overall[(overall["law"] == self.answer) & (overall["ratios"] == "all")].iloc[0]
        return (
            f"{self.answer}: {last['n']} forecasts of larger runs, {last['n_cutoffs']} cutoffs",
            f"90% intervals held {last['coverage90']:.0%}, 50% intervals {last['coverage50']:.0%}; "
            f"RMSLE {last['rmsle']:.4f}",
        )

    def _content(self) -> Iterator[str | TextTable]:
        n = self.forecasts.drop_duplicates(["cutoff", "run_id"]).shape[0]
        cutoffs = ", ".join(f"{cutoff:.3g}" for cutoff in self.cutoffs)
        yield (
            f"Backtest of {' and '.join(self.laws)} on {len(self.runs)} runs from "
            f"{self.runs.source}:"
        )
        yield (
            f"{n} forecasts of larger runs from the smaller ones, at {len(self.cutoffs)} cutoff"
            f"{'' if len(self.cutoffs) == 1 else 's'} in {self.scale} ({cutoffs})."
        )
        yield ""
        yield TextTable.of(
            ({"law": row["law"]} if len(self.laws) > 1 else {})
            | {
                "times larger": row["ratios"],
                "forecasts": str(row["n"]),
                "cutoffs": str(row["n_cutoffs"]),
                "RMSLE": f"{row['rmsle']:.4f}",
                "CRPS": f"{row['crps']:.4f}",
                "log density": f"{row['lpd']:.2f}",
                "50%": f"{row['coverage50']:.0%}",
                "90%": f"{row['coverage90']:.0%}",
            }
            for row in self.summary().to_dict(orient="records")
        )
        yield from self._split_lines()
        yield ""
        yield _LEGEND
        if len(self.laws) > 1:
            shares = zip(self.laws, self.weights, strict=True)
            yield f"average: their mixture, {', '.join(f'{w:.0%} {law}' for law, w in shares)}."
        for sentence in refit_problems(self.missing, len(self.unconverged()), self.n_refits):
            yield ""
            yield sentence

    @property
    def n_refits(self) -> int:
        """The number of refits that gave forecasts."""
        return len(self.samples) + len(self._across_refits())

    def _across_refits(self) -> pd.DataFrame:
        of_laws = self.across[self.across["law"].isin(self.laws)]
        columns = ["law", "training", "converged"]
        return of_laws[columns].drop_duplicates() if len(of_laws) else of_laws

    def _split_lines(self) -> Iterator[str]:
        splits, across = (
            part[part["law"] == self.answer] if len(part) else part
            for part in (self.splits, self.across)
        )
        if len(splits):
            yield ""
            yield (
                f"Splits: 90% intervals held {int(splits['covered90'].sum())} of {len(splits)} "
                f"best sizes measured at larger budgets, and {int(splits['exceeded'].sum())} "
                "choices lost more than the 95% bound that was stated."
            )
        if len(across):
            yield ""
            yield (
                "Other tokens per parameter than those fitted, at like compute: 90% intervals held "
                f"{int(across['covered90'].sum())} of {len(across)} runs, up to a factor of "
                f"{three_digits(np.exp(across['distance'].max()))} outside."
            )


def _bin_name(lower: float, upper: float) -> str:
    if upper == np.inf:
        return "all" if lower == 1 else f"above {lower:g}"
    return f"{lower:g} to {upper:g}"


def refit_problems(missing: Sequence[Missing], unconverged: int, n: int) -> list[str]:
    """Return sentences on refits without a result, and on unconverged refits that are scored."""
    sentences = []
    if missing:
        which = listed(
            f"{item.law} at {item.cutoff:.3g} ({item.why})"
            if np.isfinite(item.cutoff)
            else f"{item.law} ({item.why})"
            for item in missing
        )
        sentences.append(f"Missing: {len(missing)} of {len(missing) + n} refits: {which}.")
    if unconverged:
        sentences.append(
            f"{unconverged} of {n} refits failed their convergence checks; they are scored all the "
            "same."
        )
    return sentences
