"""The server of the page: Streamlit, which answers only requests of its own page.

The loopback address keeps out other computers, but not other sites in the same browser: a site may
point its own name at this address, or open a WebSocket to it from its page.
"""

import sys
import webbrowser
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bayescale.explore.opening import MOST_FIT

PAGE = Path(__file__).with_name("page.py")

CONFIG = {
    "server.headless": True,
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.fileWatcherType": "none",
    "server.maxUploadSize": MOST_FIT,
    "runner.magicEnabled": False,
    # Python collects garbage as needed. After every answer, it would delay the answer's end by as
    # long as the answer takes.
    "runner.postScriptGC": False,
    "browser.gatherUsageStats": False,
    "global.developmentMode": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
}
"""Streamlit's options for the page."""


class SameOriginMiddleware:
    """Refuse requests from pages of another origin, which includes other ports of this computer.

    Streamlit's own check accepts a page if its origin equals the request's ``Host``; otherwise it
    asks a site on the internet for this computer's address.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of another origin with status 403, and pass on all others."""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and origin != f"http://{headers.get('host')}":
                refusal = PlainTextResponse("Asked by a page of another origin", status_code=403)
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)


def serve(arguments: Sequence[str], address: str, port: int, browser: bool) -> None:
    """Serve the page with these arguments until interrupted."""
    import streamlit as st

    doors = [
        Middleware(TrustedHostMiddleware, allowed_hosts=[address, "localhost"], www_redirect=False),
        Middleware(SameOriginMiddleware),
    ]
    shown = _opening(f"http://{address}:{port}") if browser else None
    app = st.App(PAGE, middleware=doors, lifespan=shown)
    sys.argv = [str(PAGE), *arguments]  # which the page reads
    with suppress(KeyboardInterrupt):  # Ctrl-C is the way to end the server
        app.run(config={"server.address": address, "server.port": port, **CONFIG})


def _opening(url: str) -> Any:
    """Return a lifespan that opens a browser when the server starts."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[None]:
        Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        yield

    return lifespan
