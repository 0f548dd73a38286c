"""What looking through a place found: the files that are wanted, and what was passed over, in sentences."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from errno import ELOOP, ENOENT, ENOTDIR

from cpchub.media.rules import Rules
from cpchub.media.sources.base import PATH, StoredFile, as_text, suffix_of

SHOWN = 6  # endings, folders or links that a sentence names
LONGEST = 12  # characters of what is an ending, rather than the rest of a name with a dot
NO_ENDING = "(none)"
GONE = frozenset({ENOENT, ENOTDIR, ELOOP, None})  # of an OSError: there is nothing, rather than no way to it


def no_way_to(error: BaseException) -> bool:
    """Whether an error says that something is there and could not be reached this time (rights, a disk, a server)."""
    return isinstance(error, OSError) and error.errno not in GONE


@dataclass
class Found:
    """Files below a place, sorted by path, and what else is there.

    others: ending -> files of that ending, which nobody looks for. system: name -> folders of systems that were left
    out. excluded: pattern -> files and folders. outside: links that lead out of the place. unlisted: path of a folder
    or file that could not be looked at -> why; nothing is known of it, so what was known before still holds.
    """

    files: list[StoredFile] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    system: Counter[str] = field(default_factory=Counter)
    excluded: Counter[str] = field(default_factory=Counter)
    outside: list[str] = field(default_factory=list)
    unlisted: dict[str, str] = field(default_factory=dict)

    def pass_over(self, name: str) -> None:
        """Count a file whose ending nobody looks for."""
        ending = suffix_of(name).removeprefix(".")
        self.others[ending if 0 < len(ending) <= LONGEST and ending.isalnum() else NO_ENDING] += 1

    def leave_out(self, what: str, *, by_pattern: bool) -> None:
        """Count a file or folder that the rules leave out."""
        (self.excluded if by_pattern else self.system)[what] += 1

    def trouble(self, path: str, what: str, error: OSError) -> None:
        """Remember a folder or file that is there and cannot be looked at; one that is gone is not."""
        if no_way_to(error):
            self.unlisted[path] = f"{what} ({error.strerror or error})"

    def failures(self) -> list[dict[str, str]]:
        """What could not be looked at, as a listing has it."""
        return [{PATH: as_text(path), "reason": reason} for path, reason in sorted(self.unlisted.items())]

    def notes(self, rules: Rules) -> list[str]:
        """A sentence for each kind of thing that was passed over, with the way to take it in."""
        notes = []
        if count := sum(self.others.values()):
            files = "1 file with an ending that is" if count == 1 else f"{count:,} files with endings that are"
            notes.append(f"{files} not read: {_most(self.others)}")
        if count := sum(self.system.values()):
            folders = "1 folder of a system is" if count == 1 else f"{count:,} folders of systems are"
            notes.append(f"{folders} left out: {_most(self.system)}; --include-system takes them in")
        if rules.exclude:
            counts = ", ".join(f"{pattern!r} {self.excluded[pattern]:,}" for pattern in rules.exclude)
            notes.append(f"Files and folders left out by --exclude: {counts}")
        if self.outside:
            one = len(self.outside) == 1
            links, it = ("1 link leads", "it") if one else (f"{len(self.outside):,} links lead", "them")
            names = ", ".join(as_text(path) for path in sorted(self.outside)[:SHOWN])
            more = ", ..." if len(self.outside) > SHOWN else ""
            notes.append(
                f"{links} out of the source and {'was' if one else 'were'} not followed: {names}{more}; --follow-links "
                f"follows {it}"
            )
        if self.unlisted:
            path, reason = min(self.unlisted.items())
            places = "1 place" if len(self.unlisted) == 1 else f"{len(self.unlisted):,} places"
            notes.append(f"{places} could not be looked into, first {as_text(path)}: {reason}")
        return notes


def _most(counts: Counter[str]) -> str:
    """The names with most, each with its number."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = [f"others {sum(count for _, count in ranked[SHOWN:]):,}"] if ranked[SHOWN:] else []
    return ", ".join([*(f"{as_text(name)} {count:,}" for name, count in ranked[:SHOWN]), *more])
