"""Downstream error as a function of the language model's loss: Gadre et al. 2024, 2403.08540.

The mean error over many tasks starts at that of guessing and falls exponentially as the loss falls.
In a run log, ``loss`` is then the error and ``lm_loss`` the loss in nats per token.
"""

from typing import Any

import numpy as np

from bayescale.laws.law import Law, lesser
from bayescale.laws.terms import Decay

LEAST_SHARE = 0.01
"""The error stays above this share of ``epsilon``, because the exponential alone would cross
zero."""


def _error(lm_loss: Any, *, epsilon: Any, k: Any, gamma: Any) -> Any:
    return epsilon - lesser(k * np.exp(-gamma * lm_loss), (1.0 - LEAST_SHARE) * epsilon)


DOWNSTREAM = Law(
    name="downstream",
    inputs=("lm_loss",),
    coefficients=("epsilon", "k", "gamma"),
    loss=_error,
    falls_with=(),  # the error rises with the loss
    terms={"k": Decay(input="lm_loss", exponent="gamma")},
    reference="Gadre et al. 2024, arXiv 2403.08540",
    unit="error rate",
)
