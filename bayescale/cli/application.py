"""The application: its commands, and their exit codes."""

import atexit
import gc
import io
import os
import re
import signal
import sys
from typing import Annotated

import typer

from bayescale.cli.commands import (
    decisions,
    fits,
    forecasts,
    models,
    pages,
    prior,
    runs,
    scenarios,
    trackers,
    trust,
    versus,
    watch,
)
from bayescale.cli.decorator import with_options
from bayescale.cli.help import Command, Group
from bayescale.cli.output import BAD_INPUT, abandon_output, printable, write
from bayescale.errors import BayescaleError
from bayescale.layout import lay_out, width

COMMANDS = {
    "Runs": (fits.demo, trackers.import_, runs.check, runs.simulate),
    "Fits": (fits.fit, fits.fit_many, fits.summary, fits.reproduce, prior.prior),
    "Forecasts": (forecasts.forecast, forecasts.forecast_many, forecasts.slices),
    "Trust": (trust.trust, trust.backtest, trust.compare, trust.cross_check),
    "Decisions": (decisions.allocate, decisions.data, decisions.next_run, decisions.tune),
    "Recipes and runs in progress": (versus.versus, watch.watch),
    "Scenarios": (scenarios.prune, scenarios.emerge),
    "Pages": (pages.report, pages.explore),
}
"""Commands by the panel of the help in which they are listed."""

NO_MEMORY = "there is not enough memory: allow more, or ask with fewer draws, rows or points"
NO_MEMORY_LINE = f"error: {NO_MEMORY}\n".encode()
NOT_LOADED = re.compile("cannot map|failed to map|cannot allocate", re.IGNORECASE)
"""Words of the system's messages about a library that does not fit into memory."""


def _print_version(asked: bool) -> None:
    if asked:
        from bayescale import __version__

        write(f"bayescale {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Bayesian inference for neural scaling laws."""


def _make_app() -> typer.Typer:
    app = typer.Typer(
        name="bayescale",
        cls=Group,
        help="Bayesian inference for neural scaling laws.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for panel, commands in COMMANDS.items():
        for command in commands:
            name = command.__name__.strip("_").replace("_", "-")
            app.command(name, cls=Command, rich_help_panel=panel)(with_options(command))
    app.add_typer(models.make_app(), name="models", rich_help_panel="Fits")
    app.command(
        "perceptron",
        cls=Command,
        hidden=True,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(scenarios.perceptron)
    return app


app = _make_app()


def _end(number: int, frame: object) -> None:
    """Exit as on an interrupt, so that no partial file remains."""
    sys.exit(128 + number)


def main() -> None:
    """Run the command line, and turn every expected failure into one message and an exit code."""
    signal.signal(signal.SIGTERM, _end)
    _open_descriptors()
    # Imported modules live until the end; searching them for garbage takes a second.
    gc.set_threshold(200_000, 20, 50)
    atexit.register(gc.freeze)
    try:
        app(prog_name="bayescale")
    except BayescaleError as error:
        _fail(str(error))
    except BrokenPipeError:  # the program that read our output has ended
        abandon_output()
        sys.exit(1)
    except MemoryError:
        _fail_for_memory()
    except OSError as error:
        abandon_output()
        _fail(f"{error.filename or 'standard output'}: {error.strerror or error}")
    except Exception as error:
        if isinstance(error, ImportError) and NOT_LOADED.search(str(error)):
            _fail_for_memory()
        from bayescale.laws import own_fault

        fault = own_fault(error)
        if fault is None:
            raise
        _fail(f"{fault}; see bayescale models check")


def _open_descriptors() -> None:
    """Open closed standard descriptors, so that no new file gets one of their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:  # Python sets it so if the descriptor was closed
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for characters that its encoding lacks


def _fail(message: str) -> None:
    print(lay_out([f"error: {printable(message)}"], width()), file=sys.stderr)
    sys.exit(BAD_INPUT)


def _fail_for_memory() -> None:
    """Fail even if the memory that wrapping the message needs is missing too."""
    try:
        _fail(NO_MEMORY)
    except (MemoryError, ImportError):
        os.write(2, NO_MEMORY_LINE)
        os._exit(BAD_INPUT)  # functions that run at exit would need memory as well
