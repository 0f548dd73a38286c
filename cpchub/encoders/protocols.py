"""What embedding asks of an encoder, as protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from cpchub.catalog.spec import ModelSpec

Vectors = npt.NDArray[np.float32]
Decode = Literal["auto", "cpu"]  # "auto": by the GPU what it decodes faster and as well


class ImageEncoder(Protocol):
    """What embedding and searching need of an encoder; `cpchub.load` gives one."""

    @property
    def spec(self) -> ModelSpec:
        """The description of the encoder: name, dimension, input size, hashes."""

    def encode(self, images: Any, *, batch_size: int = 64, normalize: bool = False) -> Vectors:
        """Images to float32 `[N, D]`."""


class Deferred(Protocol):
    """An encoded image; width and height are those of the upright one."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...


class Embedder(Protocol):
    """An encoder made ready for many images. An encoder that has `embedder(images)` gives its own."""

    lanes: int  # batches that it works on at the same time, each called from a thread of its own

    def defer(self, data: bytes, size: int) -> Deferred | None:
        """A file that can be decoded and that `encode` takes as it is; None for one to be decoded and prepared."""

    def prepare(self, image: Image.Image) -> Any:
        """What the network takes of one upright RGB image; called from the reading threads, as `defer` is."""

    def choose(self, first: Sequence[Any]) -> None:
        """Compare the ways through the network on some prepared images, and keep to the one chosen.

        Without this call the first batch decides.
        """

    def encode(self, prepared: Sequence[Any]) -> Vectors:
        """A batch of prepared and deferred images to float32 `[B, D]` of unit length."""

    def close(self) -> None:
        """No more batches."""
