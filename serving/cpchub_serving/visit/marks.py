"""What visitors say of images that may go: kept in the collection as `marks.csv`, shared by all visitors.

    marks.csv    path,mark,reason; mark is "remove" or "keep"

Nothing is ever deleted. Every change is in the file before it is seen; another process may have the collection open, so
the file is read again before each change.
"""

from __future__ import annotations

import csv
import io
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Final, Literal, NamedTuple, cast

from cpchub.common.files import locked, replacing, writing
from cpchub.errors import CollectionError, NoSpaceError, OutputError
from cpchub_serving.visit.label_files import IN_BUCKET

FILE, LOCK = "marks.csv", ".marks.lock"
COLUMNS = ["path", "mark", "reason"]
UNDO_DEPTH = 200  # steps of all visitors together
Say = Literal["remove", "keep"]
REMOVE: Final = "remove"
KEEP: Final = "keep"


class Mark(NamedTuple):
    """What was said of an image, and of what it was found guilty."""

    say: Say
    reason: str = ""


class Marks:
    """The marks of one collection, by path. Raises CollectionError where `marks.csv` is anything else.

    saved: as for `LabelFiles`.
    """

    def __init__(self, folder: Path, *, saved: bool = True) -> None:
        self.folder = folder
        self.saved = saved
        self._lock = RLock()
        self._marks: dict[str, Mark] = {}
        self._signature: object = None
        self._steps: OrderedDict[int, dict[str, tuple[Mark | None, Mark | None]]] = OrderedDict()
        self._next = 0

    def now(self) -> Mapping[str, Mark]:
        """All marks, read again where another process has written them."""
        with self._lock:
            if self._facts() != self._signature:
                self._marks, self._signature = self._read(), self._facts()
            return self._marks

    def change(self, said: Mapping[str, Mark | None]) -> int:
        """Mark images, or with None take their marks away; one write for all. Returns the number of the step, to undo.

        Raises OutputError or NoSpaceError where it cannot be written; then nothing has changed.
        """
        with self._lock, self._alone():
            now = self.now()
            step = {path: (now.get(path), mark) for path, mark in said.items()}
            self._write(said)
            self._steps[self._next] = step
            self._next += 1
            if len(self._steps) > UNDO_DEPTH:
                self._steps.popitem(last=False)
            return self._next - 1

    def undo(self, step: int) -> bool:
        """Take a step back, as far as nobody has said something else since; False where it is too long ago."""
        with self._lock, self._alone():
            changed, now = self._steps.pop(step, None), self.now()
            if changed is None:
                return False
            self._write({path: before for path, (before, after) in changed.items() if now.get(path) == after})
            return True

    def _write(self, said: Mapping[str, Mark | None]) -> None:
        marks = {**self._marks, **{path: mark for path, mark in said.items() if mark is not None}}
        marks = {path: mark for path, mark in marks.items() if said.get(path, mark) is not None}
        with replacing(self.folder / FILE) as partial:
            partial.write_bytes(as_csv(marks).encode("utf-8", "surrogateescape"))
        self._marks, self._signature = marks, self._facts()

    def _read(self) -> dict[str, Mark]:
        path = self.folder / FILE
        if not path.exists():
            return {}
        try:
            text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
            lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
        except (OSError, csv.Error) as error:
            why = f"{FILE} cannot be read ({error}); mend it, or move it out of the collection"
            raise CollectionError(why) from error
        if not lines or lines[0] != COLUMNS:
            found = ", ".join(lines[0]) if lines else "none"
            raise CollectionError(
                f"{FILE} has the columns {found}, not path,mark,reason; move it out of the collection"
            )
        wrong = next((line for line in lines[1:] if len(line) != 3 or line[1] not in (REMOVE, KEEP)), None)
        if wrong is not None:
            line = ",".join(wrong)
            raise CollectionError(f"{FILE} has the line {line!r}; a path, remove or keep, and a reason are needed")
        return {path: Mark(cast(Say, say), reason) for path, say, reason in lines[1:]}

    def _facts(self) -> object:
        try:
            found = (self.folder / FILE).stat()
        except FileNotFoundError:
            return ()
        return found.st_ino, found.st_size, found.st_mtime_ns

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the marks against other processes for the time of one change.

        An error of writing is said as a visitor may read it: without a place on this machine.
        """
        if not self.saved:
            raise OutputError(f"the mark was not saved: {IN_BUCKET}")
        try:
            with writing(self.folder / FILE):
                handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                with writing(self.folder / FILE):
                    locked(handle, wait=True)
                yield
            finally:
                os.close(handle)
        except NoSpaceError as error:
            raise NoSpaceError("the disk is full, so the mark was not saved: make room") from error
        except OutputError as error:
            why = getattr(error.__cause__, "strerror", None) or "the folder of the collection cannot be written"
            raise OutputError(f"the mark was not saved: {why}") from error


def as_csv(marks: Mapping[str, Mark]) -> str:
    """The marks as a table, in the order of their paths."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([path, *marks[path]] for path in sorted(marks))
    return text.getvalue()
