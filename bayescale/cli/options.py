"""The options that commands share, most of them as dataclasses."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.cli.parsing import given_fields, name_values, number, several_values

if TYPE_CHECKING:
    from bayescale.cards import ModelCard
    from bayescale.findings import Finding
    from bayescale.laws import Law
    from bayescale.posterior import Fit
    from bayescale.runs import Runs
    from bayescale.runs.options import ReadOptions


class Repeats(StrEnum):
    """What to do with rows that repeat."""

    error = "error"
    keep = "keep"
    drop = "drop"
    best = "best"


class Weights(StrEnum):
    """How to find the weights of several laws."""

    stacking = "stacking"


class Missing(StrEnum):
    """What to do with rows that lack a value."""

    error = "error"
    drop = "drop"
    keep = "keep"


RunLog = Annotated[Path, typer.Argument(metavar="RUNS", help="CSV, Parquet or JSON lines.")]
RunLogOrFit = Annotated[
    Path,
    typer.Argument(
        metavar="RUNS|FIT.nc", help="A run log, or a fit, whose laws and runs are used."
    ),
]
FitFile = Annotated[Path, typer.Argument(metavar="FIT.nc", help="The output of bayescale fit.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, and no notes below the answer.")]
Brief = Annotated[bool, typer.Option("--brief", help="The answer alone, in a few lines.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same draws.")]
GivenSeed = Annotated[
    int | None,
    typer.Option("--seed", min=0, show_default="0", help="The same seed gives the same draws."),
]
"""The seed of a command that does not always sample, and refuses a seed if it does not."""
Robust = Annotated[
    bool,
    typer.Option("--robust", help="Without drift; intervals allow for how fresh logs would vary."),
]
Tolerance = Annotated[
    float,
    typer.Option("--tolerance", help="Relative error of the mean loss that counts as precise."),
]
Target = Annotated[
    float | None, typer.Option("--target", help="A loss: adds the probability of a loss below it.")
]
LossUnitName = Annotated[
    str | None,
    typer.Option(
        "--loss-unit",
        metavar="UNIT",
        help="Unit of losses: nats, bits, bits_per_byte, perplexity; default: the log's own.",
    ),
]
Mass = Annotated[float, typer.Option("--ci-prob", help="Probability of intervals: 0.9 is 90 %.")]
GivenMass = Annotated[
    float | None,
    typer.Option("--ci-prob", show_default="0.9", help="Probability of intervals: 0.9 is 90 %."),
]
"""A mass of a command that does not always have intervals, and refuses it where it has none."""
Figure = Annotated[
    Path | None,
    typer.Option("--figure", metavar="FILE", help="Draw the result: .png, .svg or .pdf."),
]
FigureSize = Annotated[
    str | None,
    typer.Option("--figure-size", metavar="WxH", help="Inches: 8x4.5 suits a slide."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes; default: one per core. 1: no other process."),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="ADDRESS",
        help="A cluster instead of processes: dask://HOST:PORT or ray://HOST:PORT.",
    ),
]
Card = Annotated[
    Path | None, typer.Option("--card", metavar="FILE", help="A model card, by name or path.")
]
LawName = Annotated[
    str | None,
    typer.Option("--law", metavar="NAME", help="A law's name, or your own as file.py:NAME."),
]


@dataclass(frozen=True)
class LogOptions:
    """Options of how a run log is read."""

    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=HEADER", help="The header of a column: tokens=D."),
    ] = None
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", metavar="NAME=UNIT", help="tokens=1e9, flops=PF-day, loss=bits."),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude", metavar="HEADER=VALUE,...", help="Leave such rows out, and list them."
        ),
    ] = None
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="HEADER=VALUE,...", help="Leave out all other rows."),
    ] = None
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="HEADER", help="Leave a column unread."),
    ] = None
    fill: Annotated[
        list[str] | None,
        typer.Option("--fill", metavar="NAME=FORMULA", help="Fill gaps: flops=6ND, tokens=C/6N."),
    ] = None
    missing: Annotated[
        Missing | None,
        typer.Option(
            "--missing", help="Rows that lack a value: refuse (the default), drop or keep them."
        ),
    ] = None
    repeats: Annotated[
        Repeats | None,
        typer.Option("--repeats", help="Repeated rows: refuse, keep or drop; best: one per size."),
    ] = None
    convention: Annotated[
        list[str] | None,
        typer.Option(
            "--convention",
            metavar="NAME=VALUE",
            help="What numbers count: tokenizer=gpt2, params=all.",
        ),
    ] = None
    convert: Annotated[
        list[str] | None,
        typer.Option(
            "--convert", metavar="NAME=VALUE", help="Convert rows that state otherwise: params=all."
        ),
    ] = None

    def typed(self) -> dict[str, Any]:
        """Return the options that were given, by what one types."""
        return _typed(self)

    def read(self, path: Path) -> "Runs":
        """Return the run log."""
        from bayescale.runs.read import read_with

        return read_with(path, self.to_read())

    def write(self, path: Path) -> Path:
        """Add the options to ``runs.toml`` beside the log, and return its path."""
        from bayescale.runs.read import options_for
        from bayescale.runs.settings import write_settings

        return write_settings(path, options_for(path, self.to_read())[0])

    def unwritten(self, path: Path) -> bool:
        """Return whether options were given that no ``runs.toml`` beside the log holds."""
        from bayescale.runs.options import ReadOptions
        from bayescale.runs.read import options_for

        given = self.to_read()
        if given == ReadOptions():
            return False
        return options_for(path, given)[0] != options_for(path, ReadOptions())[0]

    def to_read(self) -> "ReadOptions":
        """Return the options of :func:`bayescale.read_runs`."""
        from bayescale.runs.options import ReadOptions

        return ReadOptions.of(
            columns=name_values(self.column, "--column"),
            units=name_values(self.unit, "--unit"),
            exclude=several_values(self.exclude, "--exclude"),
            only=several_values(self.only, "--only"),
            ignore=self.ignore,
            fill=name_values(self.fill, "--fill"),
            missing=self.missing and self.missing.value,
            repeats=self.repeats and self.repeats.value,
            conventions=name_values(self.convention, "--convention"),
            convert=name_values(self.convert, "--convert"),
        )


@dataclass(frozen=True)
class LawOptions:
    """Options of which laws are fitted, with which cards."""

    law: Annotated[
        list[str] | None,
        typer.Option("--law", metavar="NAME", help="A law's name, or file.py:NAME; repeatable."),
    ] = None
    card: Annotated[
        list[Path] | None,
        typer.Option("--card", metavar="FILE", help="A model card; repeatable for several laws."),
    ] = None

    def _named(self) -> "list[str | Law | ModelCard]":
        from bayescale.cards import laws_with_cards

        return list(laws_with_cards(self.law or (), self.card or ()))

    def cards(self, log: "Runs", beside: "Sequence[ModelCard]" = ()) -> "list[ModelCard]":
        """Return the cards of the named laws, or of those that the log's columns can carry.

        With cards of a fit, these and those of further laws that are named.
        """
        from bayescale.cards import cards_for_laws, default_laws

        named = self._named()
        if not beside:
            return list(cards_for_laws(log, named or default_laws(log)))
        known = {card.law.name for card in beside}
        further = cards_for_laws(log, named) if named else ()
        return [*beside, *(card for card in further if card.law.name not in known)]

    def to_fit(self) -> dict[str, Any]:
        """Return ``law`` and ``card`` as :func:`bayescale.fit` takes them."""
        from bayescale.cards import ModelCard

        named = self._named()
        if len(named) > 1:
            return {"law": named, "card": None}
        one = named[0] if named else None
        is_card = isinstance(one, ModelCard)
        return {"law": None if is_card else one, "card": one if is_card else None}


@dataclass(frozen=True)
class SamplerOptions:
    """Options of how a posterior is sampled."""

    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight", metavar="LAW=SHARE", help="Weights of several laws; default: equal."
        ),
    ] = None
    weights: Annotated[
        Weights | None,
        typer.Option(
            "--weights", help="stacking: weights that bayescale compare finds, by refits."
        ),
    ] = None
    seed: Seed = 0
    draws: Annotated[int, typer.Option("--draws", min=10, help="Draws per chain.")] = 1000
    tune: Annotated[int, typer.Option("--tune", min=10, help="Tuning steps per chain.")] = 500
    chains: Annotated[int, typer.Option("--chains", min=1)] = 4
    families: Annotated[
        bool, typer.Option("--families/--no-families", help="Partially pool families of the log.")
    ] = True

    def to_fit(self) -> dict[str, Any]:
        """Return the settings as :func:`bayescale.fit` takes them."""
        given = name_values(self.weight, "--weight")
        weights: Any = {name: number(text, name, "--weight") for name, text in given.items()}
        if weights and self.weights is not None:
            raise typer.BadParameter("--weight already states them", param_hint="--weights")
        found = weights or (self.weights and self.weights.value)
        names = ("seed", "draws", "tune", "chains", "families")
        return {"weights": found, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True)
class FitOptions:
    """Options of how a fit is opened."""

    law: Annotated[
        list[str] | None,
        typer.Option("--law", metavar="file.py:NAME", help="Your own law, if the fit used it."),
    ] = None
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at", metavar="NAME=VALUE", help="Value of another input of the law: lr=1e-3."
        ),
    ] = None
    allow_unconverged: Annotated[
        bool,
        typer.Option("--allow-unconverged", help="Use a fit that failed its convergence checks."),
    ] = False

    def typed(self) -> dict[str, Any]:
        """Return the options that were given, by what one types."""
        return _typed(self)

    def open(self, path: Path) -> "Fit":
        """Return a fit; the user's own laws are found by name."""
        from bayescale.laws import LAWS, find_law
        from bayescale.posterior import open_posterior

        if named := [law for law in self.law or () if law in LAWS]:
            raise typer.BadParameter(
                f"{named[0]} is a law of the package, and a fit's laws are chosen when it is made: "
                f"leave it out here, or fit the log again with --law {named[0]}",
                param_hint="--law",
            )
        fit = open_posterior(path, law=[find_law(name) for name in self.law or ()])
        return fit.holding(name_values(self.at, "--at"))


