"""Which files of a folder count as images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cpchub.errors import SourceError
from cpchub.media.sources import Rules, find_images
from tests.cpchub.images import lock


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def paths(root: Path, **options: Any) -> list[str]:
    return [image.path for image in find_images(root, **options)]


def test_images_are_found_at_any_depth_in_the_order_of_their_paths(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "a/z.jpeg", "a/deep/x.tiff", "notes.txt", "c.webp")
    assert paths(tmp_path) == ["a/deep/x.tiff", "a/z.jpeg", "b.PNG", "c.webp"]


def test_size_and_time_of_change_come_along(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(1, 123_456_789))
    (image,) = find_images(tmp_path)
    assert (image.size, image.mtime_ns) == (5, 123_456_789)


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "._a.jpg", ".thumbnails/a.jpg")
    assert paths(tmp_path) == ["a.jpg"]


def test_links_are_followed_once_and_within_the_folder(tmp_path: Path) -> None:
    touch(tmp_path / "photos", "a.jpg", "sub/b.jpg", ".store/d.jpg")
    touch(tmp_path / "elsewhere", "c.jpg")
    (tmp_path / "photos" / "sub" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "one.jpg").symlink_to(tmp_path / "elsewhere" / "c.jpg")
    (tmp_path / "photos" / "kept").symlink_to(tmp_path / "photos" / ".store")
    (tmp_path / "photos" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert paths(tmp_path / "photos") == ["a.jpg", "kept/d.jpg", "sub/b.jpg"]
    followed = ["a.jpg", "kept/d.jpg", "more/c.jpg", "one.jpg", "sub/b.jpg"]
    assert paths(tmp_path / "photos", rules=Rules(follow_links=True)) == followed


def test_a_folder_to_skip_is_not_entered(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "out/sheet.png")
    assert paths(tmp_path, skip=tmp_path / "out") == ["a.jpg"]
    assert paths(tmp_path, skip=tmp_path / "not there") == ["a.jpg", "out/sheet.png"]


def test_a_missing_folder_a_file_and_a_folder_without_images_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "empty/readme.txt")
    with pytest.raises(SourceError, match=r"no folder of images at .*nowhere"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="that is a file"):
        find_images(tmp_path / "empty" / "readme.txt")
    with pytest.raises(
        SourceError, match=r"no images in .*empty.*avif bmp gif heic heif jfif jpe jpeg jpg pjp pjpeg png"
    ):
        find_images(tmp_path / "empty")


def test_a_folder_that_cannot_be_listed_is_an_error_not_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.jpg", "locked/b.jpg")
    lock(monkeypatch, "locked")
    with pytest.raises(SourceError, match=r"cannot list the folder .*locked"):
        find_images(tmp_path)
