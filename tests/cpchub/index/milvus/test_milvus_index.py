"""An index in Milvus: built, brought in step, reopened, killed; what is remembered and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import ArgumentError, CollectionError, EncoderMismatchError
from cpchub.index import Index
from cpchub.index.milvus.store import MilvusStore
from cpchub.index.setting import Kind
from cpchub.index.where import Where
from tests.cpchub.index.clustered import clustered, stored, true_recall
from tests.cpchub.index.stores import ended, milvus_in
from tests.processes import Processes, wait_for

FEW = 1200  # vectors, of which Milvus makes an index that is not exact
QUERIES = 80


@pytest.fixture
def few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpchub.index.engine.ground_truth.QUERIES", QUERIES)  # Milvus Lite takes long for each


@pytest.mark.parametrize("kind", ["hnsw", "ivf-sq8"])
def test_every_kind_keeps_its_promise_through_build_reopen_add_and_remove(
    kind: Kind, tmp_path: Path, few_queries: None
) -> None:
    store = milvus_in(tmp_path)
    vectors, queries = clustered(FEW + 100, 0), clustered(60, 1)
    built = Index.build(stored(tmp_path / "in", np.arange(FEW), vectors[:FEW]), kind=kind, recall=0.9, store=store)
    assert (built.setting.kind, built.setting.queries) == (kind, QUERIES // 2)
    assert true_recall(built, queries) >= 0.9
    answers = built.search_vectors(queries[:5], 3)[1]
    ended(store)
    opened = Index.open(tmp_path / "in")
    assert np.array_equal(opened.search_vectors(queries[:5], 3)[1], answers)

    grown = Index.update(stored(tmp_path / "in", np.arange(FEW + 100), vectors))
    assert (grown.setting.indexed, grown.setting.trained_on) == (FEW + 100, FEW)
    assert true_recall(grown, queries) >= 0.9
    assert grown.search_vectors(vectors[FEW + 7], 1)[1][0, 0] == FEW + 7

    left = np.setdiff1d(np.arange(FEW + 100), np.arange(50, 150))
    shrunk = Index.update(stored(tmp_path / "in", left, vectors[left]))
    assert (shrunk.setting.count, shrunk.setting.indexed) == (FEW, FEW)
    assert true_recall(shrunk, queries) >= 0.9
    assert shrunk.measure_recall() >= 0.9
    hits = Index.open(tmp_path / "in").search(vectors[left[50]], k=3)
    assert (hits[0].id, hits[0].row, hits[0].path) == (150, 50, "000150.jpg")
    ended(store)


def labelled(folder: Path, count: int, seed: int = 0) -> Collection:
    return stored(folder, np.arange(count), clustered(count, seed))


class TestWhatIsRemembered:
    def test_the_collection_remembers_its_store_and_both_can_be_moved(self, tmp_path: Path) -> None:
        (tmp_path / "here").mkdir()
        store = milvus_in(tmp_path / "here")
        Index.build(labelled(tmp_path / "here" / "in", 40), store=store)
        section = json.loads((tmp_path / "here" / "in" / "manifest.json").read_text())["store"]
        assert section["address"] == "../store.db"
        assert not (tmp_path / "here" / "in" / "index.faiss").exists()
        ended(store)
        shutil.move(tmp_path / "here", tmp_path / "there")
        moved = Index.open(tmp_path / "there" / "in")
        assert moved.search(moved.vectors[7], k=1)[0].id == 7
        grown = Index.update(labelled(tmp_path / "there" / "in", 45))  # where it was, without being told
        assert grown.setting.mark is not None
        ended(f"milvus:{tmp_path / 'there' / 'store.db'}")

    def test_another_store_can_be_chosen_and_taken_back(self, milvus: str, tmp_path: Path) -> None:
        collection = labelled(tmp_path / "in", 40)
        faiss = Index.build(collection)
        there = Index.update(collection, store=milvus)
        q = clustered(5, 3)
        assert np.array_equal(there.search_vectors(q, 4)[1], faiss.search_vectors(q, 4)[1])
        assert not (tmp_path / "in" / "index.faiss").exists()
        name = collection.manifest["store"]["name"]
        back = Index.update(Collection.open(tmp_path / "in"), store="faiss")
        assert back.setting.index == "IndexFlatIP"
        assert Collection.open(tmp_path / "in").manifest["store"] is None
        again = Index.update(Collection.open(tmp_path / "in"), store=milvus)
        assert again.collection.manifest["store"]["name"] == name  # where it still is

    def test_vectors_that_were_replaced_are_replaced_in_milvus(self, milvus: str, tmp_path: Path) -> None:
        Index.build(labelled(tmp_path / "in", 40, seed=0), store=milvus)
        other = labelled(tmp_path / "in", 40, seed=1)
        assert other.manifest["search"] is None
        index = Index.update(other)
        assert index.setting.mark is not None
        found = index._store.candidates(other.vectors(), 1)
        assert [rows[0] for rows in found] == list(range(40))

    def test_a_column_that_is_new_is_filtered_by_in_milvus(self, milvus: str, tmp_path: Path) -> None:
        paths = [f"{i}.jpg" for i in range(20)]
        import_vectors(tmp_path / "in", clustered(20, 0), paths, ids=range(20))
        Index.build(Collection.open(tmp_path / "in"), store=milvus)
        index = Index.update(labelled(tmp_path / "in", 20))
        assert {hit.id for hit in index.search(index.vectors[0], k=9, where="label == '7'")} == {7, 17}
        assert index._store.expression(Where(index.items, "label == '7'")) is not None

    def test_kinds_of_the_other_store_are_refused(self, milvus: str, tmp_path: Path) -> None:
        collection = labelled(tmp_path / "in", 40)
        with pytest.raises(ArgumentError, match="Milvus has no index of kind rabitq: choose one of auto, exact, hnsw"):
            Index.build(collection, kind="rabitq", store=milvus)
        with pytest.raises(ArgumentError, match="FAISS has no index of kind ivf-sq8"):
            Index.build(collection, kind="ivf-sq8")


CHILD = """
import sys
import numpy as np
from cpchub.index.milvus.fields import fields_of
from cpchub.index.milvus.plans import MilvusPlan
from cpchub.index.milvus.store import MilvusStore
from cpchub.collection.collection import Collection
from cpchub.index.milvus import build
real = MilvusStore.add

