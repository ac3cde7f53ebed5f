"""A local page with controls for budget, data, tolerance and target, and the answers to them."""

import json
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bayescale.errors import ExplorerError

if TYPE_CHECKING:
    from bayescale.splits.hardware import Cluster

ADDRESS, PORT = "127.0.0.1", 8501
LAST_PORT = 65_535


def explore(
    path: str | Path,
    *,
    laws: Sequence[str] = (),
    cluster: "Cluster | None" = None,
    port: int = PORT,
    browser: bool = True,
    allow_unconverged: bool = False,
) -> None:
    """Serve the page of a fit on this computer until interrupted by Ctrl-C.

    It answers only requests that use a loopback name of this computer and come from the page
    itself.

    Parameters
    ----------
    path : path
        A file that ``bayescale fit`` wrote.
    laws : sequence of str
        The caller's own laws, each as ``file.py:NAME``.
    cluster : Cluster, optional
        The GPUs on which budgets are spent: the page then states days and, with a price, dollars,
        and its splits fit into their memory.
    port : int
        The port on the loopback address, which only this computer can reach.
    browser : bool
        Whether to open the page in a browser.
    allow_unconverged : bool
        Show the fit even if it failed its convergence checks; the page then says so.

    Raises
    ------
    ExplorerError
        If Streamlit is not installed, or the port is taken.
    LawError
        If a cluster is given to a law that does not split a budget.
    PosteriorError
        If the file cannot be opened, or its fit failed its convergence checks.
    """
    from bayescale.laws import find_law
    from bayescale.laws.optimum import require_split
    from bayescale.posterior import open_posterior

    require_streamlit()
    fit = open_posterior(path, law=[find_law(name) for name in laws])
    fit.require_converged(allow_unconverged)
    for member in fit.members if cluster is not None else ():
        require_split(member.law)
    require_port(port)
    from bayescale.explore.server import serve

    own = [word for law in laws for word in ("--law", law)]
    allow = ["--allow-unconverged"] if allow_unconverged else []
    gpus = [] if cluster is None else ["--cluster", json.dumps(cluster.to_json())]
    serve([str(path), *own, *gpus, *allow], ADDRESS, port, browser)


def require_streamlit() -> None:
    """Raise an error if Streamlit, on which the page is built, is not installed.

    Raises
    ------
    ExplorerError
        If Streamlit is not installed.
    """
    if find_spec("streamlit") is None:
        raise ExplorerError(
            "the explorer needs Streamlit, which is not installed: python -m pip install streamlit"
        )


def require_port(port: int) -> None:
    """Raise an error if the server cannot listen on a port.

    Raises
    ------
    ExplorerError
        If another program uses the port, the system forbids it, or the number is out of range.
    """
    if not 0 < port <= LAST_PORT:
        raise ExplorerError(f"port is {port}, but must lie between 1 and {LAST_PORT}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise ExplorerError(
                f"port {port} cannot be listened on ({error.strerror}): give another with --port, "
                f"or end what uses it"
            ) from error
