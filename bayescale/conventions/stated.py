"""Conventions that a log or its reader states."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from bayescale.errors import argument, did_you_mean, listed

UNKNOWN = "unknown"
"""The value of every convention that was not stated."""

CHOICES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "params": MappingProxyType(
            {
                "all": "every parameter, embeddings included",
                "no_input_embedding": "without the input embedding, with the output head",
                "non_embedding": "without input embedding and output head",
            }
        ),
        "flops": MappingProxyType(
            {
                "6ND": "6 * params * tokens",
                "6ND_non_embedding": "6 * non-embedding params * tokens (Kaplan et al. 2020)",
                "hoffmann_f": "embedding, attention and head (Hoffmann et al. 2022, appendix F)",
                "hoffmann_blocks": "the same without embedding and head, as in their table A4",
            }
        ),
        "loss": MappingProxyType(
            {
                "nats": "nats per token",
                "bits": "bits per token",
                "bits_per_byte": "bits per byte of text",
                "perplexity": "exp of nats per token",
            }
        ),
    }
)
"""The values of each convention, and their meaning."""

_ALSO = MappingProxyType(
    {
        "bpb": "bits_per_byte",
        "nats_per_token": "nats",
        "bits_per_token": "bits",
        "ppl": "perplexity",
    }
)


@dataclass(frozen=True)
class Conventions:
    """What the numbers of a run log count, which is the same for all of its runs.

    Attributes
    ----------
    params : str
        ``all``, ``no_input_embedding`` (the output head is counted) or ``non_embedding``.
    flops : str
        ``6ND``, ``6ND_non_embedding`` (Kaplan et al. 2020, arXiv 2001.08361), ``hoffmann_f``
        (Hoffmann et al. 2022, arXiv 2203.15556, appendix F) or ``hoffmann_blocks`` (the same
        without embedding and head).
    loss : str
        The unit of losses before they were converted to nats per token: ``nats``, ``bits``,
        ``bits_per_byte`` or ``perplexity``. If it is unknown, losses were taken as nats.
    evaluation_set, tokenizer : str
        Names.
    tokens_per_byte : float or None
        Tokens divided by bytes of the evaluation set.

    Notes
    -----
    A convention that was not stated is ``unknown``, or None.
    """

    params: str = UNKNOWN
    flops: str = UNKNOWN
    loss: str = UNKNOWN
    evaluation_set: str = UNKNOWN
    tokenizer: str = UNKNOWN
    tokens_per_byte: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def in_words(self) -> dict[str, str]:
        """Return each convention in words."""
        return {name: in_words(name, value) for name, value in self.to_json().items()}


NAMES = tuple(item.name for item in fields(Conventions))


def in_words(name: str, value: Any) -> str:
    """Return a convention's value as text, with its meaning if it has one."""
    if value in (None, UNKNOWN):
        return "unknown, taken as nats per token" if name == "loss" else UNKNOWN
    meaning = CHOICES.get(name, {}).get(value)
    return str(value) if meaning is None else f"{value}: {meaning}"


def parse_convention(name: str, value: Any) -> Any:
    """Return a convention's value in the package's spelling, or None if it is not a choice.

    Examples
    --------
    >>> parse_convention("loss", "Bits per byte"), parse_convention("flops", "6nd")
    ('bits_per_byte', '6ND')
    """
    text = str(value).strip()
    if name == "tokens_per_byte":
        return _positive(text)
    if name not in CHOICES:
        return text or None
    plain = _plain(text)
    plain = _plain(_ALSO.get(plain, plain))
    return next((choice for choice in CHOICES[name] if _plain(choice) == plain), None)


def choices_text(name: str) -> str:
    """Return the choices of a convention as text, for a message."""
    if name == "tokens_per_byte":
        return "a number above zero, tokens divided by bytes of the evaluation set, such as 0.29"
    return f"one of {', '.join(CHOICES[name])}" if name in CHOICES else "a name"


def parse_conventions(
    stated: Mapping[str, Any], argument_name: str = "conventions"
) -> tuple[dict[str, Any], list[str]]:
    """Return conventions in the package's spelling, and messages on those that are unknown."""
    problems, known = [], {}
    for name, value in stated.items():
        place = argument(argument_name, **{name: value})
        if name not in NAMES:
            problems.append(
                f"{place}: {name!r} is not a convention; they are {listed(NAMES, 9)}"
                f"{did_you_mean(name, NAMES)}"
            )
            continue
        parsed = parse_convention(name, value)
        if parsed is None:
            near = did_you_mean(value, CHOICES.get(name, ()))
            problems.append(f"{place}: {name} is {choices_text(name)}{near}")
        else:
            known[name] = parsed
    return known, problems


def _plain(text: str) -> str:
    return "_".join(text.lower().replace("-", " ").replace("_", " ").split())


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
