"""List the encoded images of a folder, tar shards, Parquet or a list, with their labels."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from cpchub.common.progress import Report, remarks
from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.crop import centre_square
from cpchub.media.damage import TOO_LITTLE_MEMORY, damage_as_failure
from cpchub.media.decode import decode_bytes
from cpchub.media.labels import folder_classes
from cpchub.media.rules import NO_RULES, Rules
from cpchub.media.sources import ListedImage, Listing, Source, open_source


@dataclass(frozen=True)
class Listed:
    """Images by row, not decoded yet; `labels` int64 `[N]` or None.

    by_folders: True if the labels are class folders, False if they come from the source.
    row_groups: of each Parquet file the first rows of its row groups.
    """

    source: Source
    images: tuple[ListedImage, ...]
    labels: Tensor | None
    classes: tuple[str, ...]
    by_folders: bool = False
    row_groups: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, rows: np.ndarray) -> Listed:
        """The images at `rows`, in that order."""
        labels = None if self.labels is None else self.labels[torch.from_numpy(rows)]
        return replace(self, images=tuple(self.images[row] for row in rows), labels=labels)

    def shards(self) -> Tensor | None:
        """The first image of each tar shard or row group, int64 ascending; None for images that are files."""
        places = [image.place for image in self.images if image.place is not None]
        if not places or len(places) < len(self.images):
            return None
        keys = [(file, bisect_right(self.row_groups.get(file, ()), at)) for file, at in places]
        return torch.tensor([row for row, key in enumerate(keys) if row == 0 or key != keys[row - 1]])

    def read(self, row: int) -> bytes:
        """The encoded image. Raises BrokenImageError."""
        try:
            return self.source.read(self.images[row])
        except MemoryError as error:
            raise BrokenImageError(TOO_LITTLE_MEMORY) from error

    def digest(self) -> str:
        """Short sha256 over names, sizes and labels; the pixels are not read for it."""
        h = hashlib.sha256()
        for image in self.images:
            h.update(f"{image.path}\0{image.size}\0{image.etag}\n".encode())
        if self.labels is not None:
            h.update(self.labels.numpy().tobytes())
        return h.hexdigest()[:16]


def listed(name: str, rules: Rules = NO_RULES) -> Listed:
    """The images of the source `name` (anything that `cpchub index` takes), sorted by path; what was passed over is
    told on the terminal.

    Their labels are the source's `label` column where every image has one, else their class folders
    (`cpchub.media.labels.folder_classes`) where there are two or more and every image is in one.
    """
    source = open_source(name, rules=rules)
    with Report("Listing images", None, console=_console()):
        listing = source.listing()
    report_listing(listing)
    images = tuple(listing.images)
    names: list[str] | None = None
    if listing.columns is not None and "label" in listing.columns.column_names:
        column = listing.columns["label"].to_pylist()
        if all(value is not None for value in column):
            names = [str(value) for value in column]
    by_folders = names is None
    if names is None:
        folders = folder_classes([image.path for image in images], source.kind)
        names = [folder for folder in folders if folder is not None]
        if len(names) < len(folders):
            names = None
    classes = tuple(sorted(set(names or ())))
    if names is None or len(classes) < 2:
        return Listed(source, images, None, (), row_groups=listing.row_groups)
    number = {each: i for i, each in enumerate(classes)}
    labels = torch.tensor([number[each] for each in names])
    return Listed(source, images, labels, classes, by_folders, listing.row_groups)


def report_listing(listing: Listing) -> None:
    """Print what a listing passed over and what cannot be read; under `torchrun` only rank 0 prints."""
    notes = list(listing.notes)
    if listing.failures:
        first = listing.failures[0]
        notes.append(f"{len(listing.failures):,} left out, first {first['path']}: {first['reason']}")
    for note in notes:
        _console().print(note, markup=False, highlight=False, soft_wrap=True)


def _console() -> Console:
    """Stderr, which is that of rank 0 alone under `torchrun`."""
    return remarks(os.environ.get("RANK", "0") == "0")


def squares(found: Listed, size: int, copy_of: Callable[[int], bytes] | None = None) -> tuple[Tensor, dict[int, str]]:
    """All images as squares, uint8 `[N, 3, size, size]`, and row -> reason of those that cannot be read.

    copy_of: the bytes of the square of a row, where they may be kept from before.
    """
    images = torch.zeros(len(found), 3, size, size, dtype=torch.uint8)
    broken: dict[int, str] = {}

    def read(row: int) -> None:
        try:
            images[row] = square(found.read(row), size) if copy_of is None else square_of(copy_of(row), size)
        except BrokenImageError as error:
            broken[row] = str(error)

    with (
        Report("Reading the images", len(found), console=_console()) as report,
        ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool,
    ):
        for _ in pool.map(read, range(len(found))):
            report.advance()
    return images, broken


def square_of(pixels: bytes, size: int) -> Tensor:
    """The bytes of a square as uint8 `[3, size, size]`."""
    return torch.from_numpy(np.frombuffer(pixels, np.uint8).reshape(3, size, size).copy())


def square(data: bytes, size: int) -> Tensor:
    """Decode an image to uint8 `[3, size, size]`: RGB, short side scaled to `size`, centre square.

    Raises BrokenImageError. A large JPEG is decoded at a reduced scale.
    """
    if size < 1:
        raise SourceError(f"images cannot be kept at {size} pixels a side; use --stored-size 32 or more")
    with damage_as_failure():
        cut = centre_square(decode_bytes(data, size=size).image, size)
        return torch.from_numpy(np.array(cut)).permute(2, 0, 1)
