"""Small copies of the pictures: size, place, and what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cpchub.embed import embed
from serving.thumbnails import TILE, Thumbnails, default_folder
from tests.cpchub.pictures import TinyEncoder, picture, save


@pytest.fixture
def collection(tmp_path: Path):
    for number, size in enumerate([(1200, 800), (20, 16), (300, 900)]):
        save(picture(number, size), tmp_path / "pictures" / f"{number}.jpg", quality=90)
    return embed(tmp_path / "pictures", tmp_path / "collection", TinyEncoder(), progress=False)


def test_a_thumbnail_fits_its_size_and_keeps_its_shape(collection, tmp_path: Path) -> None:
    made = Thumbnails(collection, tmp_path / "small").tile(0)
    assert made is not None
    with Image.open(made) as small:
        assert small.size == (TILE, 213)


def test_a_small_picture_is_not_enlarged(collection, tmp_path: Path) -> None:
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


def test_thumbnails_come_in_the_order_asked_for_and_a_lost_picture_is_none(collection, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "1.jpg").unlink()
    thumbnails = Thumbnails(collection, tmp_path / "small")
    assert thumbnails.tiles([2, 1, 0]) == [thumbnails.tile(2), None, thumbnails.tile(0)]


def test_nothing_is_written_beside_the_pictures_and_no_part_is_left(collection, tmp_path: Path) -> None:
    Thumbnails(collection, tmp_path / "small").tiles(range(3))
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]
    assert {path.suffix for path in (tmp_path / "small").iterdir()} == {".webp"}


def test_the_default_folder_lies_in_the_cache_of_the_user(
    collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_folder(collection).is_relative_to(tmp_path / "cache" / "cpchub")


def test_a_cache_that_cannot_be_written_gives_way_to_the_temporary_folder(
    collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = save(picture(0), tmp_path / "a-file.png")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert Thumbnails(collection).tile(0) is not None
