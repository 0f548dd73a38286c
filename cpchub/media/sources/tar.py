"""Tar shards in the layout of webdataset: `key.jpg` with `key.cls`, `key.json` or `key.txt` beside it.

An image's path is `shard.tar/key.jpg`. Shards are read at the places where their images lie, so they must not be
compressed; images are compressed already.
"""

from __future__ import annotations

import json
import tarfile
from typing import Any

import pyarrow as pa

from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.sources.base import IMAGE_SUFFIXES, PATH, ListedImage, Listing, StoredFile, is_text
from cpchub.media.sources.columns import LABEL, user_columns
from cpchub.media.sources.found import no_way_to
from cpchub.media.sources.storage import Storage

TAR_SUFFIXES = frozenset({".tar"})
FACTS = frozenset({"cls", "json", "txt"})  # what may lie beside an image
LARGEST_FACT = 1 << 20  # bytes


class TarSource:
    """The images in one tar file, or in every tar file below a place."""

    kind = "tar"

    def __init__(self, storage: Storage, location: str, shards: list[StoredFile] | None = None) -> None:
        self.storage, self.location, self.shards = storage, location, shards

    def listing(self) -> Listing:
        images: dict[str, ListedImage] = {}
        facts: dict[str, dict[str, Any]] = {}
        failures: list[dict[str, Any]] = []
        unlisted: list[str] = []
        for shard in self.storage.files(TAR_SUFFIXES).files if self.shards is None else self.shards:
            try:
                self._list_shard(shard, images, facts, failures)
            except (tarfile.TarError, OSError, EOFError) as error:
                if no_way_to(error):
                    unlisted.append(shard.path)
                    failures.append({PATH: shard.path, "reason": f"the tar file cannot be read ({error})"})
                    continue
                failures.append({PATH: shard.path, "reason": f"the tar file is damaged or compressed ({error})"})
        if not images:
            why = f"; {failures[0][PATH]}: {failures[0]['reason']}" if failures else ""
            raise SourceError(f"no images in the tar files of {self.location}{why}")
        paths = sorted(images)
        columns = _columns(paths, facts)
        return Listing([images[path] for path in paths], columns, failures, tuple(unlisted))

    def read(self, image: ListedImage) -> bytes:
        if image.place is None or image.size is None:
            raise BrokenImageError("no such image in the tar file")
        name, start = image.place
        return self.storage.read(name, start, image.size)

    def _list_shard(
        self,
        shard: StoredFile,
        images: dict[str, ListedImage],
        facts: dict[str, dict[str, Any]],
        failures: list[dict[str, Any]],
    ) -> None:
        with self.storage.open(shard.path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # tarfile would keep all of them in memory
                path = f"{shard.path}/{member.name}"
                key, _, suffix = path.rpartition(".")
                if not member.isreg() or _is_hidden(member.name):
                    continue
                if f".{suffix.lower()}" in IMAGE_SUFFIXES:
                    if path in images:
                        failures.append({PATH: path, "reason": "the tar file holds a second image of this name"})
                    elif not is_text(path):
                        shown = path.encode(errors="backslashreplace").decode()
                        failures.append({PATH: shown, "reason": "the name is not valid UTF-8"})
                    else:
                        place = (shard.path, member.offset_data)
                        images[path] = ListedImage(path, member.size, shard.mtime_ns, shard.etag, place)
                elif suffix in FACTS and member.size <= LARGEST_FACT:
                    stream = tar.extractfile(member)
                    facts.setdefault(key, {}).update(_facts(suffix, stream.read() if stream else b""))
            file.seek(tar.offset)
            if 0 < len(file.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:  # tarfile takes it for the end
                raise tarfile.ReadError("cut off in a header")


def _is_hidden(name: str) -> bool:
    """Whether a file or a folder that it lies in begins with a dot; `./a.jpg` is how `tar cf x.tar .` writes a name."""
    return any(part.startswith(".") and part != "." for part in name.split("/"))


def _facts(suffix: str, data: bytes) -> dict[str, Any]:
    """What a file beside an image says: its class, its text, or the flat values of its JSON."""
    text = data.decode(errors="replace").strip()
    if suffix != "json":
        return {LABEL if suffix == "cls" else suffix: text}
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    known = values.items() if isinstance(values, dict) else ()
    return {str(name): value for name, value in known if isinstance(value, (str, int, float, bool))}


def _columns(paths: list[str], facts: dict[str, dict[str, Any]]) -> pa.Table | None:
    if not facts:
        return None
    rows = [facts.get(path.rpartition(".")[0], {}) for path in paths]
    names = sorted({name for row in rows for name in row})
    return user_columns(paths, pa.table({name: _column([row.get(name) for row in rows]) for name in names}))


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):  # several types under one name
        return pa.array([None if value is None else str(value) for value in values], pa.string())
