"""The command line: one command a question.

Every command prints a short answer for people; with ``--json`` exactly one JSON object goes
to standard output. Progress and messages go to standard error. Exit 0: done. 2: bad input.
3: computed, but not to be trusted, because the sampler's convergence gate was missed. 130:
interrupted, with nothing written.
"""

import atexit
import gc
import os
import signal
import sys

import typer

from bayescale.cli import (
    cards,
    deciding,
    fits,
    forecasting,
    importing,
    logs,
    pages,
    scenarios,
    trusting,
)
from bayescale.cli.writing import BAD_INPUT
from bayescale.errors import BayescaleError, as_options

__all__ = ["app", "main"]

COMMANDS = {
    "Runs": (fits.demo, importing.import_, logs.check, logs.simulate),
    "Fits": (fits.fit, fits.fit_many, fits.summary, fits.reproduce),
    "Forecasts": (forecasting.forecast, forecasting.forecast_many),
    "Trust": (trusting.trust, trusting.backtest, trusting.compare, trusting.cross_check),
    "Decisions": (deciding.allocate, deciding.data, deciding.next_run),
    "Scenarios": (scenarios.prune, scenarios.emerge),
    "Pages": (pages.report, pages.explore),
}

app = typer.Typer(
    name="bayescale",
    help="Bayesian inference for neural scaling laws.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, commands in COMMANDS.items():
    for command in commands:
        name = command.__name__.strip("_").replace("_", "-")
        app.command(name, rich_help_panel=panel)(command)
app.command(
    "perceptron",
    hidden=True,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(scenarios.perceptron)
app.add_typer(cards.models_app, name="models", rich_help_panel="Fits")


def _end(number: int, frame: object) -> None:
    """End as on an interrupt, so that nothing half-written stays behind."""
    sys.exit(128 + number)


def main() -> None:
    """Run the command line; every expected failure becomes one message and an exit code."""
    signal.signal(signal.SIGTERM, _end)
    # what is imported lives to the end: to search it for what does not takes a second
    gc.set_threshold(200_000, 20, 50)
    atexit.register(gc.freeze)
    try:
        app()
    except BayescaleError as error:
        print(f"error: {as_options(str(error))}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        from bayescale.laws import own_fault

        told = own_fault(error)
        if told is None:
            raise
        print(f"error: {as_options(told)}; see bayescale models check", file=sys.stderr)
        sys.exit(BAD_INPUT)
