"""Decode the JPEG files of an embedding job on a GPU, with nvJPEG through torchvision.

nvJPEG reports errors per batch, and its output buffers may still contain earlier images, so we check each image
against a 1/8-scale CPU decode. The CPU decode finds damaged files and gives the same reasons as a job without a GPU. It
also gives the mean colour of each block of 8 x 8 pixels. If an image from the GPU differs from these colours, the CPU
decodes the file at full size.

The CPU decodes progressive files, which the hardware does not support; large files, which it can decode at a reduced
scale; and files too small to repay a kernel launch. `_is_for_gpu` has all conditions.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from PIL.JpegImagePlugin import get_sampling
from torch import Tensor, nn

from cpchub.encoders.fast.pixels import Pixels
from cpchub.errors import BrokenImageError
from cpchub.media.crop import LONGEST
from cpchub.media.damage import damage_as_failure
from cpchub.media.decode import MARGIN, orientation_of

START = b"\xff\xd8\xff"  # the first bytes of every JPEG file
LEAST_PIXELS = 1 << 16
MOST_PIXELS = 1 << 22
MOST_BYTES = 1 << 20  # of one file, which stays in memory until its batch is full
AT_ONCE = 1 << 25  # pixels decoded in one call, before the resize: bounds the memory of the GPU
BLOCK = 8
# Pillow's numbers for the chroma subsamplings 4:4:4 and 4:2:0. At 1/8 of 4:2:2, libjpeg has fewer colours than blocks.
SAMPLINGS = (0, 2)
# Largest root mean square difference between block colours, on a scale of 255. In a dozen photos, GPU and CPU differed
# by at most 1.3. Two different photos differed by 30 or more.
TOLERANCE = 4.0


@dataclass(frozen=True)
class Jpeg:
    """A JPEG file for the GPU to decode. The CPU has decoded it at 1/8 scale without an error.

    width, height: of the upright image, in pixels. orientation: EXIF's number, 1 to 8. blocks: the mean colour of each
    block of 8 x 8 pixels, uint8 `[rows, columns, 3]`, as stored in the file, not turned upright.
    """

    data: bytes
    width: int
    height: int
    orientation: int
    blocks: npt.NDArray[np.uint8]


def jpeg_for_gpu(data: bytes, size: int) -> Jpeg | None:
    """Prepare a file for the GPU. None for any other file: the CPU then decodes it, or reports what is wrong with it.

    size: the short side in pixels that the encoder needs.
    """
    if not data.startswith(START) or len(data) > MOST_BYTES:
        return None
    try:
        with damage_as_failure(), Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if not _is_for_gpu(image, size):
                return None
            width, height = image.size
            image.draft(None, (1, 1))  # the smallest scale, 1/8
            blocks = np.array(image.convert("RGB"))
            orientation = orientation_of(image)
    except BrokenImageError:
        return None
    if orientation >= 5:
        width, height = height, width
    return Jpeg(data, width, height, orientation, blocks)


def _is_for_gpu(image: Image.Image, size: int) -> bool:
    baseline = image.format == "JPEG" and "progressive" not in image.info
    has_block_colours = image.mode == "L" or (image.mode == "RGB" and get_sampling(image) in SAMPLINGS)
    short, long = sorted(image.size)
    at_full_scale = short < 2 * MARGIN * size  # from there on, `decode_bytes` decodes at 1/2 or less
    uncut = long <= LONGEST * short  # a longer image is cut before the resize, which `prepare_tensor` does not do
    suitable_area = LEAST_PIXELS <= long * short <= MOST_PIXELS
    return baseline and has_block_colours and at_full_scale and uncut and suitable_area


def decoder_for(device: torch.device, pixels: Pixels | None) -> GpuDecoder | None:
    """The decoder of a CUDA device, None if the device or the encoder's transform (`pixels`) cannot use one.

    AMD GPUs get none: torchvision's rocJPEG ends the process on a file that it cannot decode.
    """
    if device.type != "cuda" or torch.version.cuda is None or pixels is None or pixels.mode != "RGB":
        return None
    try:
        return GpuDecoder(device, pixels)
    except ImportError:  # torchvision deprecates `decode_jpeg` since 0.29; a later version may lack it
        return None


class GpuDecoder:
    """Decode files to uint8 pixels that are ready for `Pixels.normalise`. Every device runs the same code."""

    def __init__(self, device: torch.device, pixels: Pixels) -> None:
        from torchvision.io import ImageReadMode, decode_jpeg

        self._device, self._pixels = device, pixels
        self._decode = partial(decode_jpeg, mode=ImageReadMode.RGB, device=device)

    def __call__(self, jpegs: Sequence[Jpeg]) -> list[Tensor | None]:
        """One uint8 `[H, W, 3]` per file, on the device. None for a file that the CPU has to decode."""
        return [image for group in _groups(jpegs) for image in self._decode_group(group)]

    def _decode_group(self, jpegs: Sequence[Jpeg]) -> list[Tensor | None]:
        images = self._decode_files([torch.from_numpy(np.frombuffer(jpeg.data, np.uint8).copy()) for jpeg in jpegs])
        distances = torch.stack([self._distance(*pair) for pair in zip(images, jpegs, strict=True)]).tolist()
        return [
            self._pixels.prepare_tensor(upright(image, jpeg.orientation))
            if image is not None and distance <= TOLERANCE
            else None
            for image, jpeg, distance in zip(images, jpegs, distances, strict=True)
        ]

    def _decode_files(self, files: list[Tensor]) -> Sequence[Tensor | None]:
        """One uint8 `[3, H, W]` per file, not turned upright. None for a file that nvJPEG refuses."""
        self._synchronise()
        try:
            return self._decode(files)
        except RuntimeError:  # one bad file fails the whole call, so each file is tried alone
            self._synchronise()
            return [None] if len(files) == 1 else [image for file in files for image in self._decode_files([file])]

    def _synchronise(self) -> None:
        """Wait until all CUDA streams of the device are idle.

        nvJPEG runs on its own stream, which does not wait for ours. It could overwrite memory that our kernels still
        have to read (pytorch/vision#9606). After an error it may still be running.
        """
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _distance(self, image: Tensor | None, jpeg: Jpeg) -> Tensor:
        """Root mean square difference between the block colours of GPU and CPU.

        It is infinite if there is no image, or if the image has another shape than the file.

        Blocks that the image's edge cuts are left out. Strongly compressed text may also differ by more than TOLERANCE,
        because its values are clipped to 0..255. The CPU then decodes a good file again, which costs only time.
        """
        blocks = torch.from_numpy(jpeg.blocks).to(self._device).permute(2, 0, 1)
        stored = (jpeg.height, jpeg.width) if jpeg.orientation < 5 else (jpeg.width, jpeg.height)
        if image is None or image.shape != (3, *stored):
            return torch.full((), torch.inf, device=self._device)
        means = nn.functional.avg_pool2d(image.float(), BLOCK)
        return (means - blocks[:, : means.shape[1], : means.shape[2]]).square().mean().sqrt()


def upright(image: Tensor, orientation: int) -> Tensor:
    """Turn and mirror an image `[C, H, W]` upright, as its EXIF orientation says (EXIF 2.3, section 4.6.4)."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 2)
    flipped = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}.get(orientation, [])
    return image.flip(flipped) if flipped else image


def _groups(jpegs: Sequence[Jpeg]) -> Iterator[list[Jpeg]]:
    """Split the files, in order, into groups of at most AT_ONCE pixels. A larger file is a group of its own."""
    group: list[Jpeg] = []
    pixels = 0
    for jpeg in jpegs:
        area = jpeg.width * jpeg.height
        if group and pixels + area > AT_ONCE:
            yield group
            group, pixels = [], 0
        group.append(jpeg)
        pixels += area
    if group:
        yield group
