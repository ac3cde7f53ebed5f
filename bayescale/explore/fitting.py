"""A fit in its own process, which the page can end; it writes progress to standard output as JSON.

The page itself never samples: it starts this module, and opens the file that this module writes.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(log: str, output: str) -> int:
    """Fit the default laws to a run log, save the fit in a file, and return the exit code."""
    from bayescale.errors import BayescaleError, as_options
    from bayescale.inference.fit import fit
    from bayescale.posterior import save
    from bayescale.runs import read_runs

    try:
        save(fit(read_runs(Path(log)), show_progress=_stage), output)
    except (BayescaleError, OSError) as error:
        _say(error=as_options(str(error)))
        return 2
    return 0


def _stage(text: str, total: float | None = None) -> Callable[..., None]:
    def done(count: float, note: str = "") -> None:
        share = min(count / total, 1.0) if total else 0.0
        _say(text=text, share=share, note=note)

    done(0.0)
    return done


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
