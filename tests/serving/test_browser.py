"""The Label tab in a real browser: label, see predictions; on a desk and on a phone.

Screenshots lie in pytest's temporary folder (`--basetemp` chooses it) for people to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.browser import DESK, PHONE, TABLET, Browser, browsing

pytestmark = pytest.mark.browser


@pytest.fixture
def browser(request: pytest.FixtureRequest, page_url: str, tmp_path: Path) -> Iterator[Browser]:
    with browsing(page_url, request.param, tmp_path) as browser:
        yield browser


sizes = pytest.mark.parametrize("browser", [DESK, TABLET, PHONE], ids=["desk", "tablet", "phone"], indirect=True)
on_a_desk = pytest.mark.parametrize("browser", [DESK], ids=["desk"], indirect=True)


@sizes
def test_a_visitor_labels_and_sees_the_rest_classified(browser: Browser, page_url: str) -> None:
    browser.open_tab("Label")
    browser.wait(lambda: browser.all("#class-names input, #class-names textarea"))[0].send_keys("red, green, blue")
    browser.click("#add-class")
    browser.wait(lambda: browser.texts(".cpc-class b") == ["red", "green", "blue"])
    for name in ("red", "green", "blue"):
        browser.label(name, 2)
    tiles = browser.wait(lambda: browser.texts("#label-board .cpc-caption"))
    assert len(tiles) == 48
    assert sum("%" in tile for tile in tiles) == 42
    browser.wait(lambda: "of 6" in browser.texts("#estimate")[0])
    browser.shoot("4-labelled")

    browser.click("#label-board [data-arg=unsure]")
    browser.wait(lambda: not browser.all("#label-board .cpc-labelled"))
    browser.shoot("5-unsure-first")
    browser.click("#undo")
    browser.wait(lambda: browser.texts(".cpc-class > span:not(.cpc-predicted)") == ["2", "2", "1"])

    assert browser.cut_at_the_sides("[data-act], .cpc-name > span:last-child, #estimate b") == []
    assert len(browser.driver.execute_script("return document.querySelector('#estimate b').getClientRects()")) == 1
    outside = [url for url in browser.requested() if url.startswith("http") and not url.startswith(page_url)]
    assert outside == []


@on_a_desk
def test_labels_are_downloaded_as_csv(browser: Browser, tmp_path: Path) -> None:
    browser.open_tab("Label")
    browser.wait(lambda: browser.all("#class-names input, #class-names textarea"))[0].send_keys("red")
    browser.click("#add-class")
    browser.wait(lambda: browser.texts(".cpc-class b") == ["red"])
    browser.label("red", 1)
    browser.click("#save-labels")
    file = tmp_path / "downloads" / "labels.csv"
    browser.wait(file.exists)
    header, line = file.read_text().splitlines()
    assert header == "path,label"
    assert line.startswith("red/red-")
    assert line.endswith(",red")
