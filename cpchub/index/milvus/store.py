"""A collection in a Milvus as a store: it names candidates, and the exact vectors of our collection rank them.

Aliases of the collection there say what it is, since every kind of Milvus keeps them and changes them at once:

    NAME_by_FINGERPRINT    the encoder of the vectors
    NAME_is_MARK           complete, in the state of our collection that has this mark; gone while it is changed
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.errors import EncoderMismatchError
from cpchub.index.engine import two_stages
from cpchub.index.engine.exact import Found, nearest
from cpchub.index.engine.kinds import efforts
from cpchub.index.engine.mapped import Ids, Vectors
from cpchub.index.engine.two_stages import TwoStages
from cpchub.index.milvus.client import connect, plain_words
from cpchub.index.milvus.expression import milvus_expression
from cpchub.index.milvus.fields import DIGEST, ID, VECTOR, Field, digests, numbers_in, rows_for, same_schema, schema_of
from cpchub.index.milvus.plans import INDEX_TYPES, MilvusPlan, parameters
from cpchub.index.place import Place
from cpchub.index.store import Stats
from cpchub.index.where import Where

STRONG, BOUNDED = "Strong", "Bounded"  # see all that was acknowledged; all but that of the last 5 seconds
RECENT = 10.0  # seconds after which what was acknowledged is found by a bounded search; a strong one waits 0.2 seconds
MOST_FOUND = 16_384  # results of a query, and rows that are read at once, of Milvus
ANSWER = 200_000  # results of a request with several queries
REQUEST = 8_000_000  # bytes of the vectors in a request; Milvus takes 64 MB
AT_ONCE = 5000  # rows in a request
SEEN_EVERY = 0.2  # seconds between two looks at how far an index is


class MilvusStore(TwoStages):
    """A collection of a Milvus, opened for our collection: ids `[N]`, vectors `[N, D]`.

    mark: of the state that `snapshot` marks. fields: the columns that Milvus holds. filters: whether they are those of
    the items of now, so that a filter may be computed there.
    """

    def __init__(
        self, place: Place, ids: Ids, vectors: Vectors, *, mark: str, fields: dict[str, Field], hashed: bool = False
    ) -> None:
        super().__init__("exact", ids, vectors)
        self.place, self.mark, self.fields, self.filters = place, mark, fields, True
        self._hashed = hashed  # whether the digest of a row tells its vector as well
        self.lists = 0
        self._client = connect(place)
        self._marked, self._written = True, False
        self._changed = time.monotonic()  # the last moment at which rows may have come or gone that we have to see

    @property
    def name(self) -> str:
        """The name of the collection in Milvus."""
        return self.place.name

    def exists(self) -> bool:
        """Whether Milvus has the collection."""
        with plain_words(self.place):
            return bool(self._client.has_collection(self.name))

    def marks(self, of: str = "is") -> list[str]:
        """What the aliases say: the state that it is complete in, or (`by`) its encoder."""
        with plain_words(self.place):
            aliases = self._client.list_aliases(self.name)["aliases"]
        start = f"{self.name}_{of}_"
        return [alias.removeprefix(start) for alias in aliases if alias.startswith(start)]

    def check_encoder(self, fingerprint: str, name: str) -> None:
        """Raise EncoderMismatchError where the vectors in Milvus are another encoder's."""
        others = [each for each in self.marks("by") if each != fingerprint]
        if others:
            raise EncoderMismatchError(
                f"the collection {self.name} in Milvus at {self.place.address} has vectors of another encoder "
                f"(fingerprint {others[0]}), not of {name!r} ({fingerprint}): drop it there, or name another store"
            )

    def prepare(self, fingerprint: str) -> None:
        """Make the collection in Milvus where there is none, or none with these fields that was made to the end."""
        wanted = schema_of(self.fields, self.vectors.shape[1])
        if self.exists():
            with plain_words(self.place):
                found = self._client.describe_collection(self.name)["fields"]
            if fingerprint in self.marks("by") and same_schema(found, wanted):
                return
            with plain_words(self.place):  # derived from our collection: it is filled again
                for alias in self._client.list_aliases(self.name)["aliases"]:
                    self._client.drop_alias(alias)
                self._client.drop_collection(self.name)
        import pymilvus

        with plain_words(self.place):
            schema = self._client.create_schema(auto_id=False)
            for field in wanted:
                limits = {name: value for name, value in field.items() if name not in ("name", "type")}
                schema.add_field(field["name"], pymilvus.DataType[field["type"]], **limits)
            self._client.create_collection(self.name, schema=schema, consistency_level=STRONG)
            self._client.create_alias(self.name, f"{self.name}_by_{fingerprint}")

    def held(self, next_id: int) -> tuple[Ids, npt.NDArray[np.int64]]:
        """The ids that Milvus holds, ascending, and the digests of their rows. It needs an index that is loaded."""
        ids, numbers = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        count, start = self.count(), 0
        while sum(map(len, ids)) < count and start < next_id:
            rows = self._rows(f"{ID} >= {start} and {ID} < {start + MOST_FOUND}")
            some, digest = numbers_in(rows)
            ids.append(some)
            numbers.append(digest)
            start += MOST_FOUND
        return np.concatenate(ids), np.concatenate(numbers)

    def drop_from(self, next_id: int) -> None:
        """Drop ids that our collection has never given, of a copy of it that went on by itself."""
        with plain_words(self.place):
            if self._client.query(self.name, f"{ID} >= {next_id}", [ID], limit=1, consistency_level=STRONG):
                self._unmark()
                self._client.delete(self.name, filter=f"{ID} >= {next_id}")
                self._changed, self._written = time.monotonic(), False

    def digests(self, items: pa.Table, vectors: Vectors) -> npt.NDArray[np.int64]:
        """The digest of each row, `[n]`, that `add` stores."""
        return digests(items, self.fields, vectors if self._hashed else None)

    def add(self, ids: Ids, vectors: Vectors, items: pa.Table) -> None:
        """Add vectors `[n, D]` with their items, in requests of a few MB; they are safe when this returns."""
        if not len(ids):
            return
        self._unmark()
        at_once = max(1, min(AT_ONCE, REQUEST // (4 * self.vectors.shape[1])))
        for rows in rows_for(items, self.fields, self.digests(items, vectors), vectors, at_once):
            with plain_words(self.place):
                self._client.insert(self.name, rows)
            self._changed, self._written = time.monotonic(), False

    def delete(self, ids: Ids) -> None:
        """Drop images by their ids."""
        for start in range(0, len(ids), MOST_FOUND):
            self._unmark()
            with plain_words(self.place):
                self._client.delete(self.name, ids=ids[start : start + MOST_FOUND].tolist())
            self._changed, self._written = time.monotonic(), False

    def count(self) -> int:
        """How many vectors it holds."""
        with plain_words(self.place):
            found = self._client.query(self.name, "", ["count(*)"], consistency_level=STRONG)
        return int(found[0]["count(*)"])

    def stats(self) -> Stats:
        """Facts about it."""
        return Stats(self.index_type() or "none", self.count())

    def snapshot(self) -> str:
        """Make permanent what was added and dropped, and mark it as complete. Returns the mark."""
        self.settle()
        if self.mark not in self.marks():
            self._unmark()
            with plain_words(self.place):
                self._client.create_alias(self.name, f"{self.name}_is_{self.mark}")
        self._marked = True
        return self.mark

    def index_type(self) -> str | None:
        """The kind of index that Milvus has, in its own words; None where it has none yet."""
        with plain_words(self.place):
            if VECTOR not in self._client.list_indexes(self.name, VECTOR):
                return None
            return str(self._client.describe_index(self.name, VECTOR)["index_type"])

    def build(self, plan: MilvusPlan, *, again: bool = False) -> None:
        """Give the vectors the index of a plan, where they do not have it, and load it. again: also where they do."""
        wanted, found = INDEX_TYPES[plan.kind], self.index_type()
        self.kind, self.lists = plan.kind, plan.lists
        with plain_words(self.place):
            if found is not None and (found != wanted or again):
                self._unmark()
                self._client.release_collection(self.name)
                self._client.drop_index(self.name, VECTOR)
                found = None
            if found is None:
                index = self._client.prepare_index_params()
                params = {"params": plan.params}  # the client takes one level off, and Milvus Lite reads the other
                index.add_index(VECTOR, index_type=wanted, index_name=VECTOR, metric_type="IP", params=params)
                self._client.create_index(self.name, index)
        self.load()

    def load(self) -> None:
        """Let Milvus answer; what is loaded already is left as it is."""
        with plain_words(self.place):
            self._client.load_collection(self.name)

    def settle(self) -> None:
        """Write what was added, and wait until the index covers it: what waits in memory is searched without it."""
        with plain_words(self.place):
            if not self._written:  # a server allows a flush every ten seconds
                self._client.flush(self.name)
                self._written = True
            while int(self._client.describe_index(self.name, VECTOR).get("pending_index_rows", 0)) > 0:
                time.sleep(SEEN_EVERY)

    def efforts(self) -> list[int | None]:
        """The values of nprobe or ef to try."""
        return efforts(self.kind, max(1, self.lists))

    def candidates(
        self, q: npt.NDArray[np.float32], depth: int, effort: int | None = None, where: Where | None = None
    ) -> list[Ids]:
        """As in `TwoStages`. where: a condition that `expression` translates."""
        depth = min(depth, MOST_FOUND)
        effort = self.effort if effort is None else effort
        search = {"metric_type": "IP", "params": parameters(self.kind, effort, depth)}
        condition = "" if where is None else self.expression(where) or ""
        consistency = STRONG if time.monotonic() - self._changed < RECENT else BOUNDED
        found: list[Ids] = []
        at_once = max(1, ANSWER // depth)
        for start in range(0, len(q), at_once):
            with plain_words(self.place):
                answers = self._client.search(
                    self.name,
                    list(np.ascontiguousarray(q[start : start + at_once])),
                    filter=condition,
                    limit=depth,
                    output_fields=[ID],
                    search_params=search,
                    anns_field=VECTOR,
                    consistency_level=consistency,
                )
            found += [self.rows_of(np.array([hit[ID] for hit in hits], np.int64)) for hits in answers]
        return found

    def expression(self, where: Where) -> str | None:
        """A condition in the language of Milvus; None where it is computed here."""
        return milvus_expression(where.tree, self.fields) if self.filters else None

    def search_subset(self, q: npt.NDArray[np.float32], k: int, where: Where) -> Found:
        """`search` with a condition. An index that is not exact misses more of a narrow one: that is compared here."""
        translated = self.expression(where) is not None
        if self.kind == "exact" and translated:
            rows = self.candidates(q, self.depth_for(k), where=where)
            if min(map(len, rows)) >= k:
                return self.ranked(q, rows, k)
        subset = np.flatnonzero(where.mask)
        k = min(k, len(subset))
        if k == 0:
            return self.nothing(q)
        if self.kind == "exact" or not translated or len(subset) <= two_stages.SMALL_SUBSET:
            return nearest(q, self.vectors, k, subset)
        effort = None if self.effort is None else int(np.ceil(self.effort * len(where.mask) / len(subset)))
        rows = self.candidates(q, self.depth_for(k), effort, where)
        if min(map(len, rows)) < k:
            return nearest(q, self.vectors, k, subset)
        return self.ranked(q, rows, k)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _rows(self, condition: str) -> list[dict[str, Any]]:
        with plain_words(self.place):
            return list(
                self._client.query(self.name, condition, [ID, DIGEST], limit=MOST_FOUND, consistency_level=STRONG)
            )

    def _unmark(self) -> None:
        """Say that it is no longer complete, before it is changed."""
        if self._marked:
            for mark in self.marks():
                with plain_words(self.place):
                    self._client.drop_alias(f"{self.name}_is_{mark}")
            self._marked = False
