"""Whether this process keeps to its answers, as `--quiet` asks: no progress and no remarks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_quiet = False


def is_quiet() -> bool:
    """Whether progress and remarks are left out now."""
    return _quiet


@contextmanager
def quiet(wanted: bool) -> Iterator[None]:
    """Leave progress and remarks out within the block, if that is wanted."""
    global _quiet
    before, _quiet = _quiet, _quiet or wanted
    try:
        yield
    finally:
        _quiet = before


def remark(sentence: str) -> None:
    """Print a sentence beside the answer, kept out of what is piped on; none where `--quiet` is given."""
    if not _quiet:
        print(sentence, file=sys.stderr)
