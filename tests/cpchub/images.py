"""Small images and small encoders for tests of collections, search and classification.

Processes that a test starts import this file to unpickle an encoder, so it does not import torch, which takes seconds.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cpchub.catalog.spec import WEIGHTS, FileRecord, ModelSpec

Pixels = npt.NDArray[np.uint8]


def an_image(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """Soft random blobs, different for each seed and not the same upside down."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    """Write an image, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def folder_of_images(root: Path, count: int = 10, first: int = 0) -> Path:
    """A folder with `count` different PNG images named by number, of known and different times of change."""
    for number in range(first, first + count):
        path = save(an_image(number), root / f"{number:03d}.png")
        os.utime(path, ns=(0, 1_700_000_000_000_000_000 + number))
    return root


def lock(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let no folder of this name be listed, not even by the superuser, who may list all others."""
    scandir = os.scandir

    def refusing(path: Any = ".") -> Any:
        if not isinstance(path, int) and Path(os.fsdecode(path)).name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


class TinyEncoder:
    """Pixels as vectors: each image shrunk to `side` x `side`, centred. Remembers the size of each batch it saw."""

    def __init__(self, name: str = "tiny", side: int = 4, weights: str = "ab" * 32) -> None:
        self.side = side
        self.spec = ModelSpec(
            name=name,
            architecture="pixels",
            dim=3 * side * side,
            input_size=(3, side, side),
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
            files={WEIGHTS: FileRecord(weights)},
        )
        self.batches: list[int] = []

    def encode(
        self, images: Iterable[Image.Image], *, batch_size: int = 64, normalize: bool = False
    ) -> npt.NDArray[np.float32]:
        small = [np.asarray(image.resize((self.side, self.side), Image.Resampling.BOX), np.float32) for image in images]
        self.batches.append(len(small))
        vectors = np.stack(small).reshape(len(small), -1) / 255 - 0.5
        if normalize:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors, np.float32)

    @property
    def seen(self) -> int:
        """Images encoded so far."""
        return sum(self.batches)


class Dying(TinyEncoder):
    """Ends its process without a word once it has seen an image of a certain brightness."""

    def encode(self, images: Any, **options: Any) -> Any:
        if os.getpid() != self.home and self.marker.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(images, **options)

    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.marker, self.home = marker, os.getpid()


class Movable(TinyEncoder):
    """An encoder that works on one device only."""

    device = "cuda:0"

    def to(self, device: str) -> None:
        if device == "gpu:9":
            raise RuntimeError("invalid device ordinal")
        self.device = device

    def encode(self, images: Any, **options: Any) -> Any:
        assert self.device == "gpu:1"
        return super().encode(images, **options)