def add(store, ids, vectors, items):
    real(store, ids, vectors, items)
    print(*ids, flush=True)  # acknowledged

MilvusStore.add, build.AT_ONCE = add, 500
from cpchub.index import Index
Index.update(Collection.open(sys.argv[1]), store=sys.argv[2])
print("complete", flush=True)
sys.stdin.read()
"""


def test_after_kill_9_nothing_acknowledged_is_lost_and_the_import_goes_on(
    tmp_path: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, count = milvus_in(tmp_path), 2500  # in five requests
    collection = labelled(tmp_path / "in", count)
    said = tmp_path / "said"
    with said.open("w") as out:
        child = processes.start(sys.executable, "-c", CHILD, collection.folder, store, stdout=out, stdin=-1)
        wait_for(lambda: said.read_text().count("\n") >= 1, "nothing is acknowledged")
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert "complete" not in said.read_text()
    acknowledged = {int(number) for number in " ".join(said.read_text().splitlines()[:1]).split()}
    with pytest.raises(CollectionError, match="no index for the images it holds now"):
        Index.open(collection.folder)

    added: list[int] = []
    real = MilvusStore.add

    def add(store: MilvusStore, ids: np.ndarray, *rest: object) -> None:
        added.extend(ids.tolist())
        real(store, ids, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(MilvusStore, "add", add)
    index = Index.update(Collection.open(collection.folder))
    assert acknowledged
    assert not acknowledged & set(added)
    assert index.setting.indexed == count
    assert [rows[0] for rows in index._store.candidates(collection.vectors()[::100], 1)] == list(range(0, count, 100))
    ended(store)


class TestAStoreThatIsNotInStep:
    def test_an_update_that_was_stopped_leaves_an_index_that_is_refused_and_the_next_one_mends_it(
        self, milvus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = labelled(tmp_path / "in", 40)
        Index.build(before, store=milvus)
        kept = shutil.copytree(tmp_path / "in", tmp_path / "copy")
        grown = labelled(tmp_path / "in", 44)

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(MilvusStore, "snapshot", stop)
            with pytest.raises(KeyboardInterrupt):
                Index.update(grown)
        with pytest.raises(CollectionError, match=r"not in the state in which .* was indexed.*fill it again"):
            Index.open(kept)
        assert Index.update(Collection.open(tmp_path / "in")).setting.indexed == 44
        assert len(Index.open(tmp_path / "in").search_vectors(clustered(1, 0), 44)[1][0]) == 44

    def test_a_copy_that_went_on_is_noticed_and_mended(self, milvus: str, tmp_path: Path) -> None:
        Index.build(labelled(tmp_path / "in", 40), store=milvus)
        shutil.copytree(tmp_path / "in", tmp_path / "copy")
        Index.update(labelled(tmp_path / "copy", 50, seed=5))
        with pytest.raises(CollectionError, match="a copy of this collection changed it"):
            Index.open(tmp_path / "in")
        mended = Index.update(Collection.open(tmp_path / "in"))
        assert mended.setting.indexed == 40
        assert mended._store.candidates(np.asarray(mended.vectors[3:4]), 1)[0].tolist() == [3]

    def test_vectors_of_another_encoder_are_refused(self, milvus: str, tmp_path: Path) -> None:
        Index.build(labelled(tmp_path / "in", 20), store=milvus)
        path = tmp_path / "in" / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["encoder"] |= {"fingerprint": "abc", "name": "another"}
        path.write_text(json.dumps(manifest))
        with pytest.raises(EncoderMismatchError, match=r"another encoder \(fingerprint imported\), not of 'another'"):
            Index.open(tmp_path / "in")
        with pytest.raises(EncoderMismatchError):
            Index.build(Collection.open(tmp_path / "in"))

    def test_rows_that_another_program_took_are_noticed_and_put_back(self, milvus: str, tmp_path: Path) -> None:
        index = Index.build(labelled(tmp_path / "in", 20), store=milvus)
        client = index._store._client  # type: ignore[attr-defined]
        client.delete(index.collection.manifest["store"]["name"], ids=[3])
        with pytest.raises(CollectionError, match="holds 19 vectors, and 20 were stored"):
            Index.open(tmp_path / "in")
        assert Index.update(Collection.open(tmp_path / "in")).setting.indexed == 20

    def test_a_collection_that_is_gone_from_milvus_is_filled_again(self, milvus: str, tmp_path: Path) -> None:
        index = Index.build(labelled(tmp_path / "in", 20), store=milvus)
        client = index._store._client  # type: ignore[attr-defined]
        name = index.collection.manifest["store"]["name"]
        for alias in client.list_aliases(name)["aliases"]:
            client.drop_alias(alias)
        client.drop_collection(name)
        with pytest.raises(CollectionError, match="has no collection"):
            Index.open(tmp_path / "in")
        assert Index.update(Collection.open(tmp_path / "in")).setting.indexed == 20


class TestTheStoreItself:
    def test_adds_deletes_finds_counts_and_keeps_a_snapshot(self, milvus: str, tmp_path: Path) -> None:
        collection = labelled(tmp_path / "in", 30)
        store = Index.build(collection, store=milvus)._store
        assert isinstance(store, MilvusStore)
        assert (store.count(), store.stats().index, store.marks()) == (30, "FLAT", [store.mark])
        store.delete(np.array([3, 4, 999]))
        assert store.count() == 28
        assert store.marks() == []  # it is not complete now
        assert 3 not in store.candidates(np.asarray(store.vectors[3:4]), 28)[0]
        store.add(np.array([3, 4]), np.asarray(store.vectors[3:5]), collection.items.slice(3, 2))
        assert store.candidates(np.asarray(store.vectors[3:4]), 1)[0].tolist() == [3]
        assert store.snapshot() == store.mark
        assert store.marks() == [store.mark]

    def test_a_search_sees_all_that_was_acknowledged_and_does_not_wait_for_more(
        self, milvus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index = Index.build(labelled(tmp_path / "in", 10), store=milvus)
        store, levels = index._store, []
        assert isinstance(store, MilvusStore)
        real = store._client.search

        def search(*args: object, consistency_level: str, **options: object) -> object:
            levels.append(consistency_level)
            return real(*args, consistency_level=consistency_level, **options)

        monkeypatch.setattr(store._client, "search", search)
        index.search(index.vectors[0], k=1)
        monkeypatch.setattr("cpchub.index.milvus.store.RECENT", 0.0)  # as if time had passed
        index.search(index.vectors[0], k=1)
        assert levels == ["Strong", "Bounded"]
