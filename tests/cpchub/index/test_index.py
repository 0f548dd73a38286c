"""Searching a collection."""

from __future__ import annotations

import sys
import types
from importlib import metadata
from pathlib import Path

import faiss
import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.embedding.job import embed
from cpchub.errors import BrokenImageError, CollectionError, DependencyError, EncoderMismatchError, QueryError
from cpchub.index import Hit, Index
from cpchub.index.engine import faiss_import
from cpchub.media.decode import ORIENTATION_TAG
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save


@pytest.fixture(scope="module")
def index(store: str, tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("search")
    source = folder_of_images(folder / "photos", 12)
    return Index.build(embed(source, folder / "out", TinyEncoder(), progress=False), TinyEncoder(), store=store)


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return embed(folder_of_images(tmp_path / "photos", 5), tmp_path / "out", TinyEncoder(), progress=False)


def test_an_image_of_the_collection_finds_itself_first(index: Index) -> None:
    for row in range(len(index)):
        first = index.search(index.collection.path_of(row), k=3)[0]
        assert first.row == row
        assert first.score >= 0.999


def test_a_copy_turned_by_exif_finds_the_upright_one(index: Index, tmp_path: Path) -> None:
    exif = an_image(7).getexif()
    exif[ORIENTATION_TAG] = 6
    turned = save(an_image(7).rotate(90, expand=True), tmp_path / "turned.png", exif=exif)
    hit = index.search(turned, k=1)[0]
    assert hit.path == "007.png"
    assert hit.score >= 0.999


def test_a_query_is_a_path_bytes_an_image_or_an_array(index: Index) -> None:
    path = index.collection.path_of(4)
    expected = index.search(path, k=3)
    assert index.search(str(path), k=3) == expected
    assert index.search(path.read_bytes(), k=3) == expected
    assert index.search(an_image(4), k=1)[0].row == 4
    assert index.search(np.asarray(an_image(4)), k=1)[0].row == 4


def test_hits_come_best_first_with_id_path_score_and_label(index: Index) -> None:
    hits = index.search(index.collection.path_of(2), k=12)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert sorted(hit.row for hit in hits) == list(range(12))
    assert hits[0] == Hit(row=2, id=2, path="002.png", score=pytest.approx(1), label=None)  # type: ignore[arg-type]


def test_vectors_are_searched_as_numpy_would(index: Index) -> None:
    q = np.random.default_rng(0).normal(size=(7, 48)).astype(np.float32)
    scores, rows = index.search_vectors(q, k=4)
    cosines = (q / np.linalg.norm(q, axis=1, keepdims=True)) @ index.collection.vectors().T
    expected = np.argsort(-cosines, axis=1)[:, :4]
    assert (scores.shape, scores.dtype, rows.shape, rows.dtype) == ((7, 4), np.float32, (7, 4), np.int64)
    assert np.array_equal(rows, expected)
    assert np.allclose(scores, np.take_along_axis(cosines, expected, axis=1), atol=1e-5)


def test_a_row_is_searched_with_or_without_itself(index: Index) -> None:
    assert index.search_row(5, 3)[0].row == 5
    others = index.search_row(5, 11, itself=False)
    assert sorted(hit.row for hit in others) == [row for row in range(12) if row != 5]


@pytest.mark.parametrize("k", [0, -1, 13])
def test_k_outside_the_collection_is_refused_with_its_size(index: Index, k: int) -> None:
    with pytest.raises(QueryError, match=rf"k={k}: the collection has 12 images"):
        index.search(index.collection.path_of(0), k=k)
    with pytest.raises(QueryError, match="12 images"):
        index.search_vectors(np.ones((1, 48)), k=k)


def test_queries_that_mean_nothing_are_refused(index: Index, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"shape \(1, 3\).*\[Q, 48\]"):
        index.search_vectors(np.ones(3))
    for vector in (np.zeros(48), np.full(48, np.nan)):
        with pytest.raises(QueryError, match="no direction"):
            index.search_vectors(vector)
    with pytest.raises(QueryError, match="no row 12"):
        index.search_row(12)
    with pytest.raises(BrokenImageError, match="no such file"):
        index.search(tmp_path / "nowhere.jpg")


def test_an_image_needs_an_encoder_and_the_message_says_which(collection: Collection) -> None:
    index = Index.build(collection)
    with pytest.raises(QueryError, match=r"cpchub\.load\('tiny'\)"):
        index.search(an_image(0))
    assert index.search(an_image(0), encoder=TinyEncoder())[0].row == 0


def test_another_encoder_is_refused_in_one_line_that_names_both(collection: Collection) -> None:
    index, other = Index.build(collection), TinyEncoder("other", weights="cd" * 32)
    with pytest.raises(EncoderMismatchError, match=r"'tiny' \(fingerprint \w+\), not by 'other' \(\w+\)") as caught:
        Index.open(collection.folder, other)
    assert "\n" not in str(caught.value)
    with pytest.raises(EncoderMismatchError):
        index.search(an_image(0), encoder=other)


def test_an_opened_index_answers_as_the_built_one(collection: Collection, store: str) -> None:
    built = Index.build(collection, TinyEncoder(), store=store)
    assert Index.open(collection.folder, TinyEncoder()).search(an_image(3)) == built.search(an_image(3))


def test_the_file_is_a_plain_faiss_index(collection: Collection) -> None:
    Index.build(collection)
    plain = faiss.read_index(str(collection.folder / "index.faiss"))
    assert (plain.ntotal, plain.d, plain.metric_type) == (5, 48, faiss.METRIC_INNER_PRODUCT)


def test_the_manifest_says_how_it_searches(collection: Collection) -> None:
    Index.build(collection)
    search = Collection.open(collection.folder).manifest["search"]
    expected = {"kind": "exact", "index": "IndexFlatIP", "metric": "inner product", "exact": True, "recall": 1.0}
    assert {name: search[name] for name in expected} == expected
    assert (search["count"], search["indexed"]) == (5, 5)
    assert "too few" in search["reason"]


class TestAnIndexThatIsOutOfDate:
    def again(self, collection: Collection) -> Collection:
        return embed(collection.source, collection.folder, TinyEncoder(), progress=False)

    def test_is_not_opened_after_images_came_or_went(self, collection: Collection, store: str) -> None:
        with pytest.raises(CollectionError, match="no index for the images it holds now; build it again: cpchub index"):
            Index.open(collection.folder)
        Index.build(collection, store=store)
        (collection.source / "000.png").unlink()
        save(an_image(70), collection.source / "new.png")  # the same number of images
        updated = self.again(collection)
        with pytest.raises(CollectionError, match="no index"):
            Index.open(collection.folder)
        assert Index.update(updated, TinyEncoder()).search(an_image(70))[0].path == "new.png"
        assert Index.open(collection.folder, TinyEncoder()).search(an_image(70))[0].path == "new.png"

    def test_is_not_built_from_a_collection_that_was_updated_meanwhile(self, collection: Collection) -> None:
        save(an_image(70), collection.source / "new.png")
        self.again(collection)
        with pytest.raises(CollectionError, match="updated since it was opened"):
            Index.build(collection)

    def test_stays_good_when_files_were_only_renamed(self, collection: Collection, store: str) -> None:
        Index.build(collection, store=store)
        (collection.source / "000.png").rename(collection.source / "renamed.png")
        self.again(collection)
        assert Index.open(collection.folder, TinyEncoder()).search(an_image(0))[0].path == "renamed.png"
        opened = Index.open(collection.folder, TinyEncoder())
        assert [hit.path for hit in opened.search(an_image(3), where="path == 'renamed.png'")] == ["renamed.png"]
        assert opened.search(an_image(0), where="path == '000.png'") == []

    def test_is_recognised_when_it_was_exchanged_or_damaged(self, collection: Collection) -> None:
        Index.build(collection)
        path = collection.folder / "index.faiss"
        faiss.write_index(faiss.IndexFlatIP(48), str(path))
        with pytest.raises(CollectionError, match=r"index\.faiss is not the file that was built.*exchanged"):
            Index.open(collection.folder)
        path.unlink()
        with pytest.raises(CollectionError, match=r"index\.faiss cannot be read.*build it again"):
            Index.open(collection.folder)


def test_one_query_is_searched_by_one_thread_and_the_setting_is_put_back(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index.build(collection)
    before, used = faiss.omp_get_max_threads(), []
    engine = index._store
    real = engine.index

    def search(q: np.ndarray, k: int) -> object:
        used.append(faiss.omp_get_max_threads())
        return real.search(q, k)

    monkeypatch.setattr(engine, "index", types.SimpleNamespace(search=search))
    faiss.omp_set_num_threads(2)
    try:
        index.search_vectors(np.ones((1, 48)))
        index.search_vectors(np.ones((9, 48)))
        assert used == [1, 2]
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)


class TestFaissIsChecked:
    def installed(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        def distribution(name: str) -> object:
            if name not in names:
                raise metadata.PackageNotFoundError(name)
            return object()

        monkeypatch.setattr(faiss_import.metadata, "distribution", distribution)

    def test_both_packages_are_an_error_with_the_commands_that_mend_it(
        self, monkeypatch: pytest.MonkeyPatch, collection: Collection
    ) -> None:
        self.installed(monkeypatch, "faiss-cpu", "faiss-gpu")
        with pytest.raises(DependencyError, match="pip uninstall -y faiss-cpu faiss-gpu && pip install faiss-gpu"):
            Index.build(collection)
        assert not (collection.folder / "index.faiss").exists()

    def test_no_package_is_an_error_with_the_command_that_installs_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installed(monkeypatch)
        monkeypatch.setitem(sys.modules, "faiss", None)
        with pytest.raises(DependencyError, match=r"pip install .*\[cpu\]"):
            faiss_import.import_faiss()

    def test_the_leftovers_of_an_uninstalled_package_are_recognised(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installed(monkeypatch, "faiss-gpu")
        monkeypatch.setitem(sys.modules, "faiss", types.ModuleType("faiss"))
        with pytest.raises(DependencyError, match="--force-reinstall --no-deps faiss-gpu"):
            faiss_import.import_faiss()

    def test_one_package_is_fine(self) -> None:
        assert faiss_import.import_faiss() is faiss
