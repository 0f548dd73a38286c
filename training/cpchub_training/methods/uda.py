"""UDA: an image and a strongly changed view of it are to get one answer.

Xie et al., "Unsupervised Data Augmentation for Consistency Training", arXiv 1904.12848.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn as nn
from torch import Tensor

from cpchub_training.methods.registry import DataFacts, method, width_of
from cpchub_training.methods.semi_supervised import SemiSupervised, divergences
from cpchub_training.recipes import Recipe


@method("uda", views=2, labels="some")
class UDA(SemiSupervised):
    """Two views of each image. The answer to the first is the target of the second, sharpened by `temperature`, where
    it is more certain than `threshold` (section 2 of the paper; 0.4 and 0.8 are its values for CIFAR-10)."""

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        n_classes: int,
        weight: float = 1.0,
        temperature: float = 0.4,
        threshold: float = 0.8,
    ) -> None:
        super().__init__(backbone, width, n_classes, weight)
        self.temperature, self.threshold = temperature, threshold

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> UDA:
        semi = recipe.semi
        width = width_of(backbone)
        return cls(backbone, width, data.n_classes, semi.unlabelled_weight, recipe.temperature, semi.certainty)

    def unlabelled(self, views: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
        target, answer = logits[0].detach(), logits[1]
        certain = target.softmax(1).max(1).values >= self.threshold
        return divergences(target / self.temperature, answer) * certain
