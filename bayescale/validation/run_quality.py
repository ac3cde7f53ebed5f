"""Checks for runs that violate a law's assumptions. They name the runs and never leave them out.

A law describes finished, tuned runs that were measured independently. The first checks use the log
alone; the others compare a fit with its runs.
"""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.cards import REPEATED, ModelCard
from bayescale.errors import leaving_out, listed
from bayescale.findings import SCALE_NOT_READ, Finding, note
from bayescale.noise import NumPy
from bayescale.posterior import Fit, Posterior, quantiles
from bayescale.posterior.predict import View
from bayescale.random import Purpose
from bayescale.runs import Runs
from bayescale.runs.log import SCALES

COARSE = 1e-3
"""From this step of the loss on, as a share of it, rounding affects residual noise of 0.5 %."""

FEW_VALUES = 0.8
"""With a smaller share of distinct losses, losses look rounded."""

FEWEST_LOSSES = 10
FEWEST_CHECKPOINTS = 4
EVEN = 0.02
"""Rows are logged at even steps if increments of tokens differ by no more than this share."""

RISEN = 0.1
"""A loss that exceeds that of a run smaller in every scale by this share suggests divergence."""

ALIKE = ("family", "kept_fraction")
"""Columns in which runs must agree to be compared by size."""

BLOCK = 256  # rows compared with all others at once, to bound memory

FEWEST_STEPS = 1000
FEWEST_TOKENS = 1e8
"""Training shorter than this is mostly warm-up: Kaplan et al. 2020 warmed up for 3,000 steps."""

FAR_ABOVE = 0.05
LACKING_FIT = 0.01
"""A law does not fit if a smaller share of replicated logs fits as badly."""

CODES = {
    "loss_steps": "loss_steps",
    "checkpoints": "checkpoints",
    "schedules": "unfinished_schedules",
    "divergence": "diverged",
    "warm_up": "warm_up",
    "seed_repeats": "lack_of_fit",
    "above_law": "above_law",
}
"""Codes of warnings, by the check that failed."""

_COUNTERS = re.compile(r"[-_ /.]*(step|iter|ckpt|checkpoint)s?[-_ ]*\d+[kmb]?$", re.IGNORECASE)


def log_checks(runs: Runs, card: ModelCard | None = None) -> tuple[Finding, ...]:
    """Return checks of a log that need no fit.

    Parameters
    ----------
    runs : Runs
    card : ModelCard, optional
        A card whose noise may state the rounding of losses.

    Returns
    -------
    tuple of Finding
        ``loss_steps`` (losses that look rounded although neither log nor card says so),
        ``checkpoints`` (rows that look like checkpoints of one run, without a column ``run``),
        ``divergence`` (losses above those of smaller runs), ``warm_up`` (runs of few steps, or of
        few tokens if the log has no steps) and, if the log has a column ``schedule_complete``,
        ``schedules`` (runs whose schedule was cut short).
    """
    checks = (_loss_steps(runs, card), _checkpoints(runs), _divergence(runs), _warm_up(runs))
    return (*checks, _schedules(runs)) if "schedule_complete" in runs else checks


def run_checks(fit: Fit) -> tuple[Finding, ...]:
    """Return checks of the runs of a fit.

    Parameters
    ----------
    fit : Posterior or ModelAverage

    Returns
    -------
    tuple of Finding
        For each law ``above_law`` (outliers more than 5 % above it, if the fit has
        ``leave_one_out``) and, if runs repeat, ``seed_repeats`` (the residual noise of runs with
        the same inputs compared with the fitted noise, and whether the law misses their means by
        more than that noise explains). For a model average, codes are such as
        ``chinchilla.above_law``.

    Notes
    -----
    The lack-of-fit F is the mean square of the repeats' means about the law, divided by that of the
    repeats about their means. It is compared draw by draw with that of logs replicated from the
    same draw, without drift (Gelman, Meng and Stern 1996).
    """
    checks = []
    for member in fit.members:
        found = [check for check in (_above_law(member), _seed_repeats(member)) if check]
        prefix = "" if len(fit.members) == 1 else f"{member.name}."
        checks += [replace(check, code=prefix + check.code) for check in found]
    return tuple(checks)


def imperfect_notes(fit: Fit) -> tuple[Finding, ...]:
    """Return the failed checks of log and fit as warnings."""
    if fit.runs is None:
        return ()
    checks = (*log_checks(fit.runs, fit.members[0].card), *run_checks(fit))
    return notes_of(checks)


