"""Words around numbers."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """1 group, 2 groups, 1,000 groups."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