@dataclass(frozen=True)
class FamilyOptions(FitOptions):
    """Options of how a fit is opened, and for which family it answers."""

    family: Annotated[
        str | None, typer.Option("--family", help="A family of the fit; default: a new one.")
    ] = None

    def to_ask(self) -> dict[str, Any]:
        """Return the arguments that functions of a fit share."""
        return {"family": self.family, "allow_unconverged": self.allow_unconverged}


@dataclass(frozen=True)
class QuestionOptions(FamilyOptions):
    """Options of how a fit is opened, of its family, and of whether to allow for drift."""

    no_drift: Annotated[
        bool, typer.Option("--no-drift", help="Take the law to hold exactly, for comparison.")
    ] = False

    def to_ask(self) -> dict[str, Any]:
        """Return the arguments that functions of a fit share."""
        return {**super().to_ask(), "drift": not self.no_drift}


@dataclass(frozen=True)
class LossOptions(QuestionOptions):
    """Options of how a fit is opened for an answer with losses, and of their unit."""

    loss_unit: LossUnitName = None
    ci_prob: Mass = 0.9

    def to_ask(self) -> dict[str, Any]:
        """Return the arguments that functions of a fit share."""
        own = {"loss_unit": self.loss_unit, "ci_prob": self.ci_prob}
        return {**super().to_ask(), **own}


@dataclass(frozen=True)
class ForecastOptions(LossOptions):
    """Options of how a fit is opened for a forecast, of its target, and of its tolerance."""

    robust: Robust = False
    target: Target = None
    tolerance: Tolerance = 0.02

    def to_ask(self) -> dict[str, Any]:
        """Return the arguments that functions of a fit share."""
        drift = not (self.no_drift or self.robust)
        own = {"drift": drift, "target": self.target, "tolerance": self.tolerance}
        return {**super().to_ask(), **own}

    def open_with_notes(self, path: Path) -> "tuple[Fit, tuple[Finding, ...]]":
        """Return a fit, widened with --robust, and notes if its exact law is overconfident."""
        from bayescale.posterior.resampling import resampling_notes, widen

        fit = self.open(path)
        if self.robust:
            return widen(fit), ()
        return fit, resampling_notes(fit) if self.no_drift else ()


def _typed(options: LogOptions | FitOptions) -> dict[str, Any]:
    given = given_fields(options)
    return {f"--{name.replace('_', '-')}": value for name, value in given.items()}
