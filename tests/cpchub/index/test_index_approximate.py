"""Compressed indexes: what is chosen, that recall keeps its promise through changes, filters, and refusals."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import faiss
import numpy as np
import numpy.typing as npt
import pytest
import torch

from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import ArgumentError, CollectionError, QueryError
from cpchub.index import Index, Item, build
from cpchub.index.engine.exact import OnDevice, nearest
from cpchub.index.engine.ground_truth import GroundTruth
from cpchub.index.engine.kinds import choose
from cpchub.index.setting import IndexRequest, Kind, Setting

D = 32
N = 4000
APPROXIMATE = [kind for kind in get_args(Kind) if kind != "exact"]


def clustered(count: int, seed: int, dim: int = D) -> npt.NDArray[np.float32]:
    """Unit vectors in soft clusters, as images of some hundred motifs would be."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(200, dim))
    vectors = centres[random.integers(0, 200, count)] + random.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def stored(folder: Path, ids: npt.NDArray[np.int64], vectors: npt.NDArray[np.float32]) -> Collection:
    """A collection with these ids; the label tells an id's last digit."""
    paths, labels = [f"{i:06d}.jpg" for i in ids], [str(i % 10) for i in ids]
    return import_vectors(folder, vectors, paths, ids=ids, labels=labels)


def true_recall(index: Index, queries: npt.NDArray[np.float32], k: int = 10, mask: object = None) -> float:
    """Recall@k by numpy alone."""
    vectors = np.asarray(index.collection.vectors())
    scores = queries @ vectors.T
    if mask is not None:
        scores[:, ~np.asarray(mask)] = -np.inf
    truth = np.argsort(-scores, axis=1)[:, :k]
    found = index.search_vectors(queries, k, where=None if mask is None else "label in ('1', '2', '3')")[1]
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(truth.tolist(), found.tolist(), strict=True)]))


