"""Exemplar: every image is a class of its own, and its views are the examples of that class.

Dosovitskiy et al., "Discriminative Unsupervised Feature Learning with Exemplar Convolutional Neural Networks",
arXiv 1406.6909. InstDisc is its form without a weight for each image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.methods.registry import DataFacts, Method, method, width_of
from cpchub_training.recipes import Recipe


@method("exemplar", views=range(1, 101))
class Exemplar(Method):
    """A softmax over the `n_images` of the data set: for thousands of images, not for millions."""

    def __init__(self, backbone: nn.Module, width: int, n_images: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(width, n_images)

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> Exemplar:
        return cls(backbone, width_of(backbone), data.n_images)

    def forward(
        self, views: Sequence[Tensor], indices: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.classifier(self.backbone(torch.cat(list(views)))).float()
        which = indices.repeat(len(views))
        return F.cross_entropy(logits, which), {"accuracy": (logits.detach().argmax(1) == which).float().mean()}

    def chance(self, n: int) -> float:
        """The loss of guessing: log of the number of images."""
        return math.log(self.classifier.out_features)
