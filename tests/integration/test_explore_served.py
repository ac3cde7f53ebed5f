"""The explorer as it is served: to its own page alone, and what a real browser makes of it."""

import base64
import http.client
import os
import socket
import stat
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.browser import Browser
from support.contrast import contrast
from support.explored import HOSTILE, chinchilla, log_of, of_families, pool, served, with_backtest
from support.layout import faults

from bayescale.explore.tabs import TABS
from bayescale.posterior import save

CONTROLS = (
    "Compute budget (FLOP)", "Tolerance", "Target loss (nats/token)", "Tokens available",
    "Tokens to be served", "Family",
)  # fmt: skip
ASKED = {"flops": "5.76e23", "target": "1.95", "family": HOSTILE}
DESK, PHONE = 1400, 390
HIDDEN = ".hidden, [data-testid=stIconMaterial], [data-testid=stSkipLink], a[href^='#']"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(with_backtest(of_families()), tmp_path_factory.mktemp("served")) as url:
        yield url


# to whom


@contextmanager
def answer_to(address: str, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    """The answer to a request with these headers."""
    place = urllib.parse.urlsplit(address)
    assert place.port is not None
    connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=10)
    connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    with closing(connection), connection.getresponse() as answer:
        yield answer


def answered(address: str, path: str, **headers: str) -> tuple[int, str]:
    with answer_to(address, path, **headers) as answer:
        return answer.status, answer.read().decode()


@contextmanager
def handshake(address: str, **headers: str) -> Iterator[int]:
    """The status of the answer to one who would open the page's WebSocket, which stays open."""
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": base64.b64encode(os.urandom(16)).decode(),
    }  # fmt: skip
    with answer_to(address, "/_stcore/stream", **upgrade, **headers) as answer:
        yield answer.status


def test_it_is_served_to_this_computer_only(address: str) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", int(address.rpartition(":")[2])), timeout=2)


@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/_stcore/host-config"])
def test_a_name_that_another_site_points_here_is_refused(address: str, path: str) -> None:
    port = address.rpartition(":")[2]
    for own in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert answered(address, path, Host=own)[0] == 200
    for foreign in (f"example.com:{port}", "example.com", "127.0.0.1.example.com", "0.0.0.0", ""):
        assert answered(address, path, Host=foreign) == (400, "Invalid host header")


def test_a_page_of_another_origin_is_refused(address: str) -> None:
    port = address.rpartition(":")[2]
    for own in (f"127.0.0.1:{port}", f"localhost:{port}"):
        with handshake(address, Host=own, Origin=f"http://{own}") as status:
            assert status == 101
    foreign = ("http://example.com", "http://localhost:3000", f"https://127.0.0.1:{port}", "null")
    for origin in foreign:
        with handshake(address, Origin=origin) as status:
            assert status == 403
        told = (403, "Asked by a page of another origin")
        assert answered(address, "/_stcore/health", Origin=origin) == told
    rebound = f"example.com:{port}"
    with handshake(address, Host=rebound, Origin=f"http://{rebound}") as status:
        assert status == 400


def test_it_opens_a_browser_and_ends_when_interrupted(tmp_path: Path) -> None:
    script, seen = tmp_path / "browser", tmp_path / "seen"
    script.write_text(f'#!/bin/sh\necho "$1" > "{seen}.new" && mv "{seen}.new" "{seen}"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    with (
        ExitStack() as after,
        served(chinchilla(), tmp_path, "--browser", BROWSER=str(script)) as url,
    ):
        for _ in range(100):
            if seen.exists():
                break
            time.sleep(0.05)
        assert seen.read_text().strip() == url
        # a page is still open when it is interrupted
        assert after.enter_context(handshake(url, Origin=url)) == 101


# in a real browser

