"""A real browser without a driver: headless Chromium, spoken to over a pipe."""

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--hide-scrollbars",
)  # fmt: skip
_PATIENCE = 60.0
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39, "ArrowDown": 40}


class Browser:
    """One Chromium, and the tab of it that was made last.

    Attributes
    ----------
    events : list of dict
        What tabs have told: requests, console messages, errors.
    """

    def __init__(self, profile: Path) -> None:
        binary = next(filter(None, map(shutil.which, NAMES)), None)
        if binary is None:
            pytest.skip(f"no browser is installed ({', '.join(NAMES)}): apt-get install chromium")
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        pipes = f"3<&{to_read} 4>&{to_write}"
        command = f'exec "$0" "$@" {pipes}'
        options = (*_QUIET, f"--user-data-dir={profile}", "--remote-debugging-pipe")
        self._process = subprocess.Popen(
            ["bash", "-c", command, binary, *options],
            pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._last, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        self.new_tab()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)  # at which it ends by itself
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def new_tab(self) -> None:
        """Leave the tab as it is, and go on in an empty one."""
        self._session = None  # these are asked of the browser
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask for something of the DevTools protocol, and wait for the answer."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser did not answer")
            found = os.read(self._in, 1 << 16)
            if not found:
                raise ConnectionError("the browser has gone")
            self._buffer += found
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer = json.loads(message)
        if "method" in answer:
            self.events.append(answer)
        return answer

    def open(self, url: str, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Load a page in a window of this size, until it has all it asks for."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        before = len(self.told("Page.loadEventFired"))
        self.call("Page.navigate", url=url)
        while len(self.told("Page.loadEventFired")) == before:
            self._next()

    def told(self, method: str) -> list[dict[str, Any]]:
        """Events of this kind."""
        return [event["params"] for event in self.events if event["method"] == method]

    def requests(self) -> list[str]:
        """Addresses that the page asked for, itself included."""
        return [told["request"]["url"] for told in self.told("Network.requestWillBeSent")]

    def complaints(self) -> list[dict[str, Any]]:
        """Console messages, log entries and uncaught errors."""
        kinds = ("Runtime.consoleAPICalled", "Log.entryAdded", "Runtime.exceptionThrown")
        return [told for kind in kinds for told in self.told(kind)]

    def find(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 60.0) -> Any:
        """The value of a JavaScript expression, as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.find(expression)):
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {expression}"
            time.sleep(0.05)
        return value

    def press(self, key: str) -> None:
        """Press and release a key by its name in :data:`KEYS`."""
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def write(self, text: str) -> None:
        """Type instead of what stands in the field that has the focus."""
        self.find("document.activeElement.select()")
        self.call("Input.insertText", text=text)

    def upload(self, selector: str, path: Path) -> None:
        """Give a file to an input of the page."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def picture(self, path: Path) -> None:
        """A screenshot of what the window shows."""
        from base64 import b64decode

        taken = self.call("Page.captureScreenshot")
        path.write_bytes(b64decode(taken["data"]))
