"""Run logs: read, checked, and put in raw units."""

from bayescale.runs.log import LeftOut, Note, Runs, require_runs_for
from bayescale.runs.read import read_runs

__all__ = ["LeftOut", "Note", "Runs", "read_runs", "require_runs_for"]
