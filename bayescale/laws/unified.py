"""One law that contains Chinchilla's sum and Kaplan's joint form with an irreducible loss.

L(N, D) = E + [(A / N^alpha)^(1/kappa) + (B / D^beta)^(1/kappa)]^kappa where N counts all
parameters, D counts training tokens (each seen once), and the loss is in nats per token. Whatever
kappa is, A / N^alpha is the loss due to finite size with unlimited data, and B / D^beta the loss
due to finite data with unlimited size.

With kappa = 1 it is eq. 10 of Hoffmann et al. (2022), arXiv 2203.15556. With kappa = beta it is eq.
1.5 of Kaplan et al. (2020), arXiv 2001.08361, plus a constant. In between, a lack of parameters and
a lack of data together cost more than in Chinchilla's sum, and less than in Kaplan's joint form.
"""

from typing import Any

from bayescale.laws import chinchilla
from bayescale.laws.law import Law
from bayescale.laws.terms import Amplitude, Constant


def _loss(
    params: Any, tokens: Any, *, E: Any, A: Any, alpha: Any, B: Any, beta: Any, kappa: Any
) -> Any:
    of_size, of_data = A / params**alpha, B / tokens**beta
    return E + (of_size ** (1.0 / kappa) + of_data ** (1.0 / kappa)) ** kappa


def _optimum(flops: Any, *, E: Any, A: Any, alpha: Any, B: Any, beta: Any, kappa: Any) -> Any:
    # the joint part is minimal where the sum of its two powers is
    sizes = {"A": A ** (1.0 / kappa), "B": B ** (1.0 / kappa)}
    return chinchilla.optimum(flops, E=E, **sizes, alpha=alpha / kappa, beta=beta / kappa)


UNIFIED = Law(
    name="unified",
    inputs=("params", "tokens"),
    coefficients=("E", "A", "alpha", "B", "beta", "kappa"),
    loss=_loss,
    optimum=_optimum,
    terms={
        "E": Constant(),
        "A": Amplitude(input="params", exponent="alpha"),
        "B": Amplitude(input="tokens", exponent="beta"),
    },
    sum_of_terms=True,
    root="kappa",
    reference=(
        "Hoffmann et al. 2022, arXiv 2203.15556, eq. 10, and Kaplan et al. 2020, arXiv "
        "2001.08361, eq. 1.5, in one form"
    ),
)
