"""The page in a real browser: search by upload and by click, label, see predictions; on a desk and on a phone.

Screenshots lie in pytest's temporary folder (`--basetemp` chooses it) for people to look at.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import PATIENCE, wait_for

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESK, TABLET, PHONE = (1280, 900), (800, 900), (390, 844)


class Browser:
    """A headless Chromium showing the page, with the few moves that the tests need."""

    def __init__(self, driver: Any, shots: Path) -> None:
        self.driver = driver
        self.shots = shots

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map(element => element.textContent.trim())"
        return self.driver.execute_script(script, selector)

    def wait(self, for_what: Callable[[], Any]) -> Any:
        try:
            return wait_for(lambda: for_what() or None, "not seen")
        except AssertionError as error:
            self.driver.save_screenshot(str(self.shots / "gave-up.png"))
            raise AssertionError(f"{error}; the page says: {self.texts('body')[0][:500]}") from None

    def click(self, selector: str, number: int = 0) -> None:
        self.wait(lambda: len(self.all(selector)) > number)
        self.driver.execute_script("arguments[0].click()", self.all(selector)[number])

    def open_tab(self, name: str) -> None:
        tabs = self.wait(lambda: [tab for tab in self.all("button[role=tab]") if tab.text == name])
        tabs[0].click()

    def upload(self, image: Path) -> None:
        self.wait(lambda: self.all("#query-image input[type=file]"))[0].send_keys(str(image))

    def label(self, name: str, count: int) -> None:
        """Label the first `count` unlabelled images of the board whose folder is `name`."""
        number = self.texts(".cpc-class b").index(name)
        self.click(".cpc-class", number)
        self.wait(lambda: self.texts(".cpc-class[aria-pressed=true] b") == [name])
        for done in range(1, count + 1):
            self.click(f'#label-board .cpc-tile:not(.cpc-labelled)[title^="{name}/"]')
            self.wait(lambda done=done: self.texts(".cpc-class > span:not(.cpc-predicted)")[number] == str(done))

    def shoot(self, name: str) -> None:
        self.wait_for_images()
        self.driver.save_screenshot(str(self.shots / f"{name}.png"))

    def wait_for_images(self) -> None:
        seen = (
            "return [...document.images].map(image => [image, image.getBoundingClientRect()])"
            ".filter(([_, box]) => box.width > 0 && box.bottom > 0 && box.top < innerHeight)"
        )
        self.wait(lambda: self.driver.execute_script(f"{seen}.every(([image]) => image.complete)"))

    def cut_at_the_sides(self, selector: str) -> list[str]:
        """The visible elements of which a part lies outside the window or outside what they lie in."""
        script = """
            const inside = (box, around) => box.left >= around.left - 1 && box.right <= around.right + 1;
            const cut = (element) => {
                const box = element.getBoundingClientRect();
                if (box.width === 0) return false;
                for (let around = element.parentElement; around; around = around.parentElement) {
                    const clips = getComputedStyle(around).overflowX !== "visible";
                    if (clips && !inside(box, around.getBoundingClientRect())) return true;
                }
                return !inside(box, {left: 0, right: innerWidth});
            };
            return [...document.querySelectorAll(arguments[0])].filter(cut).map(element => element.outerHTML);
        """
        return self.driver.execute_script(script, selector)

    def requested(self) -> set[str]:
        """The addresses that the browser has asked for since it was last asked."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [message for message in messages if message["method"] == "Network.requestWillBeSent"]
        return {message["params"]["request"]["url"] for message in sent}


def started(size: tuple[int, int], folder: Path, *, phone: bool = False) -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    metrics = {"width": size[0], "height": size[1], "pixelRatio": 2 if phone else 1, "mobile": phone, "touch": phone}
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


@pytest.fixture
def browser(request: pytest.FixtureRequest, page_url: str, tmp_path: Path) -> Iterator[Browser]:
    size = request.param
    driver = started(size, tmp_path, phone=size == PHONE)
    try:
        driver.set_page_load_timeout(PATIENCE)
        driver.get(page_url)
        browser = Browser(driver, tmp_path)
        browser.wait(lambda: browser.all("#collection .cpc-tile"))
        yield browser
    finally:
        driver.quit()


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
