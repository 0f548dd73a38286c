"""Rotation: tell by which quarter turn an image was rotated.

Gidaris et al., "Unsupervised Representation Learning by Predicting Image Rotations", arXiv 1803.07728.
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


@method("rotation", views=range(1, 101))
class Rotation(Method):
    """Every view in all four rotations in one forward pass, which the paper found better than one at random."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(width, 4)

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> Rotation:
        return cls(backbone, width_of(backbone))

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x = torch.cat([torch.rot90(view, turns, (2, 3)) for view in views for turns in range(4)])
        x = x.contiguous(memory_format=torch.channels_last)  # which turning has undone
        turns = torch.arange(4, device=x.device).repeat_interleave(len(views[0])).repeat(len(views))
        logits = self.classifier(self.backbone(x)).float()
        return F.cross_entropy(logits, turns), {"accuracy": (logits.detach().argmax(1) == turns).float().mean()}

    def chance(self, n: int) -> float:
        """The loss of guessing: log 4."""
        return math.log(4)
