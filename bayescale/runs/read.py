"""Reading of run logs: columns are found, values checked, and units converted.

Bad input is never fixed, dropped or guessed. All problems of a log are reported together, and every
row that is left out on request is listed with its reason.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.conventions.configuration import SWITCHES
from bayescale.errors import (
    RunLogError,
    UnitError,
    argument,
    collected,
    did_you_mean,
    listed,
    names_arguments,
)
from bayescale.findings import note
from bayescale.runs.cells import (
    DECIMAL_COMMA,
    dots_between_thousands,
    is_missing,
    read_numbers,
    yes_or_no,
)
from bayescale.runs.columns import KNOWN, map_columns
from bayescale.runs.derive import derive_columns, fill_gaps, fill_problems, fillable
from bayescale.runs.draft import SET_ASIDE, Draft
from bayescale.runs.harmonize import harmonize_draft
from bayescale.runs.log import HELPERS, LABELS, NUMBERS, SCALES, SHAPES, Runs
from bayescale.runs.options import Missing, ReadOptions, Repeats, Values
from bayescale.runs.rows import drop_repeats, leave_out_rows
from bayescale.runs.rules import CELL_RULES, NUMBER_RULES, SIGN_RULES, WHOLE_ROW_RULES
from bayescale.runs.settings import NAME, settings_beside
from bayescale.runs.statements import read_statements
from bayescale.runs.table import load_table
from bayescale.runs.units import convert_units, count_params, take_other_count

SIZES = (*SCALES, "unique_tokens", "params_no_embed", "steps")
"""Columns whose cells may be texts such as ``70B``."""

OPTIONAL = (*SHAPES, *HELPERS, "steps", "epochs", "params_no_embed")
"""Columns that a log does not need: if one has a fault, the column is set aside."""


def read_runs(  # noqa: PLR0913 every option has a name and a default
    source: str | Path | pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    exclude: Mapping[str, Values] | None = None,
    only: Mapping[str, Values] | None = None,
    ignore: str | Sequence[str] | None = None,
    fill: Mapping[str, str] | None = None,
    missing: Missing | None = None,
    repeats: Repeats | None = None,
    conventions: Mapping[str, Any] | None = None,
    convert: Mapping[str, Any] | None = None,
) -> Runs:
    """Read a run log: one row for each finished training run.

    Parameters
    ----------
    source : path or pandas.DataFrame
        A CSV, Parquet or JSON file (``.csv``, ``.parquet``, ``.jsonl``, ``.json``), or a frame. A
        column ``NAME_from`` is kept as the source of the column NAME. A file ``runs.toml`` in the
        same folder may state any of the options below, by name.
    columns : mapping, optional
        Headers of columns that are not found by name or alias: ``{"tokens": "my_column"}``. A
        column that the package does not know is the input of a law: ``{"lr": "peak learning
        rate"}``.
    units : mapping, optional
        Units that differ from raw counts, FLOP and nats: ``{"tokens": "1e9"}``, ``{"flops":
        "PF-day"}``, ``{"loss": "bits"}``, ``{"loss": "perplexity"}``, ``{"params": "log10"}``. A
        stated unit, even ``1``, also confirms that very small or large numbers are intended.
    exclude : mapping, optional
        Rows to leave out, by column and value: ``{"suspect": "1"}``, ``{"dataset": ["dclm",
        "nemotron"]}``. Cells are compared as numbers if both are numbers. ``{"run_id": "row 12"}``
        names a row without an id.
    only : mapping, optional
        Rows to keep, by column and value: ``{"source": "a"}``. The others are left out.
    ignore : str or sequence of str, optional
        Columns to leave unread, by header.
    fill : mapping, optional
        Formulas to fill gaps of a scale with: ``{"flops": "6ND"}``, ``{"tokens": "C/6N"}``.
    missing : {"error", "drop", "keep"}, optional
        What to do with rows that lack a value or have an infinite one. ``error``, the default,
        refuses the log; ``drop`` leaves these rows out and lists them; ``keep`` keeps those that
        lack a scale (params, tokens or flops), for laws that do not need it.
    repeats : {"error", "keep", "drop", "best"}, optional
        What to do with rows that repeat an earlier one in every value. ``error``, the default,
        refuses the log unless rows have ids; ``keep`` counts them as runs; ``drop`` leaves them out
        and lists them. ``best`` keeps only the row with the lowest loss of each size.
    conventions : mapping, optional
        Conventions of all rows that no column states: ``{"params": "non_embedding"}``. Names and
        values are those of :class:`bayescale.conventions.Conventions`. A convention that is not
        stated is unknown.
    convert : mapping, optional
        Conventions to convert all rows to: ``{"params": "all"}``, ``{"tokenizer": "gpt2"}``.

    Returns
    -------
    Runs
        The runs. If other columns determine a scale that the log lacks, it is derived with a note,
        such as ``flops = 6 * params * tokens``, or params from the models' configuration.

    Raises
    ------
    RunLogError, UnitError
        If the log cannot be used. The message lists all problems with values and rows. Rows count
        from 1 without the header.

    Examples
    --------
    >>> log = pd.DataFrame({"N": [1e9, 2e9], "D": [2e10, 4e10], "loss": [2.9, 2.6]})
    >>> read_runs(log)["flops"]
    array([1.2e+20, 4.8e+20])
    """
    if not isinstance(source, pd.DataFrame | str | Path):
        raise RunLogError(
            f"a run log is given as {type(source).__name__}: give a pandas.DataFrame, or the path "
            "of a .csv, .parquet or .jsonl file"
        )
    given = ReadOptions.of(
        columns=columns,
        units=units,
        exclude=exclude,
        only=only,
        ignore=ignore,
        fill=fill,
        missing=missing,
        repeats=repeats,
        conventions=conventions,
        convert=convert,
    )
    return read_with(source, given)


def read_with(source: str | Path | pd.DataFrame, given: ReadOptions) -> Runs:
    """Return the runs of a log, read with these options and those of a ``runs.toml``."""
    draft = _open(source, given)
    options = draft.options
    leave_out_rows(draft)
    _read_cells(draft)
    _leave_out_missing(draft, options.missing or "error")
    read_statements(draft, options.conventions)
    draft.check(CELL_RULES)
    convert_units(draft)
    draft.frame = _frame(draft)
    count_params(draft)
    take_other_count(draft)
    fill_gaps(draft)
    harmonize_draft(draft, options.convert)
    drop_repeats(draft)
    draft.check(NUMBER_RULES)
    derive_columns(draft)
    draft.check(SIGN_RULES)
    return draft.runs()


def as_runs(source: Runs | pd.DataFrame | str | Path) -> Runs:
    """Return runs unchanged, or read them from a frame or a path.

    Raises
    ------
    RunLogError, UnitError
        If the log cannot be read without options: use :func:`read_runs` with these.
    """
    if isinstance(source, Runs):
        return source
    if isinstance(source, pd.DataFrame | str | Path):
        try:
            return read_runs(source)
        except (RunLogError, UnitError) as error:
            if not names_arguments(str(error)):
                raise
            given = "the table" if isinstance(source, pd.DataFrame) else repr(str(source))
            raise type(error)(
                f"{error}\nRead the runs with these arguments first, and give what it returns: "
                f"bayescale.read_runs({given}, ...)"
            ) from error
    raise RunLogError(
        f"runs are given as {type(source).__name__}: give Runs, a pandas.DataFrame, or the path "
        "of a .csv, .parquet or .jsonl file"
    )


def options_for(source: str | Path | pd.DataFrame, given: ReadOptions) -> tuple[ReadOptions, bool]:
    """Return options joined with those of a ``runs.toml`` beside a file, and whether there is one.

    Raises
    ------
    RunLogError
        If the two contradict each other, or the file cannot be read.
    """
    if isinstance(source, pd.DataFrame):
        return given, False
    beside = settings_beside(Path(source))
    if beside is None:
        return given, False
    return given.joined(beside, f"{NAME} beside {Path(source).name}"), True


def _open(source: str | Path | pd.DataFrame, given: ReadOptions) -> Draft:
    options, beside = options_for(source, given)
    table = load_table(source)
    raw, name = table.cells, table.name
    absent = [h for h in options.ignore if h not in raw.columns]
    problems = [
        f"`ignore={h!r}` names no column; it has {listed(raw.columns, 20)}"
        f"{did_you_mean(h, raw.columns)}"
        for h in absent
    ]
    problems += fill_problems(options.fill)
    if problems:
        raise RunLogError(collected(f"{name} cannot be read with these options:", problems))
    found = map_columns(raw, options.columns, options.units, options.ignore)
    in_headers = found.units
    if "loss" in options.conventions or "loss_unit" in found.headers:
        in_headers.pop("loss", None)
    units = {**in_headers, **options.units}
    draft = Draft(raw, name, found.headers, units, options, options.ignore)
    draft.findings += table.notes
    if found.problems:
        _refuse_columns(draft, found.problems)
    if beside:
        draft.name = f"{name} with {NAME}"
    if in_headers:
        stated = listed(f"{c} in {u} ({found.headers[c]!r})" for c, u in in_headers.items())
        draft.findings.append(note("units_in_headers", f"units are read from headers: {stated}"))
    return draft


def _refuse_columns(draft: Draft, problems: list[str]) -> None:
    """Refuse a log for its columns, and name the problems of its rows that show without them."""
    for text in problems:
        draft.stop("columns", text)
    try:
        leave_out_rows(draft)
    except RunLogError as error:
        for text in str(error).splitlines():
            draft.stop("rows", text)
    draft.check(WHOLE_ROW_RULES)


def _read_cells(draft: Draft) -> None:
    switches = {"yes": 1.0, "no": 0.0}
    sized: list[str] = []
    foreign = [column for column in draft.headers if column not in KNOWN]
    for column in (*NUMBERS, *SHAPES, *HELPERS, *foreign):
        if column not in draft.headers:
            continue
        cells = draft.raw[draft.headers[column]].tolist()
        if column in SWITCHES:
            cells = [switches.get(yes_or_no(cell), cell) for cell in cells]
        read = read_numbers(cells, draft.keep, sizes=column in SIZES)
        problem = _cell_problem(draft, column, cells, read.texts)
        if column in OPTIONAL and _set_aside(draft, column, cells, read.values, problem):
            continue
        _home(draft, column)[column] = read.values
        if problem:
            draft.stop("text_for_number", problem)
        if read.sizes:
            i = read.sizes[0]
            sized.append(f"{column} in {len(read.sizes)} rows ({cells[i]!r}: {read.values[i]:.6g})")
            if column in draft.options.units:
                unit = draft.options.units[column]
                draft.stop(
                    "unit_twice",
                    f"{draft.named(column)} states a unit in its cells ({cells[i]!r}), and "
                    f"{argument('units', **{column: unit})} states another: leave that out",
                )
    if sized:
        draft.findings.append(
            note("sizes_as_written", f"sizes are read as people write them: {listed(sized)}")
        )
    for column in LABELS:
        if column in draft.headers:
            draft.labels[column] = draft.raw[draft.headers[column]].tolist()


def _home(draft: Draft, column: str) -> dict[str, np.ndarray]:
    if column in HELPERS:
        return draft.helpers
    return draft.shapes if column in SHAPES else draft.numbers


def _cell_problem(draft: Draft, column: str, cells: list[Any], texts: list[int]) -> str:
    """Return a message on the cells of a column of numbers; empty if there is no problem."""
    if column in (*SCALES, "unique_tokens") and (rows := dots_between_thousands(cells)):
        return (
            f"{draft.named(column)} mixes {draft.where(rows, cells)} with numbers without a dot, "
            "as where dots separate thousands: write numbers without them, or, if the dots are "
            "decimal points, the others with three decimals too"
        )
    if not texts:
        return ""
    places = f"{draft.named(column)} has text instead of numbers: {draft.where(texts, cells)}"
    if any(DECIMAL_COMMA.fullmatch(str(cells[i]).strip()) for i in texts):
        return (
            f"{places}; a comma may be a decimal comma or stand between thousands: write decimal "
            "points, as in 4.1168, and no commas"
        )
    words = list(dict.fromkeys(str(cells[i]).strip() for i in texts))
    if len(texts) == draft.keep.sum() or any("," in word or not word for word in words):
        return f"{places}; write plain numbers such as 1.4e12"
    leave = argument("exclude", **{draft.headers[column]: ",".join(words)})
    return f"{places}; write plain numbers such as 1.4e12, or leave such rows out with {leave}"


def _set_aside(
    draft: Draft, column: str, cells: list[Any], values: np.ndarray, problem: str
) -> bool:
    """Leave an optional column with a fault unread, with a note; return whether this was done."""
    gaps = np.flatnonzero(np.isnan(values) & draft.keep)
    chosen = column in draft.options.columns or column in draft.options.units
    if not problem and column in (*SHAPES, *HELPERS):
        return False  # rules say what is wrong with sizes; rows may lack them
    if not problem and not gaps.size:
        return False
    if column == "epochs" and (values[draft.keep] > 1.0).any():
        return False  # data are repeated, which decides the default law
    if chosen and problem:
        return False  # the caller wants it read
    what = problem or f"{draft.named(column)} is missing in {draft.where(gaps)}"
    what = what.split("; ")[0]
    draft.findings.append(
        note(SET_ASIDE, f"{what}: the column is not read, and no law of the runs needs it")
    )
    del draft.headers[column]
    draft.sources.pop(column, None)
    return True


def _leave_out_missing(draft: Draft, missing: Missing) -> None:
    lacking = {
        column: ~np.isfinite(numbers) if missing != "error" else np.isnan(numbers)
        for column, numbers in draft.numbers.items()
    }
    lacking |= {
        column: np.array([is_missing(cell) for cell in draft.labels[column]], dtype=bool)
        for column in ("family", "run", "schedule_complete")
        if column in draft.labels
    }
    filled = {column: fillable(draft, column) for column in draft.options.fill}
    for column, without in lacking.items():
        rows = without & draft.keep & ~filled.get(column, np.zeros(len(draft.raw), dtype=bool))
        if not rows.any():
            continue
        if missing == "keep" and column in SCALES:
            draft.numbers[column] = np.where(without, np.nan, draft.numbers[column])
            continue
        if missing == "drop":
            infinite = rows & np.isinf(draft.numbers.get(column, np.zeros(len(rows))))
            draft.leave_out(infinite, f"{column} is infinite")
            draft.leave_out(rows, f"{column} is missing")
            continue
        draft.stop(
            "missing_value",
            f"{draft.named(column)} is missing in {draft.where(np.flatnonzero(rows))}: fill it "
            f"in, leave such rows out with `missing='drop'`{_other_ways(draft, column)}",
        )


def _other_ways(draft: Draft, column: str) -> str:
    """Return the other ways to deal with gaps, besides leaving rows out, for a message."""
    if column == "flops" and {"params", "tokens"} <= set(draft.numbers):
        return (
            f", take compute as 6 N D there with {argument('fill', flops='6ND')}, or keep them "
            "for laws that do not need it with `missing='keep'`"
        )
    if column in SCALES:
        return " or keep them for laws that do not need it with `missing='keep'`"
    if column == "loss":
        return ""
    return f", or leave the column unread with `ignore={draft.headers[column]!r}`"


def _frame(draft: Draft) -> pd.DataFrame:
    frame = pd.DataFrame({"run_id": draft.ids} | draft.numbers | draft.shapes)
    read = {
        "family": str,
        # a run without a label shares its budget with no other run
        "isoflop": lambda cell: "" if is_missing(cell) else str(cell),
        "run": lambda cell: str(cell).strip(),
        "schedule_complete": yes_or_no,
    }
    for column, read_label in read.items():
        if column in draft.labels:
            frame[column] = [read_label(cell) for cell in draft.labels[column]]
    return frame
