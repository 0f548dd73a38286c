"""Retry calls to a server, with a longer pause each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from socket import gaierror
from typing import TypeVar
from urllib.error import URLError

T = TypeVar("T")

PAUSES = (0.5, 1.0, 2.0)  # seconds before the second, third and fourth try; there is no fifth
# Another try would raise these again: the file is missing, access is denied, memory is full.
HOPELESS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError, MemoryError)


def retry(
    call: Callable[[], T],
    *,
    hopeless: Callable[[Exception], bool] = lambda error: isinstance(error, HOPELESS),
    pauses: Sequence[float] | None = None,
) -> T:
    """Call `call` until it succeeds, and return its result.

    pauses: seconds before each further try (default PAUSES), so there is one try more than pauses. The error of the
    last try is raised. An error for which `hopeless` returns True is raised at once.

    Every other exception is retried, because the errors of the libraries for stores and servers have no common base.
    """
    for pause in PAUSES if pauses is None else pauses:
        try:
            return call()
        except Exception as error:
            if hopeless(error):
                raise
        wait(pause)
    return call()


def nobody_is_there(error: Exception) -> bool:
    """Whether a connection was refused, or the server's name is not known here: offline, as a rule."""
    return isinstance(error, URLError) and isinstance(error.reason, (ConnectionRefusedError, gaierror))


def wait(seconds: float) -> None:
    """Sleep. Tests replace this function, so they do not wait."""
    time.sleep(seconds)
