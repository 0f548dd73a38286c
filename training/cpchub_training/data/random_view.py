"""One random view of a batch, as the recipe describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cpchub_training.views.on_device import constant_like
from cpchub_training.views.part_of_batch import PartOfBatch

if TYPE_CHECKING:
    from cpchub_training.recipes import Recipe


def random_view(
    images: Tensor, recipe: Recipe, generator: torch.Generator, number: int = 0, done: float = 1.0
) -> Tensor:
    """View `number` of each image, random, as the network takes it: uint8 `[N, C, H, W]` to float32 `[N, C, S, S]`.

    `done`: the share of the run that is over; early views may be smaller.
    For CPC the grid of its patches, each a view by itself: `[N, rows, columns, C, p, p]`.
    """
    view = recipe.views_of(number, done)(images, generator)
    if recipe.takes == "patches":
        size, stride = (int(recipe.backbone_args.get(name, 0)) for name in ("patch_size", "patch_stride"))
        view = recipe.cpc.patches(
            view, size, stride, generator.of_its_own(number) if isinstance(generator, PartOfBatch) else generator
        )
    return normalised(view, recipe)


def normalised(x: Tensor, recipe: Recipe) -> Tensor:
    """Images in [0, 1] as the network takes them: the recipe's mean and std, channels last."""
    if {*recipe.mean} == {0.0} and {*recipe.std} == {1.0}:  # of any number of channels
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
    mean, std = (constant_like(x, v).reshape(1, -1, 1, 1) for v in (recipe.mean, recipe.std))
    y = (x - mean) / std
    return y.contiguous(memory_format=torch.channels_last) if y.ndim == 4 else y  # patches are laid out already
