"""Small copies of the images: size, place, and what is not there."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from cpchub.embedding.job import embed
from cpchub_serving.visit import thumbnails as small
from cpchub_serving.visit.thumbnails import TILE, Thumbnails, default_folder
from tests.cpchub.images import TinyEncoder, an_image, save
from tests.processes import wait_for


@pytest.fixture
def collection(tmp_path: Path):
    for number, size in enumerate([(1200, 800), (20, 16), (300, 900)]):
        save(an_image(number, size), tmp_path / "pictures" / f"{number}.jpg", quality=90)
    return embed(tmp_path / "pictures", tmp_path / "collection", TinyEncoder(), progress=False)


def test_a_thumbnail_fits_its_size_and_keeps_its_shape(collection, tmp_path: Path) -> None:
    made = Thumbnails(collection, tmp_path / "small").tile(0)
    assert made is not None
    with Image.open(made) as small:
        assert small.size == (TILE, 213)


def test_a_small_image_is_not_enlarged(collection, tmp_path: Path) -> None:
    made = Thumbnails(collection, tmp_path / "small").tile(1)
    assert made is not None
    with Image.open(made) as small:
        assert small.size == (20, 16)


def test_a_thumbnail_is_made_once(collection, tmp_path: Path) -> None:
    first = Thumbnails(collection, tmp_path / "small").tile(2)
    assert first is not None
    before = first.stat().st_mtime_ns
    assert Thumbnails(collection, tmp_path / "small").tile(2) == first
    assert first.stat().st_mtime_ns == before


def test_a_lost_image_is_none(collection, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "1.jpg").unlink()
    thumbnails = Thumbnails(collection, tmp_path / "small")
    assert thumbnails.tile(1) is None
    assert thumbnails.made(1, TILE) is None
    assert thumbnails.kept(1, TILE) is None


def test_the_address_is_relative_and_another_one_when_the_image_changes(collection, tmp_path: Path) -> None:
    thumbnails = Thumbnails(collection, tmp_path / "small")
    assert thumbnails.url(1) == f"page/thumb/1?v={thumbnails.version(1)}"
    before = {path: thumbnails.version(row) for row, path in enumerate(collection.paths)}
    save(an_image(9, (50, 40)), tmp_path / "pictures" / "1.jpg", quality=90)
    changed = embed(tmp_path / "pictures", tmp_path / "collection", TinyEncoder(), progress=False)
    again = Thumbnails(changed, tmp_path / "small")
    after = {path: again.version(row) for row, path in enumerate(changed.paths)}
    assert {path for path in before if before[path] != after[path]} == {"1.jpg"}


def test_tiles_are_prepared_in_the_background_and_the_oldest_of_too_many_are_given_up(
    collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small, "MOST_AHEAD", 1)
    thumbnails = Thumbnails(collection, tmp_path / "small")
    begun, go_on = threading.Event(), threading.Event()
    made = thumbnails.tile

    def tile(row: int) -> Path | None:
        begun.set()
        go_on.wait()
        return made(row)

    monkeypatch.setattr(thumbnails, "tile", tile)
    thumbnails.prepare([0])
    begun.wait()
    thumbnails.prepare([1, 2])
    go_on.set()
    wait_for(lambda: thumbnails.kept(2, TILE), "the last tile is not made")
    assert [thumbnails.kept(row, TILE) is not None for row in range(3)] == [True, False, True]


def test_nothing_is_written_beside_the_images_and_no_part_is_left(collection, tmp_path: Path) -> None:
    thumbnails = Thumbnails(collection, tmp_path / "small")
    assert all(thumbnails.tile(row) for row in range(3))
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]
    assert {path.suffix for path in (tmp_path / "small").iterdir()} == {".webp"}


def test_a_cache_that_is_cleared_meanwhile_is_made_again(collection, tmp_path: Path) -> None:
    thumbnails = Thumbnails(collection, tmp_path / "small")
    thumbnails.tile(0)
    shutil.rmtree(tmp_path / "small")
    made = thumbnails.tile(0)
    assert made is not None
    assert made.is_file()


def test_on_a_full_disk_there_is_no_thumbnail_and_no_part_of_one(
    collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert Thumbnails(collection, tmp_path / "small").tile(0) is None
    assert not list((tmp_path / "small").iterdir())


def test_the_default_folder_lies_in_the_cache_of_the_user(
    collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_folder(collection).is_relative_to(tmp_path / "cache" / "cpchub")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary directory of a user whose cache cannot be written."""
    blocked = save(an_image(0), tmp_path / "a-file.png")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_cache_that_cannot_be_written_gives_way_to_a_private_temporary_folder(collection, temporary: Path) -> None:
    thumbnails = Thumbnails(collection)
    assert thumbnails.tile(0) is not None
    assert thumbnails.folder.parent == temporary / f"cpchub-{os.getuid()}"
    assert stat.S_IMODE(thumbnails.folder.parent.stat().st_mode) == 0o700


def test_the_private_temporary_folder_is_used_again(collection, temporary: Path) -> None:
    assert default_folder(collection) == default_folder(collection)


def open_to_all(usual: Path) -> None:
    usual.mkdir()
    usual.chmod(0o777)


def a_link(usual: Path) -> None:
    elsewhere = usual.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    usual.symlink_to(elsewhere)


def a_broken_link(usual: Path) -> None:
    usual.symlink_to(usual.with_name("nowhere"))


@pytest.mark.parametrize("taken", [open_to_all, a_link, a_broken_link, Path.touch])
def test_a_temporary_folder_that_is_not_ours_alone_is_left_for_a_fresh_one(
    collection, temporary: Path, taken: Callable[[Path], None]
) -> None:
    usual = temporary / f"cpchub-{os.getuid()}"
    taken(usual)
    before = sorted(usual.parent.iterdir())
    thumbnails = Thumbnails(collection)
    assert thumbnails.tile(0) is not None
    fresh = thumbnails.folder.parent
    assert sorted(temporary.iterdir()) == sorted([*before, fresh])
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    assert not usual.is_dir() or not any(usual.iterdir())


def test_a_temporary_folder_of_another_user_is_left_for_a_fresh_one(
    collection, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = os.getuid() + 1
    usual = temporary / f"cpchub-{stranger}"
    usual.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: stranger)  # now the folder belongs to somebody else
    assert default_folder(collection).parent != usual
    assert not any(usual.iterdir())
