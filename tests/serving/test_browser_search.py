"""The Search tab in a real browser: by mouse and by keyboard alone, with links that share what is seen."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cpchub.collection.collection import Collection
from cpchub.index import Index
from tests.cpchub.index.stores import ended, milvus_in
from tests.serving.browser import PHONE, Browser
from tests.serving.conftest import PageHost, Served, Visit

keys = pytest.importorskip("selenium.webdriver").Keys

pytestmark = pytest.mark.browser


@pytest.fixture
def browser(page_url: str, visit: Visit) -> Browser:
    """A browser that shows the collection."""
    return visit(page_url)


def query(browser: Browser) -> dict[str, list[str]]:
    """The query in the address."""
    return parse_qs(urlsplit(browser.driver.current_url).query)


def press(browser: Browser, *names: str) -> None:
    browser.driver.switch_to.active_element.send_keys(*names)


def names(browser: Browser) -> list[str]:
    return browser.texts("#results .cpc-cell:not([hidden]) .cpc-name")


def is_settled(browser: Browser) -> bool:
    return browser.driver.execute_script("return document.querySelector('#results').ariaBusy === 'false'")


def chips(browser: Browser) -> list[str]:
    return browser.texts("#query .cpc-chip-name")


def test_a_visitor_uploads_refines_filters_and_shares_the_link(browser: Browser, page_url: str, served) -> None:
    browser.driver.find_element("css selector", "#search-file").send_keys(str(served.images / "red" / "red-03.png"))
    browser.wait(lambda: chips(browser) == ["red-03.png"])
    assert names(browser)[0] == "red-03.png"
    assert browser.texts("#results .cpc-caption")[0] == "1.000"
    assert query(browser)["q"][0].startswith("upload:")

    browser.click("#results [data-small=search]", 1)
    browser.wait(lambda: query(browser)["q"][0].startswith("id:"))
    second = chips(browser)
    browser.click("#results [data-small=plus]", 2)
    browser.wait(lambda: len(chips(browser)) == 2)
    browser.click("#results [data-small=minus]", 5)
    browser.wait(lambda: len(chips(browser)) == 3)
    assert chips(browser)[:1] == second
    assert not set(chips(browser)) & set(names(browser))
    browser.click('#facets [data-value="blue"]')
    browser.wait(lambda: query(browser).get("where") == ["label == 'blue'"])
    assert all(name.startswith("blue") for name in names(browser))
    assert browser.texts('#facets [aria-pressed="true"]') == ["blue20"]

    seen, link = names(browser), browser.driver.current_url
    assert set(query(browser)) == {"q", "plus", "minus", "where"}
    browser.driver.back()
    browser.wait(lambda: "where" not in query(browser) and len(names(browser)) > len(seen))
    browser.driver.forward()
    browser.wait(lambda: names(browser) == seen)
    browser.driver.get(link)
    browser.wait(lambda: names(browser) == seen)
    assert len(chips(browser)) == 3
    browser.shoot("shared")

    browser.click("[data-download='results.csv']")
    file = browser.downloaded("results.csv")
    assert Path(next(csv.DictReader(io.StringIO(file.read_text())))["path"]).name == seen[0]
    for _ in range(3):
        number = len(chips(browser))
        browser.click("#query [data-remove]")
        browser.wait(lambda number=number: len(chips(browser)) == number - 1)
    assert browser.complaints() == []
    assert [url for url in browser.requested() if url.startswith("http") and not url.startswith(page_url)] == []


def test_the_page_works_alike_where_the_index_is_in_milvus(
    page_host: PageHost, served: Served, tiny_encoder_folder: Path, visit: Visit, tmp_path: Path
) -> None:
    store = milvus_in(tmp_path)
    folder = shutil.copytree(served.index.collection.folder, tmp_path / "collection")
    Index.update(Collection.open(folder), store=store)
    ended(store)  # one process at a time has Milvus Lite
    (tmp_path / "page").mkdir()
    url = page_host.start(folder, tiny_encoder_folder, tmp_path / "page").url
    assert url is not None
    test_a_visitor_uploads_refines_filters_and_shares_the_link(visit(url), url, served)


GIVE = """
    const [kind, name, done] = arguments;
    fetch("page/thumb/7").then((answer) => answer.blob()).then((blob) => {
        const given = new DataTransfer();
        given.items.add(new File([blob], name, {type: blob.type}));
        document.dispatchEvent(kind === "drop" ? new DragEvent(kind, {dataTransfer: given, cancelable: true})
            : new ClipboardEvent(kind, {clipboardData: given, cancelable: true}));
        done();
    });
