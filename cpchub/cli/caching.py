"""The command `cache`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cpchub.cli.base import Command, Switch, say
from cpchub.common.words import counted, size
from cpchub.errors import ArgumentError


@dataclass(frozen=True)
class Cache(Command):
    """List the converted networks that are kept for the next job on this CPU, or remove them."""

    list: Switch = False
    """print a line a network, which is also what happens without a flag: size, last use, engine, encoder"""
    clear: Switch = False
    """remove them all; what a job needs again is made again"""

    def run(self) -> None:
        from cpchub.encoders.fast.kept_network import kept_networks, name_of

        if self.list and self.clear:
            raise ArgumentError("--list and --clear ask for two things; give one of them")
        cache = kept_networks()
        found = cache.clear() if self.clear else cache.entries()
        total = size(sum(entry.bytes for entry in found))
        if self.clear:
            say(f"removed {counted(len(found), 'network')}, {total}, from {cache.folder}")
            return
        for entry in found:
            used = datetime.fromtimestamp(entry.used).astimezone().isoformat(" ", timespec="minutes")
            print("\t".join((size(entry.bytes), used, *name_of(entry.folder))))
        say(f"{counted(len(found), 'network')}, {total} of at most {size(cache.limit)}, in {cache.folder}")
