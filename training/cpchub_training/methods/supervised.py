"""Supervised training: cross-entropy on the labels of all images. What the methods without labels are compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.methods.registry import Classifying, DataFacts, method, width_of
from cpchub_training.recipes import Recipe


@method("supervised", views=range(1, 101), labels="all")
class Supervised(Classifying):
    """Encoder and linear classifier; the views of an image are images of its class."""

    def __init__(self, backbone: nn.Module, width: int, n_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(width, n_classes)

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> Supervised:
        return cls(backbone, width_of(backbone), data.n_classes)

    def logits(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, classes]`."""
        return self.classifier(self.backbone(x))

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if labels is None:
            raise ValueError("supervised training needs the class of each image")
        logits, y = self.logits(torch.cat(list(views))).float(), labels.repeat(len(views))
        return F.cross_entropy(logits, y), {"accuracy": (logits.detach().argmax(1) == y).float().mean()}

    def chance(self, n: int) -> float:
        """The loss of guessing: log of the number of classes."""
        return math.log(self.classifier.out_features)