def notes_of(checks: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return the checks that failed, as warnings."""
    failed = [check for check in checks if check.passed is False]
    return tuple(
        note(CODES[name], f"{law}: {check.text}" if law else check.text)
        for check in failed
        for law, _, name in (check.code.rpartition("."),)
    )


# of the log


def _loss_steps(runs: Runs, card: ModelCard | None) -> Finding:
    name = "loss_steps"
    if "loss_step" in runs or (card is not None and card.noise.rounding is not None):
        return Finding.check(name, True, "the rounding of losses is stated")
    loss = runs["loss"]
    distinct, typical = np.unique(loss), float(np.median(loss))
    if len(loss) >= FEWEST_LOSSES and len(distinct) < FEW_VALUES * len(loss):
        step = float(np.median(np.diff(np.log(distinct)))) if len(distinct) > 1 else np.inf
        found = f"{len(loss)} runs have {len(distinct)} values"
    else:
        decimals = next(d for d in range(17) if np.allclose(loss, loss.round(d), rtol=1e-9, atol=0))
        step = 10.0**-decimals / typical
        found = f"they have {decimals} decimals"
    table = pd.DataFrame({"step": [step], "values": [len(distinct)]}, index=["log loss"])
    if step < COARSE:
        return Finding.check(
            name, True, f"losses are finer than {COARSE:.1%} of their value", table
        )
    text = (
        f"losses look rounded: {found}, in steps of about {step:.2g} of the loss. Where residual "
        "noise is hardly larger, state the step in nats: in a column loss_step, or in the card's "
        "[noise.rounding]"
    )
    return Finding.check(name, False, text, table)


def _checkpoints(runs: Runs) -> Finding:
    name = "checkpoints"
    if "run" in runs:
        n = len(np.unique(runs["run"]))
        text = f"{len(runs)} rows are of {n} runs, as column run says"
        return Finding.check(name, True, text)
    # found by reading the log, from other columns
    if any(found.code == name for found in runs.warnings):
        return Finding.check(name, None, "rows look like checkpoints, as the note says")
    if "params" not in runs or "tokens" not in runs:
        return Finding.check(name, None, "without params and tokens, checkpoints look like runs")
    frame, suspects, several = runs.frame, [], 0
    alike = [c for c in ("family", "params", "unique_tokens", "kept_fraction") if c in frame]
    repeated = frame.duplicated(alike, keep=False)
    for _, group in frame.loc[repeated].groupby(alike, sort=False, dropna=False):
        several += 1
        if len(group) >= FEWEST_CHECKPOINTS and _of_one_run(group.sort_values("tokens")):
            suspects.append(group)
    if not suspects and several:
        text = (
            f"{several} sizes have several rows, with tokens in uneven steps: they count as runs, "
            "and no column says so"
        )
        return Finding.check(name, None, text)
    if not suspects:
        return Finding.check(name, True, "no two rows are of one size")
    ids = [f"{group['run_id'].iloc[0]} to {group['run_id'].iloc[-1]}" for group in suspects]
    rows = sum(map(len, suspects))
    text = (
        f"{rows} rows look like checkpoints of {len(suspects)} run"
        f"{'' if len(suspects) == 1 else 's'} ({listed(ids)}): one size, with tokens in even "
        "steps or ids that count steps. Name the column that says which run a row belongs to "
        "(`columns={'run': 'HEADER'}`), so that they do not count as many; or keep finished runs "
        "only"
    )
    table = pd.DataFrame({"rows": [len(g) for g in suspects]}, index=ids)
    return Finding.check(name, False, text, table)


def _of_one_run(group: pd.DataFrame) -> bool:
    """Return whether rows of one size, by tokens, look like checkpoints of one run."""
    tokens = group["tokens"].to_numpy()
    stems = {_COUNTERS.sub("", run) for run in group["run_id"]}
    if len(stems) == 1 and stems != set(group["run_id"]):
        return True
    if "schedule_complete" in group:
        complete = group["schedule_complete"].to_numpy()
        return bool(complete[-1] == "yes" and (complete[:-1] == "no").all())
    gaps = np.diff(tokens)
    # checkpoints are evenly spaced from the start; chosen budgets double or follow a grid
    return bool((gaps > 0).all() and np.ptp(gaps) <= EVEN * gaps.mean() and len(tokens) > 4)


def _divergence(runs: Runs) -> Finding:
    # compute follows from params and tokens
    both = {"params", "tokens"} <= set(runs.frame.columns)
    scales = ["params", "tokens"] if both else [c for c in SCALES if c in runs]
    lowest = _lowest_of_smaller(runs, scales)
    risen = runs["loss"] / lowest - 1
    out = np.flatnonzero(risen > RISEN)
    table = pd.DataFrame(
        {"loss": runs["loss"][out], "smaller_run": lowest[out], "above": risen[out]},
        index=runs["run_id"][out],
    )
    if not len(out):
        text = f"no loss is more than {RISEN:.0%} above that of a run smaller in every scale"
        return Finding.check("divergence", True, text, table)
    worst = out[np.argsort(-risen[out])]
    sweep = any(found.code == "sweep" for found in runs.warnings)
    cause = "Look for divergence, a wrong row or other data, and"
    cause = "They are likely untuned rows of a sweep:" if sweep else cause
    advice = f"{cause} fit again without them ({leaving_out(runs['run_id'][worst])})"
    if len(scales) == 1 and any(found.code == SCALE_NOT_READ for found in runs.warnings):
        advice = (
            f"The scale that was not read may explain them (note {SCALE_NOT_READ}): read it "
            "before leaving any run out"
        )
    text = (
        f"{_count(out, 'run')} ended more than {RISEN:.0%} above a run that is smaller in "
        f"{' and '.join(scales)}: "
        f"{listed(f'{runs["run_id"][i]} ({risen[i]:.0%} above)' for i in worst)}. {advice}"
    )
    return Finding.check("divergence", False, text, table)


def _lowest_of_smaller(runs: Runs, scales: list[str]) -> np.ndarray:
    """Return the lowest loss among runs of the same kind that are no larger in any scale."""
    known = np.stack([runs[scale] for scale in scales], axis=1)
    alike = [c for c in ALIKE if c in runs]
    repeats = np.isnan(known).any(axis=1)
    if "unique_tokens" in runs:  # a larger run that repeats its data may overfit
        repeats |= runs["tokens"] > REPEATED * runs["unique_tokens"]
    lowest = np.full(len(runs), np.inf)
    groups = runs.frame.groupby(alike).indices.values() if alike else [np.arange(len(runs))]
    for group in groups:
        rows = np.asarray(group)
        rows = rows[np.flatnonzero(np.isfinite(known[rows]).all(axis=1))]
        lowest[rows] = _lowest_below(known[rows], runs["loss"][rows])
    lowest[repeats] = np.inf
    return lowest


def _lowest_below(scales: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Return the lowest loss of the other rows that are no larger in one or two scales."""
    first, last = scales[:, 0], scales[:, -1]
    order = np.lexsort((loss, last, first))
    new = np.diff(first[order], prepend=np.nan) != 0
    new |= np.diff(last[order], prepend=np.nan) != 0
    starts = np.flatnonzero(new)
    size = np.cumsum(new) - 1  # of each row, in order
    best = loss[order][starts]
    second = np.full(len(starts), np.inf)
    several = np.diff(starts, append=len(order)) > 1
    second[several] = loss[order][starts[several] + 1]
    others = _prefix_minimum(last[order][starts], best)
    is_best = np.zeros(len(order), dtype=bool)
    is_best[starts] = True
    within = np.where(is_best, second[size], best[size])
    lowest = np.empty(len(order))
    lowest[order] = np.minimum(within, others[size])
    return lowest


def _prefix_minimum(height: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return for each item the lowest value of earlier items that are no higher, by blocks."""
    lowest = np.full(len(height), np.inf)
    steps, floor = np.array([]), np.array([])  # falling lowest values by rising height, so far
    for first in range(0, len(height), BLOCK):
        these = slice(first, first + BLOCK)
        h, v = height[these], value[these]
        at = np.searchsorted(steps, h, side="right") - 1
        before = np.where(at >= 0, floor[at], np.inf) if len(steps) else np.full(len(h), np.inf)
        inside = np.where(np.tri(len(h), k=-1, dtype=bool) & (h <= h[:, None]), v, np.inf)
        lowest[these] = np.minimum(before, inside.min(axis=1))
        order = np.argsort(np.concatenate([steps, h]), kind="stable")
        steps, floor = np.concatenate([steps, h])[order], np.concatenate([floor, v])[order]
        falls = floor < np.concatenate([[np.inf], np.minimum.accumulate(floor)[:-1]])
        steps, floor = steps[falls], floor[falls]
    return lowest


def _warm_up(runs: Runs) -> Finding:
    column, least = ("steps", FEWEST_STEPS) if "steps" in runs else ("tokens", FEWEST_TOKENS)
    if column not in runs:
        return Finding.check("warm_up", None, "the log counts neither steps nor tokens")
    short = np.flatnonzero(runs[column] < least)
    if not len(short):
        return Finding.check("warm_up", True, f"every run had {least:,.0f} {column} or more")
    text = (
        f"{_count(short, 'run')} had fewer than {least:,.0f} {column}: "
        f"{listed(f'{runs["run_id"][i]} ({runs[column][i]:.3g})' for i in short)}. Most of that is "
        "warm-up, which lifts small runs above the law and biases its exponents: fit again "
        f"without them ({leaving_out(runs['run_id'][short])})"
    )
    table = pd.DataFrame({column: runs[column][short]}, index=runs["run_id"][short])
    return Finding.check("warm_up", False, text, table)


def _schedules(runs: Runs) -> Finding:
    cut = np.flatnonzero(runs["schedule_complete"] == "no")
    if not len(cut):
        return Finding.check("schedules", True, "every run finished its learning-rate schedule")
    text = (
        f"{_count(cut, 'run')} stopped before the end of the learning-rate schedule: "
        f"{listed(runs['run_id'][cut])}. Their losses lie above what finished runs reach: leave "
        "them out (`exclude={'schedule_complete': 'no'}`), or take the law as a floor (card "
        "chinchilla_floor)"
    )
    table = pd.DataFrame({"loss": runs["loss"][cut]}, index=runs["run_id"][cut])
    return Finding.check("schedules", False, text, table)


def _count(found: np.ndarray, what: str) -> str:
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}"


# of a fit


def _above_law(posterior: Posterior) -> Finding | None:
    if posterior.runs is None or "leave_one_out" not in posterior.tree.children:
        return None
    loo = posterior.tree["leave_one_out"].to_dataset()
    above = posterior.runs["loss"] / loo["expected"].values - 1
    out = np.flatnonzero((loo["outlier"].values > 0) & (above > FAR_ABOVE))
    if not len(out):
        return Finding.check("above_law", True, f"no outlier lies {FAR_ABOVE:.0%} above the law")
    ids = posterior.runs["run_id"]
    worst = out[np.argsort(-above[out])]
    text = (
        f"{_count(out, 'run')} lie{'s' if len(out) == 1 else ''} far above the law: "
        f"{listed(f'{ids[i]} ({above[i]:.0%} above)' for i in worst)}. Look for divergence, "
        "unfinished schedules and untuned learning rates; if many runs lie there, take the law as "
        "a floor (card chinchilla_floor)"
    )
    table = pd.DataFrame({"above": above[out]}, index=ids[out])
    return Finding.check("above_law", False, text, table)


def _seed_repeats(posterior: Posterior) -> Finding | None:
    runs, code = posterior.runs, "seed_repeats"
    if runs is None or "sigma" not in posterior.draws or runs.has_checkpoints:
        return None
    alike = [*posterior.inputs, *(["family"] if "family" in runs else [])]
    index = runs.frame.groupby(alike, sort=False).ngroup().to_numpy()
    n = np.bincount(index)
    repeated = len(runs) - len(n)
    if not repeated:
        return None
    log_loss = np.log(runs["loss"])
    mean = np.bincount(index, log_loss) / n
    pure = float(np.sqrt((((log_loss - mean[index]) ** 2).sum()) / repeated))
    view = posterior.exact.by_run()
    sigma = quantiles(view.sigma(view.run_inputs()))
    fitted = sigma["median"]
    table = pd.DataFrame({"sd": [pure, fitted]}, index=["pure error", "fitted residual noise"])
    text = (
        f"{len(runs)} runs at {len(n)} sizes: the residual noise of runs with the same inputs is "
        f"{pure:.2%}, and {fitted:.2%} ({sigma['lower']:.2%} to {sigma['upper']:.2%}) is fitted"
    )
    misfit = len(n) - len(posterior.law.coefficients)
    if misfit < 1:
        return Finding.check(code, None, f"{text}; there are too few sizes to test the law", table)
    share = _share_as_far_off(view, log_loss, index, n, misfit)
    text += f"; {share:.1%} of replicated logs lie as far off the law"
    if share >= LACKING_FIT:
        return Finding.check(code, True, text, table)
    text += (
        ": the law does not fit the means of repeats within their residual noise. Use another law "
        "or a model average, and look which sizes are off"
    )
    return Finding.check(code, False, text, table)


def _share_as_far_off(
    view: View, log_loss: np.ndarray, index: np.ndarray, n: np.ndarray, misfit: int
) -> float:
    """Return the share of replicated logs whose lack-of-fit F is at least that of the runs."""
    log_mean = xr.ufuncs.log(view.loss_of_runs().transpose("chain", "draw", "run"))
    replicated = log_mean + view.noise(log_mean, Purpose.LACK_OF_FIT, view.run_inputs())

    def lack_of_fit(values: np.ndarray) -> np.ndarray:
        off = values - log_mean.values
        means = NumPy.sum_by(off, index) / n
        within = (off - means[..., index]) ** 2
        return (n * means**2).sum(-1) / misfit / (within.sum(-1) / (len(index) - len(n)))

    observed = lack_of_fit(log_loss + 0 * log_mean.values)
    return float((lack_of_fit(replicated.values) >= observed).mean())
