"""The tabs Map and Clean in a real browser: points are drawn and selected, and marks survive a reload.

Screenshots lie in pytest's temporary folder (`--basetemp` chooses it) for people to look at.
"""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.index import Index
from tests.serving.browser import Browser
from tests.serving.conftest import PageHost, Served, Visit

pytestmark = pytest.mark.browser

MADE = "return document.querySelector('#map-tab [data-drawn]')?.dataset.drawn ?? ''"
SOFTWARE_WILL_DO = "WebGLRenderingContext.prototype.getExtension = () => null"  # its name is not told then
CHOOSE = """
const select = document.querySelector("#map-tab select");
select.value = arguments[0];
select.dispatchEvent(new Event("change"));
"""


@pytest.fixture(scope="module")
def collection(served: Served, tiny_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three colours, with two copies of one and a file that is no image."""
    root = tmp_path_factory.mktemp("map-and-clean")
    images = root / "colours"
    shutil.copytree(served.images, images)
    for name in ("copy-1", "copy-2"):
        shutil.copy(images / "red" / "red-00.png", images / "red" / f"{name}.png")
    (images / "broken.png").write_bytes(b"not an image")
    encoder = load(tiny_encoder_folder, device="cpu")
    out = root / "collection"
    Index.build(embed(images, out, encoder, progress=False, labels="folders"), encoder)
    return out


@pytest.fixture(scope="module")
def flawed_url(page_host: PageHost, collection: Path, tiny_encoder_folder: Path, tmp_path_factory: Any) -> str:
    """A page on that collection."""
    url = page_host.start(collection, tiny_encoder_folder, tmp_path_factory.mktemp("page")).url
    assert url is not None
    return url


@pytest.fixture
def browser(flawed_url: str, visit: Visit) -> Browser:
    return visit(flawed_url)


def count_of(browser: Browser) -> str:
    return " ".join(browser.texts("#map-tab [data-part=count]"))


def drag(browser: Browser, corners: tuple[float, ...]) -> None:
    """Drag over the map from one place to another, as shares of its width and height."""
    from selenium.webdriver import ActionChains

    canvas = browser.all("#map-tab canvas")[0]
    width, height = canvas.size["width"], canvas.size["height"]
    left, top, right, bottom = (
        int((share - 0.5) * side) for share, side in zip(corners, (width, height, width, height), strict=True)
    )
    moves = ActionChains(browser.driver, duration=50).move_to_element_with_offset(canvas, left, top).click_and_hold()
    moves.move_to_element_with_offset(canvas, right, bottom).release().perform()


def coloured(element: Any) -> int:
    """How many pixels of an element have a colour of their own, grey and white left out."""
    pixels = np.asarray(Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")).astype(int)
    return int((pixels.max(axis=2) - pixels.min(axis=2) > 60).sum())


def test_the_map_draws_every_image_and_a_selection_fills_the_grid_and_is_labelled(
    browser: Browser, collection: Path
) -> None:
    browser.open_tab("Map")
    canvas = browser.all("#map-tab canvas")[0]
    browser.wait(lambda: coloured(canvas) > 62 * 10)  # a point is some pixels wide
    assert [text.split("red")[0] for text in browser.texts("#map-tab .cpc-map-key b")] == ["blue", "green", ""]
    browser.shoot("map")

    browser.click("#map-tab [data-tool=box]")
    drag(browser, (0.02, 0.02, 0.9, 0.98))
    browser.wait(lambda: "selected" in count_of(browser))
    selected = int(count_of(browser).split()[0])
    assert selected > 30
    browser.wait(lambda: len(browser.all("#map-tab [data-part=grid] .cpc-tile")) == min(48, selected))
    browser.shoot("map-selected")

    field = browser.wait(lambda: browser.all("#map-tab [data-part=say] input"))[0]
    field.send_keys("seen\n")
    labels = collection / "labels" / "default.csv"
    browser.wait(lambda: labels.exists() and labels.read_text().count(",seen") == selected)
    browser.driver.execute_script(CHOOSE, "labels")
    browser.wait(lambda: browser.texts("#map-tab .cpc-map-key") == [f"seen{selected}"])

    browser.driver.execute_script(CHOOSE, "column:label")
    browser.wait(lambda: "blue" in browser.texts("#map-tab .cpc-map-key b"))
    browser.click("#map-tab [data-do=none]")
    browser.wait(lambda: not browser.all("#map-tab [data-part=grid] .cpc-tile"))
    canvas.send_keys("0")
    canvas.send_keys("\n")  # by keyboard: what is in view
    browser.wait(lambda: count_of(browser) == "62 images selected")
    browser.click("#map-tab [data-part=grid] .cpc-tile")
    browser.wait(lambda: browser.driver.execute_script("return document.querySelector('#cpc-large').open"))
    browser.driver.execute_script("document.querySelector('#cpc-large').close()")

    browser.click("#map-tab .cpc-map-key")
    browser.wait(lambda: count_of(browser) == "")
    assert browser.texts("#map-tab .cpc-map-key[aria-pressed=true] b") == ["blue"]
    assert browser.complaints() == []


def test_where_a_graphics_card_is_there_webgl_draws_the_points(browser: Browser) -> None:
    browser.driver.execute_script(SOFTWARE_WILL_DO)
    browser.open_tab("Map")
    assert browser.driver.execute_script(MADE) == "WebGL tsne"
    browser.wait(lambda: coloured(browser.all("#map-tab canvas")[0]) > 62 * 10)


def test_marks_survive_a_reload_and_are_downloaded(browser: Browser, collection: Path, tmp_path: Path) -> None:
    browser.open_tab("Clean")
    assert "3 images" in browser.texts("#clean-board .cpc-clean-group h2")
    number = browser.texts("#clean-board .cpc-clean-group h2").index("3 images")
    browser.shoot("clean")
    browser.click("#clean-board [data-act=rest]", number)
    browser.wait(lambda: len(browser.all("#clean-board [data-mark=remove]")) == 2)
    assert len(browser.all("#clean-board [data-mark=keep]")) == 1
    browser.shoot("clean-marked")

    browser.driver.refresh()
    browser.wait(lambda: browser.all("#results .cpc-tile"))
    browser.open_tab("Clean")
    browser.wait(lambda: "2 images marked" in " ".join(browser.texts(".cpc-clean-card b")))
    browser.wait(lambda: "to do" in " ".join(browser.texts(".cpc-queue span")))
    assert "3 images" not in browser.texts("#clean-board .cpc-clean-group h2")  # nothing is left to do there
    browser.click("#clean-board [data-act=show][data-arg=marked]")
    browser.wait(lambda: len(browser.all("#clean-board [data-mark=remove]")) == 2)

    browser.click("#clean-side [data-arg=broken]")
    browser.wait(lambda: browser.texts(".cpc-broken b") == ["broken.png"])
    browser.click(".cpc-broken button")
    browser.wait(lambda: browser.texts(".cpc-broken button") == ["Marked"])
    browser.click("#clean-side a[download]")
    file = browser.downloaded("marks.csv")
    marks = {line["path"]: line["mark"] for line in csv.DictReader(io.StringIO(file.read_text()))}
    assert sorted(marks.values()) == ["keep", "remove", "remove", "remove"]
    assert marks["broken.png"] == "remove"
    assert (collection / "marks.csv").read_text() == file.read_text()
    assert browser.complaints() == []
