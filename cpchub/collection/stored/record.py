"""What the copy of a stored collection has, and what its bucket had when it was looked at last: `.copy.json`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cpchub.collection.stored.objects import Stored
from cpchub.common.files import write_json

RECORD = ".copy.json"


@dataclass
class Record:
    """url: of the collection. copy: names this copy among those of other machines. there: the files of the bucket.

    here: name -> the version that the copy has of it, with size and time of the copy's file. Where these have changed
    since, the file was written on this machine.
    """

    url: str
    copy: str = field(default_factory=lambda: uuid.uuid4().hex)
    there: dict[str, Stored] = field(default_factory=dict)
    here: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, url: str) -> Record:
        """The record of a copy; an empty one where there is none that can be read, as all of it can be found again."""
        try:
            found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            there = {str(name): Stored(int(size), str(mark)) for name, (size, mark) in found["there"].items()}
            here = {str(name): (str(mark), int(a), int(b)) for name, (mark, a, b) in found["here"].items()}
            return cls(str(found["url"]), str(found["copy"]), there, here) if found["url"] == url else cls(url)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(url)

    def save(self, folder: Path) -> None:
        """Write it. Raises OutputError or NoSpaceError."""
        write_json(folder / RECORD, {"url": self.url, "copy": self.copy, "there": self.there, "here": self.here})

    def mark(self, name: str) -> str | None:
        """The version of a file in the bucket, None where it has none."""
        return self.there[name].mark if name in self.there else None

    def untouched(self, folder: Path, name: str) -> bool:
        """Whether the copy's file is as it came from the bucket, or went there; also where it never had one."""
        facts = _facts(folder / name)
        return (None if name not in self.here else self.here[name][1:]) == facts

    def in_step(self, folder: Path, name: str) -> bool:
        """Whether the copy has the version of a file that the bucket has."""
        return (
            name in self.there
            and name in self.here
            and self.here[name][0] == self.there[name].mark
            and self.untouched(folder, name)
        )

    def took(self, folder: Path, names: Iterable[str], there: Mapping[str, Stored] | None = None) -> None:
        """Note that the copy's files are those of the bucket."""
        there = self.there if there is None else there
        for name in names:
            facts = _facts(folder / name)
            if facts is not None and name in there:
                self.here[name] = (there[name].mark, *facts)

    def forget(self, name: str) -> None:
        self.here.pop(name, None)


def _facts(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
