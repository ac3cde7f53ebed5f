"""Run logs: read, checked, and put in raw units."""

from bayescale.runs.log import LeftOut, Note, Runs, require_runs_for
from bayescale.runs.read import as_runs, read_runs
from bayescale.runs.statements import convert

__all__ = ["LeftOut", "Note", "Runs", "as_runs", "convert", "read_runs", "require_runs_for"]
