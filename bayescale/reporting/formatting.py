"""How values are written."""

from collections.abc import Callable, Mapping

from bayescale.reporting.questions import Questions
from bayescale.units import format_size


def as_loss(value: float) -> str:
    """A loss, to four places."""
    return f"{value:.4f}"


def as_flop(value: float) -> str:
    """Compute, to three digits."""
    return f"{value:.3g}".replace("e+", "e")


def as_share(value: float) -> str:
    """A whole percentage."""
    return f"{value:.0%}"


def as_tenths(value: float) -> str:
    """A percentage with one place."""
    return f"{value:.1%}"


def three_digits(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"


def four_digits(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}"


def as_nats(value: float) -> str:
    """Two digits of something small or large."""
    return f"{value:.2g}".replace("e+", "e")


SIZE: Mapping[str, Callable[[float], str]] = {
    "params": format_size, "tokens": format_size, "flops": as_flop, "lm_loss": three_digits
}  # fmt: skip
UNIT = {"params": "params", "tokens": "tokens", "flops": "FLOP", "lm_loss": "nats per token"}


def unit_of(questions: Questions) -> str:
    """Of what the law predicts."""
    return questions.fit.members[0].law.unit.replace("/", " per ")
