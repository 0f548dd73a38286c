"""The Label tab in a real browser: by click and by key, two visitors, and files.

Screenshots lie in pytest's temporary folder (`--basetemp` chooses it) for people to look at.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.fewlabels.given_labels import read_labels, rows_of
from cpchub.fewlabels.heads.head import load_classifier
from tests.serving.browser import DESK, PHONE, TABLET, Browser
from tests.serving.conftest import Visit
from tests.serving.labelling import CLASSES, COUNTS, add_classes, choose_set, saved

pytestmark = pytest.mark.browser


NUMBERS = itertools.count()
NAMES = "#label-board .cpc-name"


@pytest.fixture
def label_set() -> str:
    """The name of a label set that no other test of this process has: they share the collection."""
    return f"set-{next(NUMBERS)}"


@pytest.fixture
def browser(request: pytest.FixtureRequest, page_url: str, visit: Visit, label_set: str) -> Browser:
    browser = visit(page_url, getattr(request, "param", DESK))
    browser.open_tab("Label")
    choose_set(browser, label_set)
    return browser


@pytest.fixture
def collection(shown: Path) -> Path:
    """The collection that the browser shows."""
    return shown


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


def true_accuracy(collection: Path, label_set: str) -> float:
    """Of the images that have no label; their folder is their class."""
    images = Collection.open(collection)
    labels = rows_of(images, read_labels(collection / "labels" / f"{label_set}.csv"))
    classifier = load_classifier(collection / "heads" / label_set)
    found = np.array(classifier.classify(images)["predicted"].to_pylist())
    truth = np.array([path.split("/")[0] for path in images.paths])
    rest = np.setdiff1d(np.arange(len(images)), list(labels))
    return float((found[rest] == truth[rest]).mean())


@pytest.mark.parametrize("browser", [DESK, PHONE], ids=["desk", "phone"], indirect=True)
def test_a_visitor_labels_by_click_and_sees_the_rest_classified(
    browser: Browser, collection: Path, label_set: str
) -> None:
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
    browser.wait((collection / "heads" / label_set / "head.json").exists)
    low, high = interval(browser)
    assert low - 0.005 <= true_accuracy(collection, label_set) <= high + 0.005

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
        before = browser.texts(NAMES)
        browser.choose("#label-board select", queue)
        browser.wait(lambda rule=rule, before=before: browser.texts(NAMES) != before and rule == seen(browser))
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


def test_a_visitor_labels_by_keyboard_alone(browser: Browser, collection: Path, label_set: str) -> None:
    from selenium.webdriver.common.keys import Keys

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
    first = browser.texts(NAMES)[0]
    press(browser, "n")
    browser.wait(lambda: browser.texts(NAMES)[0] != first)
    press(browser, "p")
    browser.wait(lambda: browser.texts(NAMES)[0] == first)
    assert len(read_labels(collection / "labels" / f"{label_set}.csv")) == 11


def test_unsure_and_the_large_view_have_buttons_on_each_image(browser: Browser) -> None:
    add_classes(browser, *CLASSES)
    buttons = browser.all("#label-board .cpc-cell:nth-child(4) .cpc-small button")
    for size in (DESK, PHONE):
        browser.be(size)
        assert all(button.is_displayed() and min(button.size.values()) >= 24 for button in buttons)  # WCAG 2.5.8
    third, fourth = browser.texts("#label-board .cpc-cell .cpc-name")[2:4]
    buttons[0].click()
    browser.wait(lambda: browser.texts(".cpc-rest b") == ["1"])
    assert browser.texts(".cpc-skipped .cpc-name") == [fourth]
    assert len(browser.all("#label-board [data-unsure][aria-pressed=true]")) == 1
    browser.click("#label-board .cpc-cell:nth-child(4) [data-unsure]")
    browser.wait(lambda: not browser.texts(".cpc-rest b"))
    assert not browser.all("#label-board [data-unsure][aria-pressed=true], .cpc-skipped")

    browser.all("#label-board .cpc-cell:nth-child(4) [data-large]")[0].click()
    browser.wait(lambda: browser.texts("#cpc-large[open] #cpc-large-path")[0].endswith(fourth))
    browser.click("#cpc-large [data-go=previous]")
    browser.wait(lambda: browser.texts("#cpc-large-path")[0].endswith(third))
    browser.click("#cpc-large-labels button")
    browser.click("#cpc-large [data-go=close]")
    browser.wait(lambda: browser.texts(".cpc-labelled .cpc-name") == [third])
    saved(browser)
    assert browser.complaints() == []


def test_what_is_chosen_first_comes_before_the_images_and_is_seen_in_the_order_of_the_page(browser: Browser) -> None:
    add_classes(browser, *CLASSES)
    parts = ["#label-set", "#class-names", "#class-panel", "#undo", "#label-board", "#least", "#save-labels"]
    script = """
        const parts = arguments[0].map((selector) => document.querySelector(selector));
        const inOrder = parts.every((part, at) => at === 0
            || parts[at - 1].compareDocumentPosition(part) & Node.DOCUMENT_POSITION_FOLLOWING);
        const boxes = parts.map((part) => part.getBoundingClientRect());
        return [inOrder, boxes.map((box) => [box.left, box.top, box.right, box.bottom])];
    """
    for size in (DESK, TABLET, PHONE):
        browser.be(size)
        in_order, boxes = browser.driver.execute_script(script, parts)
        assert in_order
        for (_, _, right, bottom), (left, top, _, _) in itertools.pairwise(boxes):
            assert top >= bottom or left >= right, size  # below what comes before it, or to its right


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


def test_sets_have_names_and_the_browser_comes_back_to_the_last_one(
    browser: Browser, collection: Path, label_set: str
) -> None:
    add_classes(browser, "red")
    browser.label("red", 1)
    second = f"{label_set} again"
    choose_set(browser, second)
    browser.wait(lambda: not browser.texts(".cpc-class b"))
    add_classes(browser, "blue")
    browser.label("blue", 2)
    browser.driver.refresh()
    browser.open_tab("Label")
    browser.wait(lambda: browser.texts(".cpc-class b") == ["blue"])
    found = [read_labels(collection / "labels" / f"{name}.csv") for name in (label_set, second)]
    assert [list(labels.values()) for labels in found] == [["red"], ["blue", "blue"]]


def test_labels_go_out_and_come_in_as_csv(browser: Browser, label_set: str, tmp_path: Path) -> None:
    add_classes(browser, "red", "green")
    browser.label("red", 1)
    browser.label("green", 1)
    browser.click("#save-labels")
    assert sorted(label for label in read_labels(browser.downloaded(f"{label_set}.csv")).values()) == ["green", "red"]
    browser.click("#save-head")
    browser.downloaded(f"{label_set}-classifier.zip")
    browser.click("#save-predictions")
    assert len(browser.downloaded(f"{label_set}-predictions.csv").read_text().splitlines()) == 61

    brought = tmp_path / "brought.csv"
    brought.write_text("path,label\nblue/blue-03.png,blue\ngone.png,blue\n")
    browser.all(".cpc-files input[type=file]")[0].send_keys(str(brought))
    browser.wait(lambda: "gone.png" in " ".join(browser.texts(".toast-wrap")))
    browser.wait(lambda: browser.texts(".cpc-class b") == ["red", "green", "blue"])
    browser.wait(lambda: browser.texts(COUNTS) == ["1", "1", "1"])
