"""What one run of `embed` did to a collection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """What one run of `embed` did, in images."""

    unchanged: int = 0
    added: int = 0
    renamed: int = 0
    removed: int = 0
    broken: int = 0

    def sentence(self) -> str:
        """A sentence about the counts that are not zero."""
        parts = [f"{self.added:,} embedded"]
        parts += [
            f"{number:,} {what}" for what in ("unchanged", "renamed", "removed") if (number := getattr(self, what))
        ]
        if self.broken:
            parts.append(f"{self.broken:,} could not be read (listed in failures.parquet)")
        return ", ".join(parts)
