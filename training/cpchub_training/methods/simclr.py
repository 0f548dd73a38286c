"""SimCLR: two or more views of each image, one encoder f, a projection head g, NT-Xent over all views of the batch.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", arXiv 2002.05709.
Yeh et al., "Decoupled Contrastive Learning", arXiv 2110.06848, for `decoupled`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

from cpchub_training.losses import colour_loss, dcl, sup_con
from cpchub_training.losses.colours import BINS
from cpchub_training.methods.projector import projector
from cpchub_training.methods.registry import DataFacts, Method, method, width_of
from cpchub_training.recipes import Recipe


@method("simclr", views=range(2, 101))
class SimCLR(Method):
    """SimCLR with all views in one forward pass, so that their batch statistics are shared.

    `projector_layers`: 2 for the head of version 1, 3 for that of version 2 (arXiv 2006.10029). With more than two
    views the loss is NT-Xent averaged over every positive of an anchor. `decoupled`: DCL in its place, for two views.
    `colour_weight`: of a term that asks h for each view's own colours, which z is to be without.
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
        colour_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone  # f
        self.projector = projector(width, projector_hidden, projector_dim, projector_layers)  # g
        self.temperature, self.n_views, self.decoupled = temperature, n_views, decoupled
        self.colour_weight = colour_weight
        self.colours = nn.Linear(width, BINS) if colour_weight else None

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> SimCLR:
        return cls(
            backbone,
            width_of(backbone),
            recipe.projector_hidden,
            recipe.projector_dim,
            recipe.temperature,
            recipe.projector_layers,
            recipe.n_views,
            recipe.decoupled,
            recipe.colour_weight,
        )

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x = torch.cat(list(views))  # VNx3xSxS
        h = self.backbone(x)  # VNxC, what is kept
        z = self.projector(h)  # VNxD, what is contrasted
        z = z.reshape(len(views), -1, z.shape[-1]).transpose(0, 1)  # NxVxD
        if self.decoupled:
            loss = dcl(z[:, 0], z[:, 1], self.temperature)
        else:
            loss = sup_con(z, labels=None, temperature=self.temperature)
        scalars = {"positive_similarity": _similarity(z[:, 0], z[:, 1])}
        if self.colours is not None:
            scalars["contrast"], scalars["colours"] = loss.detach(), colour_loss(self.colours(h), x)
            loss = loss + self.colour_weight * scalars["colours"]
        return loss, {name: value.detach() for name, value in scalars.items()}

    def chance(self, n: int) -> float:
        """The loss of an encoder to which all of a batch of n images are alike: log(2n - 1) for two views.

        Decoupled, log(2n - 2).
        """
        return math.log(self.n_views * n - 1 - self.decoupled)


def _similarity(a: Tensor, b: Tensor) -> Tensor:
    return nn.functional.cosine_similarity(a.detach().float(), b.detach().float()).mean()
