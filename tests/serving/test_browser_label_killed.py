"""The server of the Label tab is killed after any click: no label that was seen as saved is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cpchub.fewlabels.given_labels import read_labels
from tests.serving.conftest import Page, PageHost, Served, Visit
from tests.serving.labelling import CLASSES, COUNTS, add_classes, saved

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_nothing_is_lost_when_the_server_is_killed_after_any_click(
    page_host: PageHost, served: Served, tiny_encoder_folder: Path, visit: Visit, tmp_path: Path, kills: int
) -> None:
    collection = Path(shutil.copytree(served.index.collection.folder, tmp_path / "collection"))

    def start(number: int, port: int | None = None) -> Page:
        (folder := tmp_path / f"page{number}").mkdir()
        return page_host.start(collection, tiny_encoder_folder, folder, port=port)

    chance = random.Random(kills)
    expected: dict[str, str] = {}
    page = start(0)
    port = urlsplit(page.url).port  # again and again, so that the browser has what it loaded
    browser = visit(page.url)
    browser.open_tab("Label")
    add_classes(browser, *CLASSES)
    for kill in range(1, kills + 1):
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
        page = start(kill, port)
        browser.driver.get(page.url)
        browser.open_tab("Label")
        counted = [str(Counter(expected.values())[name]) for name in CLASSES]
        browser.wait(lambda counted=counted: browser.texts(COUNTS) == counted)
        browser.wait(lambda: browser.all("#label-board .cpc-tile"))
