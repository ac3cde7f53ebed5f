"""Signs in the losses over the scales: losses unrelated to scale, and two groups of runs."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bayescale.errors import argument, listed
from bayescale.findings import Finding, note
from bayescale.runs.draft import Draft, needs
from bayescale.runs.rules.loss import BITS

LEAST_RUNS, LEAST_RUNS_ANY = 20, 40
"""The fewest runs for two groups that differ by the step of bits, and by any step."""

MOST_KINDS = 20
"""The most values of a column that may tell groups apart."""

SHARE = 0.1
"""A column explains unrelated losses if fits by its values leave less than this share of the
squared residuals."""

MOST_FITTED = 5_000
"""The most runs in which groups are searched; longer logs are thinned."""

LEAST_STEP = 0.05
"""Tokenizers and evaluation sets differ by more; smaller steps may come from a poor fit."""


def loss_is_one_smooth_surface(draft: Draft) -> Iterator[Finding]:
    """Losses are related to scale, and do not fall into two groups."""
    frame = draft.frame
    log_loss = np.log(frame["loss"].to_numpy())
    scales = _log_scales(frame)
    if "lm_loss" in frame or not scales or len(frame) < 8:  # with lm_loss, an error rate
        return
    if not _are_related(np.column_stack([np.ones(len(frame)), *scales]), log_loss):
        yield note(
            "loss_unrelated",
            "loss is no more related to scale than shuffled losses would be: check that each row "
            f"holds one run's own numbers{_column_of_kinds(draft, scales, log_loss)}",
        )
    elif len(frame) >= LEAST_RUNS:
        if any(found.code == "sweep" for found in draft.findings):
            return  # losses of a sweep spread for another reason
        yield from _group_findings(draft, scales, log_loss)


def _log_scales(frame: pd.DataFrame) -> list[np.ndarray]:
    """Return centered logs of scales that vary; compute unless params and tokens are both known."""
    names = [n for n in ("params", "tokens", "unique_tokens") if _is_complete(frame, n)]
    if not {"params", "tokens"} <= set(names):
        names = ["flops"] if _is_complete(frame, "flops") else names
    logs = [np.log(frame[name].to_numpy()) for name in names]
    return [x - x.mean() for x in logs if np.ptp(x) > 0.1]


def _is_complete(frame: pd.DataFrame, name: str) -> bool:
    return name in frame and bool(frame[name].notna().all())


def _are_related(design: np.ndarray, y: np.ndarray) -> bool:
    """Return whether losses depend on the scales, by an F test on ranks at the 0.001 level."""
    from scipy.special import fdtrc

    y = pd.Series(y).rank().to_numpy()  # so that outliers do not hide the rest
    n, k = design.shape
    residuals = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    total, rest = float(((y - y.mean()) ** 2).sum()), float((residuals**2).sum())
    if n - k < 2 or total <= 1e-12:
        return True
    f = (total - rest) / (k - 1) / max(rest / (n - k), 1e-300)
    return bool(fdtrc(k - 1, n - k, f) < 1e-3)


def _group_findings(draft: Draft, scales: list[np.ndarray], y: np.ndarray) -> Iterator[Finding]:
    each = len(y) // MOST_FITTED + 1
    frame, y, scales = draft.frame.iloc[::each], y[::each], [scale[::each] for scale in scales]
    columns = [np.ones(len(y)), *scales]
    columns += [a * b for i, a in enumerate(scales) for b in scales[i:]]
    found = _two_groups(np.column_stack(columns), y, [*scales, np.arange(len(y))])
    if found is None:
        return
    upper, step, gap, clear = found
    in_bits = abs(step / np.log(BITS) - 1) < 0.15 and gap > 0.33 and clear > 5.5
    apart = step > LEAST_STEP and gap > 0.5 and clear > 7 and len(y) >= LEAST_RUNS_ANY
    if not (in_bits or apart):
        return
    cause = (
        "as if they were in bits and the others in nats"
        if in_bits
        else "as with another unit, tokenizer or evaluation set"
    )
    if "family" in frame:
        family = pd.Series(upper).groupby(frame["family"].to_numpy()).mean()
        if family.between(0.05, 0.95).sum() == 0:
            if not in_bits:
                return  # families are expected to differ
            cause += f" (families {', '.join(map(str, family.index[family > 0.5]))})"
    yield note(
        "loss_groups",
        f"runs fall into two groups: in {int(upper.sum())} of {len(y)} the loss is "
        f"{np.exp(step):.3g} times as high as in the others at the same scale, {cause}; convert "
        f"or leave out one group{_column_between(draft, frame, upper)}",
    )


def _column_of_kinds(draft: Draft, scales: list[np.ndarray], y: np.ndarray) -> str:
    """Return a text on a column by whose values losses follow scale, with the option for one."""
    design = np.column_stack([np.ones(len(y)), *scales])
    rest = _rest(design, y)
    for header in draft.unread:
        kinds = draft.raw.loc[draft.frame.index, header].map(str).to_numpy()
        names, counts = np.unique(kinds, return_counts=True)
        if not 2 <= len(names) <= MOST_KINDS or counts.min() < 2 * design.shape[1]:
            continue
        if sum(_rest(design[kinds == name], y[kinds == name]) for name in names) < SHARE * rest:
            first = kinds[0]
            return (
                f". Each value of column {header!r} ({listed(names)}) has losses that follow scale "
                f"by themselves: keep one with {argument('only', **{header: first})}"
            )
    return ""


def _rest(design: np.ndarray, y: np.ndarray) -> float:
    """Return the squared residuals of the best plane, summed."""
    return float(((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).sum())


def _column_between(draft: Draft, frame: pd.DataFrame, upper: np.ndarray) -> str:
    """Return a text on a column whose values separate the groups, with the option for one."""
    cells = draft.raw.loc[frame.index, draft.unread]
    for header in draft.unread:
        share = pd.Series(upper).groupby(cells[header].map(str).to_numpy()).mean()
        if 2 <= len(share) <= MOST_KINDS and not share.between(0.05, 0.95).any():
            high, low = share.index[share > 0.5], share.index[share < 0.5]
            larger = low if upper.mean() < 0.5 else high
            return (
                f". Column {header!r} separates them ({listed(high)} from {listed(low)}): keep "
                f"one with {argument('only', **{header: ','.join(larger)})}"
            )
    return ""


def _two_groups(
    design: np.ndarray, y: np.ndarray, orders: list[np.ndarray]
) -> tuple[np.ndarray, float, float, float] | None:
    """Return the best split into two groups that lie a constant apart on a smooth surface, or None.

    Returns
    -------
    upper : (run,) of bool
    step : float
        Distance between the groups, on log loss.
    gap : float
        Distance between the 95 % quantile of the lower and the 5 % quantile of the upper group, in
        steps.
    clear : float
        The step in standard deviations within the groups, without the 5 % of largest outliers.
    """
    residuals = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    shares = np.linspace(0.15, 0.85, 8)
    best = None
    for start in (x > np.quantile(x, q) for x in (residuals, *orders) for q in shares):
        split = _settle(design, y, start)
        if split is None:
            continue
        group, height, step = split
        if step < 0:
            group, height, step = ~group, height - step, -step
        if not 0.1 <= group.mean() <= 0.9:
            continue
        low, high = np.quantile(height[~group], 0.95), np.quantile(height[group], 0.05)
        gap = float((high - low) / step)
        within = np.sort((height - step * group) ** 2)[: int(np.ceil(0.95 * len(y)))]
        if best is None or gap > best[2]:
            best = group, float(step), gap, float(step / (np.sqrt(within.mean()) + 1e-12))
    return best


def _settle(
    design: np.ndarray, y: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Return groups, heights and step after alternating fits of surface and groups, or None."""
    height, step = np.zeros(len(y)), 0.0
    for _ in range(50):
        with_group = np.column_stack([design, group.astype(float)])
        *surface, step = np.linalg.lstsq(with_group, y, rcond=None)[0]
        height = y - design @ np.array(surface)
        new = np.abs(height - step) < np.abs(height)
        if (new == group).all():
            return (group, height, float(step)) if step else None
        if not 0 < new.sum() < len(y):
            return None
        group = new
    return group, height, float(step)


@needs("family")
def families_have_several_runs(draft: Draft) -> Iterator[Finding]:
    """At least one family has several runs, so that families can have coefficients of their own."""
    counts = draft.frame["family"].astype(str).value_counts()
    if 1 < len(counts) == len(draft.frame):
        header = draft.headers.get("family", "family")
        yield note(
            "families_of_one_run",
            f"{draft.named('family')} has {len(counts)} values in as many runs: families of one "
            "run each cannot have coefficients of their own, so all runs are fitted as one family; "
            f"leave the column unread with `ignore={header!r}` if it names runs",
        )


RULES = (loss_is_one_smooth_surface, families_have_several_runs)
