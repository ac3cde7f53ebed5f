"""Conventions: what the numbers of a run log count, and conversions between counts.

Params with and without embeddings, losses in bits and in nats, compute by 6 N D and by all matrix
products: the laws of such logs differ. A convention that is not stated is unknown.
"""

from bayescale.conventions.configuration import Configuration
from bayescale.conventions.flop_count import SIX_ND, FlopCount, read_flop_count
from bayescale.conventions.loss_unit import NATS, LossUnit, chosen_unit, unit_of_log
from bayescale.conventions.stated import UNKNOWN, Conventions

__all__ = [
    "NATS",
    "SIX_ND",
    "UNKNOWN",
    "Configuration",
    "Conventions",
    "FlopCount",
    "LossUnit",
    "chosen_unit",
    "read_flop_count",
    "unit_of_log",
]
