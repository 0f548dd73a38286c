"""RGB into colour spaces that separate lightness from colour, each channel scaled to about [-1, 1]. Plain torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# sRGB's primaries in CIE XYZ, and its white (D65, 2 degrees); IEC 61966-2-1, the numbers of scikit-image
_XYZ_FROM_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)
_YCBCR_FROM_RGB = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JFIF 1.02
# ITU-R 601 with its narrow range (Y from 16 to 235), the numbers of scikit-image, and by what CMC's code scales them
_NARROW_FROM_RGB = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
_NARROW_OFFSET = (16.0, 128.0, 128.0)
_CMC_MEAN, _CMC_STD = (116.151, 121.080, 132.342), (109.500, 111.855, 111.964)
# scikit-image's YDbDr, and by what PyContrast's code scales it (datasets/util.py)
_YDBDR_FROM_RGB = ((0.299, 0.587, 0.114), (-0.45, -0.883, 1.333), (-1.333, 1.116, 0.217))
_YDBDR_MEAN, _YDBDR_STD = (0.457, -0.082, -0.052), (0.500, 1.331, 1.333)
# middle and half of the range of L, a and b over all of sRGB
_LAB_MIDDLE = (50.0, 6.025, -6.6895)
_LAB_HALF = (50.0, 92.208, 101.1675)


def lab(rgb: Tensor) -> Tensor:
    """CIE L*a*b* of sRGB images in [0, 1], `[N, 3, H, W]`: L in [0, 100], a and b in about [-108, 98]."""
    rgb = rgb.float().clamp(0, 1)
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = _mix(linear, _XYZ_FROM_RGB) / _beside(linear, _WHITE).reshape(1, 3, 1, 1)
    x, y, z = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116).split(1, dim=1)
    return torch.cat([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def scaled_lab(rgb: Tensor) -> Tensor:
    """`lab` with each channel's range over sRGB mapped to [-1, 1]."""
    middle, half = (_beside(rgb, v).reshape(1, 3, 1, 1) for v in (_LAB_MIDDLE, _LAB_HALF))
    return (lab(rgb) - middle) / half


def scaled_ycbcr(rgb: Tensor) -> Tensor:
    """Y, Cb and Cr of JPEG (ITU-R 601, full range) for images in [0, 1], each channel in [-1, 1]."""
    y, cb, cr = _mix(rgb.float(), _YCBCR_FROM_RGB).split(1, dim=1)
    return torch.cat([2 * y - 1, 2 * cb, 2 * cr], dim=1)


def cmc_ycbcr(rgb: Tensor) -> Tensor:
    """Y, Cb and Cr as the official code of CMC has them (`--view YCbCr`) for images in [0, 1]: the narrow range of
    ITU-R 601, from which a mean is taken, and divided by a std."""
    offset, mean, std = (_beside(rgb, v).reshape(1, 3, 1, 1) for v in (_NARROW_OFFSET, _CMC_MEAN, _CMC_STD))
    return (_mix(rgb.float(), _NARROW_FROM_RGB) + offset - mean) / std


def cmc_ydbdr(rgb: Tensor) -> Tensor:
    """Y, Db and Dr as the CMC of PyContrast has them for images in [0, 1]: less a mean, and divided by a std."""
    mean, std = (_beside(rgb, v).reshape(1, 3, 1, 1) for v in (_YDBDR_MEAN, _YDBDR_STD))
    return (_mix(rgb.float(), _YDBDR_FROM_RGB) - mean) / std


def _mix(rgb: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    rows = _beside(rgb, matrix)
    return (rows[None, :, :, None, None] * rgb[:, None]).sum(2)  # not a product of matrices: autocast would round it


def _beside(x: Tensor, values: Sequence[Any]) -> Tensor:
    """Float32 values on the device of `x`; `x.new_tensor` would wait until a GPU is idle."""
    return torch.tensor(values).to(x.device, non_blocking=True)


SPACES: dict[str, Callable[[Tensor], Tensor]] = {
    "lab": scaled_lab,
    "ycbcr": scaled_ycbcr,
    "cmc_ycbcr": cmc_ycbcr,
    "cmc_ydbdr": cmc_ydbdr,
}
