"""Bring the index in Milvus in step with a collection, and measure its recall.

Milvus is asked what it holds: an id and a digest for each row. What is missing is added, what is gone or changed is
dropped. So a first import, an update, and the rest of an import that was killed are the same work. While it lasts the
collection in Milvus has no mark; a mark names a state of ours, so a half-filled one is never taken for complete.
"""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
from rich.console import Console

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import INDEX, MANIFEST
from cpchub.common.files import write_json
from cpchub.common.hashing import bytes_sha256
from cpchub.common.progress import Report
from cpchub.errors import ArgumentError, CollectionError
from cpchub.index.engine.calibrate import Calibrated, calibrate
from cpchub.index.engine.ground_truth import GroundTruth
from cpchub.index.engine.mapped import Ids, Vectors, item_ids, open_vectors, write_items, write_vectors
from cpchub.index.milvus.fields import fields_of
from cpchub.index.milvus.plans import MilvusPlan, choose
from cpchub.index.milvus.store import AT_ONCE, MilvusStore
from cpchub.index.place import Place, recorded
from cpchub.index.setting import MILVUS_KINDS, Choice, IndexRequest, Setting

STEP = 50_000  # rows whose vectors are in memory at a time
GROWN = 2  # times as many vectors as when the index was built: it is built anew


def mark_of(collection: Collection) -> str:
    """A name for the state of a collection; two states have the same only if they hold the same."""
    state = {name: value for name, value in collection.manifest.items() if name not in ("search", "store")}
    return bytes_sha256(json.dumps(state, sort_keys=True).encode())[:20]


def open_milvus(collection: Collection, setting: Setting) -> MilvusStore:
    """The store of a collection whose index is in Milvus. Raises as `Index.open` does."""
    place = recorded(collection)
    again = f"fill it again: {collection.index_again}"
    if place is None:
        raise CollectionError(f"the manifest of {collection.place} does not say which Milvus has its index; {again}")
    ids, vectors = item_ids(collection, mapped=True), open_vectors(collection)
    store = MilvusStore(place, ids, vectors, mark=setting.mark or "", fields=fields_of(collection.mapped_items))
    if not store.exists():
        raise CollectionError(f"Milvus at {place.address} has no collection {place.name}; {again}")
    store.check_encoder(collection.manifest["encoder"]["fingerprint"], collection.encoder_name)
    if setting.mark not in store.marks():
        raise CollectionError(
            f"the collection {place.name} in Milvus at {place.address} is not in the state in which "
            f"{collection.place} was indexed: filling it was stopped, or a copy of this collection changed it; {again}"
        )
    store.filters = setting.mark == mark_of(collection)  # after images were renamed, its fields are of before
    plan = choose(len(collection), collection.dim, setting.wanted, lite=place.is_lite)
    store.build(MilvusPlan(setting.kind, setting.reason, plan.lists, plan.params))
    count = store.count()
    if count != setting.indexed:
        raise CollectionError(
            f"the collection {place.name} in Milvus at {place.address} holds {count:,} vectors, and "
            f"{setting.indexed:,} were stored: another program changed it; {again}"
        )
    store.depth, store.effort = setting.depth or store.depth, setting.effort
    return store


def update(
    collection: Collection, place: Place, kind: Choice | None, recall: float | None, memory: int | None
) -> tuple[MilvusStore, Setting]:
    """Bring the index in step; an argument that is None keeps its earlier value."""
    old = _earlier(collection)
    wish = (old.wanted.within(MILVUS_KINDS) if old else IndexRequest()).changed(kind, recall, memory)
    if old is not None and old.wanted == wish and old.mark == mark_of(collection) and recorded(collection) == place:
        with suppress(CollectionError):  # not what it was: brought in step below
            return open_milvus(collection, old), old
    return bring_in_step(collection, place, wish)


def bring_in_step(collection: Collection, place: Place, wish: IndexRequest) -> tuple[MilvusStore, Setting]:
    """Add what Milvus lacks, drop what is gone, build the index that fits, measure its recall, and write the manifest.

    Raises as `Index.build` does.
    """
    plan = choose(len(collection), collection.dim, wish, lite=place.is_lite)
    items, ids = collection.items, item_ids(collection)
    old = _earlier(collection)
    write_vectors(collection)
    vectors = open_vectors(collection)
    store = MilvusStore(
        place, ids, vectors, mark=mark_of(collection), fields=fields_of(items), hashed=collection.imported
    )
    encoder = collection.manifest["encoder"]["fingerprint"]
    if store.exists():
        store.check_encoder(encoder, collection.encoder_name)
    collection.manifest["store"] = place.to_manifest()
    write_json(collection.folder / MANIFEST, collection.manifest)  # so that a killed import goes on in the same place
    store.prepare(encoder)
    _follow(store, collection, vectors, plan)
    grown = old is not None and plan.lists > 0 and len(ids) > GROWN * old.trained_on > 0
    store.build(plan, again=grown)
    store.settle()
    measured = None if plan.kind == "exact" else _measured(store, collection, vectors, wish)
    if measured is not None and not measured.reached:
        plan = _exact_instead(plan, wish, measured, len(ids))
        store.build(plan)
        measured = None
    return store, _write(store, collection, plan, wish, old, measured, anew=grown)


