"""Chinchilla's law with a term for the length of training sequences."""

from bayescale.laws import Amplitude, Constant, Law


def loss(params, tokens, sequence_length, *, E, A, alpha, B, beta, C, gamma):
    return E + A / params**alpha + B / tokens**beta + C / sequence_length**gamma


CONTEXT = Law(
    name="context",
    inputs=("params", "tokens", "sequence_length"),
    coefficients=("E", "A", "alpha", "B", "beta", "C", "gamma"),
    loss=loss,
    terms={
        "E": Constant(),
        "A": Amplitude(input="params", exponent="alpha"),
        "B": Amplitude(input="tokens", exponent="beta"),
        "C": Amplitude(input="sequence_length", exponent="gamma"),
    },
    sum_of_terms=True,
    reference="An example: the loss per token falls with the context that predicts it",
)
