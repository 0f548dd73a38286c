"""Features of an encoder in training, for its monitors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from cpchub_training.data.random_view import normalised

if TYPE_CHECKING:
    from cpchub_training.recipes import Recipe


@torch.no_grad()
def features(
    backbone: nn.Module, images: torch.Tensor, recipe: Recipe, device: torch.device, batch: int = 500
) -> np.ndarray:
    """Features `[N, D]` float32 of uint8 images at the recipe's input size, in eval mode, whatever mode it was in."""
    was_training = backbone.training
    backbone.eval()
    rows = [backbone(x).float().cpu() for x in prepared(images, recipe, device, batch)]
    backbone.train(was_training)
    return torch.cat(rows).numpy()


def prepared(images: torch.Tensor, recipe: Recipe, device: torch.device, batch: int = 500) -> Iterator[torch.Tensor]:
    """Batches of the network's input, without augmentation: uint8 images, resized and normalised."""
    side = (recipe.input_size, recipe.input_size)
    for part in images.split(batch):
        x = part.to(device).float() / 255
        if x.shape[-2:] != side:
            x = F.interpolate(x, size=side, mode="bilinear", align_corners=False, antialias=True)
        yield normalised(x, recipe)
