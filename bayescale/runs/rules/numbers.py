"""Rules on numbers in raw units: values that are impossible."""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from bayescale.errors import argument, leaving_out, listed
from bayescale.findings import Finding
from bayescale.laws import CHINCHILLA
from bayescale.plausible import LEAST_LOGGED, MOST
from bayescale.runs.columns import ALIASES, canonical
from bayescale.runs.draft import Draft, needs, stop
from bayescale.runs.log import SCALES
from bayescale.runs.rows import repeated_rows
from bayescale.runs.rules.loss import WEB_TEXT, header_is_that_of_nats, unit_of_header
from bayescale.units import LARGEST_SIZE, SMALLEST_SIZE, unit_factor

MOST_NATS = 15.0  # above the log of any vocabulary in use, so not nats per token
ROUNDED = 0.01  # counts of tokens and epochs are written in round numbers
MOST_LOG = 75.0  # above the natural log of any size of a run
TYPICAL_RATIO = 20.0  # tokens per parameter, to guess a unit by
WRONG_UNIT_FACTOR = 100.0  # 6 N D is off by less than this under any convention of counting
LARGE_RUN = MappingProxyType({"flops": 1e19, "params": 3e8, "tokens": 6e9})
LARGE_RUN_MOST_NATS = 4.5
_NEAR_MOST = 10.0
"""Sizes within this factor of the largest possible ones are absurd beside far smaller ones; runs of
1e13 tokens, which exist, are not."""

APART = 1e3  # sizes of one log have no neighbors further apart than this factor
FEW = 0.25  # the largest share of rows that are taken as exceptions

_RAW_UNITS = MappingProxyType(
    {
        "params": "counts of parameters, such as 7e9",
        "tokens": "counts of tokens, such as 1.4e12",
        "flops": "FLOP, such as 5.76e23",
    }
)
_COUNTED_IN = MappingProxyType(
    {"1e3": "thousands", "1e6": "millions", "1e9": "billions", "1e12": "trillions"}
)
_COMPUTE_IN = MappingProxyType(
    {"GFLOP": "GFLOP", "TFLOP": "TFLOP", "PFLOP": "PFLOP", "EFLOP": "EFLOP", "ZFLOP": "ZFLOP",
     "PF-day": "PF-days"}
)  # fmt: skip


def numbers_are_possible(draft: Draft) -> Iterator[Finding]:
    """Numbers are within plausible limits, so that their products do not overflow."""
    for column in map(str, draft.frame.select_dtypes("number")):
        values, least = draft.frame[column], SMALLEST_SIZE if column in SCALES else 0.0
        beyond = (values > LARGEST_SIZE) | ((values > 0) & (values < least))
        if column in SCALES and column in draft.units and not _is_confirmed(draft, column):
            beyond &= values <= LARGEST_SIZE  # larger ones are refused with their unit
        if places := draft.places(beyond, column):
            yield stop(
                "size_impossible",
                f"{column} must be from {least:g} to {LARGEST_SIZE:g}, and is {places}: correct "
                f"it, or leave out with {leaving_out(draft.ids[i] for i in values.index[beyond])}",
            )


def loss_is_in_nats(draft: Draft) -> Iterator[Finding]:
    """No loss is larger than nats per token can be."""
    high = draft.frame["loss"] > MOST_NATS
    if unit_of_header(draft) is not None:
        return
    if places := draft.places(high, "loss"):
        yield stop(
            "loss_too_high",
            f"loss is above {MOST_NATS:g} in {high.sum()} of {len(high)} runs, {places}: that is "
            f"not nats per token; if it is perplexity, say {argument('units', loss='perplexity')}",
        )


def large_runs_reach_low_losses(draft: Draft) -> Iterator[Finding]:
    """Large runs have losses that are typical of language models."""
    frame = draft.frame
    if "loss" in draft.stated_units or (frame["loss"] > MOST_NATS).any():
        return
    if unit_of_header(draft) is not None:
        return
    column, large = next((c, v) for c, v in LARGE_RUN.items() if c in frame)
    losses = frame.loc[frame[column] >= large, "loss"]
    if len(losses) and losses.median() > LARGE_RUN_MOST_NATS:
        yield stop(
            "loss_too_high",
            f"the median loss of the {len(losses)} runs with {column} of {large:g} or more is "
            f"{losses.median():.3g}, where language models reach below 4 nats per token; if it is "
            f"perplexity, say {argument('units', loss='perplexity')}; if nats are meant, "
            f"{argument('units', loss='nats')}",
        )


