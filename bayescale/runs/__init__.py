"""Run logs: reading, checking, and conversion to raw units."""

from bayescale.runs.conversion import convert
from bayescale.runs.inputs import read_inputs, with_inputs
from bayescale.runs.log import LeftOut, Runs, require_runs_for
from bayescale.runs.read import as_runs, read_runs

__all__ = [
    "LeftOut",
    "Runs",
    "as_runs",
    "convert",
    "read_inputs",
    "read_runs",
    "require_runs_for",
    "with_inputs",
]
