"""Whether two images are the same as a whole, by a small copy of each of them.

An encoder sees a square from the middle of an image, and it may take two scenes for one. So before two images are
called duplicates, all of both is compared. The limits were set on photos: copies that were resized, compressed, made
grey or cropped by 2 % at each side are the same, most that were made 15 % brighter or turned by 2 degrees as well, and
no two different photos are. `benchmarks/duplicates.py` measures this together with an encoder.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 16  # cells in each direction
BLOCK = 4  # cells of the side of a block
ALL_OVER = 0.5  # limit of the difference, as a share of the contrast of the whole image
IN_BLOCKS = 0.6  # the same, measured block by block, each against its own contrast: flat parts count as well
SHARE = 0.25  # of the contrast of the whole, the least that a block's own is taken for
FLAT, FLAT_BLOCK = 8.0, 4.0  # of 255, the least contrast of an image and of a block
MOST = 1.5  # the most that one block counts
EXPOSURE = 1.1  # factor of brightness that is no difference
GREY = 6.0  # of 255: colours nearer to grey are none
MOST_DIFFERENT = 1.0  # what `differences` may be of images that are the same as a whole
ASPECT = 1.1  # factor between width and height of one image and those of the other that is no difference

Small = npt.NDArray[np.uint8]


def small_copy(image: Image.Image) -> Small:
    """All of an upright RGB image as uint8 `[SIDE, SIDE, 3]`, whatever its sides."""
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))


def differences(ones: Small, others: Small) -> npt.NDArray[np.float32]:
    """How far images differ from others: `[M, SIDE, SIDE, 3]`, or one `[SIDE, SIDE, 3]` for all, to `[M]`.

    0 is the same, and up to MOST_DIFFERENT counts as the same. Where one of two has no colour,
    their brightness is compared.
    """
    a, b = np.broadcast_arrays(ones.astype(np.float32), others.astype(np.float32))
    colourless = _is_grey(a) | _is_grey(b)
    a, b = (np.where(colourless[:, None, None, None], _brightness(x), x) for x in (a, b))
    means = [np.maximum(x.mean(axis=(1, 2, 3)), 1) for x in (a, b)]
    exposure = np.sqrt(np.clip(means[0] / means[1], 1 / EXPOSURE, EXPOSURE))[:, None, None, None]
    a, b = a / exposure, b * exposure
    contrast = _contrast(a, b, axis=(1, 2))
    all_over = _rms(a - b, axis=(1, 2, 3)) / np.maximum(contrast, FLAT)
    a, b = _blocks(a), _blocks(b)
    least = np.maximum(SHARE * contrast, FLAT_BLOCK)[:, None]
    in_blocks = np.minimum(_rms(a - b, axis=(2, 3)) / np.maximum(_contrast(a, b, axis=(2,)), least), MOST)
    return np.maximum(all_over / ALL_OVER, _rms(in_blocks, axis=(1,)) / IN_BLOCKS)


def same_aspect(ones: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether images of width and height `[M, 2]` have about the proportions of others; True where one is NaN."""
    factor = np.log(ones[:, 0] / ones[:, 1]) - np.log(others[:, 0] / others[:, 1])
    return np.asarray(~(np.abs(factor) > np.log(ASPECT)))


def _is_grey(x: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    return np.asarray((x.max(axis=3) - x.min(axis=3)).max(axis=(1, 2)) <= GREY)


def _brightness(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """ITU-R BT.601's luma, in all three channels."""
    return np.repeat((x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, axis=3)


def _blocks(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """`[M, SIDE, SIDE, 3]` to `[M, blocks, cells of a block, 3]`."""
    count = SIDE // BLOCK
    split = x.reshape(len(x), count, BLOCK, count, BLOCK, 3).swapaxes(2, 3)
    return split.reshape(len(x), count * count, BLOCK * BLOCK, 3)


def _contrast(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], axis: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Of images `[M, ..., 3]`, over the axes of their cells, the same for a colour as for its grey: `[M, ...]`."""
    return np.asarray(np.sqrt((a.var(axis=axis) + b.var(axis=axis)).mean(axis=-1) / 2))


def _rms(x: npt.NDArray[np.float32], axis: tuple[int, ...]) -> npt.NDArray[np.float32]:
    return np.asarray(np.sqrt(np.square(x).mean(axis=axis)))
