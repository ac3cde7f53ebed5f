"""How values are written."""

from collections.abc import Callable, Mapping

from bayescale.reporting.asked import Asked
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


def as_few(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"


def as_more(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}"


def as_nats(value: float) -> str:
    """Two digits of something small or large."""
    return f"{value:.2g}".replace("e+", "e")


SIZE: Mapping[str, Callable[[float], str]] = {
    "params": format_size, "tokens": format_size, "flops": as_flop, "lm_loss": as_few
}  # fmt: skip
UNIT = {"params": "params", "tokens": "tokens", "flops": "FLOP", "lm_loss": "nats per token"}


def unit_of(asked: Asked) -> str:
    """Of what the law predicts."""
    return asked.fit.members[0].law.unit.replace("/", " per ")
