"""Folders of images with copies, and the groups of duplicates that are found in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cpchub.embedding.job import embed
from cpchub.index import Index
from cpchub.index.duplicates import Duplicates, find_duplicates
from cpchub.media.rules import Rules
from tests.cpchub.images import TinyEncoder, an_image, save


class MiddleEncoder(TinyEncoder):
    """Sees the square in the middle of an image, as most encoders do."""

    def encode(self, images: Iterable[Image.Image], **options: Any) -> np.ndarray:
        def middle(image: Image.Image) -> Image.Image:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            return image.crop((left, top, left + side, top + side))

        return super().encode([middle(image) for image in images], **options)


def found_in(folder: Path, encoder: TinyEncoder | None = None, **options: Any) -> Duplicates:
    rules = Rules(follow_links=True)
    collection = embed(folder, folder.parent / "out", encoder or TinyEncoder(), progress=False, rules=rules)
    index = Index.build(collection)
    return find_duplicates(index, progress=False, **options)


def groups(found: Duplicates) -> set[frozenset[str]]:
    sets: dict[int, set[str]] = {}
    for row in found.table.to_pylist():
        sets.setdefault(row["group"], set()).add(row["path"])
    return {frozenset(paths) for paths in sets.values()}


def kept(found: Duplicates) -> list[str]:
    return [row["path"] for row in found.table.to_pylist() if row["keep"]]


def shrunk(folder: Path, count: int, name: str = "{:03d}-small.png") -> set[frozenset[str]]:
    """Write a copy of half the size of each of `count` images; the pairs."""
    for number in range(count):
        an_image(number, (48, 40)).resize((24, 20)).save(folder / name.format(number))
    return {frozenset({f"{number:03d}.png", name.format(number)}) for number in range(count)}


def photos(folder: Path, count: int) -> Path:
    for number in range(count):
        save(an_image(number, (48, 40)), folder / f"{number:03d}.png")
    return folder
