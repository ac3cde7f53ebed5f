"""The command that makes a card from earlier fits."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.options import Json
from bayescale.cli.output import show


def prior(
    fits: Annotated[
        list[Path], typer.Argument(metavar="OLD.nc...", help="Fits of earlier logs, one law.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="CARD.toml", help="Where the card goes.")
    ],
    card: Annotated[
        str | None, typer.Option("--card", metavar="FILE", help="The card that is learned from.")
    ] = None,
    allow_unconverged: Annotated[
        bool, typer.Option("--allow-unconverged", help="Use draws that failed their checks.")
    ] = False,
    json_: Json = False,
) -> None:
    """Make a card from earlier fits of your own, for a log of few runs."""
    from bayescale.cards import load_card
    from bayescale.files import replacing, require_folder
    from bayescale.posterior import open_posterior
    from bayescale.posterior.learned import prior_from
    from bayescale.results import TextTable

    require_folder(output)
    base = None if card is None else load_card(card)
    made = prior_from(
        [open_posterior(path) for path in fits], base, allow_unconverged=allow_unconverged
    )
    before = load_card(made.law.name) if base is None else base
    rows = [
        {
            "coefficient": name,
            "was": f"{old.low:.3g} to {old.high:.3g}",
            "is": f"{new.low:.3g} to {new.high:.3g}",
        }
        for name, old, new in (
            (name, before.coefficients[name].prior, described.prior)
            for name, described in made.coefficients.items()
        )
        if old.low is not None and new.low is not None and old != new
    ]
    with replacing(output) as into:
        into.write_text(made.text, encoding="utf-8")
    answer = {
        "card": made.name,
        "law": made.law.name,
        "fits": list(map(str, fits)),
        "priors": {row["coefficient"]: {"was": row["was"], "is": row["is"]} for row in rows},
        "output": str(output),
    }
    lines = [
        f"A card of {len(fits)} earlier fit{'s' if len(fits) > 1 else ''}, written to {output}:",
        TextTable.of(rows, indent="  "),
    ]
    show(answer, lines, json_, notes=["", "Next:", f"  bayescale fit RUNS.csv --card {output}"])
