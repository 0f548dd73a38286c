"""Another try, after a pause that doubles, for what a server may do the next time: answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

PAUSES = (0.5, 1.0, 2.0)  # seconds before the second try, the third and the last
# What stays as it is: a file that is not there, a door that is closed, a machine without memory.
HOPELESS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError, MemoryError)


def patiently(
    call: Callable[[], T],
    *,
    hopeless: Callable[[Exception], bool] = lambda error: isinstance(error, HOPELESS),
    pauses: Sequence[float] | None = None,
) -> T:
    """What `call` gives, tried again after each of `pauses` (PAUSES); raises the last error, a `hopeless` one at once.

    Any exception counts: the libraries of stores and servers have errors of their own, of no common kind.
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
    """Sleep; a function of its own, so that a test need not."""
    time.sleep(seconds)
