"""Response time of the explorer when a control changes to a value that was not used before.

The script of the Streamlit page runs in this process as the server runs it: answers, figures and
every element of the page, without the browser's rendering. The output has wall time, and the
processor time of all threads, which does not depend on other load.

Run: ``python benchmarks/explore.py FIT.nc`` on a fit of a law of params and tokens.
"""

import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from streamlit import config
from streamlit.testing.v1 import AppTest

from bayescale.explore import page
from bayescale.explore.server import CONFIG
from bayescale.explore.tabs import TABS
from bayescale.posterior import open_posterior
from bayescale.verdict import sizes

CHANGES = 20


def main(
    fit_file: Annotated[Path, typer.Argument(metavar="FIT.nc")],
    changes: Annotated[int, typer.Option(help="Changes of each control in each tab.")] = CHANGES,
) -> None:
    """Change every control in every tab and print how long the page took."""
    fit = open_posterior(fit_file)
    assert fit.runs is not None
    flops = sizes(fit.runs.frame, fit.inputs).max()
    lowest, most = fit.runs["loss"].min(), fit.runs["tokens"].max()
    values = {
        "flops": flops * np.geomspace(3, 300, changes),
        "tolerance": np.linspace(0.011, 0.05, changes),
        "target": lowest * np.linspace(0.8, 1.0, changes),
        "max_tokens": most * np.geomspace(0.5, 50, changes),
        "inference_tokens": most * np.geomspace(0.5, 50, changes),
    }
    for name, value in CONFIG.items():
        config.set_option(name, value)
    sys.argv = ["page.py", str(fit_file)]
    app = AppTest.from_file(page.__file__, default_timeout=60)
    rows = {("", "opened"): [_timed(app)]}
    first = {control: app.text_input(control).value for control in values}
    for tab in TABS:
        app.session_state["tab"] = tab
        rows[tab, "opened"] = [_timed(app)]
        for control, each in values.items():
            rows[tab, control] = []
            for value in each:
                app.text_input(control).set_value(f"{value:.6g}")
                rows[tab, control].append(_timed(app))
            app.text_input(control).set_value(first[control]).run()
    table = Table("tab", "control", "wall median", "wall 95%", "processor median", "processor 95%")
    for place, times in rows.items():
        found = np.quantile(np.array(times), [0.5, 0.95], axis=0)
        table.add_row(*place, *(f"{1000 * ms:.0f} ms" for ms in found.T.ravel()))
    draws = sum(member.draws["chain"].size * member.draws["draw"].size for member in fit.members)
    Console().print(f"{fit.name}, {draws} draws, {changes} changes per control and tab", table)


def _timed(app: AppTest) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    app.run()
    taken = time.perf_counter() - wall, time.process_time() - processor
    assert not app.exception
    assert app.metric
    assert not app.error, [error.value for error in app.error]
    return taken


if __name__ == "__main__":
    typer.run(main)
