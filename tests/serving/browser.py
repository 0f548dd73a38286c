"""A headless Chromium for the tests of the page, with the moves that they need."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes import PATIENCE, wait_for

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")

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


class Browser:
    """A headless Chromium showing the page, with the few moves that the tests need."""

    def __init__(self, driver: Any, shots: Path) -> None:
        self.driver = driver
        self.shots = shots

    @property
    def url(self) -> str:
        return str(self.driver.current_url)

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

    def tabs(self) -> list[str]:
        """The names of the tabs."""
        return [tab.text for tab in self.wait(lambda: self.all("button[role=tab]")) if tab.text]

    def open_tab(self, name: str) -> None:
        tabs = self.wait(lambda: [tab for tab in self.all("button[role=tab]") if tab.text == name])
        tabs[0].click()

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
        """What the console has said of errors since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def faults(self) -> list[str]:
        """What axe-core finds serious or critical in what is shown: a line a fault, with one element of each."""
        found = axe.Axe().run(self.driver, options={"resultTypes": ["violations"]})["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        return [f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}" for each in serious]


def started(size: tuple[int, int], folder: Path, *, phone: bool = False) -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    several = "profile.default_content_setting_values.automatic_downloads"  # without a question after the first
    prefs = {"download.default_directory": str(folder / "downloads"), several: 1}
    options.add_experimental_option("prefs", prefs)
    metrics = {"width": size[0], "height": size[1], "pixelRatio": 2 if phone else 1, "mobile": phone, "touch": phone}
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


@contextmanager
def browsing(url: str, size: tuple[int, int], folder: Path, *, dark: bool = False) -> Iterator[Browser]:
    """A browser that shows `url`; screenshots and downloads go to `folder`."""
    driver = started(size, folder, phone=size == PHONE)
    try:
        driver.set_page_load_timeout(PATIENCE)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        driver.get(url)
        browser = Browser(driver, folder)
        browser.wait(lambda: browser.all("#results .cpc-tile"))
        yield browser
    finally:
        driver.quit()
