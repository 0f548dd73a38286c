"""JPEG files decoded on a GPU, by nvJPEG through torchvision, for the images of an embedding job.

nvJPEG reports errors per batch, and its output buffers may still contain earlier images, so we check each image
against a 1/8-scale CPU decode. That decode finds damaged files, with the same reasons as every other job, and gives
the mean colour of each block of 8 x 8 pixels. If an image from the GPU differs from these colours, the CPU decodes the
file in full.

Left to the CPU: progressive files (not supported by the hardware), files that will be reduced anyway, and files too
small to repay a kernel launch.
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

START = b"\xff\xd8\xff"
LEAST_PIXELS = 1 << 16
MOST_PIXELS = 1 << 22
MOST_BYTES = 1 << 20  # of a file that waits for its batch
AT_ONCE = 1 << 25  # pixels on the GPU, as wide as the files have them
BLOCK = 8
SAMPLINGS = (0, 2)  # Pillow's numbers for 4:4:4 and 4:2:0; of 4:2:2, libjpeg has too few colours at 1/8
TOLERANCE = 4.0  # of 255, root mean square over the blocks: 1.3 at most in a dozen photos, 30 and more to another one


@dataclass(frozen=True)
class Jpeg:
    """A JPEG file that the GPU is to decode, and that the CPU could.

    width, height: of the upright image. orientation: EXIF's number. blocks: uint8 `[rows, columns, 3]`, the mean
    colour of each block of 8 x 8 pixels, in the orientation of the file.
    """

    data: bytes
    width: int
    height: int
    orientation: int
    blocks: npt.NDArray[np.uint8]


def jpeg_for_gpu(data: bytes, size: int) -> Jpeg | None:
    """A file that is better decoded on the GPU; None for one that the CPU must decode, or say what is wrong with it.

    size: the short side that will be needed, in pixels.
    """
    if not data.startswith(START) or len(data) > MOST_BYTES:
        return None
    try:
        with damage_as_failure(), Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if not _pays(image, size):
                return None
            width, height = image.size
            image.draft(None, (1, 1))
            blocks = np.array(image.convert("RGB"))
            orientation = orientation_of(image)
    except BrokenImageError:
        return None
    if orientation >= 5:
        width, height = height, width
    return Jpeg(data, width, height, orientation, blocks)


def _pays(image: Image.Image, size: int) -> bool:
    baseline = image.format == "JPEG" and "progressive" not in image.info
    known_at_an_eighth = image.mode == "L" or (image.mode == "RGB" and get_sampling(image) in SAMPLINGS)
    short, long = sorted(image.size)
    in_full = short < 2 * MARGIN * size  # where `decode_bytes` does not reduce
    fits = long <= LONGEST * short and LEAST_PIXELS <= long * short <= MOST_PIXELS
    return baseline and known_at_an_eighth and in_full and fits


def decoder_for(device: torch.device, pixels: Pixels | None) -> GpuDecoder | None:
    """The decoder of a CUDA device for images that are to become `pixels`; None where there is none.

    AMD's GPUs have none: torchvision's rocJPEG ends the process on a file that it cannot decode.
    """
    if device.type != "cuda" or torch.version.cuda is None or pixels is None or pixels.mode != "RGB":
        return None
    try:
        return GpuDecoder(device, pixels)
    except ImportError:  # deprecated since torchvision 0.29, it will be missing one day
        return None


class GpuDecoder:
    """From files to uint8 pixels that are ready for `Pixels.normalise`. Every device runs the same code."""

    def __init__(self, device: torch.device, pixels: Pixels) -> None:
        from torchvision.io import ImageReadMode, decode_jpeg

        self._device, self._pixels = device, pixels
        self._decode = partial(decode_jpeg, mode=ImageReadMode.RGB, device=device)

    def __call__(self, jpegs: Sequence[Jpeg]) -> list[Tensor | None]:
        """Each as uint8 `[H, W, 3]` on the device, None where that failed and the CPU has to decode it."""
        return [image for some in _groups(jpegs) for image in self._group(some)]

    def _group(self, jpegs: Sequence[Jpeg]) -> list[Tensor | None]:
        images = self._decoded([torch.from_numpy(np.frombuffer(jpeg.data, np.uint8).copy()) for jpeg in jpegs])
        distances = torch.stack([self._distance(*pair) for pair in zip(images, jpegs, strict=True)]).tolist()
        return [
            self._pixels.prepare_tensor(upright(image, jpeg.orientation))
            if image is not None and distance <= TOLERANCE
            else None
            for image, jpeg, distance in zip(images, jpegs, distances, strict=True)
        ]

    def _decoded(self, files: list[Tensor]) -> Sequence[Tensor | None]:
        """uint8 `[3, H, W]` as stored in each file, None for one that is refused."""
        self._wait()
        try:
            return self._decode(files)
        except RuntimeError:  # of all the files, whichever of them it is about
            self._wait()
            return [None] if len(files) == 1 else [image for file in files for image in self._decoded([file])]

    def _wait(self) -> None:
        """Let all streams end. The decoder has its own, which does not wait for ours and writes to memory that kernels
        there may still have to read (pytorch/vision#9606); after an error it may not have ended either.
        """
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _distance(self, image: Tensor | None, jpeg: Jpeg) -> Tensor:
        """How far the mean colours of an image's whole blocks are from those of the file; infinite or NaN for none.

        Clipping to 0..255 sets text of low quality apart as well: the CPU decodes that, at no loss but time.
        """
        blocks = torch.from_numpy(jpeg.blocks).to(self._device).permute(2, 0, 1)
        stored = (jpeg.height, jpeg.width) if jpeg.orientation < 5 else (jpeg.width, jpeg.height)
        if image is None or image.shape != (3, *stored):
            return torch.full((), torch.inf, device=self._device)
        means = nn.functional.avg_pool2d(image.float(), BLOCK)
        return (means - blocks[:, : means.shape[1], : means.shape[2]]).square().mean().sqrt()


def upright(image: Tensor, orientation: int) -> Tensor:
    """`[C, H, W]` as EXIF 2.3, section 4.6.4 wants it shown."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 2)
    flipped = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}.get(orientation, [])
    return image.flip(flipped) if flipped else image


def _groups(jpegs: Sequence[Jpeg]) -> Iterator[list[Jpeg]]:
    """In order, of at most AT_ONCE pixels each."""
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
