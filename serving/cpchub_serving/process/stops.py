"""Ctrl-C and SIGTERM, as the page and the API take them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stops_interrupt() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt in this block, as Ctrl-C does."""
    with _handled_by(signal.default_int_handler):
        yield


@contextmanager
def stops_noted() -> Iterator[Callable[[], int]]:
    """Ctrl-C and SIGTERM are noted in this block; yields what tells how many have come.

    They are not raised: an exception of a signal can strike anywhere, also where Python drops exceptions. They are
    noted even where this process was told to ignore them, as shells tell what they start in the background.
    """
    came = 0

    def note(*_: Any) -> None:
        nonlocal came
        came += 1

    with _handled_by(note):
        yield lambda: came


@contextmanager
def _handled_by(handler: Callable[..., Any]) -> Iterator[None]:
    # Python lets only the main thread take signals; a page that another thread serves is ended by who started that.
    here = STOPS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, handler) for number in here}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def leave_process(status: int) -> None:
    """End the process at once, with what it computes.

    The interpreter would wait for some threads, without end where one computes, and crash others; and it takes a second
    to take apart what torch and Gradio have loaded.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
