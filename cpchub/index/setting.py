"""The search setting of a collection, as the manifest stores it: kind, reason, measured recall, checksum of the
file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, Literal, get_args

from cpchub.common.hashing import bytes_sha256
from cpchub.errors import ArgumentError, CollectionError

VERSION, FAISS_VERSION = 3, 2
K = 10  # the k of recall@k that is promised and measured
Kind = Literal["exact", "rabitq", "ivf-rabitq", "hnsw", "pq", "ivf-pq", "ivf-sq8"]
Choice = Literal["auto", "exact", "rabitq", "ivf-rabitq", "hnsw", "pq", "ivf-pq", "ivf-sq8"]
FAISS_KINDS: tuple[Kind, ...] = ("exact", "rabitq", "ivf-rabitq", "hnsw", "pq", "ivf-pq")
MILVUS_KINDS: tuple[Kind, ...] = ("exact", "hnsw", "ivf-sq8")


@dataclass(frozen=True)
class IndexRequest:
    """A request for an index: its kind or "auto", the recall@10 to reach, and the memory limit in bytes."""

    kind: Choice = "auto"
    recall: float = 0.95
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Choice):
            raise ArgumentError(f"kind={self.kind!r}: choose one of {', '.join(get_args(Choice))}")
        if not 0 < self.recall <= 1:
            raise ArgumentError(f"recall={self.recall}: the share of true neighbours to find, above 0 and up to 1")
        if self.memory is not None and self.memory < 1:
            raise ArgumentError(f"memory={self.memory}: give bytes, 1 or more")

    def check_kind(self, kinds: tuple[Kind, ...], store: str) -> None:
        """Raise ArgumentError where the kind that was asked for is none of a store's."""
        if self.kind != "auto" and self.kind not in kinds:
            raise ArgumentError(f"{store} has no index of kind {self.kind}: choose one of auto, {', '.join(kinds)}")

    def within(self, kinds: tuple[Kind, ...]) -> IndexRequest:
        """The same request; its kind is "auto" where it is none of a store's, as after a change of the store."""
        return self if self.kind in kinds else replace(self, kind="auto")

    def changed(self, kind: Choice | None, recall: float | None, memory: int | None) -> IndexRequest:
        """The same request, with the arguments that are not None replaced."""
        return IndexRequest(
            self.kind if kind is None else kind,
            self.recall if recall is None else recall,
            self.memory if memory is None else memory,
        )


@dataclass(frozen=True)
class Setting:
    """How an index is searched.

    depth: how many candidates of the compressed index are compared exactly. effort: nprobe of an inverted file,
    efSearch of HNSW. recall: recall@10 on `queries` held-out queries that took no part in choosing depth and effort.
    count, next_id: the state of the collection it is of. indexed: vectors in the file, those of removed images too.
    mark: the state of the collection in Milvus, see `mark_of`; None for FAISS. sha256: of the file of FAISS.
    """

    kind: Kind
    index: str
    reason: str
    wanted: IndexRequest
    count: int
    next_id: int
    indexed: int
    trained_on: int
    sha256: str
    recall: float = 1.0
    queries: int = 0
    depth: int | None = None
    effort: int | None = None
    mark: str | None = None

    @property
    def exact(self) -> bool:
        """Whether the search is exact."""
        return self.kind == "exact"

    @property
    def in_file(self) -> bool:
        """Whether the index is the file of an exact FAISS index, which holds the vectors as well."""
        return self.exact and self.mark is None

    def is_of(self, manifest: Mapping[str, Any]) -> bool:
        """Whether the index is of the images that a collection with this manifest holds."""
        return (self.count, self.next_id) == (manifest["count"], manifest["next_id"])

    def measured(self, recall: float, queries: int, depth: int, effort: int | None) -> Setting:
        """The same with what calibration found."""
        return replace(self, recall=round(recall, 4), queries=queries, depth=depth, effort=effort)

    def sentence(self) -> str:
        """For a person: the choice, the setting and what it was measured to give."""
        store = "" if self.mark is None else " in Milvus"
        if self.exact:
            return f"Search is exact{store}: {self.reason}."
        steps = [f"{self.depth:,} candidates compared exactly"]
        if self.effort is not None:
            steps.insert(0, f"{'efSearch' if self.kind == 'hnsw' else 'nprobe'} {self.effort}")
        return (
            f"Search is approximate{store} ({self.kind}, {', '.join(steps)}): {self.reason}. Recall@{K} measured on "
            f"{self.queries} held-out queries: {self.recall:.3f} (asked for: {self.wanted.recall:g})."
        )

    def to_manifest(self) -> dict[str, Any]:
        """The section `search` of the manifest, with a checksum over itself."""
        section = {"version": VERSION, "metric": "inner product", "exact": self.exact, **asdict(self)}
        if self.mark is None:  # an earlier cpchub reads the index of FAISS, and refuses that of Milvus
            section |= {"version": FAISS_VERSION}
            del section["mark"]
        return {**section, "checksum": _checksum(section)}

    @classmethod
    def from_manifest(cls, section: Any, folder: Path | str) -> Setting | None:
        """Read the section back; None where the collection has no index.

        Raises CollectionError for one that was edited by hand, or written by a newer or a first version of cpchub.
        """
        if section is None:
            return None
        again = f"build it again: cpchub index IMAGES -o {quote(str(folder))}"
        version = section.get("version", 1) if isinstance(section, dict) else None
        if not isinstance(version, int):
            raise CollectionError(f"the search section in the manifest of {folder} was edited by hand; {again}")
        if version > VERSION:
            raise CollectionError(
                f"the index of {folder} has version {version}, this cpchub reads up to {VERSION}; upgrade cpchub"
            )
        if version < FAISS_VERSION:
            raise CollectionError(f"the index of {folder} was written by an earlier cpchub; {again}")
        fields = dict(section)
        if fields.pop("checksum", None) != _checksum(fields):
            raise CollectionError(
                f"the search section in the manifest of {folder} was edited by hand (its checksum differs); {again}"
            )
        wanted = IndexRequest(**fields.pop("wanted"))
        for derived in ("version", "metric", "exact"):
            del fields[derived]
        return cls(wanted=wanted, **fields)


def _checksum(section: dict[str, Any]) -> str:
    return bytes_sha256(json.dumps(section, sort_keys=True).encode())
