"""Chinchilla's law with one exponent for parameters and tokens."""

from bayescale.laws import Amplitude, Constant, Law


def loss(params, tokens, *, E, A, B, alpha):
    return E + A / params**alpha + B / tokens**alpha


TIED = Law(
    name="tied",
    inputs=("params", "tokens"),
    coefficients=("E", "A", "B", "alpha"),
    loss=loss,
    terms={
        "E": Constant(),
        "A": Amplitude(input="params", exponent="alpha"),
        "B": Amplitude(input="tokens", exponent="alpha"),
    },
    sum_of_terms=True,
    reference="Muennighoff et al. 2023, arXiv 2305.16264, who set alpha = beta",
)
