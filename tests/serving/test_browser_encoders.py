"""The Encoders tab in a real browser: two cards side by side, and another encoder tried on a sample."""

from __future__ import annotations

import pytest

from tests.serving.conftest import Visit

pytestmark = pytest.mark.browser

BUNDLED = ("simclr-resnet18-w32-cifar10-cpu", "moco-v2-resnet18-w32-cifar10-cpu")


def test_a_visitor_compares_two_encoders_and_tries_one_on_a_sample(page_url: str, visit: Visit) -> None:
    browser = visit(page_url)
    browser.open_tab("Encoders")
    for number, name in enumerate(BUNDLED, start=1):
        browser.click(f'.cpc-encoder[data-arg="{name}"]')
        browser.wait(lambda number=number: len(browser.all(".cpc-card")) == number)
    assert len(browser.all(".cpc-card .cpc-plot")) == 2

    browser.click(f'.cpc-card [data-act=try][data-arg="{BUNDLED[0]}"]')
    browser.wait(lambda: len(browser.all(".cpc-trial .cpc-grid")) == 3)
    assert "60 images under two encoders" in browser.texts("#trial h2")[0]
    assert "get their own label" in browser.texts("#trial p")[0]
    another = browser.texts(".cpc-trial .cpc-tile .cpc-name")[3]
    browser.click(".cpc-trial .cpc-tile", 3)
    browser.wait(lambda: f"Nearest to {another}" in browser.texts(".cpc-trial h3")[1])
    browser.shoot("tried")
    assert browser.faults() == []
    assert browser.complaints() == []
