"""The page in a real browser: search by upload and by click, label, see predictions; on a desk and on a phone.

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
def test_a_visitor_searches_labels_and_sees_the_rest_classified(browser: Browser, served, page_url: str) -> None:
    browser.shoot("1-start")

    browser.upload(served.images / "red" / "red-03.png")
    browser.wait(lambda: len(browser.all("#neighbours .cpc-tile")) == 24)
    assert browser.texts("#neighbours .cpc-name")[0] == "red-03.png"
    assert browser.texts("#neighbours .cpc-caption")[0] == "1.000"
    assert "Compared with all 60 images" in browser.texts("#neighbours p")[0]
    browser.shoot("2-uploaded")

    onward = browser.texts("#neighbours .cpc-name")[4]
    browser.click("#neighbours .cpc-tile", 4)
    browser.wait(lambda: any(text.endswith(onward) for text in browser.texts(".cpc-facts-card > b")))
    assert onward not in browser.texts("#neighbours .cpc-name")
    browser.shoot("3-gone-on")
    browser.click("[data-act=back]")
    browser.wait(lambda: browser.texts(".cpc-facts-card > b") == ["Your image"])

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


@on_a_desk
def test_a_broken_upload_is_answered_in_words(browser: Browser, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image at all")
    browser.upload(broken)
    browser.wait(lambda: "not an image" in " ".join(browser.texts(".toast-wrap")))
    browser.shoot("refused")
    assert not browser.all("#neighbours .cpc-tile")
    assert not browser.all("#query-image img")
