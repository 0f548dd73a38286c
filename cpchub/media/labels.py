"""What a person says about the images of a source: labels from class folders, or from a CSV beside it.

The file is read and compared with the images before any work begins, by the same rules for every command.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from os.path import realpath
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pyarrow as pa

from cpchub.common.csv_table import CsvTable, read_csv
from cpchub.common.files import expanded
from cpchub.common.words import counted
from cpchub.errors import LabelError
from cpchub.media.sources.base import PATH
from cpchub.media.sources.columns import LABEL, user_columns

FOLDERS = "folders"
KNOWN = (PATH, LABEL)
WHAT = "a CSV of labels"
TRAIN = ("train", "training")  # names of the parts of a data set, which are no classes
TEST = ("test", "testing", "val", "valid", "validation", "dev", "eval")
NO_FOLDERS = frozenset({"parquet", "datasets"})  # kinds of source whose images are rows
SHOWN = 3  # classes that a sentence names


def folder_classes(paths: Sequence[str], kind: str) -> list[str | None]:
    """The class of each image by the first folder that it lies in; None for one in no folder, or in a part only.

    kind: that of the source. A tar shard is no folder, but there are some in it; the rows of a table lie in none, and
    nor does a URL. Folders named for the parts of a data set (`train/`, `test/`) are looked through, and so is one that
    everything in tar shards or in a list lies in.
    """
    if kind in NO_FOLDERS:
        return [None] * len(paths)
    folders = [_folders(path, kind) for path in paths]
    if kind in ("tar", "list"):
        while folders and len({each[:1] for each in folders}) == 1 and all(len(each) > 1 for each in folders):
            folders = [each[1:] for each in folders]
    first = {each[0].casefold() for each in folders if each}
    if first and (first <= {*TRAIN, *TEST} or (first & set(TRAIN) and first & set(TEST))):
        folders = [each[1:] for each in folders]
    return [each[0] if each else None for each in folders]


def _folders(path: str, kind: str) -> tuple[str, ...]:
    if kind == "list" and "://" in path:
        return ()
    parts = PurePosixPath(path).parts[:-1]
    if kind == "tar":
        shard = next((place for place, part in enumerate(parts) if part.lower().endswith(".tar")), -1)
        parts = parts[shard + 1 :]
    return tuple(part for part in parts if part not in ("/", ".", ".."))


@dataclass(frozen=True)
class Labels:
    """Labels that were asked for. recorded: as the manifest keeps it. table: the CSV, read; None for class folders."""

    recorded: str
    table: CsvTable | None = None

    def sentence(self, paths: Sequence[str], kind: str, location: str) -> str:
        """What they say about the images of a source, in a sentence. Raises LabelError where that is nothing."""
        if self.table is None:
            return _classes_found(folder_classes(paths, kind), kind, location)
        rows = self._rows(paths, location)
        misfits = [place for place in range(len(self.table.rows)) if place not in rows]
        if not rows:
            raise LabelError(
                f"no path in {self.recorded} is one of the collection: {self._named(0)} against {paths[0]!r}, for "
                f"example. Paths are those below {location}"
            )
        fit = f"{len(rows):,} of {len(self.table.rows):,} lines of {self.recorded} fit an image"
        if not misfits:
            return fit
        return (
            f"{fit}; of the other {len(misfits):,} one is {self._named(misfits[0])}. Paths are those below {location}, "
            f"such as {paths[0]!r}"
        )

    def columns(self, paths: Sequence[str], kind: str, location: str) -> pa.Table:
        """What is said about each of the paths that anything is said about: `path` first, then the columns."""
        if self.table is None:
            return pa.table({PATH: list(paths), LABEL: pa.array(folder_classes(paths, kind), pa.string())})
        rows = self._rows(paths, location)
        table = self._typed.take(pa.array(list(rows), pa.int64()))
        return user_columns([paths[row] for row in rows.values()], table)

    @cached_property
    def _typed(self) -> pa.Table:
        return pa.table({}) if self.table is None else self.table.typed(KNOWN).drop([PATH])

    def _named(self, place: int) -> str:
        """A line of the file with its path, for a message."""
        if self.table is None:
            return FOLDERS
        return f"line {self.table.lines[place]}, {self.table.column(PATH)[place]!r}"

    def _rows(self, paths: Sequence[str], location: str) -> dict[int, int]:
        """Row of the table -> place in `paths`, one an image. Raises LabelError where two rows differ on one."""
        if self.table is None:
            return {}
        of_image: dict[int, int] = {}
        for row, place in enumerate(places_of(self.table.column(PATH), paths, location)):
            if place is None or of_image.setdefault(place, row) == row:
                continue
            first = of_image[place]
            if _without(self.table, row) != _without(self.table, first):
                raise LabelError(
                    f"{self.recorded} has {paths[place]} on more than one line ({self.table.lines[first]} and "
                    f"{self.table.lines[row]}) with different words; give each image one"
                )
        return {row: place for place, row in of_image.items()}


def read_labels_of(labels: str | Path | None) -> Labels | None:
    """The labels that were asked for, read: "folders", or a CSV with the column `path`.

    Raises LabelError where the file is not there or cannot be used, saying why.
    """
    if labels is None:
        return None
    if labels == FOLDERS:
        return Labels(FOLDERS)
    file = expanded(labels)
    if not file.is_file():
        raise LabelError(
            f"labels={str(labels)!r} is not a file: give a CSV with the columns path,label, or {FOLDERS!r} to take "
            "labels from class folders"
        )
    table = read_csv(file, KNOWN, LabelError, WHAT)
    if PATH not in table.columns:
        raise LabelError(
            f"{file} has no column named {PATH} (its columns: {', '.join(table.columns) or 'none'}); its first line "
            f"names the columns, for example {PATH},{LABEL}"
        )
    if not table.rows:
        raise LabelError(f"{file} has no lines below the names of its columns; write one for each image")
    if len(table.columns) == 1:
        raise LabelError(f"{file} has the column {PATH} only; add one that says something, such as {LABEL}")
    check_paths(table)
    return Labels(str(file.resolve()), table)


def check_paths(table: CsvTable) -> None:
    """Raises LabelError for a line without a path."""
    for path, line in zip(table.column(PATH), table.lines, strict=True):
        if not path:
            raise LabelError(f"{table.file}, line {line} has no {PATH}; name its image there, or delete the line")


def places_of(named: Iterable[str], paths: Sequence[str], location: str) -> Iterator[int | None]:
    """For each path that a person wrote, its place among the images' paths; None for one that fits no image.

    It may be written as the collection has it, or as the file's or the store's own (`/photos/cat/1.jpg`), with `./`,
    with backslashes, and with letters composed or not.
    """
    named = list(named)
    asked = set(named)
    exact = {path: place for place, path in enumerate(paths) if path in asked} if asked else {}
    # Most files are written by programs and need no second look.
    spellings = {path: list(_spellings(path, location)) for path in asked - exact.keys()}
    written = {each for several in spellings.values() for each in several}
    plain = {_plain(each) for each in written}
    alike: dict[str, int] = {}
    for place, path in enumerate(paths if written else ()):
        if path in written:
            exact[path] = place
        if (as_all_agree := _plain(path)) in plain:
            alike[as_all_agree] = place
    for path in named:
        tried = (exact.get(each, alike.get(_plain(each))) for each in spellings.get(path, (path,)))
        yield next((place for place in tried if place is not None), None)


def _spellings(path: str, location: str) -> Iterator[str]:
    slashed = path.replace("\\", "/")
    for written in dict.fromkeys((path, slashed)):
        yield written
        address = unquote(written[len("file://") :]) if written.startswith("file://") else written
        root = location.rstrip("/") + "/"
        if "://" not in address:
            address = posixpath.normpath(address)
        if address.startswith(root):
            yield address[len(root) :]
        elif Path(address).is_absolute() and "\0" not in address and (real := realpath(address)).startswith(root):
            yield real[len(root) :]


def _plain(path: str) -> str:
    """A path as all ways to write it agree."""
    return unicodedata.normalize("NFC", path if "://" in path else posixpath.normpath(path))


def _without(table: CsvTable, row: int) -> list[str]:
    """The fields of a row but the path."""
    return [field for name, field in zip(table.columns, table.rows[row], strict=True) if name != PATH]


def _classes_found(labels: Sequence[str | None], kind: str, location: str) -> str:
    classes = sorted({label for label in labels if label is not None})
    if not classes:
        why = "its images are rows of tables" if kind in NO_FOLDERS else "a class folder is one such as cat/ in it"
        raise LabelError(
            f"labels={FOLDERS!r}: no image of {location} lies in a class folder ({why}); give a CSV with the columns "
            "path,label, or leave the labels away"
        )
    labelled = sum(label is not None for label in labels)
    names = ", ".join(classes[:SHOWN]) + (", ..." if len(classes) > SHOWN else "")
    word = "class" if len(classes) == 1 else "classes"
    whose = "all images" if labelled == len(labels) else f"{labelled:,} of {counted(len(labels), 'image')}"
    return f"{len(classes):,} {word} by folders ({names}), of {whose}"
