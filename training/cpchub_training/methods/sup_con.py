"""SupCon: SimCLR with labels; all images of a class are positives of each other.

Khosla et al., "Supervised Contrastive Learning", arXiv 2004.11362.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.losses import sup_con
from cpchub_training.methods.projector import mlp
from cpchub_training.methods.registry import DataFacts, Method, method, width_of
from cpchub_training.recipes import Recipe


@method("sup_con", views=range(2, 101), labels="all")
class SupCon(Method):
    """SupCon with the official two-layer head without batch norm, and the loss of eq. 2 (positives outside the log)."""

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        projector_hidden: int,
        projector_dim: int,
        temperature: float = 0.1,
        n_views: int = 2,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = mlp(width, projector_hidden, projector_dim)
        self.temperature, self.n_views = temperature, n_views

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> SupCon:
        hidden, dim = recipe.projector_hidden, recipe.projector_dim
        return cls(backbone, width_of(backbone), hidden, dim, recipe.temperature, recipe.n_views)

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if labels is None:
            raise ValueError("SupCon needs the class of each image; SimCLR is its form without labels")
        z = self.projector(self.backbone(torch.cat(list(views))))  # VNxD
        z = z.reshape(len(views), -1, z.shape[-1]).transpose(0, 1)  # NxVxD
        loss = sup_con(z, labels, self.temperature)
        a, b = z[:, 0].detach().float(), z[:, 1].detach().float()
        return loss, {"positive_similarity": F.cosine_similarity(a, b).mean()}

    def chance(self, n: int) -> float:
        """The loss of an encoder to which all of a batch of n images are alike: log(2n - 1) for two views."""
        return math.log(self.n_views * n - 1)
