"""A part of a job, such as 3/8: machines that know nothing of each other embed one each, and `merge` joins them.

A part is whole shards of the listing, so that the parts together have the shards of a single run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cpchub.errors import ArgumentError
from cpchub.media.sources.base import ListedImage, Listing


@dataclass(frozen=True)
class Part:
    """The `number`-th of `count` parts of a listing, from 1 on."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """The part that "3/8" means. Raises ArgumentError."""
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ArgumentError(f"part {text!r}: write it as 1/8, 2/8, ... 8/8: which part, and of how many")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, listing: Listing, shard: int) -> Listing:
        """The listing with the images of this part: whole shards of `shard` images, none where there are too few."""
        shards = -(-len(listing.images) // shard)
        first, last = (shard * (shards * place // self.count) for place in (self.number - 1, self.number))
        return replace(listing, images=listing.images[first:last])

    def record(self, images: Sequence[ListedImage]) -> dict[str, Any]:
        """For the manifest; the parts of one listing have the same but for the number. images: the whole listing."""
        paths = hashlib.sha256("\n".join(image.path for image in images).encode(errors="surrogateescape"))
        return {"number": self.number, "count": self.count, "images": len(images), "listing": paths.hexdigest()}
