"""A label set: classes, labels and images marked as unsure, shared by all visitors who have it open.

Every change is in the files before it is seen. The last writer of an image wins. Another process may have the set open:
its files are read again before each change, so no label of either is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import NamedTuple

from cpchub.errors import LabelError
from cpchub.media.labels import places_of
from cpchub_serving.visit.label_files import Content, LabelFiles, Signature
from cpchub_serving.visit.rows import check_row

UNSURE = ""  # in place of a class: looked at, and left
ANOTHER = "another process"


class Mark(NamedTuple):
    """What is said of an image (a class, UNSURE, or None for nothing), and which visitor said so."""

    said: str | None = None
    by: str = ""


@dataclass(frozen=True)
class Labels:
    """A label set at one moment. labels: row -> class, the newest last; version grows with every change."""

    version: int = 0
    classes: tuple[str, ...] = ()
    labels: dict[int, str] = field(default_factory=dict)
    unsure: frozenset[int] = frozenset()

    def said(self, row: int) -> str | None:
        """The class of an image, UNSURE, or None."""
        return UNSURE if row in self.unsure else self.labels.get(row)

    def counts(self) -> dict[str, int]:
        """Number of labelled images of every class, in the order of the classes."""
        counted = Counter(self.labels.values())
        return {name: counted[name] for name in self.classes}

    @property
    def ready(self) -> bool:
        """Whether two classes have a label, so that the rest can be classified."""
        return len(set(self.labels.values())) >= 2


@dataclass(frozen=True)
class Step:
    """A change: marks row -> (before, after), classes that came, and those that went, with their places."""

    marks: Mapping[int, tuple[Mark, Mark]]
    came: tuple[tuple[int, str], ...] = ()
    went: tuple[tuple[int, str], ...] = ()

    @property
    def changes_something(self) -> bool:
        return bool(self.marks or self.came or self.went)


class LabelSet:
    """The set `name` over the images with these paths. Raises LabelError where its files are anything else."""

    def __init__(self, files: LabelFiles, paths: Sequence[str], location: str = "") -> None:
        self.files = files
        self.paths = paths
        self.location = location
        self.now = Labels()
        self._lock = RLock()
        self._by: dict[int, str] = {}  # who said the last about an image, kept for images that lost their label too
        self._content = Content()
        self._others: dict[str, str] = {}  # labels of images that the collection does not have now; they are kept
        self._read()

    @property
    def name(self) -> str:
        return self.files.name

    def refresh(self) -> Labels:
        """The set as it is now, read again where another process wrote it. Raises LabelError for a damaged file."""
        with self._lock:
            if self.files.signature() != self._signature:
                self._read()
            return self.now

    def change(
        self, by: str, said: Mapping[int, str | None], add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> Step:
        """Say something of images, add classes at the end, remove classes with their labels; one step.

        Raises QueryError for a row that is not there, LabelError for damaged files, OutputError where they cannot be
        written; then nothing has changed.
        """
        said = {check_row(row, len(self.paths)): value for row, value in said.items()}
        gone = set(remove)
        with self._lock, self.files.locked():
            now = self.refresh()
            said = dict.fromkeys((row for row, name in now.labels.items() if name in gone), None) | said
            marks = {row: (self._mark(row), Mark(value, by)) for row, value in said.items() if now.said(row) != value}
            new = [name for name in [*add, *said.values()] if name and name not in now.classes]
            came = tuple(enumerate(dict.fromkeys(new), len(now.classes)))
            went = tuple((place, name) for place, name in enumerate(now.classes) if name in gone)
            return self._apply(Step(marks, came, went))

    def take_back(self, step: Step) -> Step:
        """Go back over a step, as far as nobody has said something else since; the step that was made.

        A class that others have used since stays. Raises as `change` does.
        """
        with self._lock, self.files.locked():
            self.refresh()
            marks = {row: (after, before) for row, (before, after) in step.marks.items() if self._mark(row) == after}
            rows = {row for row in marks if marks[row][1].said != marks[row][0].said}
            kept = {name for row, name in self.now.labels.items() if row not in rows}
            came = tuple((place, name) for place, name in step.went if name not in self.now.classes)
            went = tuple((place, name) for place, name in step.came if name in self.now.classes and name not in kept)
            return self._apply(Step(marks, came, went))

    def _mark(self, row: int) -> Mark:
        return Mark(self.now.said(row), self._by.get(row, ""))

    def _apply(self, step: Step) -> Step:
        if not step.changes_something:
            return step
        now = self.now
        classes = [name for name in now.classes if name not in {name for _, name in step.went}]
        for place, name in sorted(step.came):
            classes.insert(place, name)
        labels, unsure = dict(now.labels), set(now.unsure)
        for row, (_, after) in step.marks.items():
            labels.pop(row, None)  # so that the newest are last
            unsure.discard(row)
            if after.said == UNSURE:
                unsure.add(row)
            elif after.said is not None:
                labels[row] = after.said
                if after.said not in classes:
                    classes.append(after.said)
        changed = replace(now, classes=tuple(classes), labels=labels, unsure=frozenset(unsure))
        content = self._as_content(changed)
        self.files.write(self._content, content)
        self._by.update({row: after.by for row, (_, after) in step.marks.items()})
        self._keep(changed, content)
        return step

    def _read(self) -> None:
        signature = self.files.signature()
        content = self.files.read()
        rows = dict(zip(content.labels, places_of(content.labels, self.paths, self.location), strict=True))
        labels: dict[int, str] = {}
        for path, row in rows.items():
            if row is not None and labels.setdefault(row, content.labels[path]) != content.labels[path]:
                raise LabelError(
                    f"labels/{self.files.csv.name} says {content.labels[path]} and {labels[row]} of {self.paths[row]}, "
                    "under two spellings of its path; keep one"
                )
        self._others = {path: content.labels[path] for path, row in rows.items() if row is None}
        unsure = {row for row in places_of(content.unsure, self.paths, self.location) if row is not None}
        read = replace(self.now, classes=content.classes, labels=labels, unsure=frozenset(unsure - set(labels)))
        for row in {*self.now.labels, *labels, *self.now.unsure, *unsure}:
            if self.now.said(row) != read.said(row):
                self._by[row] = ANOTHER
        self._keep(read, content, signature)

    def _as_content(self, labels: Labels) -> Content:
        named = {self.paths[row]: name for row, name in labels.labels.items()}
        lost = frozenset(self._content.unsure) - {self.paths[row] for row in self.now.unsure}  # of no image here
        return Content(labels.classes, named | self._others, lost | {self.paths[row] for row in labels.unsure})

    def _keep(self, labels: Labels, content: Content, signature: Signature | None = None) -> None:
        self._content = content
        self._signature = signature or self.files.signature()
        self.now = replace(labels, version=self.now.version + 1)
