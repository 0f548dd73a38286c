"""What label.js sends: which images, and what is said of them."""

from __future__ import annotations

import json
from typing import Any

from cpchub.errors import QueryError


def read_message(text: str) -> tuple[int, list[int], Any]:
    """The number of a message, its rows, and a class, UNSURE, None for "nothing", or ... where none was sent.

    Raises QueryError for anything else.
    """
    try:
        found = json.loads(text)
        number, rows, said = found["number"], found["rows"], found.get("said", ...)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise QueryError(f"The page sent {text[:80]!r}, which asks for nothing known; reload it.") from error
    whole = type(number) is int and isinstance(rows, list) and rows and all(type(row) is int for row in rows)
    if not whole or not (said is ... or said is None or isinstance(said, str)):
        raise QueryError(f"The page sent {text[:80]!r}, which asks for nothing known; reload it.")
    return number, rows, said
