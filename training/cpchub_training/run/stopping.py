"""Defers SIGINT and SIGTERM to the end of a step; stopping inside one would make a checkpoint that cannot be resumed
exactly."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class StopBetweenSteps:
    """A context manager: the first Ctrl-C or SIGTERM only sets `asked`, the second one takes effect at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopBetweenSteps:
        if threading.current_thread() is threading.main_thread():  # Python handles signals in the main thread only
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