VALUES = "[...document.querySelectorAll('[data-testid=stMetricValue]')].map(v => v.innerText)"
IDLE = "!document.querySelector('[data-testid=stStatusWidget], [data-stale=true]')"
DRAWN = f"!!document.querySelector('.drawing') && {VALUES}.length >= 3 && {IDLE}"
FOCUSED = "document.activeElement.ariaLabel || document.activeElement.innerText"


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def browser(one_browser: Browser, request: pytest.FixtureRequest) -> Iterator[Browser]:
    """A tab in which nothing goes wrong and nothing but the page is asked for."""
    address = request.getfixturevalue("address")  # not served where there is no browser
    one_browser.new_tab()
    one_browser.events.clear()
    yield one_browser
    assert one_browser.complaints() == []
    outside = [url for url in one_browser.requests() if not url.startswith(address)]
    assert [url for url in outside if not url.startswith(("data:", "blob:"))] == []


def shown(browser: Browser, url: str, **window: Any) -> list[str]:
    """The numbers of a page, once it is drawn for its width."""
    browser.open(url, **{"width": DESK, **window})
    browser.wait(DRAWN)
    box = "document.querySelector('.figure')"
    browser.wait(f"{DRAWN} && {box}.classList.contains('slim') == {box}.clientWidth < 620")
    return browser.find(VALUES)


def tab_to(browser: Browser, name: str) -> None:
    """Press Tab until what has this name has the focus."""
    passed = []
    while (at := browser.find(FOCUSED)) != name:
        passed.append(at)
        assert len(passed) < 40, f"Tab does not reach {name}, only {passed}"
        browser.press("Tab")


def assert_seen(browser: Browser, control: str) -> None:
    """The knob that has the focus, and a label of its name, lie within the window."""
    label = f"[...document.querySelectorAll('label')].find(l => l.innerText == '{control}')"
    for element in ("document.activeElement", label):
        place = browser.find(f"{element}.getBoundingClientRect().toJSON()")
        assert place["width"] > 0
        assert place["left"] >= 0
        assert browser.find("innerWidth") >= place["right"]


def test_what_is_typed_changes_numbers_and_address(address: str, browser: Browser) -> None:
    before = shown(browser, f"{address}/?flops=5.76e23&tab=Budget")
    assert before[2] == "\N{EM DASH}"
    for control, text, part in (
        (CONTROLS[0], "1e24", "flops=1e24"),
        (CONTROLS[1], "0.5%", "tolerance=0.5%25"),
        (CONTROLS[2], "1.9", "target=1.9"),
        (CONTROLS[3], "300B", "max_tokens=300B"),
        (CONTROLS[4], "2T", "inference_tokens=2T"),
    ):
        told = browser.find("document.querySelector('main, [data-testid=stMain]').innerText")
        tab_to(browser, f"{control}, typed")
        assert_seen(browser, control)
        browser.write(text)
        browser.press("Enter")
        browser.wait(f"location.search.includes('{part}')")
        browser.wait(f"{DRAWN} && document.querySelector('[data-testid=stMain]').innerText != "
                     f"{told!r}")  # fmt: skip
    after = browser.find(VALUES)
    assert len(after) == 6
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert after[4] == "300B"
    url = browser.find("location.href")
    browser.new_tab()
    assert shown(browser, url) == after


def test_a_slider_is_moved_by_keys(address: str, browser: Browser) -> None:
    before = shown(browser, f"{address}/?flops=5e23")
    browser.find("document.querySelector('[data-testid=stSidebar] input[type=range]').focus()")
    browser.press("ArrowRight")
    browser.wait("location.search.includes('flops=6.3e23')")
    browser.wait(f"{DRAWN} && {VALUES}[0] != '{before[0]}'")
    written = "document.querySelector('[data-testid=stSidebar] input[type=text]').value"
    browser.wait(f"{written} == '6.3e23'")


def test_a_family_is_chosen_by_keys(address: str, browser: Browser) -> None:
    before = shown(browser, f"{address}/?flops=5.76e23&family=a")
    tab_to(browser, CONTROLS[5])
    browser.press("ArrowDown")
    browser.wait("document.querySelectorAll('[role=option]').length == 3")
    browser.press("ArrowDown")
    browser.press("Enter")
    browser.wait(f"location.search.includes('{urllib.parse.quote_plus(HOSTILE)}')")
    browser.wait(f"{DRAWN} && {VALUES}[0] != '{before[0]}'")
    assert "for <b>:" in browser.find("document.body.innerText")
    assert browser.find("document.querySelectorAll('a[href*=example]').length") == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1280])