"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_an_image_that_is_dropped_or_pasted_is_searched_with(browser: Browser, kind: str) -> None:
    browser.driver.execute_async_script(GIVE, kind, f"{kind}.webp")
    browser.wait(lambda: chips(browser) == [f"{kind}.webp"])
    assert browser.texts("#results .cpc-caption")[0].startswith(("0.9", "1.0"))


def test_everything_can_be_done_by_keyboard_alone(browser: Browser) -> None:
    press(browser, "/")
    browser.wait(lambda: browser.driver.switch_to.active_element.get_attribute("id") == "search-text")
    press(browser, "rad/red-03.png", keys.ENTER)
    browser.wait(lambda: browser.texts("#search-said .cpc-offer"))
    assert "No path" in browser.texts("#search-said")[0]
    press(browser, keys.CONTROL, "a")
    press(browser, "red/red-03.png", keys.ENTER)
    browser.wait(lambda: chips(browser) == ["red-03.png"])

    browser.driver.execute_script("document.querySelector('#results .cpc-tile').focus()")
    order = names(browser)
    press(browser, keys.ARROW_RIGHT, keys.ARROW_RIGHT, keys.ARROW_LEFT, keys.ENTER)
    browser.wait(lambda: browser.texts("#cpc-large-path")[0].endswith(order[1]))
    press(browser, keys.ARROW_RIGHT)
    browser.wait(lambda: browser.texts("#cpc-large-path")[0].endswith(order[2]))
    press(browser, "z")
    browser.wait(lambda: browser.all('.cpc-zoom[data-zoom="2"]'))
    browser.wait(lambda: browser.all(".cpc-large-near .cpc-tile"))
    browser.driver.execute_script("[...document.querySelectorAll('dialog button')].at(-1).focus()")
    for _ in range(3):  # the focus stays in the view
        press(browser, keys.TAB)
        within = "const now = document.activeElement; return now === document.body || !!now.closest('dialog')"
        assert browser.driver.execute_script(within)
    press(browser, keys.ESCAPE)
    browser.wait(lambda: not browser.all("dialog[open]"))
    focused = browser.driver.switch_to.active_element.get_attribute("title")
    assert focused.endswith(order[2])

    press(browser, "-")
    browser.wait(lambda: len(chips(browser)) == 2)
    assert query(browser)["minus"][0].endswith("*0.5")
    browser.wait(lambda: browser.driver.switch_to.active_element.get_attribute("class") == "cpc-tile")
    press(browser, "s")
    browser.wait(lambda: len(chips(browser)) == 1)
    press(browser, keys.ENTER)
    browser.wait(lambda: browser.texts("#cpc-large-path")[0].endswith(".png"))
    browser.shoot("large")
    assert browser.faults() == []
    press(browser, "s")
    browser.wait(lambda: not browser.all("dialog[open]"))
    assert browser.complaints() == []


