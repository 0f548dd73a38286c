"""The pictures of a folder, of tar shards, of Parquet or of a list, with their labels, still encoded."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cpchub.errors import BrokenImageError, SourceError
from cpchub.images.crop import centre_square
from cpchub.images.damage import TOO_LITTLE_MEMORY, damage_as_failure
from cpchub.images.decode import decode_bytes
from cpchub.images.sources import Picture, Source, open_source


@dataclass(frozen=True)
class Listed:
    """Pictures by row, of which nothing has been decoded; `labels` int64 `[N]` or None."""

    source: Source
    pictures: tuple[Picture, ...]
    labels: Tensor | None
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def subset(self, rows: np.ndarray) -> Listed:
        """The pictures at `rows`, in that order."""
        labels = None if self.labels is None else self.labels[torch.from_numpy(rows)]
        return replace(self, pictures=tuple(self.pictures[row] for row in rows), labels=labels)

    def read(self, row: int) -> bytes:
        """The encoded picture. Raises BrokenImageError."""
        try:
            return self.source.read(self.pictures[row])
        except MemoryError as error:
            raise BrokenImageError(TOO_LITTLE_MEMORY) from error

    def digest(self) -> str:
        """Short sha256 over names, sizes and labels; the pixels are not read for it."""
        h = hashlib.sha256()
        for picture in self.pictures:
            h.update(f"{picture.path}\0{picture.size}\0{picture.etag}\n".encode())
        if self.labels is not None:
            h.update(self.labels.numpy().tobytes())
        return h.hexdigest()[:16]


def listed(name: str) -> Listed:
    """The pictures of the source `name` (anything that `cpchub index` takes), sorted by path.

    Their labels are the source's `label` column where every picture has one, else the first folder of each path where
    there are two such folders or more and every picture is in one.
    """
    source = open_source(name)
    listing = source.listing()
    pictures = tuple(listing.pictures)
    names: list[str] | None = None
    if listing.columns is not None and "label" in listing.columns.column_names:
        column = listing.columns["label"].to_pylist()
        if all(value is not None for value in column):
            names = [str(value) for value in column]
    if names is None:
        parts = [Path(picture.path).parts for picture in pictures]
        if all(len(each) > 1 for each in parts):
            names = [each[0] for each in parts]
    classes = tuple(sorted(set(names or ())))
    if names is None or len(classes) < 2:
        return Listed(source, pictures, None, ())
    number = {each: i for i, each in enumerate(classes)}
    return Listed(source, pictures, torch.tensor([number[each] for each in names]), classes)


def squares(pictures: Listed, size: int) -> tuple[Tensor, dict[int, str]]:
    """All pictures as squares, uint8 `[N, 3, size, size]`, and row -> reason of those that cannot be read."""
    images = torch.zeros(len(pictures), 3, size, size, dtype=torch.uint8)
    broken: dict[int, str] = {}

    def read(row: int) -> None:
        try:
            images[row] = square(pictures.read(row), size)
        except BrokenImageError as error:
            broken[row] = str(error)

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(read, range(len(pictures))))
    return images, broken


def square(data: bytes, size: int) -> Tensor:
    """An encoded picture as uint8 `[3, size, size]`: short side to `size`, centre square, RGB.

    Raises BrokenImageError. A large JPEG is decoded at a reduced scale.
    """
    if size < 1:
        raise SourceError(f"pictures cannot be kept at {size} pixels a side; use --stored-size 32 or more")
    with damage_as_failure():
        cut = centre_square(decode_bytes(data, size=size).image, size)
        return torch.from_numpy(np.array(cut)).permute(2, 0, 1)
