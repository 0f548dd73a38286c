"""A page that is told to end does so at once, whatever its visitors are doing, and keeps nothing of theirs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from cpchub_serving.app import END
from cpchub_serving.process import stops
from tests.processes import wait_for
from tests.serving.conftest import Page, StartPage
from tests.serving.visitors import computing, embedding, mapping, nobody, uploaded, uploading, watching

Visit = Callable[[Page, ExitStack], None]
EVERY_STATE: dict[str, tuple[list[Visit], str | None]] = {
    "nobody": ([nobody], None),
    "uploaded": ([uploaded], None),
    "uploading": ([uploaded, uploading], None),
    "watching": ([watching], None),
    "a job that sleeps": ([computing], "sleep"),
    "a job in Python": ([computing], "spin"),
    "a job in native code": ([computing], "multiply"),
    "a job in the background": ([computing], "background"),
    "a map": ([mapping, watching], "endless map"),
    "embedding": ([embedding], None),
    "all at once": ([uploaded, uploading, watching, embedding, computing], "multiply"),
}


def stop(page: Page, state: str, number: signal.Signals) -> float:
    """Bring the page into a state, tell it to end, and look at what is left; the seconds that it took to end."""
    with ExitStack() as stack:
        for visit in EVERY_STATE[state][0]:
            visit(page, stack)
        told = time.monotonic()
        os.kill(page.pid, number)
        assert wait_for(page.exit_code, f"the page still runs; it says: {page.log}") == 0, page.log
        took = time.monotonic() - told
    assert page.files() == []
    assert "Traceback" not in page.log
    assert page.log.endswith("stopped\n")
    return took


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (signal.SIGINT, "uploaded"),
        (signal.SIGTERM, "uploading"),
        (signal.SIGINT, "watching"),
        (signal.SIGTERM, "a job in Python"),
        (signal.SIGTERM, "a job in the background"),
        (signal.SIGTERM, "a map"),
        (signal.SIGINT, "a map"),
        (signal.SIGINT, "all at once"),
    ],
)
def test_ctrl_c_and_sigterm_end_the_page_and_remove_what_was_uploaded(
    start_page: StartPage, number: signal.Signals, state: str
) -> None:
    stop(start_page(EVERY_STATE[state][1]), state, number)


@pytest.mark.slow
@pytest.mark.parametrize("state", EVERY_STATE)
def test_fifty_pages_in_a_row_end_in_every_state(start_page: StartPage, state: str) -> None:
    seconds = [stop(start_page(EVERY_STATE[state][1]), state, stops.STOPS[number % 2]) for number in range(50)]
    print(f"{state}: {sum(seconds) / 50:.2f} s to end, {max(seconds):.2f} s at most")


def test_all_that_is_waited_for_at_the_end_is_less_than_five_seconds() -> None:
    assert END.answers < END.all < 5
