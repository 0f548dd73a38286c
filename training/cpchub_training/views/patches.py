"""Views of patches: CPC v2's augmentations, drawn for each patch separately, batched on the device.

The input is a batch of images, the output a batch of patch grids. One sampling grid per patch applies flip, shear,
translation, rotation and elastic deformation, and cuts the patch out of its image, so each patch is written once. A
patch never shows pixels from outside of it: otherwise the rows to be predicted would leak into the rows that predict
them.

Source: Henaff et al., arXiv 1905.09272, section on patch-based augmentation. The paper names the operations and their
probabilities. It does not state the strength of shear, elastic and histogram changes, the probability of dropping
colours, and the fill value outside a moved patch (here mid-grey, as in AutoAugment).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from cpchub.architectures.patches import to_patches
from cpchub_training.views.batched import chance, grey, random_order, shift_hue, uniform
from cpchub_training.views.on_device import constant_like
from cpchub_training.views.patch_colours import MID_GREY, ON_COLOURS, change_histogram
from cpchub_training.views.settings import PatchViews

# AutoAugment's operations on geometry and how far they go: shear x and y, translate x and y, rotate by 30 degrees
_LIMITS = (0.3, 0.3, 2 * 150 / 331, 2 * 150 / 331, math.pi / 6)
_OPERATIONS = len(_LIMITS) + len(ON_COLOURS)


def draw(views: PatchViews, images: Tensor, size: int, stride: int, generator: Generator | None = None) -> Tensor:
    """`[B, 3, H, W]` float in [0, 1] to `[B, rows, columns, 3, size, size]`, each patch channels-last in memory.

    Raises `ArgumentError` for images smaller than a patch.
    """
    cut = to_patches(images, size, stride)  # a view: nothing is copied yet
    batch, rows, columns, channels = cut.shape[:4]
    n = batch * rows * columns
    order = [torch.randperm(n, device=images.device, generator=generator) for _ in range(views.operations)]
    if views.jitter or views.flip or views.operations or views.elastic_p:
        grid, inside = _grid(views, _theta(views, n, order, size, images.device, generator), size, generator)
        grid = _in_image(grid.unflatten(0, (batch, rows, columns)), images, stride)
        # grid_sample wants an image's patches below one another
        stacked = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
        x = stacked.reshape(batch, channels, rows * columns, size, size).permute(0, 2, 3, 4, 1)
        x = x.reshape(n, size, size, channels).permute(0, 3, 1, 2)
        x = torch.where(inside, x, MID_GREY)
    else:
        x = cut.permute(0, 1, 2, 4, 5, 3).reshape(n, size, size, channels).permute(0, 3, 1, 2)
    x = _colours(views, x, order, generator).clamp(0, 1)
    return x.contiguous(memory_format=torch.channels_last).unflatten(0, (batch, rows, columns))


def _theta(
    views: PatchViews, n: int, order: list[Tensor], size: int, device: torch.device, generator: Generator | None
) -> Tensor:
    """An affine map of each patch's own coordinates, -1 to 1: `[N, 3, 3]`, from where it is seen to where read.

    `order`: for each of AutoAugment's turns the patches in random order, whose first sixteenth gets operation 0.
    """

    def draw(low: float, high: float) -> Tensor:
        return torch.rand(n, device=device, generator=generator) * (high - low) + low

    sign = 1 - 2 * (draw(0, 1) < views.flip).float()
    one, zero = torch.ones_like(sign), torch.zeros_like(sign)
    theta = _affine(sign, zero, zero, zero, one, zero)
    for each in order:
        operation = torch.empty_like(each)
        operation[each] = torch.arange(n, device=each.device) * _OPERATIONS // n
        strength = draw(-1, 1)
        shear_x, shear_y, move_x, move_y, angle = (
            torch.where(operation == i, limit * strength, 0.0) for i, limit in enumerate(_LIMITS)
        )
        cos, sin = angle.cos(), angle.sin()
        theta = theta @ _affine(cos, shear_x - sin, move_x, shear_y + sin, cos, move_y)
    if views.jitter:
        reach = views.jitter // 2
        dx, dy = (torch.randint(-reach, reach + 1, (n,), device=device, generator=generator) for _ in range(2))
        theta = theta @ _affine(one, zero, dx * 2 / size, zero, one, dy * 2 / size)
    return theta


def _grid(views: PatchViews, theta: Tensor, size: int, generator: Generator | None) -> tuple[Tensor, Tensor]:
    """Where each pixel of a patch is read, in the patch's own coordinates, `[N, size, size, 2]`.

    With it which of them lie inside, `[N, 1, size, size]`. Elastic deformation goes with a shear of its own.
    """
    n, device = len(theta), theta.device
    bent = torch.randperm(n, device=device, generator=generator)[: round(views.elastic_p * n)]
    m = len(bent)
    if m:
        slant = torch.deg2rad((torch.rand(m, device=device, generator=generator) * 2 - 1) * views.shear).tan()
        one, zero = torch.ones_like(slant), torch.zeros_like(slant)
        theta = theta.index_copy(0, bent, theta[bent] @ _affine(one, slant, zero, zero, one, zero))
    grid = F.affine_grid(theta[:, :2], [n, 1, size, size], align_corners=False)
    if m:
        coarse = torch.rand(m, 2, 4, 4, device=device, generator=generator) * 2 - 1
        field = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
        grid[bent] += 2 * views.elastic * field.permute(0, 2, 3, 1)
    inside = (grid.abs() <= 1).all(3)
    if views.jitter:  # a border of the patch stays empty
        seen = F.affine_grid(torch.eye(2, 3, device=device)[None], [1, 1, size, size], align_corners=False)
        inside &= (seen.abs() <= 1 - views.jitter / size).all(3)
    limit = 1 - 1 / size  # the centres of the outermost pixels: bilinear reading must not reach beyond
    return grid.clamp(-limit, limit), inside[:, None]


def _colours(views: PatchViews, x: Tensor, order: list[Tensor], generator: Generator | None) -> Tensor:
    n = len(x)
    for each in order:
        for i, operation in enumerate(ON_COLOURS, start=len(_LIMITS)):
            mine = each[-(-i * n // _OPERATIONS) : -(-(i + 1) * n // _OPERATIONS)]
            if len(mine):
                x[mine] = operation(x[mine], generator).clamp(0, 1)
    changed = torch.randperm(n, device=x.device, generator=generator)[: round(views.histogram_p * n)]
    if len(changed):
        x = x.index_copy(0, changed, change_histogram(x[changed], generator))
    if views.distort_p:
        x = torch.where(chance(x, generator, views.distort_p), _distort(views, x, generator), x)
    if views.drop_colours_p:
        kept = torch.randint(x.shape[1], (n, 1), device=x.device, generator=generator)
        dropped = kept != torch.arange(x.shape[1], device=x.device)
        x = torch.where(chance(x, generator, views.drop_colours_p) & dropped[:, :, None, None], MID_GREY, x)
    if views.grey_p:
        x = torch.where(chance(x, generator, views.grey_p), grey(x), x)
    return x


def _distort(views: PatchViews, x: Tensor, generator: Generator | None) -> Tensor:
    """Inception's distortion (Szegedy et al. 2014); factors per patch, the order of the operations per batch."""
    brightness = uniform(x, generator, -views.brightness, views.brightness)
    saturation = uniform(x, generator, 1 - views.saturation, 1 + views.saturation)
    contrast = uniform(x, generator, 1 - views.contrast, 1 + views.contrast)
    hue = uniform(x, generator, -views.hue, views.hue)
    operations = (
        lambda y: y + brightness,
        lambda y: torch.lerp(grey(y), y, saturation),
        lambda y: shift_hue(y, hue),
        lambda y: torch.lerp(y.mean((2, 3), keepdim=True), y, contrast),
    )
    for i in random_order(len(operations), generator):
        x = operations[i](x).clamp(0, 1)
    return x


def _in_image(grid: Tensor, images: Tensor, stride: int) -> Tensor:
    """Grids in the patches' own coordinates, `[B, rows, columns, p, p, 2]`, as one in those of each image.

    `[B, rows * columns * p, p, 2]`: the patches below one another, row by row.
    """
    _, rows, columns, size = grid.shape[:4]
    side = constant_like(grid, [images.shape[3], images.shape[2]])
    down, across = torch.meshgrid(
        torch.arange(rows, device=grid.device), torch.arange(columns, device=grid.device), indexing="ij"
    )
    centre = (torch.stack([across, down], dim=2) * stride + size / 2) * 2 / side - 1
    return (grid * size / side + centre[:, :, None, None]).flatten(1, 3)


def _affine(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor) -> Tensor:
    """`[N, 3, 3]` matrices of rows (a b c), (d e f), (0 0 1)."""
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    return torch.stack([a, b, c, d, e, f, zero, zero, one], dim=1).reshape(-1, 3, 3)
