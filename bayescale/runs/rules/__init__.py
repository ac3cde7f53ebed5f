"""Findings about run logs. Each rule is a function in the list at the end of its module.

To add a finding, write a generator that takes the :class:`Draft` and yields ``stop(code, text)`` if
the log is to be refused, or ``note(code, text)`` for a warning, and add it to the module's RULES.
"""

from bayescale.runs.rules import cells, compute, configuration, groups, loss, numbers, rows

CELL_RULES = (*configuration.RULES, *cells.RULES, *rows.CELL_RULES)
"""Rules on cells, before their units are converted."""

WHOLE_ROW_RULES = rows.CELL_RULES
"""Rules on names and states of runs, which need no column of numbers."""

NUMBER_RULES = (*numbers.RULES, *rows.REPEAT_RULES)
"""Rules on numbers in raw units, before further columns are derived."""

SIGN_RULES = (
    numbers.numbers_are_possible,
    *compute.RULES,
    *loss.RULES,
    *rows.SIGN_RULES,
    *groups.RULES,
)
"""Rules that find signs of other units or other ways of counting than assumed."""
