"""A law of learning rate and batch size as one file: Chinchilla's times a quadratic valley.

It is what a user would write who has such a log; ``bayescale tune`` has the better valley. Sizes
are relative to 1e8 parameters and 1e10 tokens.
"""

import numpy as np

from bayescale.laws import Amplitude, Constant, Law


def loss(
    params, tokens, lr, batch_size,
    *, E, A, alpha, B, beta, lr_best, lr_params, lr_tokens, batch_best, batch_tokens,
    curve, curve_batch, coupling,
):  # fmt: skip
    """Return the loss in nats per token."""
    n, d = np.log(params / 1e8), np.log(tokens / 1e10)
    z1 = np.log(lr / lr_best) + lr_params * n - lr_tokens * d
    z2 = np.log(batch_size / batch_best) - batch_tokens * d
    cross = coupling * np.sqrt(curve * curve_batch) * z1 * z2
    valley = curve * z1**2 + curve_batch * z2**2 - 2.0 * cross
    return (E + A / params**alpha + B / tokens**beta) * np.exp(valley)


LR_BATCH = Law(
    name="lr_batch",
    inputs=("params", "tokens", "lr", "batch_size"),
    coefficients=(
        "E", "A", "alpha", "B", "beta", "lr_best", "lr_params", "lr_tokens", "batch_best",
        "batch_tokens", "curve", "curve_batch", "coupling",
    ),
    loss=loss,
    terms={
        "E": Constant(),
        "A": Amplitude(input="params", exponent="alpha"),
        "B": Amplitude(input="tokens", exponent="beta"),
    },
    falls_with=(),
    reference="Hoffmann et al. 2022, arXiv 2203.15556, and Li et al. 2025, arXiv 2503.04715",
)  # fmt: skip
