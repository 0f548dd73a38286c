"""What the tabs of a page share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from cpchub_serving.visit.cleaning import Cleaner
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.label_sets import LabelSets
from cpchub_serving.visit.thumbnails import Thumbnails


@dataclass(frozen=True)
class Context:
    """The collection that a page shows, its small copies, and its label sets; one for all visitors.

    allow_download: whether visitors may have the images themselves, not only their small copies.
    """

    finder: Finder
    thumbnails: Thumbnails
    label_sets: LabelSets
    allow_download: bool = False

    @cached_property
    def cleaner(self) -> Cleaner:
        """The checks of the collection and the marks on it."""
        return Cleaner(self.finder.index)
