"""Pruned data: a kept token is worth more or less than a random token.

This is the law ``repetition`` for kept tokens, each of which is worth ``worth(kept_fraction)``
random tokens. How much a pruning metric is worth has to be measured. In the theory of Sorscher et
al. 2022, arXiv 2206.14486, a good metric can beat a power law, and a flawed metric runs out of good
examples.
"""

from typing import Any

from bayescale.laws.law import Law
from bayescale.laws.repetition import REPETITION


def worth(kept_fraction: Any, *, quality: Any, floor: Any) -> Any:
    """Return how many random tokens a kept token is worth.

    Parameters
    ----------
    kept_fraction : array_like
        The share of the data that was kept, above 0 and at most 1; at 1 the worth is 1.
    quality : array_like
        At 1 the metric is as good as a random choice, below 1 it is worse. At 2 the kept tokens are
        worth the whole set, whatever the fraction. Above 2 the removed tokens did harm.
    floor : array_like
        The fraction below which the metric no longer distinguishes tokens, so that the worth of a
        kept token hardly grows.

    Examples
    --------
    >>> round(worth(0.5, quality=2.0, floor=1e-9), 6)
    2.0
    """
    return ((kept_fraction + floor) / (1.0 + floor)) ** (1.0 - quality)


def _loss(  # noqa: PLR0913 a law takes its coefficients by name
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
    shared = {"E": E, "A": A, "alpha": alpha, "B": B, "beta": beta, "R_N": R_N, "R_D": R_D}
    return REPETITION.loss(params, tokens * each, unique_tokens * each, **shared)


PRUNED = Law(
    name="pruned",
    inputs=(*REPETITION.inputs, "kept_fraction"),
    coefficients=(*REPETITION.coefficients, "quality", "floor"),
    loss=_loss,
    terms=REPETITION.terms,
    falls_with=REPETITION.inputs,  # at a fixed number of tokens the loss rises with kept_fraction
    reference="Muennighoff et al. 2023, arXiv 2305.16264; Sorscher et al. 2022, arXiv 2206.14486",
)