def sizes_are_raw_counts(draft: Draft) -> Iterator[Finding]:
    """Sizes are not smaller than those of any run, unless their unit was stated."""
    frame = draft.frame
    for column, smallest in LEAST_LOGGED.items():
        if column not in frame or column in draft.stated_units:
            continue
        low = frame[column] < smallest
        if low.any() and not _exceptions(draft, column).any():
            likely = [
                f"if they are {words}, say {argument('units', **{column: unit})}"
                for words, unit in _sensible_units(draft, column)
            ]
            yield stop(
                "size_too_small",
                f"{column} is below {smallest:g} in {low.sum()} of {len(frame)} runs, "
                f"{draft.places(low, column)}: raw {_RAW_UNITS[column]}; {'; '.join(likely)}; if "
                f"they are meant, say {argument('units', **{column: 1})}",
            )


def sizes_are_those_of_runs(draft: Draft) -> Iterator[Finding]:
    """Sizes are not larger than those of any run, as if raw counts were multiplied by a unit."""
    for column, most in MOST.items():
        if column not in draft.frame or _is_confirmed(draft, column):
            continue
        high = draft.frame[column] > most
        if not high.any() or _exceptions(draft, column).any():
            continue
        unit = draft.units.get(column)
        source = f" in the unit {unit}" if unit else ""
        rows = draft.where(draft.frame.index[high])
        yield stop(
            "size_too_large",
            f"{column} is up to {draft.frame[column].max():.3g}{source}, above {most:g} in "
            f"{high.sum()} of {len(high)} runs, {rows}, which no run "
            f"has reached: if {draft.named(column)} holds raw {_RAW_UNITS[column]}, say "
            f"{argument('units', **{column: 1})}{' instead' if unit else ''}",
        )


def sizes_are_in_one_unit(draft: Draft) -> Iterator[Finding]:
    """No size is so far from all others that it must be in another unit."""
    for column in SCALES:
        if column not in draft.frame or _is_confirmed(draft, column):
            continue
        odd, values = _exceptions(draft, column), draft.frame[column]
        if not odd.any():
            continue
        others = values[~odd].dropna()
        confirm = f"; if that is meant, say {argument('units', **{column: 1})}"
        yield stop(
            "row_in_another_unit",
            f"{column} is {draft.places(odd, column)}, where the others are {others.min():.3g} to "
            f"{others.max():.3g}: correct it if it is in another unit, or leave it out with "
            f"{leaving_out(draft.ids[i] for i in values.index[odd])}"
            f"{'' if column in draft.units else confirm}",
        )


def _exceptions(draft: Draft, column: str) -> pd.Series:
    """Return which rows have a size that is far from all others, if they are few and absurd."""
    values = draft.frame[column]
    known = values.clip(upper=1e300).dropna().sort_values()
    nowhere = pd.Series(False, index=values.index)
    wide = np.flatnonzero((known / known.shift()).to_numpy() > APART)
    for start in wide:
        for part in (known.index[:start], known.index[start:]):
            sizes = values[part]
            absurd = (sizes < LEAST_LOGGED[column]).all() or (
                sizes > MOST[column] / _NEAR_MOST
            ).all()
            if absurd and len(part) <= FEW * len(known):
                nowhere[part] = True
    return nowhere


def _is_confirmed(draft: Draft, column: str) -> bool:
    """Return whether the caller states that a column has raw counts, or it has impossible ones."""
    impossible = column not in draft.units and draft.frame[column].max() > LARGEST_SIZE
    return bool(impossible) or draft.options.units.get(column, "").strip() in ("1", "1.0")


