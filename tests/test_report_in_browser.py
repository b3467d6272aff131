"""The page of a store in a browser: all that it does, and nothing that it should not."""

import json

import pytest
from browser import CHROMIUM, Page
from published import EVIL, hostile, swept

from results.files import Root
from results.page.page import page
from results.store import Store

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here; `make system` installs it"
)

WIDTH = "document.querySelector('.pane img').getBoundingClientRect().width"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A browser, and the page of a store that is out to break it."""
    folder = tmp_path_factory.mktemp("browser")
    store = Store(Root(folder / "store"))
    hostile(store)
    swept(store, sweep="quiet")
    to = folder / "page.html"
    to.write_bytes(page(store))
    with Page(folder / "profile") as tab:
        yield tab, to


@pytest.fixture
def tab(shown):
    """The page, freshly opened; whatever a test does there, it is silent and fetches nothing."""
    tab, to = shown
    tab.open(to)
    yield tab
    assert tab.ask("typeof hacked") == "undefined"
    assert tab.complaints == []
    assert {url.partition("#")[0] for url in tab.fetched} == {to.as_uri()}


def test_the_contents_lead_to_their_sweeps(tab):
    tab.click("nav a")
    tab.until("document.querySelector(':target')?.tagName == 'SECTION'")
    assert tab.ask("document.querySelector(':target').id") == f"sweep-{EVIL}"
    tab.until("Math.abs(document.querySelector(':target').getBoundingClientRect().top) < 60")


def test_a_figure_opens_zooms_and_closes_by_mouse_and_by_keys(tab):
    tab.click("figure img")
    tab.until(f"viewer.open && {WIDTH} > 900")  # larger than in the page
    assert tab.ask("document.activeElement.className") == "pane"  # arrow keys move the figure
    fit = tab.ask(WIDTH)
    tab.wheel(".pane img", down_px=-120)
    tab.until(f"{WIDTH} > {1.1 * fit}")
    before = tab.ask(WIDTH)
    tab.click("[data-zoom=in]")
    assert tab.ask(WIDTH) == pytest.approx(1.5 * before, rel=1e-3)  # of pixels' rounding
    tab.key("-", "-")
    assert tab.ask(WIDTH) == pytest.approx(before, rel=1e-3)
    tab.click("[data-zoom=fit]")
    assert tab.ask(WIDTH) == fit
    tab.key("Escape")
    assert not tab.ask("viewer.open")
    assert tab.ask("document.activeElement.className") == "opener"
    tab.key("Enter", "\r")
    tab.until("viewer.open")
    tab.click("[data-zoom=close]")
    assert not tab.ask("viewer.open")


def test_a_click_on_a_head_sorts_and_another_turns_the_order(tab):
    few, some, most = "9.5 [6.2, 14.4]", "25.0 [19.5, 31.4]", "100.0 [98.1, 100.0]"
    cells = "Array.from(document.querySelector('.sortable').tBodies[0].rows, "
    for place, rising, falling in (
        (1, [EVIL, "a", "b"], ["b", "a", EVIL]),
        (2, ["9", "10", "-"], ["10", "9", "-"]),  # what was not measured stays last
        (3, [few, some, most], [most, some, few]),
    ):
        head = f".sortable th:nth-child({place})"
        for order, expected in (("ascending", rising), ("descending", falling)):
            tab.click(f"{head} button")
            assert tab.ask(f"{cells} row => row.cells[{place - 1}].textContent)") == expected
            assert tab.ask(f"document.querySelector('{head}').ariaSort") == order


def test_the_page_is_dark_where_that_is_preferred(tab):
    paper = []
    for scheme in ("light", "dark"):
        tab.prefers(scheme)
        paper.append(tab.ask("getComputedStyle(document.body).backgroundColor"))
    assert paper[0] == "rgb(255, 255, 255)" != paper[1]


def test_without_scripts_all_is_read_and_paper_shows_what_is_folded(tab, shown):
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(shown[1])
    assert tab.ask("document.querySelectorAll('button.opener').length") == 0
    origin = "document.querySelector('details.made dl').checkVisibility()"
    assert not tab.ask(origin)
    tab.call("Emulation.setEmulatedMedia", media="print")
    assert tab.ask(origin)
    tab.call("Emulation.setEmulatedMedia", media="screen")
    tab.click("details.made summary")
    tab.until(origin)
    tab.call("Emulation.setScriptExecutionDisabled", value=False)


def test_the_browser_of_these_tests_notices_complaints_and_requests(tmp_path):
    to = tmp_path / "page.html"
    to.write_text("<img src='file:///nothing.png'><script>console.error('no'); none()</script>")
    with Page(tmp_path / "profile") as tab:
        tab.open(to)
        assert "file:///nothing.png" in tab.fetched
        assert "none is not defined" in json.dumps(tab.complaints)
        assert any(said.get("type") == "error" for said in tab.complaints)
