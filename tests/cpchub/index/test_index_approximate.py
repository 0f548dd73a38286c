"""A compressed index answers queries, filters and sums of queries, and one that was tampered with is refused."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch

from cpchub.errors import CollectionError, QueryError
from cpchub.index import Index, Item
from cpchub.index.engine.exact import OnDevice, nearest
from cpchub.index.setting import Kind, Setting
from tests.cpchub.index.clustered import D, N, clustered, stored, true_recall
from tests.cpchub.index.stores import FAISS


@pytest.fixture(scope="module")
def rabitq(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("rabitq") / "index"
    return Index.build(stored(folder, np.arange(N), clustered(N, 0)), kind="rabitq")


@pytest.fixture(scope="module")
def compressed(store: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Index:
    """An index that is not exact, in each store."""
    if store == FAISS:
        return request.getfixturevalue("rabitq")
    folder = tmp_path_factory.mktemp("compressed") / "index"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cpchub.index.engine.ground_truth.QUERIES", 200)  # Milvus Lite takes long for each
        return Index.build(stored(folder, np.arange(N), clustered(N, 0)), kind="hnsw", store=store)


def test_scores_are_those_of_the_vectors_and_come_best_first(compressed: Index) -> None:
    q = clustered(3, 5)
    scores, rows = compressed.search_vectors(q, 20)
    assert np.allclose(scores, np.einsum("qd,qkd->qk", q, compressed.collection.vectors()[rows]), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_one_query_gives_what_it_gives_in_a_batch(compressed: Index) -> None:
    q = clustered(40, 6)
    together = compressed.search_vectors(q, 5)[1]
    alone = [compressed.search_vectors(vector, 5)[1][0] for vector in q]
    assert all(np.array_equal(one, rows) for one, rows in zip(alone, together, strict=True))


@pytest.mark.parametrize("kind", ["rabitq", "ivf-rabitq"])
def test_many_threads_get_the_answers_that_one_gets(kind: Kind, tmp_path: Path) -> None:
    index = Index.build(stored(tmp_path, np.arange(N), clustered(N, 0)), kind=kind)
    q = clustered(60, 6)
    ks = [3 + number % 7 for number in range(len(q))]  # other depths, so other search parameters
    alone = [index.search_vectors(vector, k)[1] for vector, k in zip(q, ks, strict=True)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda vector, k: index.search_vectors(vector, k)[1], q, ks))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_all_images_can_be_asked_for(compressed: Index) -> None:
    assert sorted(compressed.search_vectors(clustered(1, 7), N)[1][0]) == list(range(N))


class TestFilters:
    def test_only_rows_that_pass_are_found(self, compressed: Index) -> None:
        rows = compressed.search_vectors(clustered(5, 8), 30, where="label == '3' and id < 2000")[1]
        assert all(row % 10 == 3 and row < 2000 for row in rows.reshape(-1))

    def test_a_wide_filter_keeps_the_promise_too(self, compressed: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cpchub.index.engine.two_stages.SMALL_SUBSET", 100)
        mask = np.isin(np.arange(N) % 10, [1, 2, 3])
        assert true_recall(compressed, clustered(100, 9), mask=mask) >= 0.95

    def test_a_narrow_one_is_exact(self, compressed: Index) -> None:
        assert true_recall(compressed, clustered(50, 9), mask=np.isin(np.arange(N) % 10, [1, 2, 3])) == 1

    def test_of_fewer_than_k_that_pass_those_are_found(self, compressed: Index) -> None:
        scores, rows = compressed.search_vectors(clustered(3, 0), 5, where="id in (1, 2)")
        assert scores.shape == (3, 2)
        assert np.array_equal(np.sort(rows), [[1, 2]] * 3)
        each = compressed.search_each([Item(1), Item(2)], where="id in (1, 2)")
        assert [[hit.id for hit in hits] for hits in each] == [[1, 2], [2, 1]]
        assert [hit.id for hit in compressed.search_row(1, itself=False, where="id in (1, 2)")] == [2]

    def test_where_none_passes_the_answer_is_empty(self, compressed: Index) -> None:
        scores, rows = compressed.search_vectors(clustered(3, 0), 5, where="id < 0")
        assert (scores.shape, rows.shape) == ((3, 0), (3, 0))
        assert compressed.search(Item(3), where="id < 0") == []
        assert compressed.search_each([Item(3), Item(4)], where="id < 0") == [[], []]
        assert compressed.search_row(3, itself=False, where="id == 3") == []


class TestATamperedIndex:
    @pytest.fixture
    def folder(self, rabitq: Index, tmp_path: Path) -> Path:
        return Path(shutil.copytree(rabitq.collection.folder, tmp_path / "copy"))

    def edit(self, folder: Path, **changes: object) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["search"] |= changes
        (folder / "manifest.json").write_text(json.dumps(manifest))

    def test_never_reaches_faiss(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = bytearray((folder / "index.faiss").read_bytes())
        data[len(data) // 2] ^= 1
        (folder / "index.faiss").write_bytes(data)
        monkeypatch.setattr(faiss, "read_index", lambda *_: pytest.fail("faiss reads a file that was not checked"))
        with pytest.raises(CollectionError, match="not the file that was built"):
            Index.open(folder)

    @pytest.mark.parametrize("change", [{"recall": 1.0}, {"depth": 1}, {"sha256": "0" * 64}, {"checksum": None}])
    def test_an_edited_manifest_is_refused(self, folder: Path, change: dict) -> None:
        self.edit(folder, **change)
        with pytest.raises(CollectionError, match="edited by hand"):
            Index.open(folder)

    @pytest.mark.parametrize("value", [None, -1, 10**30, "x", {}])
    @pytest.mark.parametrize(
        "field", ["format", "generation", "dim", "count", "next_id", "source", "encoder", "shards"]
    )
    def test_a_manifest_that_makes_no_sense_is_refused(self, folder: Path, field: str, value: object) -> None:
        if (field, value) in (("source", "x"), ("format", -1)):
            return  # another place, and older than any: both can be
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {field: value}))
        with pytest.raises(CollectionError):
            Index.open(folder)

    @pytest.mark.parametrize(
        ("version", "reason"), [(99, "upgrade cpchub"), (1, "earlier cpchub"), ("two", "edited by hand")]
    )
    def test_another_version_is_refused(self, folder: Path, version: object, reason: str) -> None:
        self.edit(folder, version=version)
        with pytest.raises(CollectionError, match=reason):
            Index.open(folder)

    def test_vectors_of_another_shape_are_refused(self, folder: Path) -> None:
        np.save(folder / "search" / "vectors.npy", np.zeros((3, D), np.float32))
        with pytest.raises(CollectionError, match=r"vectors\.npy holds float32 \(3, 32\)"):
            Index.open(folder)
        np.save(folder / "search" / "vectors.npy", np.array([{}], dtype=object))
        with pytest.raises(CollectionError, match=r"vectors\.npy cannot be read"):
            Index.open(folder)

    def test_a_section_reads_back_as_it_was_written(self, folder: Path) -> None:
        setting = Index.open(folder).setting
        assert Setting.from_manifest(json.loads(json.dumps(setting.to_manifest())), folder) == setting
        assert f"{setting.recall:.3f}" in setting.sentence()


class TestExactSearch:
    def test_blocks_rows_and_halves_give_what_numpy_gives(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cpchub.index.engine.exact.BLOCK", 64)
        vectors, q = clustered(300, 0), clustered(7, 1)
        rows = np.arange(0, 300, 3)
        for chosen in (None, rows):
            scores = q @ vectors.T
            if chosen is not None:
                scores[:, np.setdiff1d(np.arange(300), rows)] = -1
            expected = np.argsort(-scores, axis=1)[:, :5]
            assert np.array_equal(nearest(q, vectors, 5, chosen)[1], expected)
        assert np.allclose(nearest(q, vectors.astype(np.float16), 5)[0], nearest(q, vectors, 5)[0], atol=2e-3)

    def test_queries_are_answered_in_steps_that_bound_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        vectors, q = clustered(300, 0), clustered(20, 1)
        whole = nearest(q, vectors, 5)
        asked: list[tuple[int, ...]] = []
        product = torch.Tensor.__matmul__

        def watched(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            asked.append((len(one), other.shape[1]))
            return product(one, other)

        monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
        for name, value in (("QUERIES", 6), ("BLOCK", 50), ("DEVICE_BLOCK", 70)):
            monkeypatch.setattr(f"cpchub.index.engine.exact.{name}", value)
        for found in (nearest(q, vectors, 5), OnDevice(vectors, "cpu").search(q, 5)):
            assert np.array_equal(found[1], whole[1])
            assert np.allclose(found[0], whole[0], atol=1e-6)
        assert max(queries for queries, _ in asked) == 6
        assert max(block for _, block in asked) == 70

    def test_a_device_compares_half_precision_vectors_exactly(self) -> None:
        stored_as, q = clustered(300, 0).astype(np.float16), clustered(4, 2)
        assert np.allclose(OnDevice(stored_as, "cpu").search(q, 5)[0], nearest(q, stored_as, 5)[0], atol=1e-6)

    def test_more_than_there_are_gives_all(self) -> None:
        assert nearest(clustered(2, 0), clustered(3, 1), 10)[1].shape == (2, 3)
        assert nearest(clustered(2, 0), clustered(3, 1)[:0], 10)[1].shape == (2, 0)
        assert nearest(clustered(2, 0)[:0], clustered(3, 1), 10)[1].shape == (0, 3)

    def test_a_device_answers_as_faiss(self, rabitq: Index) -> None:
        vectors, q = rabitq.collection.vectors(), clustered(4, 2)
        assert np.array_equal(OnDevice(vectors, "cpu").search(q, 5)[1], nearest(q, vectors, 5)[1])
        index = Index.open(rabitq.collection.folder, device="cpu")
        assert np.array_equal(index.search_vectors(q, 5)[1], nearest(q, vectors, 5)[1])

    @pytest.mark.gpu
    def test_a_gpu_answers_as_numpy(self, rabitq: Index) -> None:
        vectors, q = rabitq.collection.vectors(), clustered(64, 2)
        scores, rows = Index.open(rabitq.collection.folder, device="cuda").search_vectors(q, 10)
        expected = np.sort(q @ vectors.T, axis=1)[:, ::-1][:, :10]
        assert np.allclose(scores, expected, atol=1e-4)
        assert np.allclose(np.einsum("qd,qkd->qk", q, vectors[rows]), expected, atol=1e-4)

    def test_a_device_that_is_not_there_is_refused(self, rabitq: Index) -> None:
        with pytest.raises(QueryError, match="cannot be put on device 'cuda:77'"):
            Index.open(rabitq.collection.folder, device="cuda:77")


class TestSumsOfQueries:
    def test_an_item_a_vector_and_a_row_are_the_same_query(self, compressed: Index) -> None:
        vector = np.array(compressed.vectors[70])
        assert compressed.search(Item(70), k=4) == compressed.search(vector, k=4) == compressed.search_row(70, k=4)

    def test_several_are_searched_by_their_mean_and_others_added_and_taken_away(self, compressed: Index) -> None:
        a, b, c = (np.array(compressed.vectors[row]) for row in (1, 2, 3))
        assert compressed.search([Item(1), Item(2)], k=5) == compressed.search(a + b, k=5)
        sum_ = compressed.search(Item(1), k=5, plus=[(Item(2), 0.5)], minus=[Item(3)])
        assert [hit.id for hit in sum_] == [hit.id for hit in compressed.search(a + 0.5 * b - c, k=5)]

    def test_a_batch_gives_the_single_answers(self, compressed: Index) -> None:
        batch = compressed.search_each([Item(row) for row in range(12)], k=3)
        assert [[hit.id for hit in hits] for hits in batch] == [
            [hit.id for hit in compressed.search(Item(row), k=3)] for row in range(12)
        ]

    def test_queries_that_mean_nothing_are_refused(self, compressed: Index) -> None:
        with pytest.raises(QueryError, match="no image with id 999999"):
            compressed.search(Item(999_999))
        with pytest.raises(QueryError, match="nothing to search with"):
            compressed.search([])
        with pytest.raises(QueryError, match="no direction"):
            compressed.search(Item(1), minus=[Item(1)])
        with pytest.raises(QueryError, match="weight"):
            compressed.search(Item(1), plus=[(Item(2), float("nan"))])


def test_opening_reads_neither_the_vectors_nor_the_items_into_memory(compressed: Index) -> None:
    index = Index.open(compressed.collection.folder)
    index.search(Item(3), k=2, where="label == '3'")
    assert "items" not in vars(index.collection)
    assert "_vectors" not in vars(index.collection)
    assert not index.vectors.flags.owndata
