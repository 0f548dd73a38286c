"""What the licence of weights means for those who use them, and for what is made of them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import NamedTuple

UNKNOWN = "unknown"
COMMERCIAL = "commercial"
_FREE = re.compile(r"apache-2\.0|mit|bsd(-\d-clause)?|isc|cc0-1\.0|cc-by-\d\.\d|unlicense")  # ask for credit at most
_NOT_COMMERCIAL = re.compile(r"(^|-)nc(-|$)|non-?commercial")


class Parent(NamedTuple):
    """An encoder that another one was made of: fine-tuned, distilled, or trained further."""

    name: str
    license: str


def forbids_commercial_use(license: str) -> bool:
    """Whether it says so in its name: cc-by-nc-4.0, non-commercial."""
    return _NOT_COMMERCIAL.search(license.lower()) is not None


def is_free(license: str) -> bool:
    """Whether it lets anybody use, change and pass on the weights, also under another licence."""
    return _FREE.fullmatch(license.lower()) is not None


def has_license(license: str, wanted: str) -> bool:
    """Whether a licence matches a wildcard; "commercial" is every one that is free for all uses."""
    if wanted.strip().lower() == COMMERCIAL:
        return is_free(license)
    return fnmatch.fnmatchcase(license.lower(), wanted.strip().lower())


def in_words(license: str) -> str:
    """The licence, and what a user has to know of it before the use."""
    if forbids_commercial_use(license):
        return f"{license}, which forbids commercial use"
    if license.lower() in (UNKNOWN, ""):
        return f"{UNKNOWN}; ask its authors before you use it in a product"
    return license


def inherited(own: str, parents: Iterable[Parent]) -> str:
    """The licence of what was made of other encoders: the strictest of theirs, unless all of them leave it open.

    own: what would hold without parents.
    """
    strict = [parent.license or UNKNOWN for parent in parents if not is_free(parent.license)]
    return min(strict, key=_openness, default=own)


def _openness(license: str) -> int:
    return 0 if forbids_commercial_use(license) else 2 if license.lower() == UNKNOWN else 1
