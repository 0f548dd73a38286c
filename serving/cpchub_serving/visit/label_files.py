"""The files of a label set: labels as a CSV that `cpchub classify --labels` reads, and what a CSV has no place for.

labels/NAME.csv    the columns path,label
labels/NAME.json   the classes in their order, those without a label too, and the images marked as unsure

A killed process leaves the state before a change or after it. The JSON file is written first with all that either state
has, then the CSV, then the JSON file without what went; a label counts before a mark as unsure.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpchub.common.files import locked, replacing, write_json
from cpchub.errors import LabelError, NoSpaceError, OutputError

FORMAT = 1
COLUMNS = ["path", "label"]
IN_BUCKET = (
    "the collection is in a bucket, where the page writes nothing. Whoever serves this page can copy it to a folder, "
    "and serve that"
)
Signature = tuple[tuple[int, int, int] | None, ...]  # of both files; another one means that somebody wrote them


@dataclass(frozen=True)
class Content:
    """What the files say. labels: path -> class. unsure: paths of images that were looked at and left."""

    classes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()


class LabelFiles:
    """The two files of the set `name` in a folder, which is made with the first change.

    saved: whether changes can be saved; a collection in a bucket has a copy here, which is not the place for them.
    """

    def __init__(self, folder: Path, name: str, *, saved: bool = True) -> None:
        self.folder = folder
        self.saved = saved
        self.name = name
        self.csv = folder / f"{name}.csv"
        self.json = folder / f"{name}.json"

    def signature(self) -> Signature:
        """What tells the files from those before a change, whoever made it."""
        return tuple(_facts(path) for path in (self.csv, self.json))

    def read(self) -> Content:
        """The set; an empty one where there are no files. Raises LabelError for files that are anything else."""
        labels = self._read_csv() if self.csv.exists() else {}
        classes, unsure = self._read_json() if self.json.exists() else ([], [])
        return Content(tuple(dict.fromkeys([*classes, *labels.values()])), labels, frozenset(unsure) - set(labels))

    def write(self, before: Content, after: Content) -> None:
        """Replace what `read` gave by another content, on the disk when this returns.

        Raises OutputError or NoSpaceError where it cannot be written; then one of both states is in the files.
        """
        with self._in_words():
            both = (dict.fromkeys([*after.classes, *before.classes]), after.unsure | before.unsure)
            if both != (dict.fromkeys(before.classes), before.unsure):
                self._write_json(list(both[0]), both[1])
            if after.labels != before.labels:
                self._write_csv(after.labels)
            if (list(after.classes), after.unsure) != (list(both[0]), both[1]):
                self._write_json(list(after.classes), after.unsure)
            _sync(self.folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the set against other processes for the time of one change; on a file system without locks nothing.

        Raises OutputError where changes cannot be saved.
        """
        if not self.saved:
            raise OutputError(f"the label set {self.name} was not saved: {IN_BUCKET}")
        with self._in_words():
            self.folder.mkdir(exist_ok=True)
            handle = os.open(self.folder / f".{self.name}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with self._in_words():
                locked(handle, wait=True)
            yield
        finally:
            os.close(handle)

    def _read_csv(self) -> dict[str, str]:
        where = f"labels/{self.csv.name}"
        try:
            text = self.csv.read_bytes().decode("utf-8-sig", "surrogateescape")
            reader = csv.reader(io.StringIO(text, newline=""), strict=True)
            lines = [(line, reader.line_num) for line in reader if line]
        except (OSError, csv.Error) as error:
            raise LabelError(
                f"{where} cannot be read ({error}); mend the file, or move it out of the folder"
            ) from error
        if not lines or lines[0][0] != COLUMNS:
            found = ", ".join(lines[0][0]) if lines else "none"
            raise LabelError(
                f"{where} has the columns {found}; a label set has path,label and no other. Move the file out of the "
                "folder and import it, which takes any CSV of labels"
            )
        labels: dict[str, str] = {}
        for line, number in lines[1:]:
            if len(line) != 2 or not all(line):
                raise LabelError(f"{where}, line {number}: a path and a label are needed; mend or delete the line")
            path, label = line
            if labels.setdefault(path, label) != label:
                raise LabelError(f"{where}, line {number}: {path} is {label} here and {labels[path]} above; keep one")
        return labels

    def _read_json(self) -> tuple[list[str], list[str]]:
        where = f"labels/{self.json.name}"
        try:
            found = json.loads(self.json.read_text(encoding="utf-8"))
            version, classes, unsure = found["format"], found["classes"], found["unsure"]
            if type(version) is not int or not all(_are_texts(each) for each in (classes, unsure)):
                raise TypeError("its values are not those of a label set")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LabelError(
                f"{where} cannot be read ({error}); mend the file, or move it out of the folder"
            ) from error
        if version > FORMAT:
            raise LabelError(f"{where} has format {version}, this cpchub reads up to {FORMAT}; upgrade cpchub")
        return classes, unsure

    def _write_csv(self, labels: Mapping[str, str]) -> None:
        with (
            replacing(self.csv) as partial,
            partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *labels.items()])

    def _write_json(self, classes: list[str], unsure: frozenset[str]) -> None:
        write_json(self.json, {"format": FORMAT, "classes": classes, "unsure": sorted(unsure)})

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Errors of writing as a visitor may read them: without a place on this machine."""
        try:
            yield
        except NoSpaceError as error:
            raise NoSpaceError(f"the disk is full, so the label set {self.name} was not saved: make room") from error
        except (OutputError, OSError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            why = getattr(cause, "strerror", None) or "it cannot be written"
            raise OutputError(f"the label set {self.name} was not saved: {why}") from error


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each for each in value)


def _facts(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _sync(folder: Path) -> None:
    """The names of new files on the disk too, so that a change outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