def _sensible_units(draft: Draft, column: str) -> list[tuple[str, str]]:
    """Return units, in words and as options, in which sizes fit these losses best.

    There is one, unless values may be logarithms as well as counts.
    """
    values, loss = draft.frame[column].to_numpy(), draft.frame["loss"].to_numpy()
    words = set(canonical(draft.headers.get(column, column)).split("_"))
    if words & {"log", "log10", "log10n", "ln"} and np.nanmax(values) < MOST_LOG:
        return [("natural logs", "ln") if "ln" in words else ("logs to base 10", "log10")]
    counts = {unit: f"in {text}" for unit, text in _names_of_units(column).items()}
    low, high = math.log10(LEAST_LOGGED[column]), math.log10(MOST[column])
    logs = {}
    if np.nanmin(values) >= low and np.nanmax(values) <= high:
        logs["log10"] = "logs to base 10"

    def apart(unit: str) -> float:
        raw = 10.0**values if unit in logs else values * unit_factor(column, unit)
        if column == "flops":
            params = np.sqrt(raw / (6.0 * TYPICAL_RATIO))
        else:
            params = raw if column == "params" else raw / TYPICAL_RATIO
        with np.errstate(all="ignore"):
            reached = CHINCHILLA.loss(params, TYPICAL_RATIO * params, **WEB_TEXT)
        return float(np.nanmedian(np.abs(np.log(loss / reached))))

    best = [(counts[unit], unit) for unit in [min(counts, key=apart)]]
    units = [*best, *((text, unit) for unit, text in logs.items())]
    return sorted(units, key=lambda pair: apart(pair[1]))


def _names_of_units(column: str) -> Mapping[str, str]:
    return _COMPUTE_IN if column == "flops" else _COUNTED_IN


def compute_is_near_6nd(draft: Draft) -> Iterator[Finding]:
    """Compute is of the order of 6 N D, unless another rule has refused its factors already."""
    ratios = _ratios_to_6nd(draft)
    if ratios is None or _near(ratio := float(ratios.median())):
        return
    yield stop(
        "flops_in_another_unit",
        f"flops is {ratio:.3g} times 6 * params * tokens (median), so one of the three is in "
        f"another unit: {_likely_unit(draft, ratio)}",
    )


def compute_is_near_6nd_in_each_run(draft: Draft) -> Iterator[Finding]:
    """Compute is of the order of 6 N D in each run, as it is in most."""
    ratios = _ratios_to_6nd(draft)
    if ratios is None or not _near(ratio := float(ratios.median())):
        return
    apart = ratios / ratio
    odd = ratios.index[(apart > WRONG_UNIT_FACTOR) | (apart < 1 / WRONG_UNIT_FACTOR)]
    if len(odd):
        yield stop(
            "rows_in_another_unit",
            f"flops is {ratio:.3g} times 6 * params * tokens in most runs (median), but not in "
            f"{len(odd)} of {len(ratios)}, {draft.where(odd, ratios.round(6).to_dict())} times: "
            "these rows are in another unit or mixed up; correct them, or leave them out with "
            f"{leaving_out(draft.ids[i] for i in odd)}",
        )


def _ratios_to_6nd(draft: Draft) -> pd.Series | None:
    frame = draft.frame
    if not set(SCALES) <= set(frame.columns) or any(list(rule(draft)) for rule in _OF_UNITS):
        return None
    return frame["flops"] / (6.0 * frame["params"] * frame["tokens"])


def _near(ratio: float) -> bool:
    return not (ratio > WRONG_UNIT_FACTOR or ratio < 1 / WRONG_UNIT_FACTOR)


def _likely_unit(draft: Draft, ratio: float) -> str:
    """Return the unit that would bring compute near 6 N D, for a message."""
    units: dict[str, Mapping[str, str]] = {"flops": _COMPUTE_IN}
    if ratio > 1:
        units = {"params": _COUNTED_IN, "tokens": _COUNTED_IN}
    apart = {
        (column, unit): abs(math.log(ratio) - math.log(unit_factor(column, unit)) * sign)
        for column, sign in zip(units, (1.0, 1.0) if ratio > 1 else (-1.0,), strict=True)
        for unit in units[column]
    }
    nearest = min(apart.values())
    if nearest >= math.log(4):
        return "state it with `units=`"
    likely = [pair for pair, far in apart.items() if far < nearest + 1e-9]
    column, unit = min(likely, key=lambda pair: _apart_from_law(draft, *pair))
    return (
        f"{column} in {units[column][unit]}, perhaps; if so, say "
        f"{argument('units', **{column: unit})}"
    )


