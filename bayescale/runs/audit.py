"""Signs in a run log that its numbers are not in the units, or do not count what, they seem to.

Each is told as a note, with its figures and its likely cause; nothing is changed. A check that
the log's statements settle is not made.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayescale.conventions import UNKNOWN, Configuration, Conventions
from bayescale.conventions.configuration import NEEDED_FOR
from bayescale.laws import CHINCHILLA, compute_optimal
from bayescale.runs.log import SCALES, Note

FLOPS_TOLERANCE = 0.2
"""6 N D is this close to every matrix product of a large model."""

EQUAL = 0.03
"""Counts within this share are one count, differently rounded."""

WEB_TEXT: Mapping[str, float] = MappingProxyType(
    {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
)
"""Besiroglu et al. (2024): the measure of what language models reach in nats per token."""

LEAST_LEVEL, MOST_LEVEL = 0.6, 1.27
"""Best runs against :data:`WEB_TEXT`, in nats: .76 on the Pile to 1.11 on C4; bits are 1.44 times,
bits per byte about .42 times that."""

LEAST_COUNTED = 0.7
"""Counts of all matrix products are above this share of 6 N D, unless N alone has embeddings."""

BITS = 1 / np.log(2.0)

_KNOWN_RATIOS = (
    (1 / 3, "flops_forward_only", "as if compute were 2 N D, the forward pass alone"),
    (2 / 3, "flops_convention", "as if compute were 4 N D, the backward pass alone"),
    (1 / 6, "flops_convention", "as if compute were N D, without the factor of 6"),
    (1 / 2, "flops_convention", "as if a multiplication and its addition counted as one"),
    (4 / 3, "flops_convention", "as if compute were 8 N D, activations computed twice"),
)


class Audit(NamedTuple):
    """C / (6 N D) of a log's runs.

    Attributes
    ----------
    lower, median, upper : float
    code : str
        Of the note that tells it; empty where it is one within :data:`FLOPS_TOLERANCE`.
    cause : str
        The likely one, in words; empty where there is none to name.
    """

    lower: float
    median: float
    upper: float
    code: str
    cause: str


def audit_compute(frame: pd.DataFrame) -> Audit | None:
    """Compute against 6 N D, and the likely cause where they differ.

    Parameters
    ----------
    frame : pandas.DataFrame
        With ``params``, ``tokens`` and ``flops`` in raw units; else the answer is None.
    """
    if not set(SCALES) <= set(frame.columns):
        return None
    known = frame.dropna(subset=list(SCALES))
    if known.empty:
        return None
    ratio = (known["flops"] / (6.0 * known["params"] * known["tokens"])).to_numpy()
    low, middle, high = float(ratio.min()), float(np.median(ratio)), float(ratio.max())
    if low >= 1 / (1 + FLOPS_TOLERANCE) and high <= 1 + FLOPS_TOLERANCE:
        return Audit(low, middle, high, "", "")
    return Audit(low, middle, high, *_cause(known, ratio))


def _cause(frame: pd.DataFrame, ratio: np.ndarray) -> tuple[str, str]:
    by_configuration = _counted_by_configuration(frame)
    if by_configuration:
        return "flops_convention", by_configuration
    inner = np.quantile(ratio, [0.1, 0.9])
    low, high = float(ratio.min()), float(ratio.max())
    if inner[1] / inner[0] < 1 + 2 * EQUAL:
        for value, code, words in _KNOWN_RATIOS:
            if abs(np.log(np.median(ratio) / value)) < EQUAL:
                return code, words
    for other, words in (
        ("unique_tokens", "compute counts each unique token once, not how often it was seen"),
        ("params_no_embed", "compute is 6 times the other count of params times tokens"),
    ):
        if other in frame:
            counted = frame["params" if other == "unique_tokens" else "tokens"] * frame[other]
            if np.all(np.abs(np.log(frame["flops"] / (6.0 * counted))) < EQUAL):
                return "flops_convention", words
    size, log_ratio = np.log(frame["params"].to_numpy()), np.log(ratio)
    if np.unique(size).size >= 4 and np.ptp(log_ratio) > EQUAL:
        trend = _rank_correlation(size, log_ratio)
        ends = [np.median(log_ratio[size <= np.quantile(size, 0.25)]),
                np.median(log_ratio[size >= np.quantile(size, 0.75)])]  # fmt: skip
        small, large = np.exp(ends)
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
    if high < LEAST_COUNTED and low * 3 > 1 / (1 + FLOPS_TOLERANCE):
        return "flops_forward_only", (
            "no count of training is as low, and the forward pass alone is a third of it"
        )
    if inner[1] / inner[0] > 2:
        return "flops_inconsistent", (
            "the ratio follows no way of counting: rows may be mixed up, or in different units"
        )
    return "flops_convention", ""


def _counted_by_configuration(frame: pd.DataFrame) -> str:
    shapes = Configuration.of({str(c): frame[c].to_numpy() for c in frame})
    if shapes is None:
        return ""
    for what, words in (
        ("hoffmann_f", "compute is that of Hoffmann et al. (2022), appendix F, for these models"),
        ("hoffmann_blocks", "compute is that of attention and feed-forward layers, without "
                            "embedding and head"),
    ):  # fmt: skip
        if not shapes.lacks(*NEEDED_FOR[what]):
            counted = shapes.hoffmann_flops(
                frame["tokens"].to_numpy(), blocks_only=what == "hoffmann_blocks"
            )
            if np.all(np.abs(np.log(frame["flops"] / counted)) < EQUAL):
                return f"{words}: say --convention flops={what}"
    return ""


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    ranks = pd.DataFrame({"x": x, "y": y}).rank()
    return float(np.corrcoef(ranks["x"], ranks["y"])[0, 1])


def audit_notes(
    frame: pd.DataFrame, conventions: Conventions, others: Mapping[str, np.ndarray]
) -> list[Note]:
    """All signs in a log.

    Parameters
    ----------
    frame : pandas.DataFrame
        As :class:`Runs` holds it.
    conventions : Conventions
        What was stated.
    others : mapping of str to array, shape (run,)
        The file's own numbers in columns that seem to hold losses, beside the one read.

    Returns
    -------
    list of Note
        Codes ``flops_convention``, ``flops_forward_only``, ``flops_inconsistent``,
        ``tokens_below_params``, ``configuration_mismatch``, ``loss_level``, ``loss_beside``,
        ``loss_rounded``, ``loss_groups`` and ``loss_unrelated``.
    """
    notes = [*_compute_notes(frame), *_size_notes(frame), *_configuration_notes(frame, conventions)]
    if "lm_loss" in frame:  # then the loss is an error rate
        return notes
    if conventions.loss == UNKNOWN:
        notes += [*_level_notes(frame), *_beside_notes(frame["loss"].to_numpy(), others)]
        notes += _rounded_notes(frame["loss"].to_numpy())
    return [*notes, *_surface_notes(frame)]


def _compute_notes(frame: pd.DataFrame) -> list[Note]:
    audit = audit_compute(frame)
    if audit is None or not audit.code:
        return []
    ratio = (frame["flops"] / (6.0 * frame["params"] * frame["tokens"])).dropna()
    off = (ratio > 1 + FLOPS_TOLERANCE) | (ratio < 1 / (1 + FLOPS_TOLERANCE))
    text = (
        f"flops differs from 6 * params * tokens by more than {FLOPS_TOLERANCE:.0%} in "
        f"{int(off.sum())} of {len(ratio)} runs: their ratio goes from {audit.lower:.3g} to "
        f"{audit.upper:.3g}, median {audit.median:.3g}; "
    )
    return [
        Note(
            audit.code,
            text + (audit.cause or "check how compute, embeddings and repeated data were counted"),
        )
    ]


def _size_notes(frame: pd.DataFrame) -> list[Note]:
    if not {"params", "tokens"} <= set(frame.columns):
        return []
    ratio = float((frame["tokens"] / frame["params"]).median())
    if not ratio < 1:
        return []
    return [
        Note(
            "tokens_below_params",
            f"tokens are {ratio:.3g} times params (median), and models are trained on more tokens "
            "than they have parameters: the two may be swapped, or one in another unit",
        )
    ]


def _configuration_notes(frame: pd.DataFrame, conventions: Conventions) -> list[Note]:
    shapes = Configuration.of({str(c): frame[c].to_numpy() for c in frame})
    if shapes is None or "params" not in frame:
        return []
    counts = {
        what: shapes.params(what)
        for what in ("all", "no_input_embedding", "non_embedding")
        if not shapes.lacks(*NEEDED_FOR[what])
    }
    apart = {
        what: float(np.nanmedian(np.abs(np.log(frame["params"].to_numpy() / count))))
        for what, count in counts.items()
    }
    if not apart:
        return []
    nearest = min(apart, key=lambda what: apart[what])
    stated = conventions.params
    if stated in apart and apart[stated] > EQUAL and apart[nearest] < apart[stated] / 2:
        return [
            Note(
                "configuration_mismatch",
                f"params are stated to be {stated}, but the configuration gives counts "
                f"{apart[stated]:.1%} from them (median) and {apart[nearest]:.1%} for "
                f"{nearest}: correct the statement or the configuration",
            )
        ]
    if apart[nearest] > np.log(1.25):
        return [
            Note(
                "configuration_mismatch",
                f"params are {np.expm1(apart[nearest]):.0%} from what the configuration gives "
                "under any convention (median): check both",
            )
        ]
    return []


# the loss


def _level_notes(frame: pd.DataFrame) -> list[Note]:
    if "flops" not in frame:
        return []
    known = frame.loc[frame["flops"].between(1e15, 1e27)]
    if len(known) < 3:
        return []
    flops = known["flops"].to_numpy()
    params, tokens = compute_optimal(CHINCHILLA, flops, WEB_TEXT)
    reached = CHINCHILLA.loss(params, tokens, **WEB_TEXT)
    level = float(np.quantile(known["loss"] / reached, 0.1))
    if LEAST_LEVEL <= level <= MOST_LEVEL:
        return []
    unit, other = ("bits", "bits per token") if level > 1 else ("bits_per_byte", "bits per byte")
    return [
        Note(
            "loss_level",
            f"the best losses are {level:.3g} times what language models reach in nats per token "
            f"with as much compute, as they would be in {other}: if they are, say --unit "
            f"loss={unit}; if nats are meant, --unit loss=nats",
        )
    ]


def _beside_notes(loss: np.ndarray, others: Mapping[str, np.ndarray]) -> list[Note]:
    for header, values in others.items():
        known = np.isfinite(values) & (values > 0)
        if known.sum() < 3:
            continue
        log_ratio = np.log(loss[known] / values[known])
        middle, spread = np.median(log_ratio), np.ptp(np.quantile(log_ratio, [0.1, 0.9]))
        if abs(abs(middle) - np.log(BITS)) < EQUAL and spread < 2 * EQUAL:
            mine, its = ("bits", "nats") if middle > 0 else ("nats", "bits")
            return [
                Note(
                    "loss_beside",
                    f"loss is {np.exp(middle):.4g} times column {header!r} throughout, as if it "
                    f"were in {mine} and that one in {its}: say which with --unit loss={mine}, or "
                    "--unit loss=nats if both are",
                )
            ]
    return []


LOSS_LIKE = re.compile(r"loss|nll|cross_entropy|xent", re.IGNORECASE)
"""Headers of columns that seem to hold losses."""


def _rounded_notes(loss: np.ndarray) -> list[Note]:
    if len(loss) < 5 or _decimals(loss) is not None:
        return []
    digits = _decimals(loss / BITS)
    if digits is None:
        return []
    return [
        Note(
            "loss_rounded",
            f"times ln 2, every loss has {digits} decimals, and as they stand they have more: they "
            "seem to have been converted from nats to bits; if so, say --unit loss=bits; if nats "
            "are meant, --unit loss=nats",
        )
    ]


def _decimals(values: np.ndarray) -> int | None:
    """The fewest decimals, of at most four, that all values have."""
    for digits in range(5):
        if np.all(np.abs(values * 10.0**digits - np.round(values * 10.0**digits)) < 1e-6):
            return digits
    return None


LEAST_RUNS, LEAST_RUNS_ANY = 20, 40
"""Fewer runs show two groups by accident: a known step apart, and any step."""


LEAST_STEP = 0.05
"""Tokenizers and evaluation sets differ by more; a surface that fits badly may look like less."""


def _surface_notes(frame: pd.DataFrame) -> list[Note]:
    """What a smooth surface of log loss over the scales shows."""
    log_loss = np.log(frame["loss"].to_numpy())
    scales = _logs(frame)
    if not scales or len(frame) < 8:
        return []
    if not _related(np.column_stack([np.ones(len(frame)), *scales]), log_loss):
        return [
            Note(
                "loss_unrelated",
                "loss is no more related to scale than losses dealt out at random would be: check "
                "that each row holds one run's own numbers",
            )
        ]
    if len(frame) < LEAST_RUNS:
        return []
    return _group_notes(frame, scales, log_loss)


def _logs(frame: pd.DataFrame) -> list[np.ndarray]:
    """Centerd logs of the scales that vary; compute where params and tokens are not both known."""
    names = [n for n in ("params", "tokens", "unique_tokens") if _full(frame, n)]
    if not {"params", "tokens"} <= set(names):
        names = ["flops"] if _full(frame, "flops") else names
    logs = [np.log(frame[name].to_numpy()) for name in names]
    return [x - x.mean() for x in logs if np.ptp(x) > 0.1]


def _full(frame: pd.DataFrame, name: str) -> bool:
    return name in frame and bool(frame[name].notna().all())


def _related(design: np.ndarray, y: np.ndarray) -> bool:
    """Whether an F test on ranks tells the losses from ones dealt out at random, at .001."""
    from scipy.special import fdtrc

    y = pd.Series(y).rank().to_numpy()  # so that runs far off do not hide the rest
    n, k = design.shape
    left = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    total, rest = float(((y - y.mean()) ** 2).sum()), float((left**2).sum())
    if n - k < 2 or total <= 1e-12:
        return True
    f = (total - rest) / (k - 1) / max(rest / (n - k), 1e-300)
    return bool(fdtrc(k - 1, n - k, f) < 1e-3)


def _group_notes(frame: pd.DataFrame, scales: list[np.ndarray], y: np.ndarray) -> list[Note]:
    columns = [np.ones(len(y)), *scales]
    columns += [a * b for i, a in enumerate(scales) for b in scales[i:]]
    found = _two_groups(np.column_stack(columns), y, [*scales, np.arange(len(y))])
    if found is None:
        return []
    upper, step, gap, clear = found
    in_bits = abs(step / np.log(BITS) - 1) < 0.15 and gap > 0.33 and clear > 5.5
    apart = step > LEAST_STEP and gap > 0.5 and clear > 7 and len(y) >= LEAST_RUNS_ANY
    if not (in_bits or apart):
        return []
    factor = f"{np.exp(step):.3g} times as high as in the others at the same scale"
    cause = (
        "as if they were in bits and the others in nats"
        if in_bits
        else "as with another unit, tokenizer or evaluation set"
    )
    if "family" in frame:
        family = pd.Series(upper).groupby(frame["family"].to_numpy()).mean()
        if family.between(0.05, 0.95).sum() == 0:
            if not in_bits:
                return []  # families may differ; that is what they are for
            cause += f" (families {', '.join(map(str, family.index[family > 0.5]))})"
    return [
        Note(
            "loss_groups",
            f"runs fall into two groups: in {int(upper.sum())} of {len(y)} the loss is {factor}, "
            f"{cause}; convert or leave out one group",
        )
    ]


def _two_groups(
    design: np.ndarray, y: np.ndarray, orders: list[np.ndarray]
) -> tuple[np.ndarray, float, float, float] | None:
    """The split into two groups, a constant apart, that a smooth surface fits best.

    Returns
    -------
    upper : (run,) of bool
    step : float
        Between the groups, on log loss.
    gap : float
        Between 95 % of each, in steps.
    clear : float
        The step in standard deviations within the groups, a twentieth left out as outliers.
    """
    left = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    shares = np.linspace(0.15, 0.85, 8)
    best = None
    for start in (x > np.quantile(x, q) for x in (left, *orders) for q in shares):
        split = _settled(design, y, start)
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


def _settled(
    design: np.ndarray, y: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Alternate between the surface and the groups until neither changes."""
    for _ in range(50):
        beside = np.column_stack([design, group.astype(float)])
        *surface, step = np.linalg.lstsq(beside, y, rcond=None)[0]
        height = y - design @ np.array(surface)
        new = np.abs(height - step) < np.abs(height)
        if (new == group).all():
            return (group, height, float(step)) if step else None
        if not 0 < new.sum() < len(y):
            return None
        group = new
    return group, height, float(step)
