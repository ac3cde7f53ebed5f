"""Recognition of what params count, from the counts themselves.

A count of whole matrices has little freedom: it is 12 layers width^2, plus vocabulary times width
for each embedding. If every size in a log is exactly such a number for the same vocabulary, and
layers and width grow from size to size, this is not a coincidence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from bayescale.conventions.configuration import Configuration

FEWEST_SIZES = 8
"""The fewest sizes: a few sizes fit many shapes by chance, and a single size fits a given
vocabulary with a probability of 0.3."""

VOCABULARIES = (
    32000, 32064, 32128, 32768, 49152, 50000, 50254, 50257, 50272, 50277, 50280, 50304, 50432,
    51200, 64000, 65024, 65536, 100256, 100277, 100352, 128000, 128256, 131072, 151936, 152064,
    250880, 256000, 256128, 262144,
)  # fmt: skip
"""Vocabulary sizes of language models, including padding."""

_WIDTH_STEP = 32
_MOST_WIDTH = 20_480
_MOST_LAYERS = 200
_MOST_PATHS = 1000
_SHAPE = (4.0, 512.0)  # range of width over layers of trained models

Block = Callable[[np.ndarray], np.ndarray]


def _plain(width: np.ndarray) -> np.ndarray:
    return 4 * width


def _gated(width: np.ndarray) -> np.ndarray:
    return 256 * -(-8 * width // (3 * 256))  # two thirds of four times, in steps of 256


_FEED_FORWARD: Mapping[str, tuple[Block, float]] = MappingProxyType(
    {"plain": (_plain, 0.0), "gated": (_gated, 1.0)}
)


@dataclass(frozen=True, eq=False)
class Recognized:
    """What recognized parameter counts count.

    Attributes
    ----------
    matrices : int
        How many matrices of vocabulary times width are counted: 1 for an output head, or an
        embedding that it shares; 2 for both.
    vocabulary : int
    shapes : Configuration
        The configuration of each run.
    """

    matrices: int
    vocabulary: int
    shapes: Configuration

    @property
    def convention(self) -> str:
        """The name of the convention, as in :class:`Conventions`."""
        return "no_input_embedding" if self.matrices == 1 else "all"


def recognize(params: np.ndarray) -> Recognized | None:
    """Return the shapes with exactly these parameter counts, if there is only one solution.

    Parameters
    ----------
    params : array, shape (run,)

    Returns
    -------
    Recognized or None
        None without a unique solution, or with fewer than :data:`FEWEST_SIZES` sizes.

    Notes
    -----
    Blocks have 12 width^2 parameters, or gated feed-forward layers of 8/3 width rounded up to a
    multiple of 256, without biases and gains. Widths are multiples of 32.
    """
    sizes, run = np.unique(params, return_inverse=True)
    whole = np.all(np.isfinite(sizes)) and np.all(sizes == np.round(sizes))
    if len(sizes) < FEWEST_SIZES or not whole or sizes[-1] > 2**53:
        return None
    sizes = sizes.astype(np.int64)
    found = []
    for feed_forward, gated in _FEED_FORWARD.values():
        for vocabulary in VOCABULARIES:
            for matrices in (1, 2):
                shapes = _solve(sizes, feed_forward, gated, vocabulary * matrices)
                if shapes is not None:
                    found.append((matrices, vocabulary, gated, feed_forward, shapes))
    if len(found) != 1:
        return None
    ((matrices, vocabulary, gated, feed_forward, (width, layers)),) = found
    return Recognized(
        matrices,
        vocabulary,
        Configuration(
            layers=layers[run].astype(float),
            width=width[run].astype(float),
            feed_forward=feed_forward(width)[run].astype(float),
            vocabulary=float(vocabulary),
            gated=gated,
            tied_head=0.0,
        ),
    )


def _solve(
    sizes: np.ndarray, feed_forward: Block, gated: float, per_width: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return width and layers of each size, if only one sequence of them grows with size."""
    width = np.arange(_WIDTH_STEP, _MOST_WIDTH + 1, _WIDTH_STEP, dtype=np.int64)
    block = 4 * width**2 + int(2 + gated) * width * feed_forward(width)
    paths: list[list[tuple[int, int]]] = [[]]
    for size in sizes:
        rest = size - per_width * width
        layers = rest // block
        fits = (rest > 0) & (rest % block == 0) & (layers <= _MOST_LAYERS)
        fits &= (width >= _SHAPE[0] * layers) & (width <= _SHAPE[1] * layers)
        here = [(int(w), int(n)) for w, n in zip(width[fits], layers[fits], strict=True)]
        paths = [
            [*path, (w, n)]
            for path in paths
            for w, n in here
            if not path or (w >= path[-1][0] and n >= path[-1][1])
        ]
        if not 0 < len(paths) < _MOST_PATHS:
            return None
    if len(paths) != 1:
        return None
    widths, depths = zip(*paths[0], strict=True)
    return np.array(widths), np.array(depths)