def _apart_from_law(draft: Draft, column: str, unit: str) -> float:
    """Return how far losses are from typical ones if a column is in another unit."""
    frame = draft.frame
    sizes: dict[str, np.ndarray] = {name: frame[name].to_numpy() for name in ("params", "tokens")}
    if column in sizes:
        sizes[column] = sizes[column] * unit_factor(column, unit)
    reached = np.asarray(CHINCHILLA.loss(sizes["params"], sizes["tokens"], **WEB_TEXT))
    return float(np.nanmedian(np.abs(np.log(frame["loss"].to_numpy() / reached))))


@needs("epochs")
def epochs_are_at_least_one(draft: Draft) -> Iterator[Finding]:
    """Epochs are one or more."""
    if places := draft.places(draft.frame["epochs"] < 1 - ROUNDED, "epochs"):
        yield stop(
            "epochs_below_one",
            f"epochs must be one or more: {places}; write how often each unique token was used, "
            "which is 1 for data that are used once",
        )


@needs("tokens", "unique_tokens")
def unique_tokens_are_within_tokens(draft: Draft) -> Iterator[Finding]:
    """Unique tokens are not more than tokens."""
    more = draft.frame["unique_tokens"] > draft.frame["tokens"] * (1 + ROUNDED)
    if places := draft.places(more, "unique_tokens"):
        yield stop(
            "unique_tokens_above_tokens",
            f"unique_tokens is above tokens: {places}; count the tokens that were trained on, "
            "each once",
        )


@needs("kept_fraction")
def kept_fraction_is_a_share(draft: Draft) -> Iterator[Finding]:
    """The share of data that pruning kept is at most one."""
    if places := draft.places(draft.frame["kept_fraction"] > 1, "kept_fraction"):
        yield stop(
            "kept_fraction_above_one",
            f"kept_fraction is above 1: {places}; it is the share of the data that pruning kept, "
            "1 for all of it",
        )


def run_ids_are_unique(draft: Draft) -> Iterator[Finding]:
    """Each row has its own id."""
    ids = draft.frame["run_id"]
    repeated = ids[ids.duplicated()].unique()
    if len(repeated):
        _, copies = repeated_rows(draft)
        same = not ids[~copies].duplicated().any()
        drop = "the rows are equal, and `repeats='drop'` leaves out all but the first; "
        header = draft.headers["run_id"]
        advice = f"where the rows are checkpoints of one training run, say {_as_run(draft, header)}"
        if "run" in draft.headers:
            advice = f"or leave the column unread with `ignore={header!r}`"
        yield stop(
            "run_id_repeated",
            f"run_id {listed(map(repr, repeated))} stands for more than one run: give each run "
            f"its own; {drop if same else ''}{advice}",
        )


def _as_run(draft: Draft, header: str) -> str:
    """Return the option that reads a column as runs, and those that leave other ids unread."""
    names = {"run_id", *ALIASES["run_id"]}
    others = [h for h in draft.unread if canonical(h) in names and draft.raw[h].duplicated().any()]
    return " ".join([argument("columns", run=header), *(f"`ignore={h!r}`" for h in others)])


_OF_UNITS = (
    header_is_that_of_nats,
    loss_is_in_nats,
    large_runs_reach_low_losses,
    sizes_are_raw_counts,
    sizes_are_those_of_runs,
    sizes_are_in_one_unit,
)
"""Rules on single columns; compute is compared with 6 N D only if none of them has a finding."""

RULES = (
    numbers_are_possible,
    *_OF_UNITS,
    compute_is_near_6nd,
    compute_is_near_6nd_in_each_run,
    epochs_are_at_least_one,
    unique_tokens_are_within_tokens,
    kept_fraction_is_a_share,
    run_ids_are_unique,
)
