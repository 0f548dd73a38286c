"""What is known of a collection: its images, encoder and index, what could not be read, and its size on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import COMMIT, FAILURES, INDEX, ITEMS, MANIFEST, PENDING, VECTORS
from cpchub.collection.mapped_items import FOLDER
from cpchub.errors import CollectionError, StoreError
from cpchub.index import place
from cpchub.index.setting import Setting

PARTS = (MANIFEST, ITEMS, FAILURES, VECTORS, INDEX, FOLDER, PENDING, COMMIT)


@dataclass(frozen=True)
class Info:
    """Facts about a collection.

    labels: images of each class, the most first. search: the index in a sentence, or why there is none. failures: path
    and reason of each image that could not be read. disk: bytes of each file and folder of the collection, where it
    is, the most first; what else lies in its folder is the user's own.
    """

    images: int
    source: str
    labels: Mapping[str, int]
    encoder: str
    dim: int
    dtype: str
    search: str
    failures: tuple[tuple[str, str], ...]
    disk: Mapping[str, int]


def info_of(collection: Collection) -> Info:
    """The facts about a collection. Raises CollectionError where one of its tables is damaged."""
    labels = Counter(label for label in collection.items["label"].to_pylist() if label is not None)
    failures = collection.failures.select(["path", "reason"]).to_pylist()
    return Info(
        images=len(collection),
        source=collection.source_in_words,
        labels=dict(labels.most_common()),
        encoder=_encoder(collection),
        dim=collection.dim,
        dtype=collection.dtype,
        search=_search(collection),
        failures=tuple((row["path"], row["reason"]) for row in failures),
        disk=_disk(collection),
    )


def _encoder(collection: Collection) -> str:
    """Its name, and where it comes from where the name alone does not tell."""
    name, loaded = collection.encoder_name, collection.encoder_to_load
    return name if loaded == name else f"{name} from {loaded}"


def _search(collection: Collection) -> str:
    try:
        setting = Setting.from_manifest(collection.manifest["search"], collection.place)
        there = place.recorded(collection)
    except (CollectionError, StoreError) as error:
        return str(error)
    if setting is None:
        return f"There is none yet; build it: {collection.index_again}"
    if not setting.is_of(collection.manifest):
        return f"It is of an earlier state of the collection; bring it up to date: {collection.index_again}"
    return setting.sentence() + (f" It is collection {there.name} of {there}." if there and setting.mark else "")


def _disk(collection: Collection) -> dict[str, int]:
    if collection.stored is not None:
        files = collection.stored.sizes()
    else:
        folder = collection.folder
        files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files_below(folder)}
    sizes = Counter[str]()
    for name, size in files.items():
        part = name.partition("/")[0]
        if part in PARTS:
            sizes[part] += size
    return dict(sorted(sizes.items(), key=lambda each: -each[1]))


def _files_below(folder: Path) -> list[Path]:
    parts = (part for part in folder.iterdir() if part.name in PARTS)
    return [path for part in parts for path in (part, *part.rglob("*")) if path.is_file()]
