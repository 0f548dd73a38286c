"""InstDisc: every image a class of its own, told from all others by a feature remembered from its last visit.

Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", arXiv 1805.01978.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.methods.memory_bank import InstanceContrast, MemoryBank, settings_of
from cpchub_training.methods.registry import DataFacts, Method, method, width_of
from cpchub_training.recipes import Recipe


@method("instdisc", views=1)
class InstDisc(Method):
    """InstDisc with one view a step, a linear head, and a bank of the `n_images` of the data set.

    `m` negatives for noise-contrastive estimation, 0 for the full softmax (CIFAR). `proximal` is lambda of eq. 8, which
    pulls a feature towards its last value: 30 in the paper, absent (0) from the official code.
    """

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        projector_dim: int,
        n_images: int,
        *,
        temperature: float = 0.07,
        m: int = 4096,
        momentum: float = 0.5,
        proximal: float = 0.0,
        start: str = "random",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = nn.Linear(width, projector_dim)
        self.bank = MemoryBank(n_images, projector_dim, momentum, start)
        self.contrast = InstanceContrast(temperature, m)
        self.m, self.proximal = m, proximal

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> InstDisc:
        return cls(
            backbone,
            width_of(backbone),
            recipe.projector_dim,
            data.n_images,
            proximal=recipe.bank.proximal,
            **settings_of(recipe),
        )

    def forward(
        self, views: Sequence[Tensor], indices: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        (x,) = views
        v = F.normalize(self.projector(self.backbone(x)).float(), dim=1)  # NxD
        self.bank.admit(indices, v)
        previous = self.bank.features[indices]  # NxD, of the last epoch
        loss = self.contrast(v, self.bank, self.bank.draw(indices, self.m))
        if self.proximal:
            loss = loss + self.proximal * (v - previous).square().sum(1).mean()
        self.bank.update(indices, v)
        return loss, {"positive_similarity": (v.detach() * previous).sum(1).mean()}

    def chance(self, n: int) -> float:
        """The loss of an encoder to which all images are alike, without the proximal term."""
        return self.contrast.chance(len(self.bank.features))
