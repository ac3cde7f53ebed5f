"""The model cards that come with the package."""

from typing import Annotated

import typer

from bayescale.cli.options import Json
from bayescale.cli.writing import tell

models_app = typer.Typer(
    help="The model cards that come with the package: priors, likelihood, and why.",
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
