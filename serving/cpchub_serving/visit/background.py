"""Work that takes longer than a visitor waits: in a thread of its own, once for all visitors, who see how far it is."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from cpchub.errors import CpchubError

T = TypeVar("T")
Tell = Callable[[str, float], None]  # what is done now, and the share of it that is done
LAST_MOMENT = 2.0  # seconds that work gets to notice that the process ends

_all: weakref.WeakSet[Job] = weakref.WeakSet()


class Stopped(Exception):
    """The process ends, and the work with it."""


@dataclass(frozen=True)
class Progress:
    """How far a job is: what it does now, and the share that is done; error: why it failed, for visitors."""

    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    what: str = ""
    share: float = 0.0
    error: str = ""


class Job(Generic[T]):
    """Work that is done once, from the first `start` on. `work` is given a function to tell how far it is."""

    def __init__(self, work: Callable[[Tell], T]) -> None:
        self.progress = Progress()
        self.result: T | None = None
        self._work = work
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, where that has not been done; returns at once."""
        with self._lock:
            if self._thread is None:
                self.progress = Progress("running", "Starting")
                self._thread = threading.Thread(target=self._run, name="background", daemon=True)
                _all.add(self)
                self._thread.start()

    def wait(self, seconds: float | None = None) -> None:
        """Return when it is over, or after so many seconds."""
        if self._thread is not None:
            self._thread.join(seconds)

    def stop(self) -> None:
        """End the work at its next word, without waiting for it."""
        self._stop.set()

    def _tell(self, what: str, share: float) -> None:
        if self._stop.is_set():
            raise Stopped
        self.progress = Progress("running", what, share)

    def _run(self) -> None:
        ended = Progress("failed", error="It broke off by an error, which is in the log of the server.")
        try:
            self.result = self._work(self._tell)
            ended = Progress("done", share=1.0)
        except CpchubError as error:
            ended = Progress("failed", error=str(error))
        except Stopped:
            ended = Progress("failed", error="The server stops.")
        finally:
            self.progress = ended


@atexit.register
def _end_all() -> None:
    """Native code cannot be stopped while the interpreter goes: it is asked to end before."""
    for job in list(_all):
        job.stop()
    for job in list(_all):
        job.wait(LAST_MOMENT)
