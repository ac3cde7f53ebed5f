"""The model cards that come with the package."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.options import (
    Allow,
    Card,
    Columns,
    Figure,
    Json,
    Missing,
    OwnLaws,
    Units,
)
from bayescale.cli.reading import open_fit, read_log
from bayescale.cli.writing import draw, exit_untrusted, tell

models_app = typer.Typer(
    help="The model cards that come with the package; and laws of your own, checked.",
    invoke_without_command=True,
)


@models_app.callback()
def models(context: typer.Context, json_: Json = False) -> None:
    """List the model cards; ``models show NAME`` prints one, to copy and edit."""
    if context.invoked_subcommand is not None:
        return
    from bayescale.cards import card_names, load_card

    cards = [load_card(name) for name in card_names()]
    rows = [
        {"name": c.name, "law": c.law.name, "inputs": list(c.law.inputs), "title": c.title}
        for c in cards
    ]
    width = max(len(card.name) for card in cards)
    text = "\n".join(f"{card.name:<{width}}  {card.title}" for card in cards)
    tell({"models": rows}, text, json_)


@models_app.command("show")
def models_show(
    name: Annotated[str, typer.Argument(help="One of those that bayescale models lists.")],
    json_: Json = False,
) -> None:
    """Print a model card: bayescale models show chinchilla > mine.toml."""
    from bayescale.cards import load_card

    card = load_card(name)
    answer = {"name": card.name, "law": card.law.name, "text": card.text}
    tell(answer, card.text.rstrip("\n"), json_)


@models_app.command("published")
def models_published(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Laws of papers; without any, all are listed."),
    ] = None,
    fit_file: Annotated[
        Path | None,
        typer.Option("--fit", metavar="FIT.nc", help="Hold them against this fit and its runs."),
    ] = None,
    law: OwnLaws = None,
    figure: Figure = None,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """Laws as papers print them: coefficients, what their numbers count, where they hold."""
    from bayescale.published import compare_published, load_published, published_names

    if fit_file is not None:
        fitted = open_fit(fit_file, law)
        result = compare_published(fitted, names or (), allow_unconverged=allow_unconverged)
        drawn = draw("plot_published", result, figure)
        tell(result.to_json() | {"figure": drawn}, str(result), json_)
        exit_untrusted(fitted.diagnostics["passed"])
        return
    if figure is not None:
        raise typer.BadParameter("a figure is of a fit beside them: name it", param_hint="--fit")
    found = [load_published(name) for name in names or published_names()]
    width = max(len(one.name) for one in found)
    listed = [f"{one.name:<{width}}  {one.title} (arXiv {one.arxiv})" for one in found]
    text = "\n\n".join(map(str, found)) if names else "\n".join(listed)
    tell({"published": [one.to_json() for one in found]}, text, json_)


@models_app.command("check")
def models_check(
    law: Annotated[str, typer.Argument(metavar="LAW", help="Your own as file.py:NAME, or a name.")],
    card: Card = None,
    runs: Annotated[
        Path | None,
        typer.Option("--runs", metavar="RUNS", help="Look at the law at the runs of this log."),
    ] = None,
    column: Columns = None,
    unit: Units = None,
    json_: Json = False,
) -> None:
    """Hold a law and its card to the contract of laws, and say how to mend what breaks it.

    One function for floats, NumPy, xarray and the sampler; finite slopes over the prior; a loss
    that falls with scale; terms that undo themselves; a best split that is one; losses that
    language models have. Exits 3 where a check fails.
    """
    from bayescale.contract import check_law
    from bayescale.laws import LAWS, find_law

    chosen = find_law(law)
    log = None if runs is None else read_log(runs, column, unit, None, Missing.error)
    found = check_law(chosen, card or (law if law in LAWS else None), log)
    tell(found.to_json(), str(found), json_)
    exit_untrusted(found.passed)
