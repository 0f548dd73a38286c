"""Images sorted into one folder a class: linked or copied, never moved, nothing overwritten."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import OutputError
from cpchub.fewlabels.sorted_folder import below, folder_name, sort_images
from tests.cpchub.images import an_image, save

PATHS = ["a/1.png", "b/1.png", "b/2.png"]


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    for number, path in enumerate(PATHS):
        save(an_image(number), tmp_path / "photos" / path)
    return import_vectors(tmp_path / "index", np.eye(3), PATHS, source=tmp_path / "photos")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_images_are_linked_into_a_folder_a_class_and_stay_where_they_are(
    collection: Collection, tmp_path: Path
) -> None:
    before = files(collection.source)
    done = sort_images(collection, ["cat", "cat", "dog"], tmp_path / "sorted")
    assert files(collection.source) == before
    found = {"cat/a/1.png": "a/1.png", "cat/b/1.png": "b/1.png", "dog/b/2.png": "b/2.png"}
    assert files(tmp_path / "sorted") == {new: before[old] for new, old in found.items()}
    assert (tmp_path / "sorted" / "dog" / "b" / "2.png").samefile(collection.source / "b" / "2.png")
    assert (done.classes, done.linked, done.left_out) == ({"cat": 2, "dog": 1}, 3, {})


def test_images_are_copied_where_the_disk_is_another_one(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert sort_images(collection, ["cat", "cat", "dog"], tmp_path / "sorted").linked == 0
    assert sorted(files(tmp_path / "sorted").values()) == sorted(files(collection.source).values())


def test_a_folder_that_holds_anything_is_left_as_it_is(collection: Collection, tmp_path: Path) -> None:
    save(an_image(9), tmp_path / "sorted" / "cat" / "mine.png")
    before = files(tmp_path / "sorted")
    with pytest.raises(OutputError, match="choose a new folder"):
        sort_images(collection, ["cat", "cat", "dog"], tmp_path / "sorted")
    assert files(tmp_path / "sorted") == before


def test_an_image_that_is_gone_is_told_and_the_others_are_sorted(collection: Collection, tmp_path: Path) -> None:
    (collection.source / "b" / "2.png").unlink()
    done = sort_images(collection, ["cat", "cat", "dog"], tmp_path / "sorted")
    assert done.left_out == {"b/2.png": "the file is gone"}
    assert done.classes == {"cat": 2}


def test_a_full_disk_leaves_no_folder_behind(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OutputError, match="no space left"):
        sort_images(collection, ["cat", "cat", "dog"], tmp_path / "sorted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "photos"]


def test_no_class_and_no_path_leads_out_of_the_folder() -> None:
    assert folder_name("cats & dogs") == "cats & dogs"
    assert folder_name("..") == "%2E."
    assert folder_name("a/b") != folder_name("a%2Fb") != folder_name("a:b")
    assert "/" not in folder_name("../../etc")
    assert below("/srv/photos/../a.png").as_posix() == "srv/photos/a.png"
    assert below("https://host/a.png").as_posix() == "https/host/a.png"
    assert below("..").as_posix() == "image"
