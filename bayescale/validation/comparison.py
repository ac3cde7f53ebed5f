"""Comparison of laws: how each forecasts the largest runs, and the weights that follow."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.errors import TrustError
from bayescale.findings import Finding, note, note_lines
from bayescale.posterior import Posterior
from bayescale.results import Result, TextTable
from bayescale.validation import scores
from bayescale.validation.backtest_result import Backtest, refit_problems
from bayescale.validation.held_out import AVERAGE, aggregate

FEWEST_HELD_OUT, FEWEST_CUTOFFS = 30, 3
STACKED, LOO = "stacked", "loo"
HIGH_PARETO_K = 0.7


@dataclass(frozen=True, eq=False)
class Comparison(Result):
    """Weights over laws, and the scores behind them.

    Attributes
    ----------
    weights : mapping of str to float
        Weights by stacking held-out forecasts of larger runs.
    weights_loo : mapping of str to float or None
        Weights by stacking leave-one-out densities of all runs; None without fits to all runs.
    table : pandas.DataFrame
        One row per law, and one per average of all laws with equal, stacked and
        leave-one-out weights:
        ``lpd`` (log predictive density of held-out larger runs, mean in nats), ``lpd_se``,
        ``rmsle``, ``coverage50``, ``coverage90``, ``elpd_loo`` (sum over all runs), ``se``,
        ``weight``, ``weight_loo``. Each cutoff counts equally.
    n_held_out, n_cutoffs : int
        Numbers of held-out runs and of cutoffs behind the scores.
    warnings : tuple of Finding
        Codes ``few_held_out``, ``undecided``, ``keep_equal_weights``, ``loo_unreliable``,
        ``missing_refits``.
    """

    in_figures = True

    weights: Mapping[str, float]
    weights_loo: Mapping[str, float] | None
    table: pd.DataFrame
    n_held_out: int
    n_cutoffs: int
    warnings: tuple[Finding, ...]

    def _table(self) -> pd.DataFrame:
        return self.table

    def _json(self) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "weights_loo": self.weights_loo,
            "rows": self.table,
            "n_held_out": self.n_held_out,
            "n_cutoffs": self.n_cutoffs,
            "warnings": [warning.to_json() for warning in self.warnings],
        }

    def brief(self) -> tuple[str, ...]:
        """Return the weights by stacking, and the first warnings about them."""
        weights = ", ".join(f"{law} {weight:.2f}" for law, weight in self.weights.items())
        return (f"Weights by stacking: {weights}", *note_lines(self.warnings)[:2])

    def _content(self) -> Iterator[str | TextTable]:
        yield (
            f"{len(self.weights)} laws by how they forecast larger runs from smaller ones: "
            f"{self.n_held_out} forecasts, {self.n_cutoffs} cutoff{'s' * (self.n_cutoffs != 1)}"
        )
        yield ""
        yield TextTable.of(
            {
                "": row["law"],
                "log density": f"{row['lpd']:.2f}",
                "+-": f"{row['lpd_se']:.2f}",
                "RMSLE": f"{row['rmsle']:.4f}",
                "50%": f"{row['coverage50']:.0%}",
                "90%": f"{row['coverage90']:.0%}",
                "elpd-loo": _number(row["elpd_loo"], 1),
                "loo +-": _number(row["se"], 1),
                "weight": _number(row["weight"], 2),
                "by loo": _number(row["weight_loo"], 2),
            }
            for row in self.table.to_dict(orient="records")
        )
        yield ""
        yield _LEGEND
        if self.warnings:
            yield ""
            yield from note_lines(self.warnings)


_LEGEND = (
    "log density: of held-out larger runs, mean in nats.\n"
    "elpd-loo: leave-one-out over all runs, sum in nats.\n"
    "50%, 90%: share of held-out runs inside these intervals.\n"
    "Weights other than equal were chosen on these same runs, so the scores of their averages are "
    "too good."
)


def _number(value: float, digits: int) -> str:
    return "" if np.isnan(value) else f"{value:.{digits}f}"


def compare(backtest: Backtest, fits: Sequence[Posterior] = ()) -> Comparison:
    """Weight laws by how well each forecasts the largest runs from the smaller ones.

    Parameters
    ----------
    backtest : Backtest
        A backtest of two or more laws.
    fits : sequence of Posterior, optional
        Each law's fit to all of the runs, with ``leave_one_out``, which adds PSIS-LOO.

    Returns
    -------
    Comparison

    Raises
    ------
    TrustError
        If there are fewer than two laws, no cutoff at which all refits succeeded, or the fits
        are of other laws or runs.

    Notes
    -----
    Stacking maximizes the mean log density of the weighted mixture over held-out runs, with equal
    weight for each cutoff. Leave-one-out answers a different question: how well a law interpolates
    between runs. On public runs, its weights and weights by evidence did not repair the coverage of
    forecasts beyond the runs; equal weights came closer.

    References
    ----------
    Yao et al. 2018, arXiv 1704.02030; Vehtari, Gelman and Gabry 2017, arXiv 1507.04544.
    """
    laws = backtest.laws
    require_two(laws)
    frame = backtest.forecasts
    shared = set(frame.loc[frame["law"] == AVERAGE, "cutoff"])
    if not shared:
        problems = refit_problems(backtest.missing, 0, len(backtest.samples))
        message = f"there is no cutoff at which the refits of all of {', '.join(laws)} succeeded"
        raise TrustError("\n".join([message, *problems]))
    frame = frame[frame["cutoff"].isin(shared)]
    by_law = {law: frame[frame["law"] == law] for law in laws}
    lpd = np.column_stack([part["lpd"].to_numpy() for part in by_law.values()])
    share = share_of_each(by_law[laws[0]]["cutoff"].to_numpy())
    weights = stacking_weights(lpd, share)
    loo = _leave_one_out(fits, backtest)
    weights_loo = None if loo is None else stacking_weights(np.column_stack(list(loo.values())))

    rows = [
        _row(law, part, None if loo is None else loo[law])
        | {"weight": weights[i], "weight_loo": np.nan if weights_loo is None else weights_loo[i]}
        for i, (law, part) in enumerate(by_law.items())
    ]
    averages = {"equal": np.full(len(laws), 1 / len(laws)), STACKED: weights, LOO: weights_loo}
    for name, given in averages.items():
        if given is not None:
            mixture = None
            if loo is not None:
                mixture = scores.log_mixture(np.stack(list(loo.values())), given)
            row = _row(f"{AVERAGE}, {name}", backtest.averaged(given), mixture)
            rows.append(row | {"weight": np.nan, "weight_loo": np.nan})
    return Comparison(
        weights=_by_law(laws, weights),
        weights_loo=None if weights_loo is None else _by_law(laws, weights_loo),
        table=pd.DataFrame(rows),
        n_held_out=len(share),
        n_cutoffs=len(shared),
        warnings=tuple(_warnings(backtest, fits, lpd, share, len(shared))),
    )


def _by_law(laws: Sequence[str], weights: np.ndarray) -> dict[str, float]:
    return dict(zip(laws, map(float, weights), strict=True))


def require_two(laws: Sequence[str]) -> None:
    """Refuse to compare fewer than two laws, before any refit.

    Raises
    ------
    TrustError
    """
    if len(laws) < 2:
        raise TrustError(
            f"a comparison needs two laws or more, and {', '.join(laws) or 'none'} is given: name "
            "another with `law=`"
        )


def stacking_weights(
    log_densities: Any, shares: Any = None, *, tolerance: float = 1e-6
) -> np.ndarray:
    """Return the weights of the mixture with the highest mean log density, shape (law,).

    Parameters
    ----------
    log_densities : array_like, shape (run, law)
    shares : array_like, shape (run,), optional
        Weight of each run, with sum one; by default equal.
    tolerance : float
        The most nats by which the mean log density may fall short of the maximum; it is known
        because the problem is concave.

    Examples
    --------
    A law that is never better gets nothing.

    >>> stacking_weights([[0.0, -1.0], [0.0, -2.0]]).round(3).tolist()
    [1.0, 0.0]
    """
    density = np.asarray(log_densities, dtype=float)
    n, k = density.shape
    share = np.full(n, 1 / n) if shares is None else np.asarray(shares, dtype=float)
    best = density.max(axis=1, keepdims=True)
    likelihood = np.exp(density - np.where(np.isfinite(best), best, 0.0))
    weights = np.full(k, 1 / k)
    for _ in range(100_000):
        mixture = likelihood @ weights
        gain = share @ (likelihood / np.maximum(mixture, 1e-300)[:, None])
        if gain.max() - 1 < tolerance:
            break
        weights = weights * gain  # the EM step for the shares of a mixture
        weights /= weights.sum()
    return weights


def share_of_each(cutoff: np.ndarray) -> np.ndarray:
    """Return weights of forecasts with sum one: equal between cutoffs, and within each of them."""
    _, which, counts = np.unique(cutoff, return_inverse=True, return_counts=True)
    return 1 / (counts[which] * len(counts))


def _row(law: str, part: pd.DataFrame, loo: np.ndarray | None) -> dict[str, Any]:
    """Return the scores of one law or average; each cutoff has the same weight."""
    by_cutoff = pd.DataFrame([aggregate(of) for _, of in part.groupby("cutoff")])
    mean = by_cutoff.mean()
    se = part["lpd"].std(ddof=1) / np.sqrt(len(part)) if len(part) > 1 else np.nan
    return {
        "law": law,
        "lpd": float(mean["lpd"]),
        "lpd_se": float(se),
        "rmsle": float(np.sqrt((by_cutoff["rmsle"] ** 2).mean())),
        "coverage50": float(mean["coverage50"]),
        "coverage90": float(mean["coverage90"]),
        "elpd_loo": np.nan if loo is None else float(loo.sum()),
        "se": np.nan if loo is None else float(np.sqrt(len(loo)) * loo.std(ddof=1)),
    }


def _leave_one_out(fits: Sequence[Posterior], backtest: Backtest) -> dict[str, np.ndarray] | None:
    """Return each law's leave-one-out log density of each run's loss, per nat."""
    if not fits:
        return None
    of = {fit.name: fit for fit in fits}
    if set(of) != set(backtest.laws):
        raise TrustError(
            f"the fits are of {', '.join(of)}, but the backtest is of {', '.join(backtest.laws)}: "
            "give fits of the same laws"
        )
    found = {}
    for law in backtest.laws:
        fit = of[law]
        if fit.runs is None or fit.runs.digest != backtest.runs.digest:
            raise TrustError(
                f"the fit of {law} is of another run log than the backtest: fit the same runs"
            )
        if "leave_one_out" not in fit.tree.children:
            raise TrustError(f"the fit of {law} has no leave-one-out: make it with bayescale.fit")
        elpd = fit.tree["leave_one_out"].to_dataset()["elpd"].values
        found[law] = elpd - np.log(fit.runs["loss"])
    return found


EQUAL_CAME_CLOSER = (
    "On public runs, weights by evidence or leave-one-out did not repair coverage, and equal "
    "weights came closer: keep equal ones unless there is a reason"
)


def _warnings(
    backtest: Backtest,
    fits: Sequence[Posterior],
    lpd: np.ndarray,
    share: np.ndarray,
    cutoffs: int,
) -> Iterator[Finding]:
    """Yield warnings about the weights."""
    doubts = [*_few(len(share), cutoffs), *_undecided(backtest.laws, lpd, share)]
    yield from doubts
    if doubts:
        yield note("keep_equal_weights", EQUAL_CAME_CLOSER)
    yield from _unreliable(fits)
    for problem in refit_problems(backtest.missing, 0, len(backtest.samples)):
        yield note("missing_refits", problem)


def _few(n: int, cutoffs: int) -> Iterator[Finding]:
    if n < FEWEST_HELD_OUT or cutoffs < FEWEST_CUTOFFS:
        yield note(
            "few_held_out",
            f"{n} forecasts from {cutoffs} cutoff{'' if cutoffs == 1 else 's'} cannot choose among "
            f"laws ({FEWEST_HELD_OUT} from {FEWEST_CUTOFFS} might): these weights mean little",
        )


def _undecided(laws: Sequence[str], lpd: np.ndarray, share: np.ndarray) -> Iterator[Finding]:
    """Compare the best law with the next one, run by run."""
    order = np.argsort(share @ lpd)[::-1]
    difference = lpd[:, order[0]] - lpd[:, order[1]]
    mean = float(share @ difference)
    se = float(np.sqrt(share @ (difference - mean) ** 2 * (share**2).sum()))
    if mean <= 2 * se:
        yield note(
            "undecided",
            f"{laws[order[0]]} is ahead of {laws[order[1]]} by {mean:.2f} nats a run, within two "
            f"standard errors ({se:.2f}, and more, because held-out runs repeat between cutoffs): "
            "the runs do not tell these laws apart",
        )


def _unreliable(fits: Sequence[Posterior]) -> Iterator[Finding]:
    found = []
    for fit in fits:
        k = fit.tree["leave_one_out"].to_dataset()["pareto_k"].values
        if (bad := int((k > HIGH_PARETO_K).sum())) > 0:
            found.append(f"{fit.name} for {bad} of {len(k)} runs")
    if found:
        yield note(
            "loo_unreliable",
            f"leave-one-out is a rough guess (Pareto k above {HIGH_PARETO_K}) of "
            f"{', '.join(found)}",
        )
