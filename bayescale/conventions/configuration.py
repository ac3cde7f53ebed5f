"""A transformer's parameters and training FLOP, counted from its configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

SIZES = ("layers", "width", "heads", "head_size", "feed_forward", "vocabulary", "sequence_length")
"""Parts of a configuration that are whole numbers of one or more."""

SWITCHES = ("gated", "tied_head", "learned_positions", "relative_positions")
"""Parts of a configuration that are yes or no."""

MOST: Mapping[str, float] = MappingProxyType(
    {
        "layers": 1e4, "width": 1e6, "heads": 1e4, "head_size": 1e5, "feed_forward": 1e7,
        "vocabulary": 1e8, "sequence_length": 1e9,
    }
)  # fmt: skip
"""Sizes far above those of any trained model."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Configuration:
    """The shapes of decoder-only transformers, as numbers or arrays of dims (run,).

    Attributes
    ----------
    layers, width : array_like
        Blocks, and the size of the residual stream (d_model).
    heads, head_size : array_like, optional
        Attention heads, and the size of one key (d_k). If ``head_size`` is None, the heads share
        the width.
    feed_forward : array_like, optional
        Inner size of the feed-forward layer (d_ff).
    vocabulary, sequence_length : array_like, optional
        Sizes in tokens.
    gated : array_like
        1 if the feed-forward layer has three matrices (SwiGLU), 0 if it has two.
    tied_head : array_like, optional
        1 if the output head is the input embedding, 0 if it is a separate matrix.
    learned_positions : array_like
        1 if each position of the sequence has a learned embedding.
    relative_positions : array_like
        1 if each block projects relative positions to its keys (Transformer-XL, Gopher and the runs
        of Hoffmann et al. 2022).

    Notes
    -----
    Biases and gains of normalization are left out; from a width of 128 on, they are below one
    percent. Heads that share keys and values (grouped queries) and experts are not modeled.
    """

    layers: Any
    width: Any
    heads: Any = None
    head_size: Any = None
    feed_forward: Any = None
    vocabulary: Any = None
    sequence_length: Any = None
    gated: Any = 0.0
    tied_head: Any = None
    learned_positions: Any = 0.0
    relative_positions: Any = 0.0

    @classmethod
    def of(cls, columns: Mapping[str, Any] | pd.DataFrame) -> "Configuration | None":
        """Return the configuration in a run log's columns, or None without layers or width."""
        known = {n: np.asarray(columns[n]) for n in (*SIZES, *SWITCHES) if n in columns}
        return cls(**known) if {"layers", "width"} <= set(known) else None

    def lacks(self, *names: str) -> tuple[str, ...]:
        """Return those of the names that are not given."""
        return tuple(name for name in names if getattr(self, name) is None)

    @property
    def keys(self) -> Any:
        """The size of all heads' keys together."""
        return self.width if self.head_size is None else self.heads * self.head_size

    def params(self, what: str) -> Any:
        """Return the number of parameters under a convention of counting.

        Parameters
        ----------
        what : str
            ``all``, ``no_input_embedding`` or ``non_embedding``: see :class:`Conventions`.

        Examples
        --------
        The 16,183 million of Hoffmann et al. (2022), table A9:

        >>> largest = Configuration(layers=47, width=5120, heads=40, head_size=128,
        ...     feed_forward=20480, vocabulary=32000, tied_head=1, relative_positions=1)
        >>> round(largest.params("all") / 1e6)
        16181
        """
        attention = (4.0 + self.relative_positions) * self.width * self.keys
        feed_forward = (2.0 + self.gated) * self.width * self.feed_forward
        return self.layers * (attention + feed_forward) + self.beside_blocks(what)

    def beside_blocks(self, what: str) -> Any:
        """Return the number of parameters outside the blocks that a convention counts."""
        if what == "non_embedding":
            return 0.0 * self.width
        matrix = 1.0 * self.vocabulary * self.width
        if what == "no_input_embedding":
            return matrix
        positions = 0.0
        if np.any(self.learned_positions):
            positions = self.learned_positions * self.sequence_length * self.width
        return matrix * (2.0 - self.tied_head) + positions

    def hoffmann_flops(self, tokens: Any, *, blocks_only: bool = False) -> Any:
        """Return training FLOP, counted as in appendix F of Hoffmann et al. (2022).

        The count has the matrix products of the embedding, of attention with its softmax, of the
        feed-forward layer and of the head, with two FLOP per multiplication and addition, and twice
        as many FLOP backward as forward.

        Parameters
        ----------
        tokens : array_like
            Number of training tokens.
        blocks_only : bool
            Whether to leave out embedding and head. The paper's table A4, which compares with 6 N
            D, does so, although its text lists all parts.

        Examples
        --------
        Their 73M model:

        >>> model = Configuration(layers=10, width=640, heads=10, head_size=64,
        ...     feed_forward=2560, vocabulary=32000, sequence_length=2048, tied_head=1,
        ...     relative_positions=1)
        >>> flops = model.hoffmann_flops(1e9, blocks_only=True)
        >>> round(flops / (6 * model.params("all") * 1e9), 2)
        1.03
        """
        attention = (
            8.0 * self.width * self.keys  # queries, keys, values, and the output projection
            # attention logits, and the weighted sum of values
            + 4.0 * self.sequence_length * self.keys
            + 3.0 * self.heads * self.sequence_length  # softmax
        )
        feed_forward = 2.0 * (2.0 + self.gated) * self.width * self.feed_forward
        forward = self.layers * (attention + feed_forward)
        if not blocks_only:
            forward = forward + 4.0 * self.vocabulary * self.width
        return 3.0 * forward * tokens


NEEDED_FOR: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "non_embedding": ("feed_forward",),
        "no_input_embedding": ("feed_forward", "vocabulary"),
        "all": ("feed_forward", "vocabulary", "tied_head"),
        "hoffmann_f": ("heads", "feed_forward", "vocabulary", "sequence_length"),
        "hoffmann_blocks": ("heads", "feed_forward", "sequence_length"),
    }
)
"""The parts of a configuration that each count needs besides layers and width."""
