"""Commands for model cards, published laws, and checks of the user's own laws."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.decorator import with_options
from bayescale.cli.help import Command, Group
from bayescale.cli.options import Card, Figure, FitOptions, Json, LogOptions
from bayescale.cli.output import draw, show
from bayescale.cli.parsing import refuse_unread


def make_app() -> typer.Typer:
    """Return the application of ``bayescale models``."""
    app = typer.Typer(
        cls=Group,
        help="List the model cards of the package; check laws of your own.",
        invoke_without_command=True,
    )
    app.callback()(with_options(models))
    for name, command in COMMANDS.items():
        app.command(name, cls=Command)(with_options(command))
    return app


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
    show({"models": rows}, text, json_)


def models_show(
    name: Annotated[str, typer.Argument(help="One of those that bayescale models lists.")],
    json_: Json = False,
) -> None:
    """Print a model card: bayescale models show chinchilla > mine.toml."""
    from bayescale.cards import load_card

    card = load_card(name)
    answer = {"name": card.name, "law": card.law.name, "text": card.text}
    show(answer, card.text.rstrip("\n"), json_, verbatim=True)


def models_published(
    options: FitOptions,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Laws of papers; without any, all are listed."),
    ] = None,
    fit_file: Annotated[
        Path | None,
        typer.Option("--fit", metavar="FIT.nc", help="Compare them with this fit and its runs."),
    ] = None,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Show laws as papers print them: coefficients, conventions, range of validity.

    Rules say which size, tokens, learning rate or batch size is best, and predict no loss.
    """
    from bayescale.published import compare_published, load_published, published_names
    from bayescale.published_rules import load_rule, rule_names

    if fit_file is not None:
        fitted = options.open(fit_file)
        allow = options.allow_unconverged
        result = compare_published(fitted, names or (), allow_unconverged=allow)
        path = draw("plot_published", result, figure)
        answer, passed = result.to_json() | {"figure": path}, fitted.diagnostics["passed"]
        show(answer, result, json_, passed=passed)
        return
    given = {"--figure": figure, **options.typed()}
    refuse_unread(given, "it is about a fit, and none is named", ", or name one: --fit FIT.nc")
    found = [
        load_rule(name) if name in rule_names() else load_published(name)
        for name in names or (*published_names(), *rule_names())
    ]
    width = max(len(one.name) for one in found)
    listed = [f"{one.name:<{width}}  {one.title} (arXiv {one.arxiv})" for one in found]
    text = "\n\n".join(map(str, found)) if names else "\n".join(listed)
    show({"published": [one.to_json() for one in found]}, text, json_)


def models_check(
    log_options: LogOptions,
    law: Annotated[str, typer.Argument(metavar="LAW", help="Your own as file.py:NAME, or a name.")],
    card: Card = None,
    runs: Annotated[
        Path | None,
        typer.Option("--runs", metavar="RUNS", help="Check the law at the runs of this log."),
    ] = None,
    json_: Json = False,
) -> None:
    """Check a law and its card against the contract of laws, and say how to fix violations.

    One function for floats, NumPy, xarray and the sampler; finite slopes over the prior; a loss
    that falls with scale; terms with inverses; a best split that is a minimum; losses that language
    models have. Exits with 3 if a check fails.
    """
    from bayescale.contract import check_law
    from bayescale.laws import LAWS, find_law

    if runs is None:
        given = log_options.typed()
        refuse_unread(given, "no log is read", ", or name one: --runs RUNS")
    chosen = find_law(law)
    log = None if runs is None else log_options.read(runs)
    found = check_law(chosen, card or (law if law in LAWS else None), log)
    show(found.to_json(), found, json_, passed=found.passed)


COMMANDS = {"show": models_show, "published": models_published, "check": models_check}
