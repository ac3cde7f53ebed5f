"""Published point estimates, posteriors made of them, and how printed figures are compared."""

from dataclasses import replace

import numpy as np
import xarray as xr

from bayescale.cards import load_card
from bayescale.posterior import Posterior, point

HOFFMANN = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
HOFFMANN_UNROUNDED = {
    "E": np.exp(0.5267228),
    "A": np.exp(6.0073404),
    "B": np.exp(6.0179186),
    "alpha": 0.33917084,
    "beta": 0.2849083,
}
BESIROGLU = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
HUBER_OPTIMUM = {"E": 1.8172, "A": 477.84, "B": 2143.86, "alpha": 0.34731, "beta": 0.36718}

FARSEER = {
    "s": -0.062465473, "q": 0.13, "S": 0.1284880679442551,
    "B": 230.73437075885855, "b": -0.1729, "Q": -1.544209554,
    "A": -1.665630816, "a": 0.0458999999999619, "E": 3.133347198805445,
}  # fmt: skip
"""Constants of Li et al. 2025, arXiv 2506.10972, as ScaleBench (arXiv 2604.22753) states them.

N is params without embeddings, and the loss is in bits per character of English text.
"""

COMPUTE_OPTIMAL = [
    # coefficients, flops, params, tokens, tokens per param, loss
    (HOFFMANN, 1e21, "1.824e9", "9.136e10", "50.08", "2.3289"),
    (HOFFMANN, 5.76e23, "3.219e10", "2.982e12", "92.65", "1.9307"),
    (HOFFMANN, 1e25, "1.168e11", "1.427e13", "122.1", "1.8453"),
    (HOFFMANN_UNROUNDED, 1e21, "2.217e9", "7.518e10", "33.91", "2.2955"),
    (HOFFMANN_UNROUNDED, 5.76e23, "4.036e10", "2.379e12", "58.93", "1.9184"),
    (HOFFMANN_UNROUNDED, 1e25, "1.485e11", "1.122e13", "75.5", "1.8380"),
    (BESIROGLU, 1e21, "2.778e9", "5.999e10", "21.59", "2.3055"),
    (BESIROGLU, 5.76e23, "7.225e10", "1.329e12", "18.39", "1.9744"),
    (BESIROGLU, 1e25, "3.121e11", "5.341e12", "17.1", "1.9117"),
    (HUBER_OPTIMUM, 1e21, "2.792e9", "5.970e10", "21.38", "2.3045"),
    (HUBER_OPTIMUM, 5.76e23, "7.319e10", "1.312e12", "17.92", "1.9739"),
    (HUBER_OPTIMUM, 1e25, "3.173e11", "5.252e12", "16.55", "1.9113"),
]
"""Golden values computed from the coefficients, with C = 6 N D."""


CARD = load_card("chinchilla")
ONE = point(CARD, BESIROGLU)
"""A posterior of one draw."""


def several(*draws: dict[str, float]) -> Posterior:
    """A posterior with these draws."""
    values = {name: (("chain", "draw"), [[d[name] for d in draws]]) for name in draws[0]}
    coords = {"chain": [0], "draw": np.arange(len(draws))}
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(values, coords=coords)})
    return replace(ONE, tree=tree)


SPREAD = several(*(BESIROGLU | {"alpha": a, "A": 0.36 * 1e9**a} for a in (0.25, 0.3, 0.35, 0.4)))
"""Four draws with as many exponents, alike at 1e9 params."""


def significant(value: float, printed: str) -> bool:
    """Whether a value, rounded as the printed number is, gives that number."""
    digits = len(printed.split("e")[0].replace(".", "").lstrip("0"))
    return float(f"{value:.{digits}g}") == float(printed)
