"""What a visitor of the Label tab does, in a browser."""

from __future__ import annotations

import pytest

from tests.serving.browser import Browser

Keys = pytest.importorskip("selenium.webdriver.common.keys", reason="selenium is not installed").Keys

COUNTS = ".cpc-class > span"
CLASSES = ("red", "green", "blue")


def choose_set(browser: Browser, name: str) -> None:
    """Write the name of a label set over the one in its field, as a visitor does, until the page has it.

    The answer that opens the page writes the set of this browser into the field, also over what was typed just before.
    Selenium's `clear` would leave the field with the old name in it, which opens the old set at the same time.
    """
    kept = "return localStorage.getItem('cpchub-label-set ' + location.pathname)"

    def has_it() -> bool:
        if browser.driver.execute_script(kept) == name:
            return True
        box = browser.all("#label-set input")[0]
        if box.get_attribute("value") != name:
            box.send_keys(Keys.CONTROL, "a")
            box.send_keys(f"{name}\n")
        return False

    browser.wait(has_it)


def add_classes(browser: Browser, *names: str) -> None:
    browser.all("#class-names input, #class-names textarea")[0].send_keys(", ".join(names) + "\n")
    browser.wait(lambda: set(names) <= set(browser.texts(".cpc-class b")))


def saved(browser: Browser) -> None:
    """Wait until the server has every label that the browser shows."""
    browser.wait(lambda: not browser.all("#label-board .cpc-saving"))
