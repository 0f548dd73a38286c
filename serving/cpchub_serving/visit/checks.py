"""What may be wrong with the images of a collection: duplicates, outliers, files that could not be read.

Found in the background, once for all visitors, and kept in the collection's folder `clean/` until the collection
changes:

    clean/duplicates.parquet   as `cpchub duplicates -o` writes it
    clean/outliers.parquet     path, similarity; the most unusual first
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cpchub.collection.tables import read_table, write_table
from cpchub.common.files import writing
from cpchub.errors import CollectionError, OutputError
from cpchub.index import Index
from cpchub.index.duplicates import find_duplicates, neighbours_needed
from cpchub.index.near_threshold import cosine_text
from cpchub.index.neighbours import nearest_others
from cpchub.index.outliers import find_outliers
from cpchub_serving.visit.background import Job, Tell

FOLDER = "clean"
MADE_OF = b"cpchub.clean"  # in the metadata of both tables: the state of the collection, and what was said
SEARCH_SHARE, COMPARE_SHARE = 0.7, 0.9  # of the whole work, as far as a bar tells it


@dataclass(frozen=True)
class Copy:
    """An image of a group. same: its bytes are those of the one to keep; similarity: the cosine to that one."""

    row: int
    same: bool
    similarity: float


@dataclass(frozen=True)
class Found:
    """groups: copies, the one to keep first, the largest group first. outliers: row and mean cosine to its neighbours.

    near: the cosine from which two images can be near-duplicates, in digits. not_listed: what was left out, in words.
    """

    groups: list[list[Copy]]
    outliers: list[tuple[int, float]]
    near: str = ""
    not_listed: str = ""


class Checks:
    """The checks of one collection; made from the first `open` on."""

    def __init__(self, index: Index) -> None:
        self.index = index
        failures = index.collection.failures.select(["path", "reason"]).to_pylist()
        self.broken: list[tuple[str, str]] = [(each["path"], each["reason"]) for each in failures]
        self.job: Job[Found] = Job(self._make)

    def open(self) -> None:
        """Begin to look for them, where that has not been done; returns at once."""
        self.job.start()

    @property
    def found(self) -> Found | None:
        """None until all is found."""
        return self.job.result

    def _make(self, tell: Tell) -> Found:
        if len(self.index) < 2:
            return Found([], [])
        tables = self._kept()
        if tables is None:
            tables = self._find(tell)
            with suppress(OutputError):  # a read-only folder: then they are found again another time
                self._keep(*tables)
        return self._as_found(*tables)

    def _find(self, tell: Tell) -> tuple[pa.Table, pa.Table]:
        neighbours = nearest_others(
            self.index,
            neighbours_needed(self.index),
            progress=False,
            tell=lambda share: tell("Comparing", SEARCH_SHARE * share),
        )
        tell("Comparing whole images", SEARCH_SHARE)
        found = find_duplicates(
            self.index,
            progress=False,
            neighbours=neighbours,
            tell=lambda share: tell("Comparing whole images", SEARCH_SHARE + (COMPARE_SHARE - SEARCH_SHARE) * share),
        )
        tell("Looking for outliers", COMPARE_SHARE)
        outliers = find_outliers(self.index, progress=False, neighbours=neighbours)
        outliers = outliers.filter(outliers["outlier"]).select(["path", "similarity"])
        facts = {"near": cosine_text(found.threshold), "not_listed": " ".join(found.notes)}
        return self._marked(found.table, facts), self._marked(outliers, {})

    def _kept(self) -> tuple[pa.Table, pa.Table] | None:
        """Both tables, where they are of the state that the collection is in."""
        tables = []
        for path in self._files():
            try:
                tables.append(read_table(path))
            except CollectionError:  # missing or damaged: found again
                return None
            if _facts(tables[-1]).get("generation") != self.index.collection.manifest["generation"]:
                return None
        return (tables[0], tables[1]) if "near" in _facts(tables[0]) else None

    def _keep(self, *tables: pa.Table) -> None:
        folder = self.index.collection.folder / FOLDER
        with writing(folder):
            folder.mkdir(exist_ok=True)
        for table, path in zip(tables, self._files(), strict=True):
            write_table(table, path)

    def _files(self) -> list[Path]:
        return [self.index.collection.folder / FOLDER / f"{name}.parquet" for name in ("duplicates", "outliers")]

    def _marked(self, table: pa.Table, facts: dict[str, str]) -> pa.Table:
        facts = facts | {"generation": self.index.collection.manifest["generation"]}
        return table.replace_schema_metadata({MADE_OF: json.dumps(facts).encode()})

    def _as_found(self, duplicates: pa.Table, outliers: pa.Table) -> Found:
        listed = {*duplicates["path"].to_pylist(), *outliers["path"].to_pylist()}
        row_of = {path: row for row, path in enumerate(self.index.paths) if path in listed}
        groups: dict[int, list[Copy]] = {}
        rows = [row_of[path] for path in duplicates["path"].to_pylist()]
        contents = self.index.items["sha256"].take(pa.array(rows, pa.int64())).to_pylist()
        first: dict[int, str | None] = {}
        for row, content, each in zip(rows, contents, duplicates.to_pylist(), strict=True):
            kept = first.setdefault(each["group"], content)  # the one to keep is the first of its group
            copy = Copy(row, content is not None and content == kept, each["similarity"])
            groups.setdefault(each["group"], []).append(copy)
        unusual = [(row_of[each["path"]], each["similarity"]) for each in outliers.to_pylist()]
        facts = _facts(duplicates)
        return Found(list(groups.values()), unusual, facts["near"], facts["not_listed"])


def _facts(table: pa.Table) -> dict[str, Any]:
    try:
        facts = json.loads((table.schema.metadata or {})[MADE_OF])
    except (KeyError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
