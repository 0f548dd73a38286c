"""A headless Chromium for the tests of the page, with the moves that they need.

Chromium and the page take seconds to load for the first time. So the tests of a process share both, by the fixture
`visit`: each has a window of its own, and nothing that an earlier one left in the browser but what was loaded.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.processes import PATIENCE, wait_for

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
exceptions = pytest.importorskip("selenium.common.exceptions")
axe = pytest.importorskip("axe_core_python.selenium", reason="axe-core is not installed: pip install axe-core-python")

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
DESK, TABLET, PHONE, WIDE = (1280, 900), (800, 900), (390, 844), (1400, 900)
NOT_YET = (IndexError, exceptions.StaleElementReferenceException)  # what is looked at was not drawn, or is drawn anew
# What each tab shows once it has all that it is opened for.
CONTENT = {
    "Search": "#results .cpc-tile",
    "Label": "body:has(#label-board .cpc-tile) #class-panel :is(.cpc-classes, .cpc-empty)",
    "Map": "#map-tab [data-drawn~=tsne]",
    "Clean": "#clean-board .cpc-clean-group, #clean-board .cpc-empty:not([role=status])",
    "Encoders": "#encoders .cpc-encoder",
}


class Browser:
    """A headless Chromium showing the page, with the few moves that the tests need."""

    def __init__(self, driver: Any, shots: Path) -> None:
        self.driver = driver
        self.shots = shots

    @property
    def url(self) -> str:
        return str(self.driver.current_url)

    def be(self, size: tuple[int, int], *, dark: bool = False) -> None:
        """Give the window a size, the touch screen of a phone where it is as narrow as one, and a colour scheme."""
        phone = size == PHONE
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": phone})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map(element => element.textContent.trim())"
        return self.driver.execute_script(script, selector)

    def wait(self, for_what: Callable[[], Any]) -> Any:
        """Wait until `for_what` returns something, and return it."""

        def look() -> Any:
            try:
                return for_what() or None
            except NOT_YET:
                return None

        try:
            return wait_for(look, "not seen")
        except AssertionError as error:
            self.driver.save_screenshot(str(self.shots / "gave-up.png"))
            raise AssertionError(f"{error}; the page says: {self.texts('body')[0][:500]}") from None

    def click(self, selector: str, number: int = 0) -> None:
        script = """
            const found = document.querySelectorAll(arguments[0])[arguments[1]];
            found?.click();
            return Boolean(found);
        """
        self.wait(lambda: self.driver.execute_script(script, selector, number))

    def tabs(self) -> list[str]:
        """The names of the tabs."""
        return [tab.text for tab in self.wait(lambda: self.all("button[role=tab]")) if tab.text]

    def open_tab(self, name: str) -> None:
        """Open a tab, and wait for what it is opened for."""
        self.wait(lambda: next((tab for tab in self.all("button[role=tab]") if tab.text == name), None)).click()
        self.wait(lambda: self.all(CONTENT[name]))

    def label(self, name: str, count: int) -> None:
        """Label the first `count` unlabelled images of the board whose folder is `name`."""
        number = self.texts(".cpc-class b").index(name)
        self.click(".cpc-class", number)
        self.wait(lambda: self.texts(".cpc-class[aria-pressed=true] b") == [name])
        for done in range(1, count + 1):
            self.click(f'#label-board .cpc-tile:not(.cpc-labelled)[title^="{name}/"]')
            self.wait(lambda done=done: self.texts(".cpc-class > span")[number] == str(done))

    def choose(self, selector: str, value: str) -> None:
        """Choose an entry of a drop-down list."""
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))"
        self.driver.execute_script(script, self.wait(lambda: self.all(selector))[0], value)

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

    def downloaded(self, name: str) -> Path:
        """The file of that name once it is there whole: Chromium puts an empty one in its place at first."""
        file = self.shots / "downloads" / name
        self.wait(lambda: file.exists() and file.stat().st_size and not list(file.parent.glob("*.crdownload")))
        return file

    def requested(self) -> set[str]:
        """The addresses that the browser has asked for since it was last asked."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [message for message in messages if message["method"] == "Network.requestWillBeSent"]
        return {message["params"]["request"]["url"] for message in sent}

    def complaints(self) -> list[str]:
        """What the console has said of errors since it was last asked, but for requests that a reload has cut off."""
        said = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [message for message in said if "AbortError: signal is aborted" not in message]

    def faults(self) -> list[str]:
        """What axe-core finds serious or critical in what is shown: a line a fault, with one element of each."""
        found = axe.Axe().run(self.driver, options={"resultTypes": ["violations"]})["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        return [f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}" for each in serious]


def started(folder: Path) -> Any:
    """A Chromium that keeps its files in `folder`."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={DESK[0]},{DESK[1]}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    several = "profile.default_content_setting_values.automatic_downloads"  # without a question after the first
    options.add_experimental_option("prefs", {several: 1})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_page_load_timeout(PATIENCE)
    return driver


@contextmanager
def browsing(driver: Any, url: str, size: tuple[int, int], folder: Path, *, dark: bool = False) -> Iterator[Browser]:
    """A window of its own that shows `url`, as for a visitor who is new; screenshots and downloads go to `folder`."""
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    browser = Browser(driver, folder)
    try:
        browser.be(size, dark=dark)
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "local_storage"})
        downloads = {"behavior": "allow", "downloadPath": str(folder / "downloads")}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", downloads)
        browser.complaints()
        browser.requested()
        driver.get(url)
        browser.wait(lambda: browser.all(CONTENT["Search"]))
        yield browser
    finally:
        for window in set(driver.window_handles) - {first}:
            driver.switch_to.window(window)
            driver.close()
        driver.switch_to.window(first)
