"""Every kind of index keeps its promise of recall as images are added and removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.errors import CollectionError
from cpchub.index import Index, build
from cpchub.index.setting import FAISS_KINDS, IndexRequest, Kind
from tests.cpchub.index.clustered import N, clustered, stored, true_recall

APPROXIMATE = [kind for kind in FAISS_KINDS if kind != "exact"]


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_every_kind_keeps_its_promise_through_build_open_add_and_remove(kind: Kind, tmp_path: Path) -> None:
    vectors, queries = clustered(N + 400, 0), clustered(200, 1)
    built = Index.build(stored(tmp_path, np.arange(N), vectors[:N]), kind=kind, recall=0.9)
    assert built.setting.kind == kind
    assert true_recall(built, queries) >= 0.9
    opened = Index.open(tmp_path)
    assert np.array_equal(opened.search_vectors(queries[:5], 3)[1], built.search_vectors(queries[:5], 3)[1])

    grown = Index.update(stored(tmp_path, np.arange(N + 400), vectors))
    assert (grown.setting.indexed, grown.setting.trained_on) == (N + 400, N)
    assert true_recall(grown, queries) >= 0.9
    assert grown.search_vectors(vectors[N + 7], 1)[1][0, 0] == N + 7  # a new one is found

    left = np.setdiff1d(np.arange(N + 400), np.random.default_rng(2).choice(N + 400, 400, replace=False))
    shrunk = Index.update(stored(tmp_path, left, vectors[left]))
    assert (shrunk.setting.count, shrunk.setting.indexed) == (N, N + 400)
    assert true_recall(shrunk, queries) >= 0.9
    assert shrunk.measure_recall() >= 0.9
    hits = Index.open(tmp_path).search(vectors[left[50]], k=3)
    assert (hits[0].id, hits[0].row, hits[0].path) == (left[50], 50, f"{left[50]:06d}.jpg")


def test_an_exact_index_leaves_nothing_of_the_compressed_one_before_it(tmp_path: Path) -> None:
    collection = stored(tmp_path, np.arange(N), clustered(N, 0))
    Index.build(collection, kind="rabitq")
    (tmp_path / "search" / ".vectors.npy.7.partial").write_bytes(b"of a process that was killed")
    approximate = Index.update(collection, recall=0.9)
    assert sorted(path.name for path in (tmp_path / "search").iterdir()) == [
        "items.arrow", "recall.parquet", "vectors.npy",
    ]  # fmt: skip
    exact = Index.update(collection, kind="exact")
    assert [path.name for path in (tmp_path / "search").iterdir()] == ["items.arrow"]  # which every index maps
    q = clustered(3, 5)
    assert np.allclose(exact.search_vectors(q, 1)[0], approximate.search_vectors(q, 1)[0], atol=1e-5)


def test_an_index_that_is_written_again_while_it_is_opened_is_opened_as_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = stored(tmp_path, np.arange(N), clustered(N, 0))
    Index.build(collection, kind="exact")
    read, meanwhile = build.read_faiss, iter([lambda: Index.build(collection, kind="hnsw")])

    def watched(*args: Any, **options: Any) -> Any:
        next(meanwhile, lambda: None)()
        return read(*args, **options)

    monkeypatch.setattr(build, "read_faiss", watched)
    assert Index.open(tmp_path).setting.kind == "hnsw"


class TestUpdating:
    def test_an_index_is_built_anew_when_a_fifth_of_it_is_of_removed_images(self, tmp_path: Path) -> None:
        vectors = clustered(N, 0)
        Index.build(stored(tmp_path, np.arange(N), vectors), kind="rabitq")
        left = np.arange(N // 4, N)
        merged = Index.update(stored(tmp_path, left, vectors[left]))
        assert merged.setting.indexed == len(left)
        assert true_recall(merged, clustered(100, 1)) >= 0.95

    def test_what_was_asked_for_is_remembered_and_can_be_changed(self, tmp_path: Path) -> None:
        vectors = clustered(N, 0)
        Index.build(stored(tmp_path, np.arange(N), vectors), kind="rabitq", recall=0.8)
        low = Index.update(stored(tmp_path, np.arange(1, N), vectors[1:]))
        assert low.setting.wanted == IndexRequest("rabitq", 0.8)
        high = Index.update(low.collection, recall=0.99)
        assert (high.setting.depth or 0) > (low.setting.depth or 0)
        assert high.setting.recall >= 0.99

    def test_an_index_that_is_in_step_is_left_alone(self, tmp_path: Path) -> None:
        collection = stored(tmp_path, np.arange(N), clustered(N, 0))
        Index.build(collection, kind="rabitq")
        before = (tmp_path / "index.faiss").stat().st_mtime_ns
        Index.update(Collection.open(tmp_path))
        assert (tmp_path / "index.faiss").stat().st_mtime_ns == before

    def test_an_update_that_was_killed_leaves_an_index_that_is_refused_and_the_next_one_mends_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vectors = clustered(N + 100, 0)
        Index.build(stored(tmp_path, np.arange(N), vectors[:N]), kind="rabitq")
        grown = stored(tmp_path, np.arange(N + 100), vectors)

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("cpchub.index.build.write_json", stop)  # when all but the manifest is written
            with pytest.raises(KeyboardInterrupt):
                Index.update(grown)
        with pytest.raises(CollectionError, match="build it again"):
            Index.open(tmp_path)
        assert true_recall(Index.update(Collection.open(tmp_path)), clustered(100, 1)) >= 0.95

    def test_a_damaged_index_is_built_again(self, tmp_path: Path) -> None:
        collection = stored(tmp_path, np.arange(N), clustered(N, 0))
        Index.build(collection, kind="rabitq", recall=0.9)
        (tmp_path / "index.faiss").write_bytes(b"no index")
        assert Index.update(Collection.open(tmp_path)).setting.wanted == IndexRequest("rabitq", 0.9)
        assert len(Index.open(tmp_path).search_vectors(clustered(1, 0), 5)[1][0]) == 5
