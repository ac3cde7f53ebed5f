"""The report in a real browser: on phones and desks, in the light, in the dark and on paper."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import Browser
from support.explored import log_of, precise, with_backtest
from support.layout import faults

from bayescale.reporting.page import write
from bayescale.reporting.sections import report

pytestmark = pytest.mark.integration

OPEN = "document.querySelectorAll('details').forEach(d => { d.open = true })"
LONG = "a-run-whose-name-is-" + "very-" * 20 + "long"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fit = with_backtest(precise(log_of([LONG, *(f"r{i}" for i in range(11))])))
    made = report(fit, "fit.nc", target=1.95)
    return write(made, tmp_path_factory.mktemp("report") / "page.html")


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def browser(one_browser: Browser, page: Path) -> Iterator[Browser]:
    """A tab in which nothing is complained of, and nothing but the page is asked for."""
    one_browser.new_tab()
    one_browser.events.clear()
    yield one_browser
    assert one_browser.complaints() == []
    assert {url for url in one_browser.requests() if not url.startswith("data:")} == {page.as_uri()}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1280])
def test_all_of_it_can_be_read(page: Path, browser: Browser, width: int, dark: bool) -> None:
    browser.open(page.as_uri(), width=width, dark=dark)
    assert faults(browser) == {}
    browser.find(OPEN)
    assert faults(browser) == {}
    drawn = "[...document.querySelectorAll('.drawing')].filter(s => s.clientWidth)"
    assert browser.find(f"{drawn}.length") == 7
    assert browser.find(f"Math.min(...{drawn}.map(s => s.clientWidth))") > 300
    ground = browser.find("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)")
    assert letters(browser) == {"rgb(230, 233, 236)" if dark else "rgb(27, 31, 36)"}


def letters(browser: Browser) -> set[str]:
    """Colors of the words in figures."""
    return set(
        browser.find("[...document.querySelectorAll('.drawing text')].filter(t => !t.style.fill)"
                     ".map(t => getComputedStyle(t).fill)")
    )  # fmt: skip


def test_the_first_screen_answers(page: Path, browser: Browser) -> None:
    """A manager sees answer, figure, verdict and next step without scrolling."""
    browser.open(page.as_uri(), width=1280, height=800)
    for part in (".lead", ".picture .drawing", ".verdict", ".next"):
        place = browser.find(f"document.querySelector('{part}').getBoundingClientRect().toJSON()")
        assert place["height"] > 30
        assert place["top"] >= 0
        assert place["bottom"] <= 800, part
    assert browser.find("document.querySelectorAll('section > details[open]').length") == 0


def test_the_pointer_on_a_run_shows_its_name_and_values(page: Path, browser: Browser) -> None:
    browser.open(page.as_uri(), width=1280, height=800)
    named = "[...document.querySelectorAll('.picture .roomy .named > g')]"
    assert browser.find(f"{named}.length") == 12
    label = f"{named}.find(g => g.textContent.includes('r10'))"
    seen = f"getComputedStyle({label}.querySelector('g')).visibility"
    assert browser.find(seen) == "hidden"
    place = browser.find(f"{label}.querySelector('circle').getBoundingClientRect().toJSON()")
    at = {axis: place[axis] + place["width"] / 2 for axis in ("x", "y")}
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", **at)
    assert browser.wait(f"{seen} == 'visible'", 5)
    told = browser.find(f"{label}.textContent")
    assert re.fullmatch(r"r106\.4B params, 512B tokens\S+ FLOP, loss \d\.\d+", told)
    for name in ("r10", LONG[:30]):  # no name leaves the page
        box = f"{named}.find(g => g.textContent.includes('{name}')).querySelector('rect')"
        place = browser.find(f"{box}.getBoundingClientRect().toJSON()")
        assert place["left"] >= 0
        assert place["right"] <= 1280


def test_a_link_to_a_section_and_the_keys_reach_it(page: Path, browser: Browser) -> None:
    browser.open(page.as_uri(), width=1280)
    browser.press("Tab")
    while browser.find("document.activeElement.tagName") != "SUMMARY":
        browser.press("Tab")
    browser.press("Enter")
    assert browser.wait("document.querySelector('details').open", 5)


def test_it_is_printed_whole_on_white_paper_from_a_dark_screen(
    page: Path, browser: Browser
) -> None:
    browser.open(page.as_uri(), width=1000, dark=True)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", media="print", features=dark)
    ground = browser.find("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert letters(browser) == {"rgb(0, 0, 0)"}
    hidden = (
        "[...document.querySelectorAll('.inside')].filter(e => !e.checkVisibility()"
        " || e.offsetHeight < 20).length"
    )
    assert browser.find(hidden) == 0


def test_the_words_of_a_printed_table_have_room(page: Path, browser: Browser) -> None:
    """What a coefficient means stands in a few lines, not in a column of single words."""
    browser.open(page.as_uri(), width=680)
    browser.call("Emulation.setEmulatedMedia", media="print")
    widths = "[...document.querySelectorAll('td.words:nth-child(n + 4)')].map(e => e.clientWidth)"
    assert browser.find(f"Math.min(...{widths})") >= 150
    right = "[...document.querySelectorAll('main *')].map(e => e.getBoundingClientRect().right)"
    assert browser.find(f"Math.max(...{right})") <= 681
