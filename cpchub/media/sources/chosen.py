"""A source as the rules let it be seen, and which of its layouts is taken where a place holds several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cpchub.errors import SourceError
from cpchub.media.rules import Rules
from cpchub.media.sources.base import IMAGE_SUFFIXES, ListedImage, Listing, Source, StoredFile, as_text, suffix_of
from cpchub.media.sources.folder import FolderSource
from cpchub.media.sources.found import Found
from cpchub.media.sources.parquet import PARQUET_SUFFIXES, ParquetSource
from cpchub.media.sources.storage import Storage
from cpchub.media.sources.tar import TAR_SUFFIXES, TarSource

FOLDER, TAR, PARQUET = "folder", "tar", "parquet"
SUFFIXES = {FOLDER: IMAGE_SUFFIXES, TAR: TAR_SUFFIXES, PARQUET: PARQUET_SUFFIXES}
CALLED = {FOLDER: "image file", TAR: "tar file", PARQUET: "Parquet file"}


class Chosen:
    """A source without what the rules leave out; its listing says what was passed over.

    found: what looking through the place told; listing: that of the source, where it is known already.
    """

    def __init__(
        self,
        source: Source,
        rules: Rules,
        found: Found | None = None,
        notes: tuple[str, ...] = (),
        listing: Listing | None = None,
    ) -> None:
        self.source, self.rules, self.found, self.notes = source, rules, found, notes
        self.kind = source.kind
        self._listing = listing

    @property
    def location(self) -> str:
        return self.source.location

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "found": None, "_listing": None}  # other processes read, and do not list

    def listing(self) -> Listing:
        found = self.found or Found()
        try:
            known, self._listing = self._listing, None  # once: it may change from now on, and it can be long
            listing = self._taken(known or self.source.listing(), found)
        except SourceError as error:
            told = ". ".join([str(error), *self.notes, *found.notes(self.rules)])
            raise SourceError(told) from error
        return replace(
            listing,
            failures=[*listing.failures, *found.failures()],
            unlisted=(*listing.unlisted, *found.unlisted),
            notes=(*self.notes, *found.notes(self.rules)),
        )

    def read(self, image: ListedImage) -> bytes:
        return self.source.read(image)

    def _taken(self, listing: Listing, found: Found) -> Listing:
        """The listing without what the rules leave out; of a folder they were followed while it was looked through."""
        if self.kind == FOLDER or not (self.rules.exclude or self.kind == TAR):
            return listing
        mask = []
        for image in listing.images:
            left_out = self.rules.left_out(image.path, system=self.kind == TAR)
            mask.append(left_out is None)
            if left_out is not None:
                found.leave_out(left_out[0], by_pattern=left_out[1])
        if all(mask):
            return listing
        if not any(mask):
            raise SourceError(f"the rules leave no image of {self.location}")
        images = [image for image, taken in zip(listing.images, mask, strict=True) if taken]
        columns = None if listing.columns is None else listing.columns.filter(mask)
        return replace(listing, images=images, columns=columns)


def by_content(storage: Storage, rules: Rules, kind: str | None = None) -> Chosen:
    """A place as what most of its images are: files, those in tar shards, or the rows of Parquet files.

    kind: what it was taken for before; it stays that for as long as there is any of it.
    """
    found = storage.files(frozenset().union(*SUFFIXES.values()))
    files = {each: [file for file in found.files if suffix_of(file.path) in SUFFIXES[each]] for each in SUFFIXES}
    there = [each for each, some in files.items() if some]
    if len(there) < 2:
        return Chosen(_source(storage, (there or [FOLDER])[0], files), rules, found)
    if kind in there:
        taken = _Layout(kind, files[kind])
        others = [_Layout(each, files[each]) for each in there if each != kind]
        return Chosen(_source(storage, kind, files), rules, found, _left_aside(taken, others))
    layouts = [_counted(storage, each, files) for each in there]
    best = max(layouts, key=lambda layout: layout.images or 0)  # of two alike the first: files
    others = [layout for layout in layouts if layout is not best]
    return Chosen(_source(storage, best.kind, files), rules, found, _left_aside(best, others), best.listing)


@dataclass(frozen=True)
class _Layout:
    """The files of one layout of a place. images: how many they hold, where that was counted; why: why none."""

    kind: str
    files: list[StoredFile]
    images: int | None = None
    listing: Listing | None = None
    why: str = ""

    def __str__(self) -> str:
        name = CALLED[self.kind] + ("" if len(self.files) == 1 else "s")
        holds = ""
        if self.kind != FOLDER and self.images is not None:
            holds = f" of {self.images:,} images" if self.images else " without images"
        return f"{len(self.files):,} {name}{holds}"


def _source(storage: Storage, kind: str, files: dict[str, list[StoredFile]]) -> Source:
    if kind == FOLDER:
        return FolderSource(storage, files[FOLDER])
    of_kind = TarSource if kind == TAR else ParquetSource
    return of_kind(storage, storage.location, files[kind])


def _counted(storage: Storage, kind: str, files: dict[str, list[StoredFile]]) -> _Layout:
    if kind == FOLDER:
        return _Layout(kind, files[kind], len(files[kind]))
    try:
        listing = _source(storage, kind, files).listing()
    except SourceError as error:  # a table of something else, a damaged shard
        return _Layout(kind, files[kind], 0, why=str(error))
    return _Layout(kind, files[kind], len(listing.images), listing)


def _left_aside(taken: _Layout, others: list[_Layout]) -> tuple[str, ...]:
    """A sentence for each layout that is not taken, and how to take it in the place of the one that is."""
    exclude = " ".join(f"--exclude '*{suffix}'" for suffix in sorted({suffix_of(file.path) for file in taken.files}))
    notes = []
    for layout in others:
        it = "it in its" if len(taken.files) == len(layout.files) == 1 else "them in their"
        way = f": {layout.why}" if layout.why else f"; {exclude} takes {it} place"
        verb = "is" if len(layout.files) == 1 else "are"
        first = as_text(layout.files[0].path)
        notes.append(f"{layout} {verb} left aside, beside {taken}, first {first}{way}")
    return tuple(notes)
