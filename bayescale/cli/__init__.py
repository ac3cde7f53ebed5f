"""The command line: one command per question.

Every command prints a short answer for people; with ``--json`` it prints exactly one JSON object to
standard output. Progress and messages go to standard error. Exit codes: 0, done; 2, bad input; 3,
computed but not to be trusted, because a check failed; 130, interrupted, with nothing written.
"""

from bayescale.cli.application import app, main

__all__ = ["app", "main"]
