"""Findings about run logs: one rule is one function, in one of three lists.

To add a finding, write a generator that takes the :class:`Draft` and yields ``stop(code, text)``
for what refuses the log or ``note(code, text)`` for what is worth a warning, and add it to a list.
"""

from collections.abc import Sequence

from bayescale.runs.draft import Rule
from bayescale.runs.rules.cells import (
    configuration_is_a_transformer,
    numbers_are_in_range,
    params_can_be_counted,
    schedule_is_yes_or_no,
    tokens_per_byte_are_known,
)
from bayescale.runs.rules.compute import (
    compute_is_6nd,
    configuration_matches_params,
    tokens_are_above_params,
)
from bayescale.runs.rules.groups import loss_is_one_smooth_surface
from bayescale.runs.rules.loss import (
    loss_is_at_the_level_of_nats,
    loss_is_in_the_unit_of_others,
    loss_was_not_converted_from_nats,
)
from bayescale.runs.rules.numbers import (
    compute_is_near_6nd,
    compute_is_near_6nd_in_each_run,
    epochs_are_at_least_one,
    kept_fraction_is_a_share,
    large_runs_reach_low_losses,
    loss_is_in_nats,
    run_ids_are_unique,
    runs_differ,
    sizes_are_raw_counts,
    unique_tokens_are_within_tokens,
)

CELL_RULES: Sequence[Rule] = (
    configuration_is_a_transformer,
    numbers_are_in_range,
    schedule_is_yes_or_no,
    tokens_per_byte_are_known,
    params_can_be_counted,
)
"""Rules on cells, before their units are converted."""

NUMBER_RULES: Sequence[Rule] = (
    loss_is_in_nats,
    large_runs_reach_low_losses,
    sizes_are_raw_counts,
    compute_is_near_6nd,
    compute_is_near_6nd_in_each_run,
    epochs_are_at_least_one,
    unique_tokens_are_within_tokens,
    kept_fraction_is_a_share,
    run_ids_are_unique,
    runs_differ,
)
"""Rules on numbers in raw units, before further columns are derived."""

SIGN_RULES: Sequence[Rule] = (
    compute_is_6nd,
    tokens_are_above_params,
    configuration_matches_params,
    loss_is_at_the_level_of_nats,
    loss_is_in_the_unit_of_others,
    loss_was_not_converted_from_nats,
    loss_is_one_smooth_surface,
)
"""Signs that numbers are in other units, or count something else, than it seems."""