def _follow(store: MilvusStore, collection: Collection, vectors: Vectors, plan: MilvusPlan) -> None:
    """Add, drop and replace rows until Milvus holds what the collection has."""
    items, ids = collection.items, store.ids
    if store.index_type() is None:
        store.build(MilvusPlan("exact", plan.reason))  # what Milvus holds can be read when it has some index
    store.load()
    store.drop_from(int(collection.manifest["next_id"]))
    held, digests = store.held(int(collection.manifest["next_id"]))
    store.delete(held[~np.isin(held, ids)])
    with Report("Filling Milvus", len(ids), console=Console(stderr=True)) as report:
        for start in range(0, len(ids), STEP):
            part = slice(start, min(start + STEP, len(ids)))
            some, block = items.slice(start, STEP), vectors[part]
            places = np.minimum(np.searchsorted(held, ids[part]), max(len(held) - 1, 0))
            known = held[places] == ids[part] if len(held) else np.zeros(len(block), bool)
            same = known.copy()
            if known.any():
                same[known] = digests[places[known]] == store.digests(some, block)[known]
            store.delete(ids[part][known & ~same])
            rows = np.flatnonzero(~same)
            report.advance(len(block) - len(rows))
            for first in range(0, len(rows), AT_ONCE):
                few = rows[first : first + AT_ONCE]
                store.add(ids[part][few], block[few], some.take(few))
                report.advance(len(few))


def _measured(store: MilvusStore, collection: Collection, vectors: Vectors, wish: IndexRequest) -> Calibrated:
    """The setting that reaches the recall, on the held-out queries that the folder keeps."""
    truth = _truth(collection, store.ids, vectors)
    truth.save(collection.folder)
    return calibrate(store, truth, wish.recall)


def _truth(collection: Collection, ids: Ids, vectors: Vectors) -> GroundTruth:
    """The held-out queries of before, brought up to date; new ones where there are none of this collection."""
    old = _earlier(collection)
    if old is not None and old.queries:
        try:
            truth = GroundTruth.load(collection.folder)
        except CollectionError:
            pass
        else:
            truth.update(vectors, ids, old.next_id)
            return truth
    return GroundTruth.draw(vectors, ids)


def _exact_instead(plan: MilvusPlan, wish: IndexRequest, measured: Calibrated, count: int) -> MilvusPlan:
    if wish.kind == "auto" and wish.memory is None:
        return MilvusPlan("exact", f"{plan.kind} gives a recall of only {measured.recall:.3f} on these vectors")
    raise ArgumentError(
        f"recall {wish.recall:g} cannot be kept by {plan.kind} on these {count:,} vectors: the best is "
        f"{measured.recall:.3f}. Allow more memory or another kind, or ask for less recall"
    )


def _write(
    store: MilvusStore,
    collection: Collection,
    plan: MilvusPlan,
    wish: IndexRequest,
    old: Setting | None,
    measured: Calibrated | None,
    *,
    anew: bool,
) -> Setting:
    """Mark the state in Milvus, then write the manifest that names the mark."""
    write_items(collection)
    mark, stats = store.snapshot(), store.stats()
    kept = old is not None and old.mark is not None and old.kind == plan.kind and not anew
    setting = Setting(
        kind=plan.kind,
        index=stats.index,
        reason=plan.reason,
        wanted=wish,
        count=len(collection),
        next_id=int(collection.manifest["next_id"]),
        indexed=stats.vectors,
        trained_on=old.trained_on if kept and old is not None else len(collection),
        sha256="",
        mark=mark,
    )
    if measured is not None:
        setting = setting.measured(measured.recall, measured.queries, measured.depth, measured.effort)
        store.depth, store.effort = measured.depth, measured.effort
    collection.manifest["search"] = setting.to_manifest()
    write_json(collection.folder / MANIFEST, collection.manifest)
    (collection.folder / INDEX).unlink(missing_ok=True)  # of FAISS, from before
    return setting


def _earlier(collection: Collection) -> Setting | None:
    """The setting of before; None where there is none that can be read."""
    try:
        return Setting.from_manifest(collection.manifest["search"], collection.place)
    except CollectionError:
        return None
