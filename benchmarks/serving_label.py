"""Milliseconds from a click on an image of the Label tab until the new predictions are drawn, in a headless Chromium.

`benchmarks.serving` calls it with the page on 50,000 images. Browser and server share the machine. The images of the
first board get the classes in turn; a click counts once two classes have labels, since before nothing is predicted.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from typing import Any

CLASSES = ("a", "b", "c", "d", "e")
CLICKS, PATIENCE = 40, 60  # seconds
# The tile looks as if it is being saved until the answer of the server is drawn, all predictions with it.
CLICK = """
const [number, done] = arguments;
const tile = () => document.querySelectorAll("#label-board .cpc-tile")[number];
const begun = performance.now();
const look = () => {
    if (tile().classList.contains("cpc-saving")) return requestAnimationFrame(look);
    const drawn = document.querySelectorAll("#label-board .cpc-meter").length;
    done([performance.now() - begun, drawn, tile().classList.contains("cpc-labelled")]);
};
tile().click();
requestAnimationFrame(look);
"""


def clicks(url: str) -> dict[str, float]:
    """Median, 95th percentile and maximum of the clicks, each of another image."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for flag in ("--headless=new", "--no-sandbox", "--window-size=1400,900"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_script_timeout(PATIENCE)
        driver.get(url)
        tab = _once(lambda: [each for each in _all(driver, "button[role=tab]") if each.text == "Label"])
        tab[0].click()
        names = _once(lambda: _all(driver, "#class-names input, #class-names textarea"))[0]
        names.send_keys(", ".join(CLASSES))
        _all(driver, "#add-class")[0].click()
        _once(lambda: len(_all(driver, ".cpc-class")) == len(CLASSES))
        return _timed(driver)
    finally:
        driver.quit()


def _timed(driver: Any) -> dict[str, float]:
    milliseconds = []
    for number in range(CLICKS):
        driver.execute_script("document.querySelectorAll('.cpc-class')[arguments[0]].click()", number % len(CLASSES))
        _once(
            lambda number=number: (
                driver.execute_script(
                    "return document.querySelectorAll('.cpc-class')[arguments[0]].getAttribute('aria-pressed')",
                    number % len(CLASSES),
                )
                == "true"
            )
        )
        taken, predicted, labelled = driver.execute_async_script(CLICK, number)
        if not labelled:
            raise SystemExit(f"click {number} gave no label")
        if predicted:
            milliseconds.append(taken)
        time.sleep(0.2)  # somebody looks at the next image
    if len(milliseconds) < CLICKS // 2:
        raise SystemExit(f"only {len(milliseconds)} of {CLICKS} clicks were followed by predictions")
    ranked = sorted(milliseconds)
    return {
        "label_p50_ms": round(statistics.median(ranked), 1),
        "label_p95_ms": round(ranked[int(0.95 * len(ranked))], 1),
        "label_max_ms": round(ranked[-1], 1),
    }


def _all(driver: Any, selector: str) -> list[Any]:
    found: list[Any] = driver.find_elements("css selector", selector)
    return found


def _once(seen: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := seen()):
        if time.monotonic() > end:
            raise SystemExit("the Label tab does not answer")
        time.sleep(0.05)
    return found
