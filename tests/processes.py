"""Processes that tests start, and waiting for what they do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

EVERYBODYS = tempfile.gettempdir()  # where other users may look too, as they may not in pytest's own folder
REPOSITORY = Path(__file__).parents[1]
PATIENCE = 300  # seconds until a test is sure that something will not happen; nothing is expected to take as long


def wait_for(look: Callable[[], T | None], missing: str) -> T:
    """Look again and again until there is something (not None, not False), and return it.

    The only use of time: a machine that is slow or busy makes it longer, never wrong.
    """
    until = time.monotonic() + PATIENCE
    while (found := look()) is None or found is False:
        assert time.monotonic() < until, f"{missing}, after {PATIENCE} seconds"
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def at_most(cpu_seconds: float) -> Iterator[None]:
    """Fail what computes for longer; seconds of this process alone, so other programs change nothing. Main thread only.

    For what is never to take quadratic or endless time, with a bound of many times what it takes.
    """

    def end(*_: Any) -> None:
        raise AssertionError(f"more than {cpu_seconds} CPU seconds")

    before, start = signal.signal(signal.SIGPROF, end), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert time.process_time() - start <= cpu_seconds


class Processes:
    """Starts processes in the repository; `end` kills whatever is left of them and of what they have started."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[Any]] = []

    def start(self, *command: object, **options: Any) -> subprocess.Popen[Any]:
        """`subprocess.Popen` with a process group of its own and the repository as its folder."""
        process = subprocess.Popen([*map(str, command)], **{"cwd": REPOSITORY, "start_new_session": True, **options})
        self.started.append(process)
        return process

    def end(self) -> None:
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            process.wait()


@contextlib.contextmanager
def ended_processes() -> Iterator[Processes]:
    processes = Processes()
    try:
        yield processes
    finally:
        processes.end()
