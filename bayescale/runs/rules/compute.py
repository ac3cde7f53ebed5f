"""Signs that compute, params or tokens are counted in another way than assumed."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayescale.conventions import Configuration
from bayescale.conventions.configuration import NEEDED_FOR
from bayescale.errors import argument
from bayescale.findings import Finding, note
from bayescale.runs.draft import Draft, needs
from bayescale.runs.log import SCALES

FLOPS_TOLERANCE = 0.2
"""6 N D agrees with all matrix products of a large model within this share."""

EQUAL = 0.03
"""Counts that differ by less than this share are the same count, rounded differently."""

LEAST_COUNTED = 0.7
"""Counts of all matrix products exceed this share of 6 N D, unless only N counts embeddings."""

_KNOWN_RATIOS = (
    (1 / 3, "flops_forward_only", "as if compute were 2 N D, the forward pass alone"),
    (2 / 3, "flops_convention", "as if compute were 4 N D, the backward pass alone"),
    (1 / 6, "flops_convention", "as if compute were N D, without the factor of 6"),
    (1 / 2, "flops_convention", "as if a multiplication and its addition counted as one"),
    (4 / 3, "flops_convention", "as if compute were 8 N D, activations computed twice"),
)


class Audit(NamedTuple):
    """C / (6 N D) over a log's runs.

    Attributes
    ----------
    lower, median, upper : float
    code : str
        The code of the finding; empty if the ratio is 1 within :data:`FLOPS_TOLERANCE`.
    cause : str
        The likely cause in words; empty if none is found.
    """

    lower: float
    median: float
    upper: float
    code: str
    cause: str


def audit_compute(frame: pd.DataFrame) -> Audit | None:
    """Return compute relative to 6 N D, and the likely cause if they differ."""
    if not set(SCALES) <= set(frame.columns):
        return None
    known = frame.dropna(subset=list(SCALES))
    if known.empty:
        return None
    ratio = (known["flops"] / (6.0 * known["params"] * known["tokens"])).to_numpy()
    low, middle, high = float(ratio.min()), float(np.median(ratio)), float(ratio.max())
    if low >= 1 / (1 + FLOPS_TOLERANCE) and high <= 1 + FLOPS_TOLERANCE:
        return Audit(low, middle, high, "", "")
    causes = (cause(known, ratio) for cause in _CAUSES)
    return Audit(low, middle, high, *next(filter(None, causes), ("flops_convention", "")))


# causes, the most specific first: each takes the runs and their ratio to 6 N D


def _counted_from_configuration(frame: pd.DataFrame, ratio: np.ndarray) -> tuple[str, str] | None:
    shapes = Configuration.of(frame)
    if shapes is None:
        return None
    for what, words in (
        ("hoffmann_f", "that of Hoffmann et al. (2022), appendix F, for these models"),
        (
            "hoffmann_blocks",
            "that of attention and feed-forward layers, without embedding and head",
        ),
    ):
        if shapes.lacks(*NEEDED_FOR[what]):
            continue
        blocks_only = what == "hoffmann_blocks"
        counted = shapes.hoffmann_flops(frame["tokens"].to_numpy(), blocks_only=blocks_only)
        if np.all(np.abs(np.log(frame["flops"] / counted)) < EQUAL):
            text = f"compute is {words}: say {argument('conventions', flops=what)}"
            return "flops_convention", text
    return None


def _known_ratio(frame: pd.DataFrame, ratio: np.ndarray) -> tuple[str, str] | None:
    if _spread(ratio) < 1 + 2 * EQUAL:
        for value, code, words in _KNOWN_RATIOS:
            if abs(np.log(np.median(ratio) / value)) < EQUAL:
                return code, words
    return None


def _other_count(frame: pd.DataFrame, ratio: np.ndarray) -> tuple[str, str] | None:
    for other, factor, words in (
        ("unique_tokens", "params", "compute counts each unique token once, not once per epoch"),
        ("params_no_embed", "tokens", "compute is 6 times the other count of params times tokens"),
    ):
        if other in frame:
            counted = 6.0 * (frame[factor] * frame[other])
            if np.all(np.abs(np.log(frame["flops"] / counted)) < EQUAL):
                return "flops_convention", words
    return None


def _trend_with_size(frame: pd.DataFrame, ratio: np.ndarray) -> tuple[str, str] | None:
    size, log_ratio = np.log(frame["params"].to_numpy()), np.log(ratio)
    if np.unique(size).size < 4 or np.ptp(log_ratio) <= EQUAL:
        return None
    trend = _rank_correlation(size, log_ratio)
    small = np.exp(np.median(log_ratio[size <= np.quantile(size, 0.25)]))
    large = np.exp(np.median(log_ratio[size >= np.quantile(size, 0.75)]))
    if trend < -0.5 and small > 1:
        return "flops_convention", (
            f"the ratio falls from {small:.3g} for the smaller models to {large:.3g} for the "
            "larger, as where compute counts attention and the output head, or params leaves "
            "embeddings out"
        )
    if trend > 0.5 and small < 1:
        return "flops_convention", (
            f"the ratio rises from {small:.3g} for the smaller models to {large:.3g} for the "
            "larger, as where compute leaves embeddings and head out and params counts them"
        )
    return None


def _forward_pass(frame: pd.DataFrame, ratio: np.ndarray) -> tuple[str, str] | None:
    if ratio.max() < LEAST_COUNTED and ratio.min() * 3 > 1 / (1 + FLOPS_TOLERANCE):
        return "flops_forward_only", (
            "no count of training is as low, and the forward pass alone is a third of it"
        )
    return None


def _no_pattern(frame: pd.DataFrame, ratio: np.ndarray) -> tuple[str, str] | None:
    if _spread(ratio) > 2:
        return "flops_inconsistent", (
            "the ratio follows no way of counting: rows may be mixed up, or in different units"
        )
    return None


_CAUSES = (
    _counted_from_configuration,
    _known_ratio,
    _other_count,
    _trend_with_size,
    _forward_pass,
    _no_pattern,
)


def _spread(ratio: np.ndarray) -> float:
    low, high = np.quantile(ratio, [0.1, 0.9])
    return high / low


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    ranks = pd.DataFrame({"x": x, "y": y}).rank()
    return float(np.corrcoef(ranks["x"], ranks["y"])[0, 1])


# rules


def compute_is_6nd(draft: Draft) -> Iterator[Finding]:
    """Compute is near 6 N D."""
    frame = draft.frame
    audit = audit_compute(frame)
    if audit is None or not audit.code:
        return
    ratio = (frame["flops"] / (6.0 * frame["params"] * frame["tokens"])).dropna()
    off = (ratio > 1 + FLOPS_TOLERANCE) | (ratio < 1 / (1 + FLOPS_TOLERANCE))
    cause = audit.cause or "check how compute, embeddings and repeated data were counted"
    yield note(
        audit.code,
        f"flops differs from 6 * params * tokens by more than {FLOPS_TOLERANCE:.0%} in "
        f"{int(off.sum())} of {len(ratio)} runs: their ratio goes from {audit.lower:.3g} to "
        f"{audit.upper:.3g}, median {audit.median:.3g}; {cause}",
    )


@needs("params", "tokens")
def tokens_are_above_params(draft: Draft) -> Iterator[Finding]:
    """Models are trained on more tokens than they have parameters."""
    ratio = float((draft.frame["tokens"] / draft.frame["params"]).median())
    if ratio < 1:
        yield note(
            "tokens_below_params",
            f"tokens are {ratio:.3g} times params (median), and models are trained on more tokens "
            "than they have parameters: the two may be swapped, or one in another unit",
        )


@needs("params", "layers", "width")
def configuration_matches_params(draft: Draft) -> Iterator[Finding]:
    """Params agree with the models' configuration under the stated convention, or under any."""
    frame, stated = draft.frame, draft.conventions.params
    shapes = Configuration.of(frame)
    if shapes is None:
        return
    params = frame["params"].to_numpy()
    apart = {
        what: float(np.nanmedian(np.abs(np.log(params / shapes.params(what)))))
        for what in ("all", "no_input_embedding", "non_embedding")
        if not shapes.lacks(*NEEDED_FOR[what])
    }
    if not apart:
        return
    nearest = min(apart, key=lambda what: apart[what])
    if stated in apart and apart[stated] > EQUAL and apart[nearest] < apart[stated] / 2:
        yield note(
            "configuration_mismatch",
            f"params are stated to be {stated}, but the configuration gives counts "
            f"{apart[stated]:.1%} from them (median) and {apart[nearest]:.1%} for {nearest}: "
            "correct the statement or the configuration",
        )
    elif apart[nearest] > np.log(1.25):
        yield note(
            "configuration_mismatch",
            f"params are {np.expm1(apart[nearest]):.0%} from what the configuration gives under "
            "any convention (median): check both",
        )


RULES = (
    compute_is_6nd,
    tokens_are_above_params,
    configuration_matches_params,
)
