"""Stopping a run between two steps: a signal in the middle of one would leave a state that no run passes through."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class StopBetweenSteps:
    """A context in which Ctrl-C or SIGTERM only sets `asked`; the second one acts as if there were no context."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopBetweenSteps:
        if threading.current_thread() is threading.main_thread():  # only there can Python handle signals
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
