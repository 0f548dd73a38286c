"""The Label tab in a real browser: by click and by key, two visitors, files, and a server that is killed.

Screenshots lie in pytest's temporary folder (`--basetemp` chooses it) for people to look at.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.fewlabels.given_labels import read_labels, rows_of
from cpchub.fewlabels.heads.head import load_classifier
from tests.serving.browser import DESK, PHONE, Browser, browsing
from tests.serving.conftest import Page, PageHost, Served

pytestmark = pytest.mark.browser

COUNTS = ".cpc-class > span"
CLASSES = ("red", "green", "blue")


@pytest.fixture
def collection(served: Served, tmp_path: Path) -> Path:
    """A collection of this test alone, since labels are kept in it."""
    return Path(shutil.copytree(served.index.collection.folder, tmp_path / "collection"))


@pytest.fixture
def start(page_host: PageHost, collection: Path, tiny_encoder_folder: Path, tmp_path: Path) -> Callable[[], Page]:
    folders = (tmp_path / f"page{number}" for number in range(1000))

    def start() -> Page:
        folder = next(folders)
        folder.mkdir()
        return page_host.start(collection, tiny_encoder_folder, folder)

    return start


@pytest.fixture
def browser(request: pytest.FixtureRequest, start: Callable[[], Page], tmp_path: Path) -> Iterator[Browser]:
    with browsing(start().url, getattr(request, "param", DESK), tmp_path) as browser:
        browser.open_tab("Label")
        yield browser


def add_classes(browser: Browser, *names: str) -> None:
    browser.wait(lambda: browser.all("#label-board .cpc-tile"))
    browser.all("#class-names input, #class-names textarea")[0].send_keys(", ".join(names) + "\n")
    browser.wait(lambda: set(names) <= set(browser.texts(".cpc-class b")))


def saved(browser: Browser) -> None:
    """Wait until the server has every label that the browser shows."""
    browser.wait(lambda: not browser.all("#label-board .cpc-saving"))


def press(browser: Browser, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser.driver).send_keys(*keys).perform()


def focused(browser: Browser) -> str:
    """The title of the tile that has the focus."""
    return browser.driver.execute_script("return document.activeElement.closest('.cpc-tile')?.title ?? ''")


def interval(browser: Browser) -> tuple[float, float]:
    """The 90 % interval of the accuracy that the page shows."""
    said = browser.texts("#estimate")[0]
    low, high = re.search(r"interval (\d+)% to (\d+)%", said) or re.search(r"(\d+)–(\d+)%", said).group(1, 2)
    return float(low) / 100, float(high) / 100


def true_accuracy(collection: Path, head: Path) -> float:
    """Of the images that have no label; their folder is their class."""
    images = Collection.open(collection)
    labels = rows_of(images, read_labels(collection / "labels" / "default.csv"))
    classifier = load_classifier(head)
    found = np.array(classifier.classify(images)["predicted"].to_pylist())
    truth = np.array([path.split("/")[0] for path in images.paths])
    rest = np.setdiff1d(np.arange(len(images)), list(labels))
    return float((found[rest] == truth[rest]).mean())


@pytest.mark.parametrize("browser", [DESK, PHONE], ids=["desk", "phone"], indirect=True)
def test_a_visitor_labels_by_click_and_sees_the_rest_classified(browser: Browser, collection: Path) -> None:
    add_classes(browser, *CLASSES)
    for name in CLASSES:
        browser.label(name, 3)
    tiles = browser.wait(lambda: browser.texts("#label-board .cpc-caption"))
    assert len(tiles) == 48
    assert sum("%" in tile for tile in tiles) == 39
    browser.wait(lambda: "of 9" in browser.texts("#estimate")[0])
    browser.shoot("labelled")

    assert browser.faults() == []
    browser.click("#keep-head")
    browser.wait((collection / "heads" / "default" / "head.json").exists)
    low, high = interval(browser)
    assert low - 0.005 <= true_accuracy(collection, collection / "heads" / "default") <= high + 0.005

    browser.click("#undo")
    browser.wait(lambda: browser.texts(COUNTS) == ["3", "3", "2"])
    browser.click("#redo")
    browser.wait(lambda: browser.texts(COUNTS) == ["3", "3", "3"])
    browser.wait(lambda: "more labels" in browser.texts("#needed p")[0] or "95 %" in browser.texts("#needed p")[0])
    assert browser.all("#needed svg circle")
    assert browser.texts("#confusion tbody th") == sorted(CLASSES)
    browser.choose("#needed select", "0.9")
    browser.wait(lambda: "90 %" in browser.texts("#needed p")[0])

    for queue, rule in (("next", "no label"), ("uncertain", "no label"), ("class:red", "red"), ("labelled", "label")):
        browser.choose("#label-board select", queue)
        browser.wait(lambda rule=rule: rule == seen(browser))
    browser.driver.execute_script("document.querySelector('.cpc-confusion').open = true")
    browser.shoot("accuracy")
    assert browser.cut_at_the_sides("#label-board [data-act], #class-panel [data-act], #estimate b") == []
    assert browser.complaints() == []


def seen(browser: Browser) -> str:
    """What is common to the tiles of the board: their class, whether they have a label."""
    tiles, labelled = browser.texts("#label-board .cpc-caption > span:first-child"), "#label-board .cpc-labelled"
    if len(browser.all(labelled)) == len(tiles):
        return "label"
    return tiles[0] if len(set(tiles)) == 1 else "no label" if not browser.all(labelled) else ""


def test_a_visitor_labels_by_keyboard_alone(browser: Browser, collection: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.wait(lambda: browser.all("#label-board .cpc-tile"))
    in_field = "return Boolean(document.activeElement.closest('#class-names'))"
    for _ in range(20):
        if browser.driver.execute_script(in_field):
            break
        press(browser, Keys.TAB)
    press(browser, ", ".join(CLASSES), "1x", Keys.BACKSPACE * 2, Keys.ENTER)  # keys that label nothing in a field
    browser.wait(lambda: browser.texts(".cpc-class b") == list(CLASSES))
    press(browser, Keys.TAB, Keys.ARROW_RIGHT)
    browser.wait(lambda: focused(browser))
    given: Counter[str] = Counter()
    while sum(given.values()) < 9:
        name = focused(browser).split("/")[0]
        if given[name] < 3:
            given[name] += 1
            press(browser, str(1 + CLASSES.index(name)))  # goes on to the next image
        else:
            press(browser, Keys.ARROW_RIGHT)
    saved(browser)
    assert browser.texts(COUNTS) == ["3", "3", "3"]
    browser.wait(lambda: "of 9" in browser.texts("#estimate")[0])

    before = focused(browser)
    press(browser, "x")
    browser.wait(lambda: "1" in browser.texts(".cpc-rest b"))
    assert browser.texts(".cpc-skipped .cpc-caption") == ["unsure"]
    assert focused(browser) != before
    press(browser, Keys.ARROW_LEFT, "2")  # an unsure one gets its class
    saved(browser)
    assert browser.texts(COUNTS) == ["3", "4", "3"]
    press(browser, "u")
    browser.wait(lambda: browser.texts(COUNTS) == ["3", "3", "3"])
    press(browser, "r")
    browser.wait(lambda: browser.texts(COUNTS) == ["3", "4", "3"])
    press(browser, Keys.ARROW_DOWN, Keys.ENTER)  # the active class
    saved(browser)
    assert browser.texts(COUNTS) == ["3", "4", "4"]

    press(browser, "?")
    browser.wait(lambda: browser.all("#label-keys[open]"))
    browser.shoot("keys")
    press(browser, "1", Keys.ESCAPE)
    browser.wait(lambda: not browser.all("#label-keys[open]"))
    first = browser.texts("#label-board .cpc-name")[0]
    press(browser, "n")
    browser.wait(lambda: browser.texts("#label-board .cpc-name")[0] != first)
    press(browser, "p")
    browser.wait(lambda: browser.texts("#label-board .cpc-name")[0] == first)
    assert len(read_labels(collection / "labels" / "default.csv")) == 11


def test_two_visitors_see_each_others_labels_and_a_reload_keeps_them(browser: Browser) -> None:
    add_classes(browser, *CLASSES)
    one, url = browser.driver.current_window_handle, browser.url
    browser.driver.switch_to.new_window("tab")
    browser.driver.get(url)
    browser.open_tab("Label")
    browser.wait(lambda: browser.texts(".cpc-class b") == list(CLASSES))
    other = browser.driver.current_window_handle
    browser.label("red", 1)
    browser.driver.switch_to.window(one)
    browser.wait(lambda: browser.texts(COUNTS) == ["1", "0", "0"])
    browser.label("green", 1)
    browser.driver.switch_to.window(other)
    browser.wait(lambda: browser.texts(COUNTS) == ["1", "1", "0"])
    browser.click("#undo")  # their own step: the red one
    browser.wait(lambda: browser.texts(COUNTS) == ["0", "1", "0"])
    browser.driver.refresh()
    browser.open_tab("Label")
    browser.wait(lambda: browser.texts(COUNTS) == ["0", "1", "0"])


def test_sets_have_names_and_the_browser_comes_back_to_the_last_one(browser: Browser, collection: Path) -> None:
    add_classes(browser, "red")
    browser.label("red", 1)
    box = browser.all("#label-set input")[0]
    box.clear()
    box.send_keys("second\n")
    browser.wait(lambda: not browser.texts(".cpc-class b"))
    add_classes(browser, "blue")
    browser.label("blue", 2)
    browser.driver.refresh()
    browser.open_tab("Label")
    browser.wait(lambda: browser.texts(".cpc-class b") == ["blue"])
    assert {file.name for file in (collection / "labels").glob("*.csv")} == {"default.csv", "second.csv"}


def test_labels_go_out_and_come_in_as_csv(browser: Browser, tmp_path: Path) -> None:
    add_classes(browser, "red", "green")
    browser.label("red", 1)
    browser.label("green", 1)
    browser.click("#save-labels")
    assert sorted(label for label in read_labels(browser.downloaded("default.csv")).values()) == ["green", "red"]
    browser.click("#save-head")
    browser.downloaded("default-classifier.zip")
    browser.click("#save-predictions")
    assert len(browser.downloaded("default-predictions.csv").read_text().splitlines()) == 61

    brought = tmp_path / "brought.csv"
    brought.write_text("path,label\nblue/blue-03.png,blue\ngone.png,blue\n")
    browser.all(".cpc-files input[type=file]")[0].send_keys(str(brought))
    browser.wait(lambda: "gone.png" in " ".join(browser.texts(".toast-wrap")))
    browser.wait(lambda: browser.texts(".cpc-class b") == ["red", "green", "blue"])
    browser.wait(lambda: browser.texts(COUNTS) == ["1", "1", "1"])


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_nothing_is_lost_when_the_server_is_killed_after_any_click(
    start: Callable[[], Page], collection: Path, tmp_path: Path, kills: int
) -> None:
    chance = random.Random(kills)
    expected: dict[str, str] = {}
    page = start()
    with browsing(page.url, DESK, tmp_path) as browser:
        browser.open_tab("Label")
        add_classes(browser, *CLASSES)
        for _ in range(kills):
            last: dict[str, str | None] = {}
            for _ in range(chance.randint(1, 3)):
                saved(browser)
                expected.update({path: name for path, name in last.items() if name})
                name, number = chance.choice(CLASSES), chance.randrange(48)
                browser.click(".cpc-class", CLASSES.index(name))
                browser.wait(lambda name=name: browser.texts(".cpc-class[aria-pressed=true] b") == [name])
                path = browser.all("#label-board .cpc-tile")[number].get_attribute("title")
                if expected.get(path) == name:
                    continue
                browser.click("#label-board .cpc-tile", number)
                last = {path: name}
            if chance.random() < 0.5:
                saved(browser)
                expected.update(last)
                last = {}
            os.kill(page.pid, signal.SIGKILL)
            browser.wait(lambda page=page: page.exit_code() is not None)
            file = collection / "labels" / "default.csv"
            found = read_labels(file) if file.exists() else {}
            assert found in (expected, expected | last)  # a click that was never answered may be there or not
            expected = found
            page = start()
            browser.driver.get(page.url)
            browser.open_tab("Label")
            counted = [str(Counter(expected.values())[name]) for name in CLASSES]
            browser.wait(lambda counted=counted: browser.texts(COUNTS) == counted)
            browser.wait(lambda: browser.all("#label-board .cpc-tile"))
