"""Pseudo-labels: the class that the network thinks an image has is taken for its label.

Lee, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks", ICML workshop
2013.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.methods.registry import DataFacts, method, width_of
from cpchub_training.methods.semi_supervised import SemiSupervised
from cpchub_training.recipes import Recipe


@method("pseudo_label", views=1, labels="some")
class PseudoLabel(SemiSupervised):
    """Only classes more probable than `threshold` are taken; 0 takes all, as the paper does."""

    def __init__(
        self, backbone: nn.Module, width: int, n_classes: int, weight: float = 1.0, threshold: float = 0.95
    ) -> None:
        super().__init__(backbone, width, n_classes, weight)
        self.threshold = threshold

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> PseudoLabel:
        semi = recipe.semi
        return cls(backbone, width_of(backbone), data.n_classes, semi.unlabelled_weight, semi.certainty)

    def unlabelled(self, views: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
        certainty, guess = logits[0].detach().softmax(1).max(1)
        return F.cross_entropy(logits[0], guess, reduction="none") * (certainty >= self.threshold)
