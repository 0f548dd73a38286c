"""The seeds of repeated draws, which are checked before torch is imported."""

from __future__ import annotations

from collections.abc import Sequence

from cpchub.errors import ArgumentError


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise `ArgumentError` for no seeds, negative seeds, and a seed that is given twice: it would make the spread too
    small."""
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ArgumentError(f"seeds {list(seeds)} cannot be used: give one or more, each 0 or above, and each once")
