"""Signs that losses are in another unit than nats, if no unit was stated."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from bayescale.conventions import UNKNOWN
from bayescale.errors import argument, listed
from bayescale.findings import Finding, note
from bayescale.laws import CHINCHILLA, compute_optimal
from bayescale.runs.columns import ALIASES, canonical, unit_of_loss_header
from bayescale.runs.draft import Draft, needs, stop

WEB_TEXT: Mapping[str, float] = MappingProxyType(
    {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
)
"""Typical losses of language models in nats per token: the fit of Besiroglu et al. (2024)."""

LEAST_LEVEL, MOST_LEVEL = 0.6, 1.27
"""Range of the best losses relative to :data:`WEB_TEXT`. In nats they range from 0.76 on the Pile
to 1.11 on C4; bits per token are 1.44 times, and bits per byte about 0.42 times as large."""

BITS = 1 / np.log(2.0)
EQUAL = 0.03
"""Ratios of losses that differ by less than this share are equal."""

LOSS_LIKE = re.compile(r"loss|nll|cross_entropy|xent", re.IGNORECASE)
"""Headers of columns that seem to hold losses."""


FEWEST = 8
"""The fewest runs for this test; fewer may rise by chance."""

RISES = 0.5
CLEARLY = 4.0
"""Losses are scores if their rank correlation with expected losses is below minus the first number,
with a t value above the second."""


_UNIT_IN_WORDS = MappingProxyType(
    {"bits_per_byte": "bits per byte", "bits": "bits", "perplexity": "perplexity"}
)


def header_is_that_of_nats(draft: Draft) -> Iterator[Finding]:
    """The header of the loss names no other unit than nats, unless the unit is stated."""
    unit = unit_of_header(draft)
    if unit is None or (unit == "score" and any(loss_falls_with_scale(draft))):
        return  # a score that rises is refused for that
    if unit == "score":
        yield stop(
            "loss_header",
            f"{draft.named('loss')} seems to be a share of right or wrong answers, which is no "
            f"loss: name the column of the loss with {argument('columns', loss='HEADER')}; of a "
            "score such as accuracy write 1 - accuracy, and the language model's loss in a column "
            "lm_loss, for `law='downstream'`; or, to fit the numbers as they stand, say "
            f"{argument('units', loss=1)}",
        )
        return
    words = _UNIT_IN_WORDS[unit]
    yield stop(
        "loss_header",
        f"{draft.named('loss')} seems to be in {words}, and without a unit it is taken as nats per "
        f"token: if it is in {words}, say {argument('units', loss=unit)}; if nats are meant, "
        f"{argument('units', loss='nats')}",
    )


def unit_of_header(draft: Draft) -> str | None:
    """Return the unit that the header of the loss names, if none is stated; None for nats."""
    if draft.loss_unit_is_stated or "lm_loss" in draft.frame:
        return None
    return unit_of_loss_header(draft.headers["loss"])


def loss_falls_with_scale(draft: Draft) -> Iterator[Finding]:
    """The loss falls with scale; a score would rise."""
    expected, scale = _expected_order(draft.frame)
    if expected is None:
        return
    known = np.isfinite(expected)
    n = int(known.sum())
    ranks = pd.DataFrame({"e": expected[known], "l": draft.frame["loss"][known]}).rank()
    if n < FEWEST or (ranks.std() == 0).any():
        return
    rho = float(np.corrcoef(ranks["e"], ranks["l"])[0, 1])
    if rho < -RISES and -rho * np.sqrt((n - 2) / max(1 - rho**2, 1e-12)) > CLEARLY:
        yield stop(
            "loss_rises",
            f"{draft.named('loss')} rises with {scale} (rank correlation {-rho:.2f}), as a score "
            "does: a law describes a loss, which falls. Name the column of the loss with "
            f"{argument('columns', loss='HEADER')}; of a score such as accuracy write 1 - "
            "accuracy, and the language model's loss in a column lm_loss, for "
            "`law='downstream'`",
        )


def _expected_order(frame: pd.DataFrame) -> tuple[np.ndarray | None, str]:
    """Return values in the order of the expected losses, and the scale in words."""
    if "lm_loss" in frame:
        return frame["lm_loss"].to_numpy(), "scale, while lm_loss falls"
    if {"params", "tokens"} <= set(frame):
        size = frame["params"].to_numpy(), frame["tokens"].to_numpy()
        return np.asarray(CHINCHILLA.loss(*size, **WEB_TEXT)), "params and tokens"
    for column in ("flops", "params", "tokens"):
        if column in frame:
            return -frame[column].to_numpy(), column
    return None, ""


def other_losses_are_not_meant(draft: Draft) -> Iterator[Finding]:
    """If several columns may be the loss, the caller says which one is meant."""
    if "loss" in draft.options.columns:
        return
    others = [header for header in draft.unread if canonical(header) in ALIASES["loss"]]
    if others:
        header = draft.headers["loss"]
        yield note(
            "other_losses",
            f"the loss is column {header!r}, and {listed(map(repr, others))} "
            f"{'is' if len(others) == 1 else 'are'} not read: if that is the loss to fit, say "
            f"{argument('columns', loss=others[0])}; if not, {argument('columns', loss=header)}",
        )


def _header_says_log(draft: Draft) -> bool:
    return bool({"log", "ln", "log10"} & set(canonical(draft.headers["loss"]).split("_")))


@needs("flops")
def loss_is_at_the_level_of_nats(draft: Draft) -> Iterator[Finding]:
    """The best losses are similar to those of language models with the same compute."""
    frame = draft.frame
    if not _unit_is_unknown(draft):
        return
    known = frame.loc[frame["flops"].between(1e15, 1e27)]
    if len(known) < 3:
        return
    params, tokens = compute_optimal(CHINCHILLA, known["flops"].to_numpy(), WEB_TEXT)
    reached = CHINCHILLA.loss(params, tokens, **WEB_TEXT)
    level = float(np.quantile(known["loss"] / reached, 0.1))
    if LEAST_LEVEL <= level <= MOST_LEVEL:
        return
    if _header_says_log(draft):
        yield note(
            "loss_level",
            f"the best losses are {level:.3g} times what language models reach in nats per token "
            f"with as much compute, and {draft.named('loss')} says log: if it is the natural log "
            f"of the loss, say {argument('units', loss='ln')}; if it is the loss itself, "
            f"{argument('units', loss='nats')}",
        )
        return
    unit, other = ("bits", "bits per token") if level > 1 else ("bits_per_byte", "bits per byte")
    yield note(
        "loss_level",
        f"the best losses are {level:.3g} times what language models reach in nats per token with "
        f"as much compute, as they would be in {other}: if they are, say "
        f"{argument('units', loss=unit)}; if nats are meant, {argument('units', loss='nats')}",
    )


def loss_is_in_the_unit_of_others(draft: Draft) -> Iterator[Finding]:
    """The loss is not ln 2 times another column of losses, or the reverse."""
    if not _unit_is_unknown(draft):
        return
    loss = draft.frame["loss"].to_numpy()
    for header, values in _other_losses(draft).items():
        known = np.isfinite(values) & (values > 0)
        if known.sum() < 3:
            continue
        log_ratio = np.log(loss[known] / values[known])
        middle, spread = np.median(log_ratio), np.ptp(np.quantile(log_ratio, [0.1, 0.9]))
        if abs(abs(middle) - np.log(BITS)) < EQUAL and spread < 2 * EQUAL:
            ours, other = ("bits", "nats") if middle > 0 else ("nats", "bits")
            yield note(
                "loss_beside",
                f"loss is {np.exp(middle):.4g} times column {header!r} throughout, as if it were "
                f"in {ours} and that one in {other}: say which with "
                f"{argument('units', loss=ours)}, or {argument('units', loss='nats')} if both are",
            )
            return


def _other_losses(draft: Draft) -> dict[str, np.ndarray]:
    taken = set(draft.headers.values())
    raw = draft.raw.loc[draft.frame.index]
    return {
        header: pd.to_numeric(raw[header], errors="coerce").to_numpy(dtype=float)
        for header in raw.columns
        if header not in taken and LOSS_LIKE.search(header)
    }


def loss_was_not_converted_from_nats(draft: Draft) -> Iterator[Finding]:
    """Losses are not rounded numbers of nats that were converted to bits."""
    if not _unit_is_unknown(draft):
        return
    loss = draft.frame["loss"].to_numpy()
    if len(loss) < 5 or _decimals(loss) is not None:
        return
    decimals = _decimals(loss / BITS)
    if decimals is not None:
        yield note(
            "loss_rounded",
            f"times ln 2, every loss has {decimals} decimals, and as they stand they have more: "
            "they seem to have been converted from nats to bits; if so, say "
            f"{argument('units', loss='bits')}; if nats are meant, "
            f"{argument('units', loss='nats')}",
        )


def _unit_is_unknown(draft: Draft) -> bool:
    """Return whether losses may be in any unit; with ``lm_loss``, the loss is an error rate."""
    return (
        "lm_loss" not in draft.frame
        and draft.conventions.loss == UNKNOWN
        and not draft.loss_unit_is_stated
    )


def _decimals(values: np.ndarray) -> int | None:
    """Return the fewest decimals with which all values are exact, or None if more than four."""
    for digits in range(5):
        if np.all(np.abs(values * 10.0**digits - np.round(values * 10.0**digits)) < 1e-6):
            return digits
    return None


RULES = (
    loss_falls_with_scale,
    other_losses_are_not_meant,
    loss_is_at_the_level_of_nats,
    loss_is_in_the_unit_of_others,
    loss_was_not_converted_from_nats,
)
