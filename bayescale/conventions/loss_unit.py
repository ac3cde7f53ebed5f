"""The unit of losses in answers: the log's own, or another on request."""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from bayescale.conventions.stated import UNKNOWN, Conventions, choices_text, parse_convention
from bayescale.errors import UnitError, argument, did_you_mean
from bayescale.units import from_nats, to_nats

LABELS = MappingProxyType(
    {
        "nats": "nats/token",
        "bits": "bits/token",
        "bits_per_byte": "bits/byte",
        "perplexity": "perplexity",
    }
)
"""The label of each unit in answers."""

NEAR, FAR = 0.1, 0.25
"""A target is near losses if its log ratio to them is below the first number, and far from them
above the second."""

TYPICAL_TOKENS_PER_BYTE = 0.27
"""Tokens per byte of English text, for vocabularies of 32 to 128 thousand, within 20 %."""


@dataclass(frozen=True)
class LossUnit:
    """A unit of losses, and how it relates to the unit in which a law is fitted.

    Attributes
    ----------
    name : str
        ``nats``, ``bits``, ``bits_per_byte`` or ``perplexity``; or the unit of a law that predicts
        something else, such as ``error rate``, which is left as it is.
    tokens_per_byte : float or None
        Tokens divided by bytes of the evaluation set.
    stated : bool
        Whether the log or the caller states the unit; if not, losses were taken as nats.
    """

    name: str = "nats"
    tokens_per_byte: float | None = None
    stated: bool = False

    @property
    def label(self) -> str:
        """The unit in answers: ``nats/token``, ``bits/byte``."""
        return LABELS.get(self.name, self.name)

    @property
    def words(self) -> str:
        """The unit in words: ``nats per token``."""
        return self.label.replace("/", " per ")

    @property
    def short(self) -> str:
        """The unit of a difference in short: ``nats``, ``bits per byte``."""
        return self.words.removesuffix(" per token")

    @property
    def is_loss(self) -> bool:
        """Whether this is a unit of a language model's loss."""
        return self.name in LABELS

    @property
    def is_linear(self) -> bool:
        """Whether differences of losses are converted by the same factor as losses."""
        return self.name != "perplexity"

    @property
    def is_fitted(self) -> bool:
        """Whether laws are fitted in this unit, so that nothing is converted."""
        return self.name == "nats" or not self.is_loss

    def of(self, loss: Any) -> Any:
        """Return losses in this unit, converted from the fitted unit."""
        if self.is_fitted:
            return loss
        return from_nats(loss, self.name, tokens_per_byte=self.tokens_per_byte)

    def to_fitted(self, loss: Any) -> Any:
        """Return losses in the fitted unit, converted from this unit."""
        if self.is_fitted:
            return loss
        return to_nats(loss, self.name, tokens_per_byte=self.tokens_per_byte)

    def require_likely(self, target: float, losses: Any, known: Any = ()) -> None:
        """Refuse a target that is probably in another unit.

        Parameters
        ----------
        target : float
            The target in this unit.
        losses : array_like
            Forecast losses, in the fitted unit.
        known : array_like
            Losses of runs, in the fitted unit.

        Raises
        ------
        UnitError
            If the target is far from all of these losses, but near them in another unit.
        """
        if not self.is_loss:
            return
        nats = np.asarray(losses, dtype=float)
        near = np.append(nats, known)
        if _distance(target, self.of(near)) < FAR:
            return
        for name in LABELS:
            if name == self.name:
                continue
            other, margin = replace(self, name=name), NEAR
            guessed = name == "bits_per_byte" and self.tokens_per_byte is None
            if guessed:
                other, margin = replace(other, tokens_per_byte=TYPICAL_TOKENS_PER_BYTE), 2 * NEAR
            with np.errstate(over="ignore"):
                if _distance(target, other.of(near)) < margin:
                    raise UnitError(self._question(target, self.of(nats), other, guessed))

    def _question(self, target: float, own: np.ndarray, other: "LossUnit", guessed: bool) -> str:
        middle = float(np.median(own))
        ask = (
            "convert it, which takes the tokens per byte of the evaluation set"
            if guessed
            else f"ask in that unit with {_option(other.name)}"
        )
        return (
            f"`target=` is {target:g} {self.label}, far from the losses here (median {middle:.4g} "
            f"{self.label}) and near to what they are in {other.words}: if {other.words} are "
            f"meant, {ask}; if {self.words} are meant, say so with {_option(self.name)}"
        )


def _option(name: str) -> str:
    return f"`loss_unit={name!r}`"


def _distance(target: float, losses: np.ndarray) -> float:
    """Return how far a target is from the range of losses, in logs."""
    low, high = np.log(losses.min()), np.log(losses.max())
    return float(max(low - np.log(target), np.log(target) - high, 0.0))


NATS = LossUnit()
"""Nats per token, in which laws are fitted."""


def unit_of_log(conventions: Conventions, law_unit: str = LABELS["nats"]) -> LossUnit:
    """Return the unit of a log's losses.

    Parameters
    ----------
    conventions : Conventions
        The conventions of the log.
    law_unit : str
        The unit of the law. A law of error rates has no other unit.
    """
    if law_unit != LABELS["nats"]:
        return LossUnit(law_unit)
    per_byte = conventions.tokens_per_byte
    if conventions.loss == UNKNOWN:
        return LossUnit("nats", per_byte)
    return LossUnit(conventions.loss, per_byte, stated=True)


def chosen_unit(own: LossUnit, name: str | LossUnit | None) -> LossUnit:
    """Return the requested unit of loss, given by name or as a unit, or the log's own.

    Raises
    ------
    UnitError
        If there is no such unit, the law does not predict a loss, or bits per byte are requested
        without known tokens per byte.
    """
    if name is None:
        return own
    if isinstance(name, LossUnit):
        return name
    place = _option(name)
    parsed = parse_convention("loss", name)
    if not own.is_loss:
        raise UnitError(
            f"{place}: the law predicts {own.words}, which has no other unit: leave it out"
        )
    if parsed is None:
        raise UnitError(
            f"{place}: the unit of loss must be {choices_text('loss')}{did_you_mean(name, LABELS)}"
        )
    if parsed == "bits_per_byte" and own.tokens_per_byte is None:
        raise UnitError(
            f"{place} needs the tokens per byte of the evaluation set, which the log does not "
            f"state: read it with {argument('conventions', tokens_per_byte='VALUE')} and fit again"
        )
    return LossUnit(parsed, own.tokens_per_byte, stated=True)
