"""A layout keeps neighbours together, is the same each time, is kept in the collection, and made anew when stale."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from cpchub.errors import ArgumentError, DependencyError
from cpchub.index import Index, layout_kept
from cpchub.index.layout import neighbour_layout
from cpchub.index.layout_kept import FILE, kept_layout, layout_of
from cpchub.index.plane import project_to_plane
from tests.cpchub.index.clustered import stored

GROUPS, EACH, DIM = 4, 40, 16


def grouped(seed: int = 0) -> npt.NDArray[np.float32]:
    """Vectors in four groups, one after the other."""
    random = np.random.default_rng(seed)
    vectors = np.repeat(np.eye(DIM)[:GROUPS], EACH, axis=0) + 0.15 * random.normal(size=(GROUPS * EACH, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def index_of(folder: Path, vectors: npt.NDArray[np.float32], ids: npt.NDArray[np.int64] | None = None) -> Index:
    return Index.build(stored(folder, np.arange(len(vectors)) if ids is None else ids, vectors))


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """A collection with its layout kept."""
    index = index_of(tmp_path_factory.mktemp("laid-out"), grouped())
    assert layout_of(index).saved
    return index


def changed(laid_out: Index, folder: Path, vectors: npt.NDArray[np.float32], ids: npt.NDArray[np.int64]) -> Index:
    """Another state of the collection, beside the layout that was kept of the first."""
    index = index_of(folder, vectors, ids)
    shutil.copy(laid_out.collection.folder / FILE, folder)
    return index


def test_the_nearest_points_are_of_the_same_group(laid_out: Index) -> None:
    kept = kept_layout(laid_out)
    assert kept is not None
    distances = np.linalg.norm(kept.points[:, None] - kept.points[None], axis=2)
    nearest = np.argsort(distances, axis=1)[:, 1:6] // EACH
    assert (nearest == np.arange(GROUPS * EACH)[:, None] // EACH).mean() > 0.95


def test_the_same_vectors_give_the_same_layout_and_progress_ends_at_one(laid_out: Index) -> None:
    told: list[float] = []
    again = neighbour_layout(laid_out, project_to_plane(laid_out.vectors), lambda what, share: told.append(share))
    kept = kept_layout(laid_out)
    assert kept is not None
    assert np.array_equal(kept.points, again)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)


def test_a_layout_that_is_kept_is_not_made_again(laid_out: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_kept, "neighbour_layout", None)
    assert layout_of(laid_out).saved


def test_removed_images_leave_the_others_where_they_are(laid_out: Index, tmp_path: Path) -> None:
    before, left = kept_layout(laid_out), np.arange(GROUPS * EACH)[::2]
    after = kept_layout(changed(laid_out, tmp_path, grouped()[left], left))
    assert before is not None
    assert after is not None
    assert np.array_equal(after.points, before.points[left])


def test_new_images_are_put_among_their_neighbours_and_kept(laid_out: Index, tmp_path: Path) -> None:
    new = grouped(1)[EACH // 2 :: EACH]  # one of each group
    index = changed(laid_out, tmp_path, np.concatenate([grouped(), new]), np.arange(GROUPS * EACH + GROUPS))
    before, after = kept_layout(laid_out), layout_of(index)
    assert before is not None
    assert np.array_equal(after.points[:-GROUPS], before.points)
    assert after.placed.tolist() == [False] * (GROUPS * EACH) + [True] * GROUPS
    distances = np.linalg.norm(after.points[-GROUPS:, None] - before.points[None], axis=2)
    assert (distances.argmin(axis=1) // EACH).tolist() == list(range(GROUPS))
    again = kept_layout(index)
    assert again is not None
    assert again.saved
    assert np.array_equal(again.points, after.points)


def test_new_images_that_are_like_each_other_alone_are_put_beside_the_nearest_old_one(
    laid_out: Index, tmp_path: Path
) -> None:
    new = np.repeat(0.3 * np.eye(DIM, dtype=np.float32)[:1] + np.eye(DIM, dtype=np.float32)[9:10], 30, axis=0)
    vectors = np.concatenate([grouped(), new / np.linalg.norm(new, axis=1, keepdims=True)])
    index = changed(laid_out, tmp_path, vectors, np.arange(len(vectors)))
    kept = kept_layout(index)
    assert kept is not None
    assert np.isfinite(kept.points).all()
    distances = np.linalg.norm(kept.points[-30:, None] - kept.points[None, :-30], axis=2)
    assert (distances.argmin(axis=1) // EACH == 0).all()


def test_many_new_images_make_it_stale(laid_out: Index, tmp_path: Path) -> None:
    vectors = np.concatenate([grouped(), grouped(1)])
    assert kept_layout(changed(laid_out, tmp_path, vectors, np.arange(len(vectors)))) is None


def test_one_of_another_encoder_or_a_damaged_one_is_stale(laid_out: Index, tmp_path: Path) -> None:
    index = changed(laid_out, tmp_path, grouped(), np.arange(GROUPS * EACH))
    assert kept_layout(index) is not None
    index.collection.manifest["encoder"]["fingerprint"] = "another"
    assert kept_layout(index) is None
    index.collection.manifest["encoder"]["fingerprint"] = laid_out.collection.manifest["encoder"]["fingerprint"]
    (tmp_path / FILE).write_bytes(b"not Parquet")
    assert kept_layout(index) is None


def test_what_progress_raises_ends_the_work(tmp_path: Path) -> None:
    def stop(what: str, share: float) -> None:
        if what == "Arranging":
            raise InterruptedError

    index = index_of(tmp_path, grouped())
    with pytest.raises(InterruptedError):
        layout_of(index, stop)
    assert not (tmp_path / FILE).exists()


def test_what_cannot_be_laid_out_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="3 or more"):
        layout_of(index_of(tmp_path / "two", grouped()[:2]))
    monkeypatch.setitem(__import__("sys").modules, "openTSNE", None)
    with pytest.raises(DependencyError, match=r"pip install .*\[map\]"):
        layout_of(index_of(tmp_path / "few", grouped()))


@pytest.mark.parametrize("count", [3, 5, 40])
def test_a_few_images_are_laid_out_too(tmp_path: Path, count: int) -> None:
    kept = layout_of(index_of(tmp_path, grouped()[::4][:count]))
    assert kept.points.shape == (count, 2)
    assert np.isfinite(kept.points).all()


def test_equal_images_are_laid_out_too(tmp_path: Path) -> None:
    kept = layout_of(index_of(tmp_path, np.repeat(grouped()[:1], 20, axis=0)))
    assert np.isfinite(kept.points).all()
