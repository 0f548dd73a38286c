"""Plurals: numbers with their nouns."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """A number with its noun: 1 group, 2 groups, 1,000 groups."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
