"""Which files below a place are its images: what a person leaves out, what systems put there, where links may lead.

One object says it for embedding, training, evaluation and the page. The command line shows it, so it imports little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

# Folders that a NAS or an operating system makes beside a person's files: thumbnails, recycle bins, snapshots.
SYSTEM_FOLDERS = frozenset(
    {
        "@eadir", "@tmp", "#recycle", "#snapshot",  # Synology
        "@recycle", "@recently-snapshot",  # QNAP
        "~snapshot",  # NetApp
        "__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder",  # macOS
        "$recycle.bin", "recycler", "recycled", "system volume information", "found.000",  # Windows
    }
)  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """What is taken of a source. Hidden files and folders, whose names begin with a dot, never are."""

    exclude: tuple[str, ...] = ()
    """patterns of the names of files and folders to leave out, or of their paths below the source"""
    include_system: bool = False
    """whether SYSTEM_FOLDERS are taken in"""
    follow_links: bool = False
    """whether links that lead out of the source are followed; those to what is in it are"""

    def pattern_of(self, path: str) -> str | None:
        """The pattern that leaves out this file or folder itself, or None; `path` is the one below the source."""
        name = path.rpartition("/")[2]
        return next((pattern for pattern in self.exclude if _fits(pattern, path, name)), None)

    def is_system(self, name: str) -> bool:
        """Whether a folder of this name is left out as one of a system."""
        return not self.include_system and name.casefold() in SYSTEM_FOLDERS

    def left_out(self, path: str, *, system: bool = True) -> tuple[str, bool] | None:
        """The pattern or the system folder that leaves out a file, and whether it is a pattern; None for one to take.

        The folders that it lies in count as well. system: whether those of systems are looked for.
        """
        parts = path.split("/")
        for depth, name in enumerate(parts, 1):
            if self.exclude and (pattern := self.pattern_of("/".join(parts[:depth]))) is not None:
                return pattern, True
            if system and depth < len(parts) and self.is_system(name):
                return name, False
        return None

    def recorded(self) -> dict[str, Any] | None:
        """As the manifest of a collection keeps it; None for the rules that hold where nothing was said."""
        return None if self == Rules() else {**asdict(self), "exclude": list(self.exclude)}

    @staticmethod
    def from_record(record: Mapping[str, Any] | None) -> Rules:
        """The rules that `recorded` gave."""
        known = record or {}
        return Rules(
            tuple(map(str, known.get("exclude", ()))),
            known.get("include_system") is True,
            known.get("follow_links") is True,
        )


NO_RULES = Rules()


def _fits(pattern: str, path: str, name: str) -> bool:
    """A pattern with a slash is of the path, another of the name; what has brackets is tried as it stands, too."""
    plain = pattern.removeprefix("./").removeprefix("**/").rstrip("/")
    of = path if "/" in plain else name
    plain = plain.removeprefix("/")
    return bool(plain) and (of == plain or fnmatchcase(of, plain))
