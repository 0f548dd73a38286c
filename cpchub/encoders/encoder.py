"""Turn images into vectors.

    encoder = cpchub.load("cpc-resnet170")
    vectors = encoder.encode(["a.jpg", "b.jpg"])     # float32 [2, D]

An `Encoder` is the timm network with its own transform: `encoder(x)` is what timm computes on the same tensor, bit
for bit, and `encode` prepares each image itself, so an image cannot be prepared for another network.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor, nn

from cpchub.catalog.spec import ModelSpec
from cpchub.common.vectors import unit_length
from cpchub.encoders.base import BaseEncoder, as_list, check_options, with_progress
from cpchub.encoders.fast.pixels import shown
from cpchub.encoders.protocols import Embedder, Vectors
from cpchub.errors import ArgumentError, BrokenImageError
from cpchub.media.damage import TOO_LITTLE_MEMORY
from cpchub.media.decode import read_image, resize_side

ImageLike = str | Path | bytes | Image.Image | npt.NDArray[np.uint8] | Tensor
Prepared = TypeVar("Prepared")
Output = Literal["pooled", "map"]
ONE = (str, Path, bytes, Image.Image)
FOLDED_FROM = 512  # images; for fewer, preparing the network takes longer than it saves


class Encoder(BaseEncoder):
    """An encoder of images. Its `transform` makes a tensor `[C, H, W]` of a PIL image."""

    def __init__(self, model: nn.Module, spec: ModelSpec) -> None:
        super().__init__(model, spec)
        self.transform = create_transform(
            input_size=spec.input_size,
            interpolation=spec.interpolation,
            mean=spec.mean,
            std=spec.std,
            crop_pct=spec.crop_pct,
            crop_mode=spec.crop_mode,
        )

    def forward(self, x: Tensor) -> Any:
        """`[B, C, H, W]`, already transformed, to `[B, D]` (logits `[B, num_classes]` once there is a head)."""
        return self.model(x)

    def encode(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        batch_size: int = 64,
        normalize: bool = False,
        progress: bool = False,
        output: Output = "pooled",
    ) -> npt.NDArray[np.float32]:
        """Images to float32 `[N, D]`, in the order given; one image gives `[1, D]`.

        images: one or many of path, encoded bytes, PIL image, uint8 array `[H, W, 3]`, or tensor `[C, H, W]` (uint8, or
            float in 0..1). EXIF orientation is applied; large JPEGs are decoded at a reduced scale.
        normalize: scale each vector to length 1, as an index wants them.
        output: "pooled", or "map" for the last feature map, `[N, D, h, w]`.

        Raises ArgumentError for a value it cannot use and BrokenImageError, naming the image, for one that cannot be
        read.
        """
        check_options(batch_size, output, get_args(Output))
        # An array [N, H, W, 3] and a tensor [N, C, H, W] are many images.
        several = as_list(images, one=ONE, axes_of_many=4, give="paths, bytes, PIL images, arrays or tensors")
        with self._inference():
            found = self._encode_by_engine(several, batch_size, progress) if output == "pooled" else None
            if found is not None:
                return unit_length(found, axis=1) if normalize else found
            batches = self._batches(several, batch_size)
            if progress:
                batches = with_progress(batches, len(several), len)
            features = self._network(len(several), output)
            chunks = [features(batch).float().cpu().numpy() for batch in batches]
        if not chunks:
            return np.zeros((0, self.dim), dtype=np.float32)
        vectors = np.ascontiguousarray(np.concatenate(chunks), dtype=np.float32)
        return unit_length(vectors, axis=1) if normalize else vectors

    def embedder(self, images: int) -> Embedder:
        """This encoder, prepared for that many images: the fastest path that gives the same vectors."""
        from cpchub.encoders.fast.choice import embedder_for

        return embedder_for(self, images)

    def prepare(self, image: ImageLike) -> Tensor:
        """One image, decoded and transformed, as a float32 tensor `[C, H, W]` on the CPU."""
        opened = self._opened(image)
        channels = self.spec.input_size[0]
        if channels == 1:
            opened = opened.convert("L")
        elif channels != 3:
            raise ArgumentError(
                f"{self.spec.name} takes {channels} channels, an image has 3 or 1; make the tensor yourself and call "
                "encoder(x)"
            )
        try:
            tensor: Tensor = self.transform(shown(self.transform, opened))
        except MemoryError as error:
            raise BrokenImageError(TOO_LITTLE_MEMORY) from error
        return tensor

    def _opened(self, image: ImageLike) -> Image.Image:
        """One image as upright RGB."""
        if isinstance(image, Tensor):
            return _from_tensor(image)
        return read_image(image, size=resize_side(self.spec.input_size, self.spec.crop_pct))

    def _encode_by_engine(
        self, images: Sequence[ImageLike], batch_size: int, progress: bool
    ) -> npt.NDArray[np.float32] | None:
        """The vectors by MNN or OpenVINO; None where neither repays itself or has the same vectors."""
        from cpchub.encoders.fast.choice import engine_in_use

        embedder = engine_in_use(self, len(images))
        if embedder is None:
            return None

        def prepare(image: ImageLike) -> Any:
            try:
                return embedder.prepare(self._opened(image))
            except MemoryError as error:
                raise BrokenImageError(TOO_LITTLE_MEMORY) from error

        starts = range(0, len(images), batch_size)
        numbered = [list(enumerate(images[start : start + batch_size], start)) for start in starts]
        if embedder.features(_each(prepare, numbered[0][:1])) is None:
            return None
        # A lane prepares its own images: each core is busy with one of the two, and no core waits for the other.
        with ThreadPoolExecutor(embedder.lanes) as pool:
            found = pool.map(lambda some: cast(Vectors, embedder.features(_each(prepare, some))), numbered)
            batches = with_progress(found, len(images), len) if progress else found
            try:
                return np.concatenate(list(batches))
            finally:
                pool.shutdown(cancel_futures=True)

    def _network(self, images: int, output: Output) -> Callable[[Tensor], Tensor]:
        """The function from a batch to its features. For many images on a CPU, the batch norms are folded into it."""
        plain = self.exact or output != "pooled" or not hasattr(self.model, "forward_head")
        if plain or images < FOLDED_FROM or self.device.type != "cpu":
            return lambda batch: self._features(batch, output)
        from cpchub.encoders.fast.fast_embedder import folded_network

        return folded_network(self.model)

    def _features(self, batch: Tensor, output: Output) -> Tensor:
        # Channels-last makes convolutions about twice as fast on a CPU. Only the input is laid out so: with the
        # weights as timm loads them, `encoder(x)` and plain timm stay the same to the bit.
        x = batch.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)
        if hasattr(self.model, "forward_head"):
            if output == "pooled":
                return self.forward_head(self.forward_features(x), pre_logits=True)
            maps = self.forward_intermediates(x, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True)
        elif output == "map":
            maps = self.model(x)
        else:
            raise ArgumentError("an encoder loaded with features_only=True has no pooled vector; use output='map'")
        last: Tensor = maps[-1]
        return last

    def _batches(self, images: Sequence[ImageLike], batch_size: int) -> Iterator[Tensor]:
        """Transformed batches `[B, C, H, W]`; the next one is decoded while the network works on this one."""
        # Decoding files runs outside the interpreter's lock, so threads help; with images already in memory they
        # would only wait for one another (measured: half the speed at 32 pixels).
        encoded = any(isinstance(image, (str, Path, bytes)) for image in images)
        workers = min(4, os.cpu_count() or 1) if encoded else 1
        numbered = list(enumerate(images))
        with ThreadPoolExecutor(workers) as pool:

            def submit(start: int) -> list[Future[list[Tensor]]]:
                batch = numbered[start : start + batch_size]
                share = max(1, math.ceil(len(batch) / workers))  # one task a thread: a task costs more than an image
                return [pool.submit(_each, self.prepare, batch[i : i + share]) for i in range(0, len(batch), share)]

            ahead = submit(0)
            for start in range(0, len(images), batch_size):
                ready, ahead = ahead, submit(start + batch_size)
                yield torch.stack([tensor for future in ready for tensor in future.result()])


def _each(prepare: Callable[[ImageLike], Prepared], numbered: Sequence[tuple[int, ImageLike]]) -> list[Prepared]:
    """`prepare` of each image; a BrokenImageError says the image's position."""
    prepared = []
    for position, image in numbered:
        try:
            prepared.append(prepare(image))
        except BrokenImageError as error:
            raise BrokenImageError(f"image {position}: {error}") from error
    return prepared


def _from_tensor(tensor: Tensor) -> Image.Image:
    """A tensor `[C, H, W]`, uint8 or float in 0..1, as an RGB image of 8 bits a channel."""
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3):
        raise ArgumentError(f"a tensor of shape {tuple(tensor.shape)} is not an image; give [3, H, W] or [1, H, W]")
    pixels = tensor.detach().cpu()
    if pixels.is_floating_point():
        if not bool(((pixels >= 0) & (pixels <= 1)).all()):
            raise ArgumentError(
                f"a float image has values {pixels.min():.3g} to {pixels.max():.3g}, not 0..1; for a tensor that is "
                "already normalised call encoder(x)"
            )
        pixels = (pixels.float() * 255).round().to(torch.uint8)
    elif pixels.dtype != torch.uint8:
        raise ArgumentError(f"an image of type {pixels.dtype} is neither uint8 nor float in 0..1")
    return Image.fromarray(pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())
