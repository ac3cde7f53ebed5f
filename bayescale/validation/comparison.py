"""Laws side by side: how each forecasts the largest runs, and what weights that suggests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.errors import TrustError
from bayescale.findings import Finding, note, note_lines
from bayescale.posterior import Posterior
from bayescale.validation import scores
from bayescale.validation.backtest import POOL, Backtest, aggregate, problems_told

FEWEST_HELD_OUT, FEWEST_CUTOFFS = 30, 3
STACKED, LOO = "stacked", "loo"
HIGH_PARETO_K = 0.7


@dataclass(frozen=True, eq=False)
class Comparison:
    """Weights over laws, and what they rest on.

    Attributes
    ----------
    weights : mapping of str to float
        By stacking held-out forecasts of larger runs.
    weights_loo : mapping of str to float or None
        By stacking leave-one-out densities of all runs; None without full fits.
    table : pandas.DataFrame
        One row a law, and one a pool of all with equal, stacked and leave-one-out weights:
        ``lpd`` (log predictive density of held-out larger runs, mean in nats), ``lpd_se``,
        ``rmsle``, ``coverage50``, ``coverage90``, ``elpd_loo`` (sum over all runs), ``se``,
        ``weight``, ``weight_loo``. Each cutoff counts equally.
    warnings : tuple of Finding
        Codes ``few_held_out``, ``undecided``, ``keep_equal_weights``, ``loo_unreliable``,
        ``missing_refits``.
    """

    weights: Mapping[str, float]
    weights_loo: Mapping[str, float] | None
    table: pd.DataFrame
    n_held_out: int
    n_cutoffs: int
    warnings: tuple[Finding, ...]

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table.copy()

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""
        plain = self.table.astype(object).where(self.table.notna(), None)
        return {
            "weights": dict(self.weights),
            "weights_loo": None if self.weights_loo is None else dict(self.weights_loo),
            "rows": plain.to_dict(orient="records"),
            "n_held_out": self.n_held_out,
            "n_cutoffs": self.n_cutoffs,
            "warnings": [note.to_json() for note in self.warnings],
        }

    def __str__(self) -> str:
        laws = [str(law) for law in self.table["law"]]
        width = max(map(len, laws))
        lines = [
            f"{len(self.weights)} laws by how they forecast larger runs from smaller ones: "
            f"{self.n_held_out} forecasts, {self.n_cutoffs} cutoffs",
            "",
            f"{'':<{width}}  log density    +-   RMSLE   50%   90%   elpd-loo     +-   weight  "
            "by loo",
        ]
        for row in self.table.to_dict(orient="records"):
            loo = f"{row['elpd_loo']:>9.1f}  {row['se']:>5.1f}"
            loo = loo if np.isfinite(row["elpd_loo"]) else " " * 16
            shares = [
                "" if np.isnan(row[name]) else f"{row[name]:.2f}"
                for name in ("weight", "weight_loo")
            ]
            lines.append(
                f"{row['law']:<{width}}  {row['lpd']:>11.2f}  {row['lpd_se']:>4.2f}  "
                f"{row['rmsle']:>6.4f}  {row['coverage50']:>4.0%}  {row['coverage90']:>4.0%}  "
                f"{loo}  {shares[0]:>7}  {shares[1]:>6}".rstrip()
            )
        lines += [
            "",
            "log density: of held-out larger runs, mean in nats. elpd-loo: leave-one-out over all "
            "runs, sum.",
            "50%, 90%: share of held-out runs that these intervals held. Weights other than equal "
            "were chosen",
            "on these very runs, so their rows flatter them.",
        ]
        lines += ["", *note_lines(self.warnings)]
        return "\n".join(lines).rstrip()


def compare(backtest: Backtest, fits: Sequence[Posterior] = ()) -> Comparison:
    """Weigh laws by how each forecasts the largest runs from the smaller ones.

    Parameters
    ----------
    backtest : Backtest
        Of two or more laws.
    fits : sequence of Posterior, optional
        Each law's fit to all of the runs, with ``leave_one_out``: for PSIS-LOO beside it.

    Returns
    -------
    Comparison

    Raises
    ------
    TrustError
        If there are fewer than two laws, no cutoff at which all came back, or the fits are of
        other laws or runs.

    Notes
    -----
    Stacking maximizes the mean log density of the weighted mixture over held-out runs, each
    cutoff counting equally. Leave-one-out asks a different question, how well a law fills in
    between runs, and its weights or those by evidence did not repair coverage of forecasts
    beyond the runs; equal weights came closer.

    References
    ----------
    Yao et al. 2018, arXiv 1704.02030; Vehtari, Gelman and Gabry 2017, arXiv 1507.04544.
    """
    laws = backtest.laws
    require_two(laws)
    frame = backtest.forecasts
    shared = set(frame.loc[frame["law"] == POOL, "cutoff"])
    if not shared:
        told = problems_told(backtest.missing, 0, len(backtest.samples))
        raise TrustError(
            "\n".join(
                [f"there is no cutoff at which all of {', '.join(laws)} came back", *told[1:]]
            )
        )
    frame = frame[frame["cutoff"].isin(shared)]
    by_law = {law: frame[frame["law"] == law] for law in laws}
    lpd = np.column_stack([part["lpd"].to_numpy() for part in by_law.values()])
    cutoff = by_law[laws[0]]["cutoff"].to_numpy()
    share = share_of_each(cutoff)
    weights = stacking_weights(lpd, share)
    loo = _leave_one_out(fits, backtest)
    weights_loo = None if loo is None else stacking_weights(np.column_stack(list(loo.values())))

    rows = [
        _row(law, part)
        | {"weight": weights[i], "weight_loo": np.nan if weights_loo is None else weights_loo[i]}
        | _elpd(None if loo is None else loo[law])
        for i, (law, part) in enumerate(by_law.items())
    ]
    pools = {"equal": np.full(len(laws), 1 / len(laws)), STACKED: weights, LOO: weights_loo}
    for name, given in pools.items():
        if given is not None:
            together = _elpd(None if loo is None else _mixture(loo, given))
            mixed = backtest.pooled(given)
            blank = {"weight": np.nan, "weight_loo": np.nan}
            rows.append(_row(f"pool, {name}", mixed) | blank | together)
    warnings = [
        *_few(len(cutoff), len(shared)),
        *_undecided(laws, lpd, share),
    ]
    if warnings:
        warnings.append(note("keep_equal_weights", EQUAL_CAME_CLOSER))
    warnings += _unreliable(fits)
    if backtest.missing:
        told = problems_told(backtest.missing, 0, len(backtest.samples))[-1]
        warnings.append(note("missing_refits", told))
    return Comparison(
        weights=dict(zip(laws, map(float, weights), strict=True)),
        weights_loo=None
        if weights_loo is None
        else dict(zip(laws, map(float, weights_loo), strict=True)),
        table=pd.DataFrame(rows),
        n_held_out=len(cutoff),
        n_cutoffs=len(shared),
        warnings=tuple(warnings),
    )


def require_two(laws: Sequence[str]) -> None:
    """Refuse to compare fewer than two laws; asked before long work, not after.

    Raises
    ------
    TrustError
    """
    if len(laws) < 2:
        raise TrustError(
            f"a comparison needs two laws or more, and {', '.join(laws) or 'none'} is given: add "
            "another with --law NAME"
        )


def stacking_weights(
    log_densities: Any, shares: Any = None, *, tolerance: float = 1e-6
) -> np.ndarray:
    """Weights of the mixture with the highest mean log density, shape (law,).

    Parameters
    ----------
    log_densities : array_like, shape (run, law)
    shares : array_like, shape (run,), optional
        How much each run counts, with sum one; all alike where not given.
    tolerance : float
        In nats: the mean log density is within this of the best, which the problem's being
        concave proves.

    Examples
    --------
    A law that is never the better one gets nothing.

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
    """How much each forecast counts: each cutoff alike, and each of its runs; sum one."""
    _, which, counts = np.unique(cutoff, return_inverse=True, return_counts=True)
    return 1 / (counts[which] * len(counts))


