"""Build or update the index of a collection, and write it with its measured recall.

Here is the index in a file, by FAISS; `cpchub.index.milvus.build` has the one in Milvus.

The manifest, which names files by checksum, is written last. So a killed process leaves the old index, or one that is
recognised as unfinished.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import INDEX, MANIFEST, read_manifest
from cpchub.collection.mapped_items import FOLDER, ITEMS_ARROW
from cpchub.collection.stored.writer import writer_of
from cpchub.common.files import PARTIAL, only_writer, write_json
from cpchub.errors import ArgumentError, CollectionError
from cpchub.hub.integrity import sha256_of
from cpchub.index import place
from cpchub.index.engine.calibrate import Calibrated, calibrate
from cpchub.index.engine.faiss_import import import_faiss
from cpchub.index.engine.faiss_store import FaissStore, insert
from cpchub.index.engine.ground_truth import GroundTruth
from cpchub.index.engine.kinds import IndexPlan, choose, train, training_rows
from cpchub.index.engine.mapped import Ids, item_ids, open_vectors, write_items, write_vectors
from cpchub.index.engine.timing import query_ms, scan_ms
from cpchub.index.engine.two_stages import TwoStages
from cpchub.index.setting import FAISS_KINDS, Choice, IndexRequest, Setting

MOST_REMOVED = 0.2  # share of an index that may be of removed images before it is built anew


def build(collection: Collection, wish: IndexRequest, store: str | None = None) -> tuple[TwoStages, Setting]:
    """Build the index and write it. Raises as `Index.build` does."""
    with _only_writer_of(collection):
        there = place.of(collection, store)
        if there is not None:
            from cpchub.index.milvus.build import bring_in_step

            return bring_in_step(collection, there, wish)
        return _build(collection, wish)


def update(
    collection: Collection,
    kind: Choice | None = None,
    recall: float | None = None,
    memory: int | None = None,
    store: str | None = None,
) -> tuple[TwoStages, Setting]:
    """Update the index: add new images, drop removed ones, measure recall. It is rebuilt if that is better.

    An argument that is None keeps its earlier value.
    """
    with _only_writer_of(collection):
        collection.fetch(INDEX, f"{FOLDER}/")
        there = place.of(collection, store)
        if there is not None:
            from cpchub.index.milvus.build import update as update_milvus

            return update_milvus(collection, there, kind, recall, memory)
        old = index = None
        with suppress(CollectionError):  # edited, damaged, or of an earlier version: rebuild it
            old = Setting.from_manifest(collection.manifest["search"], collection.place)
            index = read_faiss(collection, old) if old and old.mark is None else None
        wish = (old.wanted.within(FAISS_KINDS) if old else IndexRequest()).changed(kind, recall, memory)
        if old is None or index is None or wish != old.wanted:
            return _build(collection, wish)
        if (old.count, old.next_id) == (len(collection), collection.manifest["next_id"]):
            write_items(collection)  # renaming an image changes the items, not the index
            return _open(collection, old, index), old
        plan = choose(len(collection), collection.dim, wish)
        if plan.kind != old.kind or old.exact:
            return _build(collection, wish)
        return _add(collection, old, plan, index) or _build(collection, wish)


def read_faiss(collection: Collection, setting: Setting, *, mapped: bool = False) -> Any:
    """Read the FAISS file, after its checksum was found to be the manifest's. Raises CollectionError.

    mapped: the vectors of an exact index, and those of HNSW, stay in the file, and FAISS maps it. Such an index cannot
    be changed.
    """
    path = collection.folder / INDEX
    again = f"build it again: {collection.index_again}"
    try:
        found = sha256_of(path)
    except OSError as error:
        raise CollectionError(f"{path} cannot be read ({error.strerror}); {again}") from error
    if found != setting.sha256:
        raise CollectionError(
            f"{path} is not the file that was built (sha256 {found[:12]}, the manifest says {setting.sha256[:12]}): "
            f"it was exchanged, is damaged, or its building was stopped; {again}"
        )
    try:
        faiss = import_faiss()
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except RuntimeError as error:
        raise CollectionError(f"{path} cannot be read by this FAISS ({error}); {again}") from error
    if (index.ntotal, index.d) != (setting.indexed, collection.dim):
        raise CollectionError(
            f"{path} holds {index.ntotal} vectors of {index.d} dimensions, the manifest says {setting.indexed} of "
            f"{collection.dim}; {again}"
        )
    return index


def open_store(collection: Collection, setting: Setting) -> TwoStages:
    """The store of a collection, with the setting that was calibrated for it. Raises as `Index.open` does."""
    if setting.mark is None:
        return _open(collection, setting, read_faiss(collection, setting, mapped=True))
    from cpchub.index.milvus.build import open_milvus

    return open_milvus(collection, setting)


def _open(collection: Collection, setting: Setting, index: Any) -> FaissStore:
    path = collection.folder / INDEX
    if setting.exact:
        return FaissStore(setting.kind, index, item_ids(collection, mapped=True), _stored(index), path)
    store = FaissStore(setting.kind, index, item_ids(collection, mapped=True), open_vectors(collection), path)
    store.depth, store.effort = setting.depth or store.depth, setting.effort
    return store


def _build(collection: Collection, wish: IndexRequest) -> tuple[FaissStore, Setting]:
    plan, ids = choose(len(collection), collection.dim, wish), item_ids(collection)
    if plan.kind == "exact":
        return _build_exact(collection, plan, wish, ids)
    write_vectors(collection)
    vectors = open_vectors(collection)
    truth = GroundTruth.draw(vectors, ids)
    truth.save(collection.folder)
    others = np.flatnonzero(~np.isin(ids, truth.own))  # queries must not train the index: recall would be too high
    sample = np.array(vectors[training_rows(plan, others)], dtype=np.float32)
    store = FaissStore(plan.kind, train(plan, sample), ids, vectors, collection.folder / INDEX)
    store.add(ids, vectors)
    measured = calibrate(store, truth, wish.recall)
    if measured.reached:
        plan = _timed(plan, wish, store, truth)
        if plan.kind == "exact":
            return _build_exact(collection, plan, wish, ids)
        return store, _write(collection, store, plan, wish, len(ids), measured)
    if wish.kind == "auto" and wish.memory is None:
        exact = IndexPlan("exact", f"{plan.kind} gives a recall of only {measured.recall:.3f} on these vectors")
        return _build_exact(collection, exact, wish, ids)
    raise ArgumentError(
        f"recall {wish.recall:g} cannot be kept by {plan.kind} on these {len(ids):,} vectors: the best is "
        f"{measured.recall:.3f}. Allow more memory or another kind, or ask for less recall"
    )


def _timed(plan: IndexPlan, wish: IndexRequest, store: FaissStore, truth: GroundTruth) -> IndexPlan:
    """The same plan, with what this machine takes for a query; an exact one where that is no slower.

    A plan that was asked for by kind or by memory stays as it is.
    """
    if wish.kind != "auto" or wish.memory is not None:
        return plan
    ours, all_of_them = query_ms(store, truth.queries), scan_ms(store, truth.queries)
    times = f"a query takes {ours:.2g} ms here, and comparing all {len(store.ids):,} vectors {all_of_them:.2g} ms"
    return IndexPlan("exact", times) if all_of_them <= ours else replace(plan, reason=times)


def _build_exact(collection: Collection, plan: IndexPlan, wish: IndexRequest, ids: Ids) -> tuple[FaissStore, Setting]:
    """FAISS keeps the vectors; those that an earlier, compressed index had to map are removed."""
    index = train(plan, np.zeros((1, collection.dim), np.float32))
    for some, vectors in collection.vector_shards():
        insert(index, vectors, some)
    store = FaissStore("exact", index, ids, _stored(index), collection.folder / INDEX)
    setting = _write(collection, store, plan, wish, trained_on=0)
    for unused in set((collection.folder / FOLDER).iterdir()) - {collection.folder / FOLDER / ITEMS_ARROW}:
        unused.unlink(missing_ok=True)
    return store, setting


def _add(collection: Collection, old: Setting, plan: IndexPlan, index: Any) -> tuple[FaissStore, Setting] | None:
    """Add the new images to an index; None if only a rebuild would keep its quality."""
    ids = item_ids(collection)
    first_new = int(np.searchsorted(ids, old.next_id))
    indexed = old.indexed + len(ids) - first_new
    if indexed - len(ids) > MOST_REMOVED * indexed or indexed > 2 * old.trained_on:
        return None
    try:
        truth = GroundTruth.load(collection.folder)
    except CollectionError:
        return None
    write_vectors(collection)
    vectors = open_vectors(collection)
    store = FaissStore(old.kind, index, ids, vectors, collection.folder / INDEX)
    store.add(ids[first_new:], vectors[first_new:])
    truth.update(vectors, ids, old.next_id)
    truth.save(collection.folder)
    measured = calibrate(store, truth, old.wanted.recall)
    if not measured.reached:
        return None
    plan = _timed(plan, old.wanted, store, truth)
    if plan.kind == "exact":
        return None
    return store, _write(collection, store, plan, old.wanted, old.trained_on, measured)


def _write(
    collection: Collection,
    store: FaissStore,
    plan: IndexPlan,
    wish: IndexRequest,
    trained_on: int,
    measured: Calibrated | None = None,
) -> Setting:
    """Write the FAISS file, then the manifest that names it."""
    write_items(collection)
    sha256, stats = store.snapshot(), store.stats()
    setting = Setting(
        kind=plan.kind,
        index=stats.index,
        reason=plan.reason,
        wanted=wish,
        count=len(collection),
        next_id=int(collection.manifest["next_id"]),
        indexed=stats.vectors,
        trained_on=trained_on,
        sha256=sha256,
    )
    if measured is not None:
        setting = setting.measured(measured.recall, measured.queries, measured.depth, measured.effort)
    collection.manifest |= {"search": setting.to_manifest(), "store": None}
    write_json(collection.folder / MANIFEST, collection.manifest)
    return setting


def _stored(index: Any) -> npt.NDArray[np.float32]:
    """The vectors of an exact index where FAISS keeps them, `[N, D]`, read-only."""
    return np.asarray(_Stored(index))


class _Stored:
    """Lends FAISS's memory to numpy. The array keeps this object, and so the index, alive."""

    def __init__(self, index: Any) -> None:
        faiss = import_faiss()
        self._index = index
        flat = faiss.downcast_index(index.index)
        lent = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
        address, _ = lent.__array_interface__["data"]
        self.__array_interface__ = {**lent.__array_interface__, "data": (address, True)}


@contextmanager
def _only_writer_of(collection: Collection) -> Iterator[None]:
    """Hold the folder, and make sure that the collection is what the folder holds."""
    with writer_of(collection.stored, only_writer(collection.folder)):
        if read_manifest(collection.folder)["generation"] != collection.manifest["generation"]:
            raise CollectionError(f"{collection.place} was updated since it was opened; open it again")
        for left in (collection.folder / FOLDER).glob(f".*{PARTIAL}"):  # by a process that was killed
            left.unlink(missing_ok=True)
        yield