def test_all_of_every_tab_can_be_read(
    address: str, browser: Browser, width: int, dark: bool
) -> None:
    for tab in TABS:
        asked = urllib.parse.urlencode(ASKED | {"tab": tab})
        numbers = shown(browser, f"{address}/?{asked}", width=width, height=2400, dark=dark)
        assert "NaN" not in " ".join(numbers)
        assert faults(browser, HIDDEN) == {}, tab
        widths = browser.find("[...document.querySelectorAll('.drawing')].map(s => s.clientWidth)")
        assert min(widths) > 300


@pytest.mark.parametrize(("width", "dark"), [(DESK, False), (PHONE, True)])
def test_all_is_seen_and_named(address: str, browser: Browser, width: int, dark: bool) -> None:
    shown(browser, f"{address}/?{urllib.parse.urlencode(ASKED)}", width=width, dark=dark)
    told = browser.find("document.querySelector('.drawing').getAttribute('aria-label')")
    assert told.startswith("Nats per token against FLOP, both ends: ")
    letters = browser.find(
        "[...document.querySelectorAll('.drawing > g > g text')]"
        ".map(t => getComputedStyle(t).fill.match(/[0-9.]+/g).slice(0, 3).map(Number))"
    )
    ground = browser.find(
        "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
        ".match(/[0-9.]+/g).slice(0, 3).map(Number)"
    )
    assert (sum(ground) < 200) if dark else (sum(ground) > 600)
    assert len(letters) > 10
    assert min(contrast(letter, ground) for letter in letters) >= 4.5  # WCAG 2 AA
    nameless = [
        node["role"]["value"]
        for node in browser.call("Accessibility.getFullAXTree")["nodes"]
        if not node["ignored"]
        and node["role"]["value"] in ("textbox", "combobox", "button", "link", "img", "slider")
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []


def test_gpus_are_set_in_a_fold_of_the_sidebar(address: str, browser: Browser) -> None:
    shown(browser, f"{address}/?flops=5.76e23&tab=Budget&gpu=h100", height=1400)
    number = (
        "document.querySelector('[data-testid=stSidebar] input[aria-label=\"Number of GPUs\"]')"
    )
    assert not browser.find(f"!!{number} && {number}.checkVisibility()")
    unfold(browser, "GPUs")
    browser.wait(f"!!{number} && {number}.checkVisibility()", 5)
    browser.find(f"{number}.focus()")
    browser.write("512")
    browser.press("Enter")
    browser.wait("location.search.includes('gpus=512')")
    page = "document.querySelector('[data-testid=stMain]').innerText"
    browser.wait(f"{page}.includes('days on 512 GPUs') && {DRAWN}", 10)
    assert browser.find(f"{number}.checkVisibility()")


def test_the_pointer_on_a_run_shows_its_name(address: str, browser: Browser) -> None:
    """The names are added when the pointer enters the figure, and again after a change."""
    shown(browser, f"{address}/?flops=5.76e23", height=1400)
    figure, named = (f"document.querySelector('.figure {part}')" for part in (".drawing", ".named"))
    for size in ("5.76e23", "1e24"):
        if size != "5.76e23":
            told = browser.find(f"{figure}.ariaLabel + {figure}.innerHTML")
            tab_to(browser, f"{CONTROLS[0]}, typed")
            browser.write(size)
            browser.press("Enter")
            browser.wait(f"{figure}.ariaLabel + {figure}.innerHTML != {told!r} && !{named}")
            browser.wait(DRAWN)
        assert browser.find(named) is None
        place = browser.find(f"{figure}.getBoundingClientRect().toJSON()")
        point_to(browser, place["left"] + 2, place["top"] + 2)
        browser.wait(f"{named}?.childElementCount == 12", 5)
        label = f"[...{named}.children].find(g => g.textContent.includes('r11'))"
        seen = f"getComputedStyle({label}.querySelector('g')).visibility"
        assert browser.find(seen) == "hidden"
        place = browser.find(f"{label}.querySelector('circle').getBoundingClientRect().toJSON()")
        point_to(browser, place["left"] + place["width"] / 2, place["top"] + place["height"] / 2)
        browser.wait(f"{seen} == 'visible'", 5)
        point_to(browser, 1.0, 1.0)


def point_to(browser: Browser, x: float, y: float) -> None:
    """Move the pointer."""
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


def test_figures_and_tables_are_handed_out(address: str, browser: Browser, tmp_path: Path) -> None:
    shown(browser, f"{address}/?flops=5.76e23")
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    for label, name, first in (
        ("Table (CSV)", "forecast.csv", b"params,tokens,flops,"),
        ("Figure (SVG)", "forecast.svg", b"<?xml"),
        ("Figure (PNG)", "forecast.png", b"\x89PNG"),
    ):
        button = (
            "[...document.querySelectorAll('[data-testid=stDownloadButton] button')]"
            f".find(b => b.innerText.includes('{label}'))"
        )
        browser.wait(f"!!{button}")
        browser.find(f"{button}.click()")
        for _ in range(200):
            if (tmp_path / name).exists():
                break
            time.sleep(0.05)
        assert (tmp_path / name).read_bytes().startswith(first)


def unfold(browser: Browser, name: str) -> None:
    """Unfold a part of the sidebar."""
    parts = "[...document.querySelectorAll('[data-testid=stSidebar] summary')]"
    browser.find(f"{parts}.find(s => s.innerText.includes('{name}')).click()")


def give(browser: Browser, file: Path) -> None:
    """Upload a file from the sidebar."""
    unfold(browser, "Open another")
    browser.wait("!!document.querySelector('input[type=file]')")
    browser.upload("input[type=file]", file)


def test_a_run_log_is_fitted_and_a_fit_is_opened_from_the_page(
    address: str, browser: Browser, tmp_path: Path
) -> None:
    shown(browser, f"{address}/?flops=5.76e23")
    log = tmp_path / "my runs <b>.csv"
    log_of().frame[["run_id", "params", "tokens", "loss"]].to_csv(log, index=False)
    give(browser, log)
    page = "document.body.innerText"
    assert browser.wait(f"/sampling|compiling/i.test({page})", 60), "no progress is shown"
    browser.wait(f"{page}.includes('my runs <b>.csv: 12 runs')", 300)
    browser.wait(DRAWN)
    browser.new_tab()
    shown(browser, f"{address}/?flops=5.76e23")
    give(browser, save(pool(), tmp_path / "other.nc"))
    browser.wait(f"{page}.includes('other.nc: 12 runs') && {DRAWN}")
    assert "chinchilla + kaplan_irreducible" in browser.find(page)


def test_what_cannot_be_opened_is_told(address: str, browser: Browser, tmp_path: Path) -> None:
    shown(browser, f"{address}/?flops=5.76e23")
    log = tmp_path / "runs.csv"
    log.write_text("params,tokens\n1e9,2e10\n")
    give(browser, log)
    browser.wait("document.body.innerText.includes('it has no loss among its columns')")
    assert browser.find(VALUES)  # the first fit is still open


def test_on_a_phone_knobs_unfold_and_are_reached_by_keys(address: str, browser: Browser) -> None:
    shown(browser, f"{address}/?flops=5.76e23", width=PHONE)
    tab_to(browser, "Expand sidebar")
    browser.press("Enter")
    browser.wait("document.querySelector('[data-testid=stSidebar]').offsetWidth > 100")
    time.sleep(0.5)  # it slides in
    for control in CONTROLS[:-1]:
        tab_to(browser, f"{control}, typed")
        assert_seen(browser, control)
    tab_to(browser, CONTROLS[-1])
