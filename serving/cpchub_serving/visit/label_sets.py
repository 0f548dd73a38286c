"""The label sets of a collection, in its folder `labels/`; each is opened once and shared by all visitors."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Lock

from cpchub.collection.collection import Collection
from cpchub.common.columns import Texts
from cpchub.errors import LabelError
from cpchub_serving.visit.label_files import LabelFiles
from cpchub_serving.visit.label_set import LabelSet
from cpchub_serving.visit.learned import Learned

FOLDER = "labels"
FIRST = "default"  # what a visitor opens who has not chosen
NAME = re.compile(r"\w[\w .-]{0,58}\w|\w")  # no place in it, no hidden file, no space at its ends


class LabelSets:
    """Opens sets by name, with what was learned from each."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.folder: Path = collection.folder / FOLDER
        self._open: dict[str, tuple[LabelSet, Learned]] = {}
        self._lock = Lock()

    def names(self) -> list[str]:
        """The sets there are, in alphabetical order, and the first one."""
        found = {path.stem for end in ("csv", "json") for path in self.folder.glob(f"*.{end}") if path.is_file()}
        return sorted({FIRST, *filter(NAME.fullmatch, found)}, key=str.casefold)

    def open(self, name: str) -> LabelSet:
        """The set of this name, a new one where there is none; it has files once something is in it.

        Raises LabelError for a name that is none, and for damaged files.
        """
        return self._opened(name)[0]

    def learned(self, name: str) -> Learned:
        """What follows from the labels of a set; raises as `open` does."""
        return self._opened(name)[1]

    def _opened(self, name: str) -> tuple[LabelSet, Learned]:
        if not NAME.fullmatch(name):
            raise LabelError(
                f"{name!r} cannot name a label set: letters, digits, spaces, points and hyphens make a name, 60 at most"
            )
        with self._lock:
            if name not in self._open:
                alike = {known.casefold(): known for known in [*self.names(), *self._open]}
                if (known := alike.get(name.casefold(), name)) != name:
                    raise LabelError(f"there is the label set {known!r} already, which differs in capital letters only")
                files = LabelFiles(self.folder, name, saved=self.collection.stored is None)
                labels = LabelSet(files, Texts(self.collection.mapped_items["path"]), self.collection.location)
                self._open[name] = labels, Learned()
            return self._open[name]
