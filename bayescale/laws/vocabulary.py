"""Vocabulary size, after Tao et al. (2024), arXiv 2407.13623.

Losses per token of different vocabularies cannot be compared. The paper subtracts the loss of a
unigram model with the same vocabulary; the exponential of that difference is the ratio of the two
perplexities, which is positive, and is what this law predicts:

    log R(N, V, H) = -E + A / N^alpha + K / V^gamma + B (V / 32768)^phi / H^beta

where N counts the parameters outside the embeddings, V the tokens of the vocabulary, and H the
characters seen. The paper's eq. 6 has the parameters of the vocabulary instead of V, and tokens
instead of H. The term of data depends on H V^(-phi / beta), so phi states how vocabulary trades
against data.
"""

from typing import Any

import numpy as np

from bayescale.laws.law import Law
from bayescale.laws.terms import Amplitude, Depth, Sloped

REFERENCE = 32768.0
"""The size of vocabulary at which B is stated."""


def _loss(  # noqa: PLR0913 three inputs and eight coefficients
    params: Any,
    vocabulary: Any,
    characters: Any,
    *,
    E: Any,
    A: Any,
    alpha: Any,
    K: Any,
    gamma: Any,
    B: Any,
    beta: Any,
    phi: Any,
) -> Any:
    of_data = B * (vocabulary / REFERENCE) ** phi / characters**beta
    return np.exp(A / params**alpha + K / vocabulary**gamma + of_data - E)


VOCABULARY = Law(
    name="vocabulary",
    inputs=("params", "vocabulary", "characters"),
    coefficients=("E", "A", "alpha", "K", "gamma", "B", "beta", "phi"),
    loss=_loss,
    terms={
        "E": Depth(),
        "A": Sloped(input="params", exponent="alpha"),
        "K": Sloped(input="vocabulary", exponent="gamma"),
        "B": Amplitude(input="characters", exponent="beta"),
    },
    falls_with=("params", "characters"),
    reference="Tao et al. 2024, arXiv 2407.13623, eq. 6, with characters instead of tokens",
    unit="perplexity relative to a unigram model",
)
