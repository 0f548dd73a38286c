"""The layout of the photo encoder's training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import photos_data
from cpchub.errors import SourceError
from cpchub_training import data


def test_each_image_goes_to_training_or_is_held_out_by_class_and_no_test_image_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos_data, "HELD_OUT", 4)
    for part, n in (("train", 6), ("val", 1), ("test", 1)):
        for label in ("n01", "n02"):
            folder = tmp_path / "tiny" / part / label / "images"
            folder.mkdir(parents=True)
            for i in range(n):
                Image.new("RGB", (64, 64), (i, 0, 0)).save(folder / f"{part}{label}_{i}.JPEG")
    arrays = torch.randint(0, 256, (10, 3, 32, 32), dtype=torch.uint8)
    cifar = data.Images("cifar10", arrays, torch.arange(10) % 2, ("cat", "dog"))
    monkeypatch.setattr(photos_data, "cifar10", lambda folder: cifar)

    n = photos_data.lay_out_tiny(tmp_path / "tiny", tmp_path / "out")
    n += photos_data.lay_out_cifar10(tmp_path, tmp_path / "out")
    assert n == 12 + 10
    files = [path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*")]
    assert len(files) == n
    assert not [file for file in files if file.name.startswith(("val", "test"))]
    for parts in (("held-out", "tiny-imagenet", "n01"), ("held-out", "cifar10", "dog")):
        assert len([file for file in files if file.parts[: len(parts)] == parts]) == 2
    assert len([file for file in files if file.parts[:2] == (photos_data.TRAIN, "tiny-n02")]) == 4
    assert len([file for file in files if file.parts[:2] == (photos_data.TRAIN, "cifar10-cat")]) == 3
    for file in files:
        if file.suffix == ".png":
            seen = np.asarray(Image.open(tmp_path / "out" / file))
            assert np.array_equal(seen, arrays[int(file.stem)].permute(1, 2, 0).numpy())


def test_a_folder_that_is_not_tiny_imagenet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not Tiny-ImageNet"):
        photos_data.lay_out_tiny(tmp_path, tmp_path / "out")


def test_what_is_held_out_is_balanced_and_the_same_each_time() -> None:
    labels = np.repeat(np.arange(20), 50)
    chosen = photos_data.held_out(labels, 100)
    assert np.bincount(labels[chosen]).tolist() == [5] * 20
    assert np.array_equal(chosen, photos_data.held_out(labels, 100))
