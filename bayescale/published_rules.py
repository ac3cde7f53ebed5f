"""Rules of papers: the best size, tokens, learning rate or batch size as power laws of scale.

A published law predicts a loss; a rule gives values to choose. Each quantity is a coefficient times
powers of params, tokens or compute, in the paper's own counts, which the rule states.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from bayescale.cards import cards_folder
from bayescale.cards.load import read_toml, validated
from bayescale.errors import LawError, did_you_mean, shortened
from bayescale.units import as_size, disordered, format_size

Scale = Literal["params", "tokens", "flops"]
Quantity = Literal["params", "tokens", "lr", "batch_tokens", "batch_size", "flops_per_token"]


class Power(BaseModel):
    """A coefficient times powers of scale."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    coefficient: PositiveFloat
    exponents: dict[Scale, float] = Field(min_length=1)

    def at(self, scales: Mapping[str, float]) -> float:
        """Return the value at these scales."""
        value = self.coefficient
        for name, exponent in self.exponents.items():
            value *= scales[name] ** exponent
        return value

    def __str__(self) -> str:
        powers = (f"{name}^{exponent:g}" for name, exponent in self.exponents.items())
        return " ".join((f"{self.coefficient:g}", *powers))


class PublishedRule(BaseModel):
    """A rule of a paper, from :func:`load_rule`; it is frozen.

    Attributes
    ----------
    gives : mapping of str to Power
        The power laws of ``params``, ``tokens``, ``lr``, ``batch_tokens`` (tokens per step),
        ``batch_size`` (sequences per step) and ``flops_per_token``.
    counts : mapping of str to str
        What the rule's params, compute and batch sizes count, in words.
    range : mapping of str to (low, high)
        The range of the runs to which the rule was fitted, in raw units.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    title: str
    source: str
    arxiv: str = Field(pattern=r"^\d{4}\.\d{5}$")
    data: str
    caveats: tuple[str, ...] = Field(min_length=1)
    gives: dict[Quantity, Power] = Field(min_length=1)
    counts: dict[str, str]
    range: dict[Scale, tuple[PositiveFloat, PositiveFloat]] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if problems := disordered(self.range):
            raise ValueError("\n".join(problems))
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """The scales that the rule needs."""
        found = {name for power in self.gives.values() for name in power.exponents}
        return tuple(name for name in ("params", "tokens", "flops") if name in found)

    def at(self, **scales: float | str) -> dict[str, float]:
        """Return the rule's values at a scale, such as ``at(params=7e9, tokens="140B")``.

        Raises
        ------
        LawError
            If a scale that the rule needs is missing, or another scale is given.

        Examples
        --------
        >>> {name: f"{x:.3g}" for name, x in load_rule("deepseek_2024").at(flops=1e20).items()}
        ... # doctest: +NORMALIZE_WHITESPACE
        {'flops_per_token': '5.25e+09', 'tokens': '1.9e+10', 'lr': '0.000986',
         'batch_tokens': '1.02e+06'}
        """
        if set(scales) != set(self.inputs):
            raise LawError(
                f"rule {self.name!r} needs {' and '.join(self.inputs)}, but was given "
                f"{' and '.join(scales) or 'none'}"
            )
        sizes = {name: as_size(value, name) for name, value in scales.items()}
        return {name: power.at(sizes) for name, power in self.gives.items()}

    def __repr__(self) -> str:
        return f"<PublishedRule {self.name}: {shortened(self.title)}>"

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.title}", f"{self.source}, arXiv {self.arxiv}", "", "Rule:"]
        lines += [f"  {name:<15}  {power}" for name, power in self.gives.items()]
        ends = [
            f"{name} {format_size(low)} to {format_size(high)}"
            for name, (low, high) in self.range.items()
        ]
        lines += ["", f"Runs: {self.data}; {', '.join(ends)}", "Its numbers:"]
        lines += [f"  {name:<15}  {words}" for name, words in self.counts.items()]
        return "\n".join([*lines, *(f"Caveat: {caveat}" for caveat in self.caveats)])

    def to_json(self) -> dict[str, Any]:
        """Return the rule's values for JSON."""
        return {**self.model_dump(mode="json"), "inputs": list(self.inputs)}


def rule_names() -> list[str]:
    """Return the names of the published rules in alphabetical order."""
    return sorted(path.stem for path in (cards_folder() / "published" / "rules").glob("*.toml"))


def load_rule(name: str) -> PublishedRule:
    """Return a published rule by name.

    Parameters
    ----------
    name : str
        One of :func:`rule_names`.

    Raises
    ------
    LawError
        If there is no rule of that name.
    """
    if name not in rule_names():
        raise LawError(
            f"published rule {name!r} is unknown: use one of {', '.join(rule_names())}"
            f"{did_you_mean(name, rule_names())}"
        )
    path = cards_folder() / "published" / "rules" / f"{name}.toml"
    return parse_rule(path.read_text(encoding="utf-8"), name, place=path.name)


def parse_rule(text: str, name: str, place: str = "published rule") -> PublishedRule:
    """Return a published rule from its TOML text.

    Raises
    ------
    CardError
        If the text is invalid; lists all problems.
    """
    return validated(PublishedRule, {**read_toml(text, place), "name": name}, place)
