"""The methods, one file each: a module whose `forward` is the algorithm, in its paper's order and names.

`forward(views, indices, labels)` takes a list of views (`[N, C, H, W]` each, row i of all from picture i), which
pictures of the data set these are (`[N]`) and their classes (`[N]`, or None), of which a method uses what it needs.
It returns the loss and a few scalars worth watching. Its `backbone` is the encoder that is exported. All state (queue,
bank, key encoder) lives in parameters and buffers, so saving the module saves the method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.methods.moco import MoCo
from training.methods.simclr import SimCLR

if TYPE_CHECKING:
    import torch.nn as nn

    from training.recipes import Recipe

METHODS = ("simclr", "moco_v2")


def build(recipe: Recipe, backbone: nn.Module) -> SimCLR | MoCo:
    """The method that `recipe.method` names, around `backbone` (a timm network without classifier)."""
    width = int(backbone.num_features)  # type: ignore[arg-type]
    if recipe.method == "simclr":
        return SimCLR(backbone, width, recipe.projector_hidden, recipe.projector_dim, recipe.temperature)
    return MoCo(
        backbone,
        width,
        recipe.projector_hidden,
        recipe.projector_dim,
        T=recipe.temperature,
        K=recipe.queue_size,
        m=recipe.key_momentum,
        symmetric=recipe.symmetric,
        bn_splits=recipe.bn_splits,
    )