def test_what_is_wrong_is_said_in_words_and_what_is_seen_stays(browser: Browser, tmp_path: Path) -> None:
    seen = names(browser)
    where = browser.driver.find_element("css selector", "#where")
    where.send_keys("colour == 'red'", keys.ENTER)
    browser.wait(lambda: "no column 'colour'" in browser.texts("#where-said")[0])
    assert names(browser)[: len(seen)] == seen  # more may have come by themselves
    where.clear()
    where.send_keys("label in ('red', 'blue')", keys.ENTER)
    browser.wait(lambda: "40 images of 60" in browser.texts("#results-heading")[0])
    assert browser.texts("#where-said") == [""]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image at all")
    browser.driver.find_element("css selector", "#search-file").send_keys(str(broken))
    browser.wait(lambda: "not an image" in browser.texts("#search-said")[0])
    assert chips(browser) == []
    browser.driver.get(f"{browser.driver.current_url.partition('?')[0]}?q=id:999")
    browser.wait(lambda: "no image with id 999" in " ".join(browser.texts("#search-said")))
    browser.wait(lambda: len(names(browser)) >= 48)


def test_more_results_come_while_one_scrolls_and_are_there_again_after_back(browser: Browser) -> None:
    browser.driver.execute_script("scrollTo(0, 1e6)")
    browser.wait(lambda: len(names(browser)) == 60)
    browser.driver.execute_script("scrollTo(0, 500)")
    browser.click("#results [data-small=search]", 50)
    browser.wait(lambda: chips(browser))
    browser.driver.back()
    browser.wait(lambda: len(names(browser)) == 60)
    browser.wait(lambda: browser.driver.execute_script("return scrollY") == 500)


def test_near_duplicates_are_unfolded_by_a_click(browser: Browser) -> None:
    browser.driver.get(f"{browser.driver.current_url}?q=id:3")
    browser.wait(lambda: browser.all("#results .cpc-alike"))
    folded = len(names(browser))
    more = int(browser.texts("#results .cpc-alike")[0].split()[0]) - 1
    browser.click("#results .cpc-alike")
    assert len(names(browser)) == folded + more
    browser.shoot("unfolded")
    browser.click("#results .cpc-alike")
    assert len(names(browser)) == folded


def test_the_large_view_labels_with_the_classes_of_the_label_tab(browser: Browser) -> None:
    browser.driver.execute_script("""
        const labels = {};
        window.cpchubLabels = {
            classes: () => [{name: "cat", colour: 0}, {name: "<b>dog</b>", colour: 1}],
            of: (row) => labels[row] ?? null,
            set: (row, name) => { labels[row] = name; document.dispatchEvent(new Event("cpc-labels")); },
        };
    """)
    browser.click("#results .cpc-tile", 4)
    browser.wait(lambda: browser.texts("#cpc-large-labels button") == ["cat", "<b>dog</b>"])
    press(browser, "2")
    browser.wait(lambda: browser.texts("#cpc-large-labels [aria-pressed=true]") == ["<b>dog</b>"])
    press(browser, keys.ARROW_RIGHT)
    browser.wait(lambda: not browser.all("#cpc-large-labels [aria-pressed=true]"))
    press(browser, keys.ARROW_LEFT)
    browser.wait(lambda: browser.all("#cpc-large-labels [aria-pressed=true]"))
    press(browser, "2")
    browser.wait(lambda: not browser.all("#cpc-large-labels [aria-pressed=true]"))


def test_an_image_that_is_gone_says_so_in_its_tile(browser: Browser) -> None:
    browser.driver.execute_script("document.querySelector('#results img').src = 'page/thumb/999'")
    browser.wait(lambda: browser.texts("#results .cpc-gone") == ["notreadable"])


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, (800, 900), (1400, 900)], ids=["phone", "tablet", "wide"])
def test_results_and_the_large_view_are_whole_and_accessible(
    page_url: str, visit: Visit, width: tuple[int, int], dark: bool
) -> None:
    page = visit(f"{page_url}?q=id:3&plus=id:9*0.5&minus=id:44&where=width+%3E=+100", width, dark=dark)
    page.shoot("results")
    assert page.faults() == []
    assert page.cut_at_the_sides("#search button, #search input, #search .cpc-name > span:last-child") == []
    page.click("#results .cpc-tile", 2)
    page.wait(lambda: page.all(".cpc-large-near img"))
    page.shoot("large")
    assert page.faults() == []
    assert page.cut_at_the_sides("dialog button, dialog dd") == []
    assert page.complaints() == []
