"""SimCLR: two or more views of each picture, one encoder f, a projection head g, NT-Xent over all views of the batch.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", arXiv 2002.05709.
Yeh et al., "Decoupled Contrastive Learning", arXiv 2110.06848, for `decoupled`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

from training.losses import dcl, sup_con
from training.methods.projector import projector
from training.methods.registry import DataFacts, Method, method, width_of
from training.recipes import Recipe


@method("simclr", views=range(2, 101))
class SimCLR(Method):
    """SimCLR with all views in one forward pass, so that their batch statistics are shared.

    `projector_layers`: 2 for the head of version 1, 3 for that of version 2 (arXiv 2006.10029). With more than two
    views the loss is NT-Xent averaged over every positive of an anchor. `decoupled`: DCL in its place, for two views.
    """

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        projector_hidden: int,
        projector_dim: int,
        temperature: float,
        projector_layers: int = 2,
        n_views: int = 2,
        decoupled: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone  # f
        self.projector = projector(width, projector_hidden, projector_dim, projector_layers)  # g
        self.temperature, self.n_views, self.decoupled = temperature, n_views, decoupled

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> SimCLR:
        hidden, dim, layers = recipe.projector_hidden, recipe.projector_dim, recipe.projector_layers
        return cls(
            backbone, width_of(backbone), hidden, dim, recipe.temperature, layers, recipe.n_views, recipe.decoupled
        )

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        h = self.backbone(torch.cat(list(views)))  # VNxC, what is kept
        z = self.projector(h)  # VNxD, what is contrasted
        z = z.reshape(len(views), -1, z.shape[-1]).transpose(0, 1)  # NxVxD
        if self.decoupled:
            loss = dcl(z[:, 0], z[:, 1], self.temperature)
        else:
            loss = sup_con(z, labels=None, temperature=self.temperature)
        return loss, {"positive_similarity": _similarity(z[:, 0], z[:, 1])}

    def chance(self, n: int) -> float:
        """The loss of an encoder to which all of a batch of n pictures are alike: log(2n - 1) for two views.

        Decoupled, log(2n - 2).
        """
        return math.log(self.n_views * n - 1 - self.decoupled)


def _similarity(a: Tensor, b: Tensor) -> Tensor:
    return nn.functional.cosine_similarity(a.detach().float(), b.detach().float()).mean()
