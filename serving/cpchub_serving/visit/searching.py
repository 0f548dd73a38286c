"""What one visitor searches with."""

from __future__ import annotations

from dataclasses import dataclass, field

Query = int | str  # a row of the collection, or the path of an uploaded image


@dataclass(eq=False)
class Searching:
    """The queries of one visitor, the last one shown, and how much of the answer and of the collection is shown."""

    trail: list[Query] = field(default_factory=list)
    neighbours: int = 24
    browse_page: int = 0
