"""The command line: one command a question.

Every command prints a short answer for people; with ``--json`` exactly one JSON object goes to
standard output. Progress and messages go to standard error. Exit 0: done. 2: bad input. 3:
computed, but not to be trusted, because the sampler failed its convergence checks. 130:
interrupted, with nothing written.
"""

from bayescale.cli.application import app, main

__all__ = ["app", "main"]
