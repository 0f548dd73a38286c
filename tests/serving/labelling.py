"""What a visitor of the Label tab does, in a browser."""

from __future__ import annotations

from tests.serving.browser import Browser

COUNTS = ".cpc-class > span"
CLASSES = ("red", "green", "blue")


def choose_set(browser: Browser, name: str) -> None:
    """Write the name of a label set into its field, and wait until the page has it."""
    box = browser.all("#label-set input")[0]
    box.clear()
    box.send_keys(f"{name}\n")
    kept = "return localStorage.getItem('cpchub-label-set ' + location.pathname)"
    browser.wait(lambda: browser.driver.execute_script(kept) == name)


def add_classes(browser: Browser, *names: str) -> None:
    browser.all("#class-names input, #class-names textarea")[0].send_keys(", ".join(names) + "\n")
    browser.wait(lambda: set(names) <= set(browser.texts(".cpc-class b")))


def saved(browser: Browser) -> None:
    """Wait until the server has every label that the browser shows."""
    browser.wait(lambda: not browser.all("#label-board .cpc-saving"))
