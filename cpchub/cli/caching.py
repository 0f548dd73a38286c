"""The command `cache`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cpchub.cli.base import Command, Switch, say
from cpchub.common.kept import Kept, kept_images
from cpchub.common.words import counted, size
from cpchub.errors import ArgumentError


@dataclass(frozen=True)
class Cache(Command):
    """List what is kept for the next job (converted networks, smaller copies of training images), or remove it."""

    list: Switch = False
    """print a line a network or set of images, which is also what happens without a flag: size, last use, engine or
    kind of copy, encoder or source of the images"""
    clear: Switch = False
    """remove them all; what a job needs again is made again"""

    def run(self) -> None:
        from cpchub.encoders.fast.kept_network import kept_networks, name_of

        if self.list and self.clear:
            raise ArgumentError("--list and --clear ask for two things; give one of them")
        networks = kept_networks()
        self._one(networks, "network", name_of, f"of at most {size(networks.limit)}, ")
        self._one(kept_images(), "set", _set_of_images, "of smaller copies of images, ")

    def _one(self, cache: Kept, what: str, name_of: Callable[[Path], tuple[str, str]], more: str) -> None:
        """List or clear one of the caches."""
        found = cache.clear() if self.clear else cache.entries()
        total = size(sum(entry.bytes for entry in found))
        if self.clear:
            say(f"removed {counted(len(found), what)}, {total}, from {cache.folder}")
            return
        for entry in found:
            used = datetime.fromtimestamp(entry.used).astimezone().isoformat(" ", timespec="minutes")
            print("\t".join((size(entry.bytes), used, *name_of(entry.folder))))
        say(f"{counted(len(found), what)}, {total} {more}in {cache.folder}")


def _set_of_images(folder: Path) -> tuple[str, str]:
    """The kind of copies and the source of an entry, for people; of one that is damaged, that it is."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        return str(about["copy"]), str(about["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged", folder.name
