"""What commands draw as contact sheets: what a search found, and groups of duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from cpchub.errors import BrokenImageError

if TYPE_CHECKING:
    from cpchub.index import Hit, Index, Item
    from cpchub.index.duplicates import Duplicates

MOST_GROUPS, MOST_TILES = 50, 8  # of duplicates: a sheet is for a look, the table has all


def draw_hits(index: Index, asked: Sequence[Sequence[Path | Item]], answers: Sequence[list[Hit]], out: Path) -> None:
    """A contact sheet with a row for each query: what was asked with, and what was found."""
    from cpchub.media.contact_sheet import Tile, contact_sheet

    rows = []
    for subjects, hits in zip(asked, answers, strict=True):
        images = [
            subject if isinstance(subject, Path) else _image(index, index.row_of(subject.id)) for subject in subjects
        ]
        queries = [Tile(image, "query", highlighted=True) for image in images]
        rows.append([*queries, *(Tile(_image(index, hit.row), f"{hit.score:.3f}") for hit in hits)])
    contact_sheet(rows, out)


def draw_groups(index: Index, found: Duplicates, out: Path) -> bool:
    """A contact sheet with a row for each of the largest groups: what is kept, and beside it its duplicates.

    Returns whether all of them are on it; False where the sheet was too small. Nothing is drawn without a group.
    """
    from cpchub.media.contact_sheet import Tile, contact_sheet

    row_of = {path: row for row, path in enumerate(index.items["path"].to_pylist())}
    groups = [list(lines) for _, lines in groupby(found.table.to_pylist(), key=lambda line: line["group"])]
    rows = []
    for lines in groups[:MOST_GROUPS]:
        captions = [
            "keep" if line["keep"] else line["kind"] if line["similarity"] == 1 else f"{line['similarity']:.4f}"
            for line in lines[:MOST_TILES]
        ]
        images = [_image(index, row_of[line["path"]]) for line in lines[:MOST_TILES]]
        rows.append([Tile(*tile, highlighted=not rest) for rest, tile in enumerate(zip(images, captions, strict=True))])
    if rows:
        contact_sheet(rows, out)
    return len(groups) <= MOST_GROUPS and all(len(lines) <= MOST_TILES for lines in groups)


def _image(index: Index, row: int) -> Path | bytes:
    """The image of a row; no bytes, which is drawn as an empty card, for one that is no longer in its source."""
    try:
        return index.collection.image(row)
    except BrokenImageError:
        return b""
