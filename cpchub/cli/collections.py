"""The command `info`."""

from __future__ import annotations

from dataclasses import dataclass

from cpchub.cli.base import CollectionFolder, Command


@dataclass(frozen=True)
class Info(Command):
    """Tell what is in a collection: images, encoder, index, what could not be read and why, size on disk."""

    collection: CollectionFolder

    def run(self) -> None:
        from cpchub.cli import tables
        from cpchub.collection.collection import Collection
        from cpchub.index.info import info_of

        tables.info(info_of(Collection.open(self.collection)))
