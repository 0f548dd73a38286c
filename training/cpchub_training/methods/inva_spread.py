"""InvaSpread: two views of each image are to be alike and spread from all other images of the batch; no memory.

Ye et al., "Unsupervised Embedding Learning via Invariant and Spreading Instance Feature", arXiv 1904.03436.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.losses import inva_spread
from cpchub_training.methods.registry import DataFacts, Method, method, width_of
from cpchub_training.recipes import Recipe


@method("inva_spread", views=2)
class InvaSpread(Method):
    """InvaSpread with a linear head, both views augmented and in one forward pass, as in the official code."""

    def __init__(self, backbone: nn.Module, width: int, projector_dim: int, temperature: float = 0.1) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = nn.Linear(width, projector_dim)
        self.temperature = temperature

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> InvaSpread:
        return cls(backbone, width_of(backbone), recipe.projector_dim, recipe.temperature)

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x1, x2 = views
        z1, z2 = self.projector(self.backbone(torch.cat([x1, x2]))).chunk(2)  # NxD each
        loss = inva_spread(z1, z2, self.temperature)
        return loss, {"positive_similarity": F.cosine_similarity(z1.detach().float(), z2.detach().float()).mean()}

    def chance(self, n: int) -> float:
        """The loss of an encoder to which all of a batch of n images are alike."""
        others = 2 * n - 1
        return math.log(others) - (others - 1) * math.log1p(-1 / others)