def _row(law: str, part: pd.DataFrame) -> dict[str, Any]:
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
    }


def _leave_one_out(fits: Sequence[Posterior], backtest: Backtest) -> dict[str, np.ndarray] | None:
    """Of each law, the leave-one-out log density of each run's loss, per nat."""
    if not fits:
        return None
    of = {fit.name: fit for fit in fits}
    if set(of) != set(backtest.laws):
        raise TrustError(
            f"the fits are of {', '.join(of)}, but the backtest is of {', '.join(backtest.laws)}"
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


def _mixture(loo: Mapping[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
    return scores.log_mixture(np.stack(list(loo.values())), weights)


def _elpd(by_run: np.ndarray | None) -> dict[str, float]:
    if by_run is None:
        return {"elpd_loo": np.nan, "se": np.nan}
    spread = float(np.sqrt(len(by_run)) * by_run.std(ddof=1))
    return {"elpd_loo": float(by_run.sum()), "se": spread}


# what weights cannot say

EQUAL_CAME_CLOSER = (
    "On public runs, weights by evidence or leave-one-out did not repair coverage, and equal "
    "weights came closer: keep equal ones unless there is a reason"
)


def _few(n: int, cutoffs: int) -> list[Finding]:
    if n >= FEWEST_HELD_OUT and cutoffs >= FEWEST_CUTOFFS:
        return []
    return [
        note(
            "few_held_out",
            f"{n} forecasts from {cutoffs} cutoff{'' if cutoffs == 1 else 's'} cannot choose among "
            f"laws ({FEWEST_HELD_OUT} from {FEWEST_CUTOFFS} might): these weights mean little",
        )
    ]


def _undecided(laws: Sequence[str], lpd: np.ndarray, share: np.ndarray) -> list[Finding]:
    """The best law against the next one, run by run."""
    order = np.argsort(share @ lpd)[::-1]
    difference = lpd[:, order[0]] - lpd[:, order[1]]
    mean = float(share @ difference)
    se = float(np.sqrt(share @ (difference - mean) ** 2 * (share**2).sum()))
    if mean > 2 * se:
        return []
    first, second = laws[order[0]], laws[order[1]]
    return [
        note(
            "undecided",
            f"{first} is ahead of {second} by {mean:.2f} nats a run, within two standard errors "
            f"({se:.2f}, and more, because held-out runs repeat between cutoffs): the runs do not "
            "tell these laws apart",
        )
    ]


def _unreliable(fits: Sequence[Posterior]) -> list[Finding]:
    found = []
    for fit in fits:
        k = fit.tree["leave_one_out"].to_dataset()["pareto_k"].values
        if (bad := int((k > HIGH_PARETO_K).sum())) > 0:
            found.append(f"{fit.name} for {bad} of {len(k)} runs")
    if not found:
        return []
    return [
        note(
            "loo_unreliable",
            f"leave-one-out is a rough guess (Pareto k above {HIGH_PARETO_K}) of "
            f"{', '.join(found)}",
        )
    ]
