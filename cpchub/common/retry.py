"""Retry calls to a server, with a pause that doubles."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

PAUSES = (0.5, 1.0, 2.0)  # seconds before the second try, the third and the last
# Errors that another try cannot change: a missing file, a refused access, no memory.
HOPELESS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError, MemoryError)


def retry(
    call: Callable[[], T],
    *,
    hopeless: Callable[[Exception], bool] = lambda error: isinstance(error, HOPELESS),
    pauses: Sequence[float] | None = None,
) -> T:
    """The result of `call`, retried after each of `pauses` (default PAUSES). Raises the last error; a `hopeless` error
    is raised at once.

    Any exception counts, because the libraries of stores and servers have errors without a common base.
    """
    for pause in PAUSES if pauses is None else pauses:
        try:
            return call()
        except Exception as error:
            if hopeless(error):
                raise
        wait(pause)
    return call()


def wait(seconds: float) -> None:
    """Sleep. Tests replace this function, so that they need not wait."""
    time.sleep(seconds)
