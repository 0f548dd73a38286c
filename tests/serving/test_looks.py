"""How the page looks: each tab at three widths, light and dark, with nothing cut off and nothing that axe-core faults.

Screenshots lie in pytest's temporary folder (`--basetemp` chooses it) for people to look at.
"""

from __future__ import annotations

import pytest

from tests.serving.browser import PHONE, TABLET, WIDE
from tests.serving.conftest import Visit

pytestmark = pytest.mark.browser

CUT = "[data-act], .cpc-name > span:last-child, h1, h2"
WIDTHS = {"phone": PHONE, "tablet": TABLET, "wide": WIDE}
LOOKS = [(name, dark) for name in WIDTHS for dark in (False, True)]
SHORT = [("phone", True), ("wide", False)]  # the rest takes a minute


def cases(looks: list[tuple[str, bool]]) -> list[object]:
    return [
        pytest.param(
            name,
            dark,
            id=f"{name}-{'dark' if dark else 'light'}",
            marks=() if (name, dark) in SHORT else pytest.mark.slow,
        )
        for name, dark in looks
    ]


@pytest.mark.parametrize(("width", "dark"), cases(LOOKS))
def test_every_tab_is_whole_and_accessible(page_url: str, visit: Visit, width: str, dark: bool) -> None:
    browser = visit(page_url, WIDTHS[width], dark=dark)
    faults: dict[str, list[str]] = {}
    for tab in browser.tabs():
        browser.open_tab(tab)
        if tab == "Encoders":
            browser.click(".cpc-encoder")
            browser.wait(lambda: browser.all(".cpc-card .cpc-plot"))
        browser.shoot(f"{tab.lower()}-{width}-{'dark' if dark else 'light'}")
        faults[tab] = browser.faults() + browser.cut_at_the_sides(CUT)
    assert {tab: found for tab, found in faults.items() if found} == {}
    assert browser.complaints() == []
    assert [url for url in browser.requested() if url.startswith("http") and not url.startswith(page_url)] == []
