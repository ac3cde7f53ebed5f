"""The options and arguments that commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Missing(StrEnum):
    """What to do with rows that lack a value."""

    error = "error"
    drop = "drop"
    keep = "keep"


RunLog = Annotated[Path, typer.Argument(metavar="RUNS", help="CSV, Parquet or JSON lines.")]


FitFile = Annotated[Path, typer.Argument(metavar="FIT.nc", help="What bayescale fit wrote.")]


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="NAME=HEADER", help="Which column is which: tokens=my_d."),
]


Units = Annotated[
    list[str] | None,
    typer.Option("--unit", metavar="NAME=UNIT", help="tokens=1e9, flops=PF-day, loss=bits."),
]


Stated = Annotated[
    list[str] | None,
    typer.Option(
        "--convention",
        metavar="NAME=VALUE",
        help="What rows count: params=non_embedding, tokenizer=gpt2.",
    ),
]


Convert = Annotated[
    list[str] | None,
    typer.Option(
        "--convert", metavar="NAME=VALUE", help="Convert what rows state otherwise: params=all."
    ),
]


Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="HEADER=VALUE", help="Leave out such rows; they are listed."),
]


MissingRows = Annotated[
    Missing, typer.Option("--missing", help="Rows that lack a value: refuse, drop or keep them.")
]


LawName = Annotated[
    str | None,
    typer.Option("--law", metavar="NAME", help="A law's name, or your own as file.py:NAME."),
]


OwnLaws = Annotated[
    list[str] | None,
    typer.Option("--law", metavar="file.py:NAME", help="Your own law, where the fit used it."),
]


Cards = Annotated[
    list[Path] | None,
    typer.Option("--card", metavar="FILE", help="A model card; of several laws, may be repeated."),
]


Card = Annotated[
    Path | None, typer.Option("--card", metavar="FILE", help="A model card, by name or path.")
]


Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same draws.")]


Robust = Annotated[
    bool,
    typer.Option("--robust", help="Without drift, as wide as fresh logs would scatter the fit."),
]


NoDrift = Annotated[
    bool, typer.Option("--no-drift", help="Take the law to hold exactly, for comparison.")
]


Tolerance = Annotated[
    float, typer.Option("--tolerance", help="Relative error of the mean loss that is precise.")
]


LawNames = Annotated[
    list[str] | None,
    typer.Option("--law", metavar="NAME", help="A law's name, or file.py:NAME; may be repeated."),
]


Cutoffs = Annotated[
    list[str] | None,
    typer.Option("--cutoff", metavar="SIZE", help="Fit up to this size; may be repeated."),
]


Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes; one a core by default, 1: this one."),
]


Allow = Annotated[
    bool, typer.Option("--allow-unconverged", help="Use a fit whose sampler missed its gate.")
]


Family = Annotated[str | None, typer.Option("--family", help="One of the fit's.")]


Figure = Annotated[
    Path | None, typer.Option("--figure", metavar="FILE.png", help="Draw it as well.")
]
Weights = Annotated[
    list[str] | None,
    typer.Option("--weight", metavar="LAW=SHARE", help="Shares of several laws; else equal."),
]
Draws = Annotated[int, typer.Option("--draws", min=10, help="Draws a chain.")]
Tune = Annotated[int, typer.Option("--tune", min=10, help="Tuning steps a chain.")]
Chains = Annotated[int, typer.Option("--chains", min=1)]
PoolFamilies = Annotated[
    bool, typer.Option("--pool/--no-pool", help="Partially pool families in the log.")
]
