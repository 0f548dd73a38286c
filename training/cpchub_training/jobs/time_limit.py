"""A limit on the time of a job that may be stopped anywhere, because all that it does goes on from its files."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TimeUp(BaseException):
    """The time of the job is over. No handler of errors in a library takes it for one."""


class Clock:
    """How much time a job has left."""

    def __init__(self, minutes: float | None) -> None:
        self.until = math.inf if minutes is None else time.monotonic() + 60 * minutes

    def minutes_left(self) -> float:
        """Minutes, below 0 when the time is over; infinite without a limit."""
        return (self.until - time.monotonic()) / 60


@contextmanager
def time_limit(minutes: float | None) -> Iterator[Clock]:
    """Raise `TimeUp` in the block when its minutes are over, between two steps of Python; no limit for None.

    A computation in native code runs to its end first. Outside of the main thread nothing is raised: there the block
    has to ask the clock.
    """
    clock = Clock(minutes)
    if minutes is None or threading.current_thread() is not threading.main_thread():
        yield clock
        return

    def end(*_: Any) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(1e-6, 60 * minutes))
    try:
        yield clock
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
