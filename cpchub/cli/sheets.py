"""What commands draw as contact sheets: what a search found, groups of duplicates, labels in doubt or to be given."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from cpchub.cli.base import check_out
from cpchub.errors import ArgumentError, BrokenImageError

if TYPE_CHECKING:
    from cpchub.collection.collection import Collection
    from cpchub.fewlabels.label_errors import LabelErrors
    from cpchub.index import Hit, Index, Item
    from cpchub.index.duplicates import Duplicates

MOST_GROUPS, MOST_TILES = 50, 8  # of duplicates: a sheet is for a look, the table has all
MOST_ROWS = 50  # of labels in doubt
ACROSS = 6  # images to label, in a row


def check_sheet(show: Path | None, flag: str = "--show") -> None:
    """Raises ArgumentError for a contact sheet, or another image, that is no PNG, and what `check_out` does."""
    check_out(show)
    if show is not None and show.suffix.lower() != ".png":
        raise ArgumentError(f"{show} does not end with .png; {flag} writes a PNG")


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


def draw_label_errors(collection: Collection, found: LabelErrors, out: Path) -> None:
    """A contact sheet with a row for each label in doubt: the image, and the labelled images that are nearest to it."""
    from cpchub.media.contact_sheet import Tile, contact_sheet

    row_of = {path: row for row, path in enumerate(collection.paths)}
    rows = []
    for line in found.table.slice(0, len(found.near)).to_pylist():
        doubt = Tile(_image_of(collection, row_of[line["path"]]), f"{line['label']}? {line['suggested']}", True)
        near = [Tile(_image_of(collection, row), found.labels[row]) for row in found.near[line["path"]]]
        rows.append([doubt, *near])
    contact_sheet(rows, out)


def draw_next(collection: Collection, rows: Sequence[int], out: Path) -> bool:
    """A contact sheet of the images to label, numbered as in the list; returns whether all of them are on it."""
    from cpchub.media.contact_sheet import Tile, contact_sheet

    shown = rows[: ACROSS * MOST_ROWS]
    tiles = [
        Tile(_image_of(collection, row), f"{number}. {collection.paths[row]}") for number, row in enumerate(shown, 1)
    ]
    contact_sheet([tiles[at : at + ACROSS] for at in range(0, len(tiles), ACROSS)], out, first_apart=False)
    return len(shown) == len(rows)


def _image(index: Index, row: int) -> Path | bytes:
    return _image_of(index.collection, row)


def _image_of(collection: Collection, row: int) -> Path | bytes:
    """The image of a row; no bytes, which is drawn as an empty card, for one that is no longer in its source."""
    try:
        return collection.image(row)
    except BrokenImageError:
        return b""
