"""Tab-separated output. Control characters in file names are escaped."""

from __future__ import annotations

import re

SHORT = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
LONG = {escaped: character for character, escaped in SHORT.items()}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")  # tabs and line ends, and what a terminal would obey
ESCAPED = re.compile(r"\\(?:[\\tnr]|x[0-9a-f]{2})")


def line(*columns: str) -> str:
    """The columns as one line. A backslash or a control character in them is escaped, as Python writes it."""
    return "\t".join(
        CONTROL.sub(lambda found: SHORT.get(found[0]) or f"\\x{ord(found[0]):02x}", column) for column in columns
    )


def read_column(text: str) -> str:
    """A column of such a line, as it was before it was escaped."""
    return ESCAPED.sub(lambda found: LONG.get(found[0]) or chr(int(found[0][2:], 16)), text)