@pytest.fixture(scope="module")
def rabitq(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("rabitq") / "index"
    return Index.build(stored(folder, np.arange(N), clustered(N, 0)), kind="rabitq")


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
    assert not (tmp_path / "search").exists()
    q = clustered(3, 5)
    assert np.allclose(exact.search_vectors(q, 1)[0], approximate.search_vectors(q, 1)[0], atol=1e-5)


def test_an_index_that_is_written_again_while_it_is_opened_is_opened_as_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = stored(tmp_path, np.arange(N), clustered(N, 0))
    Index.build(collection, kind="exact")
    read, meanwhile = build.read_faiss, iter([lambda: Index.build(collection, kind="hnsw")])

    def watched(*args: Any) -> Any:
        next(meanwhile, lambda: None)()
        return read(*args)

    monkeypatch.setattr(build, "read_faiss", watched)
    assert Index.open(tmp_path).setting.kind == "hnsw"


def test_scores_are_those_of_the_vectors_and_come_best_first(rabitq: Index) -> None:
    q = clustered(3, 5)
    scores, rows = rabitq.search_vectors(q, 20)
    assert np.allclose(scores, np.einsum("qd,qkd->qk", q, rabitq.collection.vectors()[rows]), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_one_query_gives_what_it_gives_in_a_batch(rabitq: Index) -> None:
    q = clustered(40, 6)
    together = rabitq.search_vectors(q, 5)[1]
    assert all(
        np.array_equal(rabitq.search_vectors(vector, 5)[1][0], rows) for vector, rows in zip(q, together, strict=True)
    )


@pytest.mark.parametrize("kind", ["rabitq", "ivf-rabitq"])
def test_many_threads_get_the_answers_that_one_gets(kind: Kind, tmp_path: Path) -> None:
    index = Index.build(stored(tmp_path, np.arange(N), clustered(N, 0)), kind=kind)
    q = clustered(60, 6)
    ks = [3 + number % 7 for number in range(len(q))]  # other depths, so other search parameters
    alone = [index.search_vectors(vector, k)[1] for vector, k in zip(q, ks, strict=True)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda vector, k: index.search_vectors(vector, k)[1], q, ks))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_all_images_can_be_asked_for(rabitq: Index) -> None:
    assert sorted(rabitq.search_vectors(clustered(1, 7), N)[1][0]) == list(range(N))


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


class TestHeldOutQueries:
    def test_following_changes_gives_what_comparing_with_all_gives(self) -> None:
        vectors, random = clustered(3000, 0), np.random.default_rng(3)
        ids = np.arange(2000)
        truth = GroundTruth.draw(vectors[:2000], ids)
        for first_new in (2000, 2500, 3000):  # two rounds of adding and removing, one of removing most
            share = 0.2 if first_new == 3000 else 0.9
            ids = np.concatenate(
                [ids[random.random(len(ids)) < share], np.arange(first_new, min(first_new + 500, 3000))]
            )
            truth.update(vectors[ids], ids, first_new)
            assert (truth.known >= 10).all()
            scores = truth.queries @ vectors[ids].T
            scores[truth.own[:, None] == ids] = -np.inf
            for query, known in enumerate(truth.known):
                expected = np.sort(scores[query])[::-1][: min(known, 10)]
                assert np.allclose(truth.scores[query, : len(expected)], expected, atol=1e-5)

    def test_following_a_change_twice_is_following_it_once(self) -> None:
        vectors, ids = clustered(1500, 0), np.arange(1500)
        once, twice = (GroundTruth.draw(vectors[:1000], ids[:1000]) for _ in range(2))
        for truth, times in ((once, 1), (twice, 2)):
            for _ in range(times):
                truth.update(vectors, ids, 1000)
        assert (twice.known >= 10).all()
        assert np.array_equal(once.ids[:, :10], twice.ids[:, :10])

    def test_they_survive_the_disk(self, tmp_path: Path) -> None:
        (tmp_path / "search").mkdir()
        truth = GroundTruth.draw(clustered(500, 0), np.arange(500))
        truth.save(tmp_path)
        again = GroundTruth.load(tmp_path)
        for name in ("queries", "own", "ids", "scores", "known"):
            assert np.array_equal(getattr(again, name), getattr(truth, name))

    def test_equally_near_images_count_as_found(self) -> None:
        twins = np.repeat(clustered(40, 0), 30, axis=0)  # 29 neighbours at the same distance
        truth = GroundTruth.draw(twins, np.arange(len(twins)))
        assert truth.hits(0, np.ones(10, np.float32))[-1] == 10
        assert truth.hits(0, np.zeros(10, np.float32))[-1] == 0


class TestChoosing:
    def test_few_vectors_are_compared_exactly_more_are_compressed_many_are_in_lists(self) -> None:
        kinds = [choose(count, 128, IndexRequest()).kind for count in (10, 400_000, 1_000_000, 20_000_000)]
        assert kinds == ["exact", "exact", "rabitq", "ivf-rabitq"]

    def test_less_memory_takes_smaller_codes(self) -> None:
        plans = [choose(1_000_000, 384, IndexRequest(memory=memory)) for memory in (70_000_000, 40_000_000, 12_000_000)]
        assert [plan.kind for plan in plans] == ["rabitq", "pq", "pq"] or [plan.kind for plan in plans][1:] == [
            "pq",
            "pq",
        ]
        assert plans[1].parts > plans[2].parts
        assert 1_000_000 * (plans[2].parts / 2 + 8) <= 12_000_000

    def test_memory_for_not_even_the_ids_is_refused_with_what_it_takes(self) -> None:
        with pytest.raises(ArgumentError, match=r"1,000,000 vectors cannot be indexed in 1 MB.*9 MB at least"):
            choose(1_000_000, 128, IndexRequest(memory=1_000_000))

    def test_nothing_missed_in_less_memory_than_all_vectors_take_is_refused(self) -> None:
        assert choose(10_000, 128, IndexRequest(recall=1, memory=6_000_000)).kind == "exact"
        with pytest.raises(ArgumentError, match=r"recall 1 cannot be had in 5 MB: .* 10,000 take 5 MB"):
            choose(10_000, 128, IndexRequest(recall=1, memory=5_000_000))

    def test_a_recall_that_cannot_be_had_is_refused_with_the_best_there_is(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).normal(size=(60_000, 64)).astype(np.float32)
        collection = stored(tmp_path, np.arange(len(noise)), noise)
        with pytest.raises(ArgumentError, match=r"recall 0\.999 cannot be kept by pq .*the best is 0\.\d"):
            Index.build(collection, recall=0.999, memory=540_000)

    @pytest.mark.parametrize(
        ("kind", "bytes_a_vector"), [("exact", 512), ("rabitq", 32), ("ivf-rabitq", 32), ("hnsw", 776)]
    )
    def test_a_kind_that_does_not_fit_the_memory_is_refused_with_what_it_takes(
        self, kind: Any, bytes_a_vector: int
    ) -> None:
        takes = bytes_a_vector * 100_000
        assert choose(100_000, 128, IndexRequest(kind, memory=takes)).kind == kind
        with pytest.raises(ArgumentError, match=f"kind {kind} takes {takes / 1e6:.0f} MB for 100,000 vectors"):
            choose(100_000, 128, IndexRequest(kind, memory=takes - 1))

    @pytest.mark.parametrize("wish", [{"kind": "annoy"}, {"recall": 0}, {"recall": 1.1}, {"memory": 0}])
    def test_wishes_that_mean_nothing_are_refused(self, wish: dict) -> None:
        with pytest.raises(ArgumentError):
            IndexRequest(**wish)


class TestFilters:
    def test_only_rows_that_pass_are_found(self, rabitq: Index) -> None:
        rows = rabitq.search_vectors(clustered(5, 8), 30, where="label == '3' and id < 2000")[1]
        assert all(row % 10 == 3 and row < 2000 for row in rows.reshape(-1))

    def test_a_wide_filter_keeps_the_promise_too(self, rabitq: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cpchub.index.engine.two_stages.SMALL_SUBSET", 100)
        mask = np.isin(np.arange(N) % 10, [1, 2, 3])
        assert true_recall(rabitq, clustered(100, 9), mask=mask) >= 0.95

    def test_a_narrow_one_is_exact(self, rabitq: Index) -> None:
        assert true_recall(rabitq, clustered(50, 9), mask=np.isin(np.arange(N) % 10, [1, 2, 3])) == 1

    def test_more_than_what_passes_is_refused_with_its_number(self, rabitq: Index) -> None:
        with pytest.raises(QueryError, match="k=5: 2 of the 4000 images"):
            rabitq.search_vectors(clustered(1, 0), 5, where="id in (1, 2)")


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
    def test_an_item_a_vector_and_a_row_are_the_same_query(self, rabitq: Index) -> None:
        vector = np.array(rabitq.vectors[70])
        assert rabitq.search(Item(70), k=4) == rabitq.search(vector, k=4) == rabitq.search_row(70, k=4)

    def test_several_are_searched_by_their_mean_and_others_added_and_taken_away(self, rabitq: Index) -> None:
        a, b, c = (np.array(rabitq.vectors[row]) for row in (1, 2, 3))
        assert rabitq.search([Item(1), Item(2)], k=5) == rabitq.search(a + b, k=5)
        sum_ = rabitq.search(Item(1), k=5, plus=[(Item(2), 0.5)], minus=[Item(3)])
        assert [hit.id for hit in sum_] == [hit.id for hit in rabitq.search(a + 0.5 * b - c, k=5)]

    def test_a_batch_gives_the_single_answers(self, rabitq: Index) -> None:
        batch = rabitq.search_each([Item(row) for row in range(12)], k=3)
        assert [[hit.id for hit in hits] for hits in batch] == [
            [hit.id for hit in rabitq.search(Item(row), k=3)] for row in range(12)
        ]

    def test_queries_that_mean_nothing_are_refused(self, rabitq: Index) -> None:
        with pytest.raises(QueryError, match="no image with id 999999"):
            rabitq.search(Item(999_999))
        with pytest.raises(QueryError, match="nothing to search with"):
            rabitq.search([])
        with pytest.raises(QueryError, match="no direction"):
            rabitq.search(Item(1), minus=[Item(1)])
        with pytest.raises(QueryError, match="weight"):
            rabitq.search(Item(1), plus=[(Item(2), float("nan"))])


def test_opening_reads_neither_the_vectors_nor_the_items_into_memory(rabitq: Index) -> None:
    index = Index.open(rabitq.collection.folder)
    index.search(Item(3), k=2, where="label == '3'")
    assert "items" not in vars(index.collection)
    assert "_vectors" not in vars(index.collection)
    assert not index.vectors.flags.owndata
