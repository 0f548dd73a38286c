"""Data sets in memory: digits, CIFAR-10's official files, folders."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cpchub.errors import SourceError
from cpchub_training import data
from cpchub_training.data import known


def save(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (20, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_digits_are_split_once_and_repeat() -> None:
    train, test = data.load("digits"), data.load("digits", split="test")
    assert (len(train), len(test)) == (1437, 360)
    assert train.images.shape == (1437, 3, 8, 8)
    assert train.images.dtype == torch.uint8
    assert train.images.max() == 255
    assert train.digest() == data.digits().digest() != test.digest()


def test_a_folder_becomes_squares_and_broken_images_are_listed(tmp_path: Path) -> None:
    save(tmp_path / "a.png", (255, 0, 0))
    save(tmp_path / "b.png", (0, 0, 255), size=(50, 10))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not an image")
    images = data.load(str(tmp_path), size=16)
    assert images.images.shape == (2, 3, 16, 16)
    assert images.images[0, :, 8, 8].tolist() == [255, 0, 0]
    assert images.labels is None
    assert [path for path, _ in images.skipped] == ["broken.jpg"]


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / "cats" / f"{i}.png", (i, 0, 0))
        save(tmp_path / "dogs" / "big" / f"{i}.png", (0, i, 0))
    images = data.load(str(tmp_path), size=8)
    assert images.classes == ("cats", "dogs")
    assert images.class_of_each().tolist() == [0, 0, 0, 1, 1, 1]
    assert images.subset(np.array([5, 0])).class_of_each().tolist() == [1, 0]


def test_a_folder_of_broken_images_is_an_error_that_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"none of the 1 images"):
        data.load(str(tmp_path))


def test_an_unknown_data_set_is_an_error_that_names_the_ways(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'digits', 'cifar10' or images"):
        data.load(str(tmp_path / "nowhere"))


def test_cifar10_is_refused_unless_it_is_the_official_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPCHUB_DATA", str(tmp_path))
    with pytest.raises(SourceError, match="CPCHUB_DATA"):
        data.load("cifar10")
    for name in known.CIFAR10_MD5:
        (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(SourceError, match="not the official file"):
        data.load("cifar10")


def test_a_batch_file_with_the_right_sum_still_cannot_run_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    blob = pickle.dumps({b"data": Evil()})
    (tmp_path / "test_batch").write_bytes(blob)
    monkeypatch.setitem(known.CIFAR10_MD5, "test_batch", hashlib.md5(blob).hexdigest())
    with pytest.raises(SourceError, match="no official file does"):
        known.cifar10(tmp_path, "test")
    assert not (tmp_path / "ran").exists()


def test_a_batch_file_of_the_official_layout_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    pixels = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    blob = pickle.dumps({b"data": pixels, b"labels": [3, 7]}, protocol=2)
    (tmp_path / "test_batch").write_bytes(blob)
    monkeypatch.setitem(known.CIFAR10_MD5, "test_batch", hashlib.md5(blob).hexdigest())
    images = known.cifar10(tmp_path, "test")
    assert images.class_of_each().tolist() == [3, 7]
    assert np.array_equal(images.images.numpy().reshape(2, 3072), pixels)
