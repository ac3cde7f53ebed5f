"""Rules on rows: unfinished runs, summaries, copies, checkpoints of one run, and sweeps."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bayescale.errors import argument, listed
from bayescale.findings import SCALE_NOT_READ, Finding, note
from bayescale.runs.cells import equals, is_missing, read_numbers
from bayescale.runs.columns import canonical
from bayescale.runs.draft import Draft, stop
from bayescale.runs.log import SCALES
from bayescale.runs.rows import repeated_rows, sizes
from bayescale.runs.states import HEADERS, finished

SUMMARIES = frozenset(
    {"mean", "average", "avg", "total", "sum", "median", "std", "stdev", "min", "max"}
)
"""Names of rows that summarize other rows."""

STEPS = frozenset(
    {
        "step", "global_step", "current_step", "current_steps", "iteration", "iterations", "iter",
        "checkpoint_step", "ckpt_step", "trained_steps", "train_step",
    }
)  # fmt: skip
"""Headers, without case and signs, of columns that count the steps of a run so far."""

SETTINGS = frozenset(
    {
        "lr", "learning_rate", "peak_lr", "max_lr", "base_lr", "lr_max", "init_lr", "min_lr",
        "batch_size", "bs", "global_batch_size", "train_batch_size", "batch", "batch_tokens",
        "weight_decay", "wd", "warmup", "warmup_steps", "beta1", "beta2", "momentum", "optimizer",
        "dropout", "schedule", "lr_schedule", "scheduler",
    }
)  # fmt: skip
"""Headers of settings that a sweep tunes."""


def runs_have_finished(draft: Draft) -> Iterator[Finding]:
    """No run is unfinished according to a column of states, as in tables of trackers."""
    yield from _marked_unfinished(draft)
    header = next((h for h in draft.unread if canonical(h) in HEADERS), None)
    if header is None or any(canonical(h) == "finished" for h in draft.unread):
        return
    cells = draft.raw[header]
    rows = [i for i in map(int, np.flatnonzero(draft.keep)) if not is_missing(cells[i])]
    ends = {i: finished(cells[i]) for i in rows}
    unfinished = [i for i in rows if ends[i] is False]
    unknown = [i for i in rows if ends[i] is None]
    ignore = f"`ignore={header!r}`"
    if unfinished:
        names = list(dict.fromkeys(str(cells[i]).strip() for i in unfinished))
        leave = f"leave them out with {argument('exclude', **{header: ','.join(names)})}, or "
        yield stop(
            "unfinished_runs",
            f"column {header!r} says that {len(unfinished)} of {int(draft.keep.sum())} runs have "
            f"not finished: {draft.where(unfinished, cells.tolist())}; "
            f"{leave if len(unfinished) < draft.keep.sum() else ''}count them as finished with "
            f"{ignore}",
        )
    if unknown and len(unknown) < len(rows):
        names = list(dict.fromkeys(str(cells[i]).strip() for i in unknown))
        yield stop(
            "unknown_state",
            f"column {header!r} has states that are not known as finished or unfinished: "
            f"{draft.where(unknown, cells.tolist())}; leave such runs out with "
            f"{argument('exclude', **{header: ','.join(names)})}, or count them as finished with "
            f"{ignore}",
        )
    elif unknown and not all(str(cells[i]).strip().startswith("at step ") for i in unknown):
        yield note(
            "unknown_state",
            f"column {header!r} has no state that is known as finished or unfinished "
            f"({listed(dict.fromkeys(str(cells[i]).strip() for i in unknown))}): if it says how "
            f"runs ended, leave out those that did not finish with "
            f"{argument('exclude', **{header: str(cells[unknown[0]]).strip()})}",
        )


def _marked_unfinished(draft: Draft) -> Iterator[Finding]:
    """Yield a note on runs that an import kept although they are unfinished."""
    header = next((h for h in draft.unread if canonical(h) == "finished"), None)
    if header is None:
        return
    rows = [i for i in map(int, np.flatnonzero(draft.keep)) if equals(draft.raw[header][i], "0")]
    if rows:
        yield note(
            "unfinished_runs",
            f"column {header!r} marks {len(rows)} of {int(draft.keep.sum())} runs as unfinished, "
            f"and they are kept: {draft.where(rows)}; leave them out with "
            f"{argument('exclude', **{header: 0})}",
        )


def rows_are_runs(draft: Draft) -> Iterator[Finding]:
    """No row is a summary of others."""
    if "run_id" not in draft.headers:
        return
    kept = map(int, np.flatnonzero(draft.keep))
    rows = [i for i in kept if draft.ids[i].lower() in SUMMARIES]
    if rows:
        names = ",".join(dict.fromkeys(draft.ids[i] for i in rows))
        yield stop(
            "summary_row",
            f"{draft.where(rows)} has the name of a summary of other rows, and would count as a "
            f"run: leave it out with {argument('exclude', run_id=names)}, or give the run another "
            "name",
        )


def runs_differ(draft: Draft) -> Iterator[Finding]:
    """No run is in the log twice; rows with different ids, seeds or settings are different runs."""
    if draft.options.repeats is not None:
        return
    alike, copies = repeated_rows(draft)
    frame = draft.frame
    values = [column for column in frame.columns if column != "run_id"]
    if copies.any():
        first = frame.loc[frame.duplicated(subset=values, keep=False) & ~alike, "run_id"]
        found = (
            f"{int(copies.sum())} run{'s repeat' if copies.sum() > 1 else ' repeats'} an earlier "
            f"one in every value: {listed(frame.loc[copies, 'run_id'])} (the first is "
            f"{first.iloc[0]})"
        )
        if "run_id" in draft.headers:
            yield note(
                "run_repeated",
                f"{found}, each under an id of its own, so they count as runs; if they are copies, "
                "leave them out with `repeats='drop'`; if not, say `repeats='keep'`",
            )
        else:
            yield stop(
                "run_repeated",
                f"{found}; a run counted twice makes the fit overconfident, so leave copies out "
                "with `repeats='drop'`, or count them as runs with `repeats='keep'`",
            )
    ties = alike & ~copies
    if ties.any():
        columns = _columns_that_differ(draft, values)
        yield note(
            "runs_alike",
            f"{int(ties.sum())} runs are equal to an earlier one in every number, and differ in "
            f"{listed(columns)}: {listed(frame.loc[ties, 'run_id'])}; they count as runs of their "
            "own",
        )


def _columns_that_differ(draft: Draft, values: list[str]) -> list[str]:
    """Return the unread headers in which rows with equal numbers differ."""
    again = draft.frame.duplicated(subset=values, keep=False)
    group = draft.frame.loc[again].groupby(values, sort=False, dropna=False).ngroup()
    cells = draft.unread_cells.loc[again]
    return [
        header
        for header in draft.unread
        if canonical(header) not in ("", "index", "unnamed_0")
        and (cells[header].map(str).groupby(group).nunique() > 1).any()
    ]


def rows_are_finished_runs(draft: Draft) -> Iterator[Finding]:
    """Rows are not checkpoints: no column has repeated values with a growing count of steps."""
    cells, frame = draft.unread_cells, draft.frame
    step_header = next((h for h in draft.unread if canonical(h) in STEPS), None)
    if "run" in frame or step_header is None or len(frame) < 4 or _each_row_has_ended(draft):
        return
    read = read_numbers(cells[step_header].tolist(), np.ones(len(cells), dtype=bool))
    if read.texts or np.isnan(read.values).any():
        return
    growing = [c for c in ("tokens", "flops") if c in frame]
    fixed = [c for c in ("params",) if c in frame]
    rows = frame[[*growing, *fixed]].assign(step=read.values)
    found = {
        header: keys
        for header in (h for h in draft.unread if h != step_header)
        if (keys := _groups_by_step(rows, cells[header], growing, fixed))
    }
    if not found:
        return
    header = max(found, key=lambda name: found[name])
    others = [repr(name) for name in found if name != header]
    yield note(
        "checkpoints",
        f"{len(frame)} rows look like checkpoints of {found[header]} runs: column {header!r} "
        f"repeats while column {step_header!r} grows"
        f"{f' (so it does by {listed(others)})' if others else ''}. So that they do not count as "
        f"{len(frame)} runs, say which column is the run with "
        f"{argument('columns', run=header)}, or keep the last row of each",
    )


def _each_row_has_ended(draft: Draft) -> bool:
    """Return whether each row has a name and a finished state, as in a table of a tracker."""
    states = next((h for h in draft.unread if canonical(h) in HEADERS), None)
    if states is None or "run_id" not in draft.headers:
        return False
    return all(finished(state) for state in draft.unread_cells[states])


def _groups_by_step(
    rows: pd.DataFrame, cells: pd.Series, growing: list[str], fixed: list[str]
) -> int:
    """Return the number of runs whose steps a column groups; zero if it does not."""
    keys = cells.map(str)
    groups = rows.groupby(keys.to_numpy(), sort=False)
    n = groups.ngroups
    if not 1 < n <= len(rows) / 2:
        return 0
    if fixed and (groups[fixed].nunique() > 1).any(axis=None):
        return 0
    ordered = rows.assign(key=keys).sort_values(["key", "step"], kind="stable")
    same = ordered["key"].eq(ordered["key"].shift()).to_numpy()
    rises = [(ordered[c].diff() > 0).to_numpy()[same] for c in ("step", *growing)]
    return n if all(rise.all() for rise in rises) else 0


def runs_are_tuned(draft: Draft) -> Iterator[Finding]:
    """Rows of one size do not differ in settings that a sweep tunes."""
    frame = draft.frame
    if "run" in frame or draft.options.repeats == "best" or len(frame) < 4:
        return
    headers = [h for h in draft.raw.columns if canonical(h) in SETTINGS and h not in draft.ignored]
    cell = sizes(frame)
    several = np.bincount(cell)[cell] > 1
    cells = draft.raw.loc[frame.index, headers].map(str)
    varied = [h for h in headers if (cells[h].groupby(cell).nunique() > 1).any()]
    if not varied:
        return
    differs = np.zeros(len(frame), dtype=bool)
    for header in varied:
        differs |= cells[header].groupby(cell).transform("nunique").to_numpy() > 1
    loss = frame["loss"].groupby(cell)
    spread = (loss.max() / loss.min() - 1)[np.unique(cell[differs & several])]
    scales = " and ".join(c for c in ("params", "tokens", "flops") if c in frame) or "scale"
    scales = "params and tokens" if {"params", "tokens"} <= set(frame) else scales
    unread = any(found.code == SCALE_NOT_READ for found in draft.findings)
    advice = (
        "a sweep. A law describes tuned runs: keep the best of each cell "
        "with `repeats='best'`, or take the law as the floor of all with `card='chinchilla_floor'`"
    )
    if unread and sum(c in frame for c in SCALES) == 1:
        advice = (
            f"a sweep, or runs that differ in the scale that was not read (note {SCALE_NOT_READ}): "
            "read that scale first"
        )
    yield note(
        "sweep",
        f"{int(differs.sum())} rows are {len(spread)} cells of equal {scales} that differ in "
        f"{listed(varied)}, with losses up to {spread.max():.0%} apart (median "
        f"{spread.median():.1%}): {advice}",
    )


CELL_RULES = (runs_have_finished, rows_are_runs)
REPEAT_RULES = (runs_differ,)
SIGN_RULES = (rows_are_finished_runs, runs_are_tuned)
