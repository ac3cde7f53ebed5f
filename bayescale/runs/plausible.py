"""What cannot be, in a log whose cells are sound one by one."""

import math
from collections.abc import Collection
from types import MappingProxyType

import pandas as pd

from bayescale.errors import listed
from bayescale.runs.cells import where

MOST_NATS = 15.0  # above the log of any vocabulary in use, so not nats per token
ROUNDED = 0.01  # counts of tokens and epochs are written in round numbers
WRONG_UNIT_FACTOR = 100.0  # 6 N D is off by less than this under any convention of counting
LARGE_RUN = MappingProxyType({"flops": 1e19, "params": 3e8, "tokens": 6e9})
LARGE_RUN_MOST_NATS = 4.5
SMALLEST = MappingProxyType({"params": 1e4, "tokens": 1e6, "flops": 1e12})
_UNITS_HINT = MappingProxyType(
    {
        "params": "counts of parameters, such as 7e9; if they are in billions, say "
        "--unit params=1e9",
        "tokens": "counts of tokens, such as 1.4e12; if they are in billions, say "
        "--unit tokens=1e9",
        "flops": "FLOP, such as 5.76e23; if they are in PF-days, say --unit flops=PF-day",
    }
)


def plausibility_problems(frame: pd.DataFrame, ids: list[str], units: Collection[str]) -> list[str]:
    """Numbers that their units cannot be, as far as no unit was stated for them."""
    problems = []
    loss = frame["loss"]
    high = frame.index[loss > MOST_NATS]
    if len(high):
        problems.append(
            f"loss is above {MOST_NATS:g} in {len(high)} of {len(loss)} runs, "
            f"{where(high, ids, loss.to_dict())}: that is not nats per token; if it is "
            "perplexity, say --unit loss=perplexity"
        )
    elif "loss" not in units:
        column, large = next((c, v) for c, v in LARGE_RUN.items() if c in frame)
        losses = frame.loc[frame[column] >= large, "loss"]
        if len(losses) and losses.median() > LARGE_RUN_MOST_NATS:
            problems.append(
                f"the median loss of the {len(losses)} runs with {column} of {large:g} or more is "
                f"{losses.median():.3g}, where language models reach below 4 nats per token; if "
                "it is perplexity, say --unit loss=perplexity; if nats are meant, --unit loss=nats"
            )
    for column, smallest in SMALLEST.items():
        if column not in frame or column in units:
            continue
        low = frame.index[frame[column] < smallest]
        if len(low):
            problems.append(
                f"{column} is below {smallest:g} in {len(low)} of {len(frame)} runs, "
                f"{where(low, ids, frame[column].to_dict())}: raw {_UNITS_HINT[column]}; "
                f"if they are meant, say --unit {column}=1"
            )
    if not problems and {"params", "tokens", "flops"} <= set(frame.columns):
        ratios = frame["flops"] / (6.0 * frame["params"] * frame["tokens"])
        ratio = float(ratios.median())
        if ratio > WRONG_UNIT_FACTOR or ratio < 1 / WRONG_UNIT_FACTOR:
            problems.append(
                f"flops is {ratio:.3g} times 6 * params * tokens (median), so one of the three is "
                f"in another unit{_likely(ratio)}: state it with --unit, for example --unit "
                "tokens=1e9"
            )
            return problems
        apart = ratios / ratio
        odd = frame.index[(apart > WRONG_UNIT_FACTOR) | (apart < 1 / WRONG_UNIT_FACTOR)]
        if len(odd):
            problems.append(
                f"flops is {ratio:.3g} times 6 * params * tokens in most runs (median), but not in "
                f"{len(odd)} of {len(frame)}, {where(odd, ids, ratios.round(6).to_dict())} times: "
                "these rows are in another unit or mixed up; correct them or leave them out"
            )
    return problems


_UNITS = MappingProxyType(
    {
        "flops": {"GFLOP": 1e-9, "TFLOP": 1e-12, "PFLOP": 1e-15, "EFLOP": 1e-18, "ZFLOP": 1e-21,
                  "PF-days": 1 / 8.64e19},
        "params or tokens": {"thousands": 1e3, "millions": 1e6, "billions": 1e9,
                             "trillions": 1e12},
    }
)  # fmt: skip


def _likely(ratio: float) -> str:
    """The units that would bring compute within any convention of 6 N D, nearest first."""
    apart = {
        f"{quantity} in {unit}": abs(math.log(ratio / factor))
        for quantity, units in _UNITS.items()
        for unit, factor in units.items()
    }
    near = sorted((d, words) for words, d in apart.items() if d < math.log(4))
    return f" ({near[0][1]}, perhaps)" if near else ""


def epoch_problems(frame: pd.DataFrame, ids: list[str]) -> list[str]:
    """Epochs below one, and more unique tokens than tokens."""
    problems = []
    if "epochs" in frame:
        low = frame.index[frame["epochs"] < 1 - ROUNDED]
        if len(low):
            problems.append(
                f"epochs must be one or more: {where(low, ids, frame['epochs'].to_dict())}; they "
                "count how often the unique tokens were seen"
            )
    if {"tokens", "unique_tokens"} <= set(frame.columns):
        more = frame.index[frame["unique_tokens"] > frame["tokens"] * (1 + ROUNDED)]
        if len(more):
            problems.append(
                "unique_tokens is above tokens, those seen: "
                f"{where(more, ids, frame['unique_tokens'].to_dict())}; count the tokens that "
                "were trained on, each once"
            )
    return problems


def kept_problems(frame: pd.DataFrame, ids: list[str]) -> list[str]:
    """Shares of the data above one."""
    if "kept_fraction" not in frame:
        return []
    more = frame.index[frame["kept_fraction"] > 1]
    if not len(more):
        return []
    return [
        f"kept_fraction is above 1: {where(more, ids, frame['kept_fraction'].to_dict())}; it is "
        "the share of the data that pruning kept, 1 for all of it"
    ]


def repeat_problems(frame: pd.DataFrame) -> list[str]:
    """Runs that stand in the log twice."""
    problems = []
    repeated_ids = frame.loc[frame["run_id"].duplicated(), "run_id"].unique()
    if len(repeated_ids):
        problems.append(
            f"run_id {listed(map(repr, repeated_ids))} stands for more than one run: give each "
            "run its own; rows that are checkpoints of one training run say which in another "
            "column, --column run=HEADER"
        )
    values = [c for c in frame.columns if c != "run_id"]
    again = frame.duplicated(subset=values, keep="first")
    if again.any():
        first = frame.loc[frame.duplicated(subset=values, keep=False) & ~again, "run_id"]
        problems.append(
            f"{int(again.sum())} runs repeat an earlier one in every value: "
            f"{listed(frame.loc[again, 'run_id'])} (the first is {first.iloc[0]}); a run counted "
            "twice makes the fit too sure, so remove the copies"
        )
    return problems
