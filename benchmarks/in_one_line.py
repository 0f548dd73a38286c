"""What is wrong with what a benchmark was given is one line and status 2, as on the command line of cpchub."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from cpchub.errors import ArgumentError, CpchubError


def in_one_line(main: Callable[[], None]) -> None:
    """Call `main`; an error of cpchub, or a file that is not there, ends the process with its sentence."""
    try:
        main()
    except CpchubError as error:
        said = str(error)
    except OSError as error:
        said = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    else:
        return
    print(f"error: {said}", file=sys.stderr)
    sys.exit(2)


def known(words: Iterable[str], names: Iterable[str]) -> list[str]:
    """The words, each one of `names`, or all names where there are no words. Raises ArgumentError for any other."""
    words, names = list(words), list(names)
    if unknown := [word for word in words if word not in names]:
        raise ArgumentError(f"{unknown[0]!r} is none of {', '.join(names)}")
    return words or names
