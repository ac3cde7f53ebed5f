"""Pruned data: a kept token may be worth more than a random one, and less the more are kept out.

The law of repetition, of tokens that are worth ``worth(kept_fraction)`` random ones each. What a
pruning metric is worth is an empirical matter; that a good one can beat a power law, and that one
which errs runs out of good examples, is the theory of Sorscher et al. 2022, arXiv 2206.14486.
"""

from typing import Any

from bayescale.laws.law import Law
from bayescale.laws.repetition import REPETITION


def worth(kept_fraction: Any, *, quality: Any, floor: Any) -> Any:
    """How many random tokens one kept token is worth.

    Parameters
    ----------
    kept_fraction : array_like
        The share of the data that was kept, above 0 and at most 1, where the worth is 1.
    quality : array_like
        1: no better than a random choice; below, worse. 2: the kept tokens carry what the whole
        set did, whatever the fraction. Above: there is harm in what is left out.
    floor : array_like
        The fraction about which the metric has run out of tokens to tell apart: below it, a kept
        token is worth hardly more.

    Examples
    --------
    >>> round(worth(0.5, quality=2.0, floor=1e-9), 6)
    2.0
    """
    return ((kept_fraction + floor) / (1.0 + floor)) ** (1.0 - quality)


def _loss(
    params: Any,
    tokens: Any,
    unique_tokens: Any,
    kept_fraction: Any,
    *,
    E: Any,
    A: Any,
    alpha: Any,
    B: Any,
    beta: Any,
    R_N: Any,
    R_D: Any,
    quality: Any,
    floor: Any,
) -> Any:
    each = worth(kept_fraction, quality=quality, floor=floor)
    return REPETITION.loss(
        params, tokens * each, unique_tokens * each,
        E=E, A=A, alpha=alpha, B=B, beta=beta, R_N=R_N, R_D=R_D,
    )  # fmt: skip


PRUNED = Law(
    name="pruned",
    inputs=(*REPETITION.inputs, "kept_fraction"),
    coefficients=(*REPETITION.coefficients, "quality", "floor"),
    loss=_loss,
    terms=REPETITION.terms,
    falls_with=REPETITION.inputs,  # as many tokens are better if less of the data is kept
    reference="Muennighoff et al. 2023, arXiv 2305.16264; Sorscher et al. 2022, arXiv 2206.14486",
)
