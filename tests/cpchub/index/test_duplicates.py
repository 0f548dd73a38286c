"""Duplicates, outliers and maps of a collection."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cpchub.collection.import_vectors import import_vectors
from cpchub.embedding.job import embed
from cpchub.errors import ArgumentError, DependencyError
from cpchub.index import Index
from cpchub.index.duplicates import find_duplicates
from cpchub.index.layout_kept import kept_layout
from cpchub.index.map import draw_map
from cpchub.index.near_threshold import calibrate_threshold
from cpchub.index.neighbours import Neighbours, nearest_others
from cpchub.index.outliers import find_outliers
from cpchub.index.plane import project_to_plane
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images

COUNT = 80


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """80 different images; 3 of them re-saved smaller, 2 copied, one of those twice."""
    root = folder_of_images(tmp_path_factory.mktemp("duplicates") / "photos", COUNT)
    for number in (5, 6, 7):
        again = io.BytesIO()
        an_image(number).resize((21, 18)).save(again, "JPEG", quality=90)
        (root / f"resaved-{number}.jpg").write_bytes(again.getvalue())
    for name in ("copy-20", "copy-20-again"):
        shutil.copy(root / "020.png", root / f"{name}.png")
    shutil.copy(root / "030.png", root / "copy-30.png")
    return Index.build(embed(root, root.parent / "out", TinyEncoder(), progress=False), TinyEncoder())


def random_index(folder: Path, count: int = 300) -> Index:
    vectors = np.random.default_rng(0).normal(size=(count, 16))
    return Index.build(import_vectors(folder, vectors, [f"{i}.jpg" for i in range(count)]))


def groups_of(index: Index, **options: Any) -> list[tuple[str, ...]]:
    table = find_duplicates(index, progress=False, **options).table.to_pydict()
    groups: dict[int, list[str]] = {}
    for group, path in zip(table["group"], table["path"], strict=True):
        groups.setdefault(group, []).append(path)
    return [tuple(paths) for paths in groups.values()]


class TestDuplicates:
    def test_copies_and_resaved_images_are_found_and_nothing_else(self, images: Index) -> None:
        assert {frozenset(group) for group in groups_of(images)} == {
            frozenset({"020.png", "copy-20.png", "copy-20-again.png"}),
            frozenset({"030.png", "copy-30.png"}),
            *(frozenset({f"{number:03d}.png", f"resaved-{number}.jpg"}) for number in (5, 6, 7)),
        }

    def test_each_row_says_what_it_is_and_the_largest_is_kept(self, images: Index) -> None:
        rows = {row["path"]: row for row in find_duplicates(images, progress=False).table.to_pylist()}
        assert rows["020.png"]["kind"] == rows["copy-20.png"]["kind"] == "exact"
        assert rows["005.png"]["kind"] == rows["resaved-5.jpg"]["kind"] == "near"
        assert (rows["005.png"]["keep"], rows["resaved-5.jpg"]["keep"]) == (True, False)
        assert sum(row["keep"] for row in rows.values() if row["group"] == rows["020.png"]["group"]) == 1
        assert rows["copy-30.png"]["similarity"] == 1
        assert 0.9 < rows["005.png"]["similarity"] < 1

    def test_a_threshold_can_be_given(self, images: Index) -> None:
        assert len(groups_of(images, threshold=1.0)) == 2  # only equal vectors
        assert len(groups_of(images, threshold=0.01, confirm=False)[0]) > 25  # all that are near the first kept
        assert len(groups_of(images, threshold=0.01)) == 5  # none that are other images as a whole
        with pytest.raises(ArgumentError, match=r"threshold=1\.5"):
            find_duplicates(images, threshold=1.5)

    def test_images_without_duplicates_give_no_groups(self, tmp_path: Path) -> None:
        assert groups_of(random_index(tmp_path)) == []

    def test_one_image_has_no_duplicate(self, tmp_path: Path) -> None:
        found = find_duplicates(random_index(tmp_path, 1), progress=False)
        assert (found.groups, found.table.num_rows) == (0, 0)

    def test_the_threshold_is_five_deviations_of_the_log_distance_below_its_median_four_if_confirmed(self) -> None:
        logarithms = np.random.default_rng(0).normal(np.log(0.5), 0.1, 100_000)
        cosines = 1 - np.exp(logarithms) ** 2 / 2
        cosines[:3000] = 0.9999  # duplicates do not move it much
        neighbours = Neighbours(cosines[:, None].astype(np.float32), np.zeros((100_000, 1), np.int64))
        for confirmed, deviations in ((False, 5), (True, 4)):
            threshold, how = calibrate_threshold(neighbours, np.arange(100_000), 1.0, confirmed=confirmed)
            assert np.log(np.sqrt(2 - 2 * threshold)) == pytest.approx(np.log(0.5) - 0.1 * deviations, abs=0.02)
            assert f"{threshold:.4f} is {deviations} standard deviations" in how

    def test_the_threshold_of_few_images_is_a_share_of_the_usual_distance_of_two(self) -> None:
        neighbours = Neighbours(np.full((5, 1), 0.5, np.float32), np.zeros((5, 1), np.int64))
        for confirmed, share in ((False, 0.2), (True, 0.3)):
            threshold, how = calibrate_threshold(neighbours, np.arange(5), 1.0, confirmed=confirmed)
            assert threshold == pytest.approx(1 - share**2 / 2)
            assert f"{threshold:.4f} is {share} of that distance" in how

    def test_images_that_are_all_equally_far_apart_are_no_duplicates(self) -> None:
        neighbours = Neighbours(np.full((50, 1), 0.5, np.float32), np.zeros((50, 1), np.int64))
        for confirmed in (True, False):
            assert calibrate_threshold(neighbours, np.arange(50), 1.0, confirmed=confirmed)[0] > 0.501

    def test_nearest_others_are_those_of_numpy_without_the_image_itself(self, tmp_path: Path) -> None:
        index = random_index(tmp_path)
        cosines = index.vectors @ index.vectors.T
        np.fill_diagonal(cosines, -2)
        found = nearest_others(index, 4, progress=False)
        assert np.array_equal(found.rows, np.argsort(-cosines, axis=1)[:, :4])


class TestOutliers:
    def test_an_image_unlike_all_others_comes_first_and_is_marked(self, tmp_path: Path) -> None:
        random = np.random.default_rng(0)
        vectors = np.eye(16)[0] + 0.2 * random.normal(size=(200, 16))
        vectors[77] = np.eye(16)[3]
        index = Index.build(import_vectors(tmp_path, vectors, [f"{i}.jpg" for i in range(200)]))
        table = find_outliers(index, progress=False)
        assert table["path"][0].as_py() == "77.jpg"
        assert table["outlier"].to_pylist() == [True] + [False] * 199
        assert table["similarity"].to_pylist() == sorted(table["similarity"].to_pylist())

    def test_one_image_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ArgumentError, match="of 1 images"):
            find_outliers(random_index(tmp_path, 1))


class TestMaps:
    def test_pca_is_that_of_scikit_learn_up_to_the_sign(self) -> None:
        from sklearn.decomposition import PCA

        vectors = np.random.default_rng(0).normal(size=(40_000, 6)) * [5, 3, 1, 1, 1, 1] + 7
        points = project_to_plane(vectors.astype(np.float32))
        expected = PCA(2, svd_solver="full").fit_transform(vectors)
        for axis in (0, 1):
            assert abs(np.corrcoef(points[:, axis], expected[:, axis])[0, 1]) > 0.9999
            assert points[:, axis].std() == pytest.approx(expected[:, axis].std(), rel=1e-3)

    def test_a_map_is_drawn_or_written_as_a_table(self, images: Index, tmp_path: Path) -> None:
        with Image.open(draw_map(images, tmp_path / "map.png")) as drawn:
            assert min(drawn.size) > 500
        table = pq.read_table(draw_map(images, tmp_path / "map.parquet"))
        assert table.column_names == ["id", "path", "label", "x", "y"]
        assert table["path"].to_pylist() == images.collection.paths
        assert np.allclose(table["x"].to_numpy(), project_to_plane(images.vectors)[:, 0])

    def test_labels_are_coloured_and_those_beyond_the_colours_are_grey(self, tmp_path: Path) -> None:
        vectors = np.random.default_rng(0).normal(size=(60, 8))
        names = [str(i) for i in range(60)]
        index = Index.build(import_vectors(tmp_path / "many", vectors, names, labels=[str(i % 30) for i in range(60)]))
        assert draw_map(index, tmp_path / "map.png").stat().st_size > 10_000

    def test_what_cannot_be_drawn_is_refused(self, images: Index, tmp_path: Path, monkeypatch) -> None:
        with pytest.raises(ArgumentError, match=r"neither \.png nor \.parquet"):
            draw_map(images, tmp_path / "map.svg")
        with pytest.raises(ArgumentError, match="3 or more"):
            project_to_plane(np.ones((2, 4)))
        with pytest.raises(ArgumentError, match="choose pca or tsne"):
            draw_map(images, tmp_path / "map.png", "umap")
        monkeypatch.setitem(__import__("sys").modules, "openTSNE", None)
        with pytest.raises(DependencyError, match=r"pip install .*\[map\]"):
            draw_map(images, tmp_path / "map.png", "tsne")

    def test_a_map_of_neighbours_is_drawn_and_its_layout_kept(self, images: Index, tmp_path: Path) -> None:
        table = pq.read_table(draw_map(images, tmp_path / "map.parquet", "tsne"))
        kept = kept_layout(images)
        assert kept is not None
        assert np.array_equal(table["x"].to_numpy(), kept.points[:, 0])
