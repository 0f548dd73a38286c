"""Relative position: of two patches of an image, where does the second lie from the first?

Doersch et al., "Unsupervised Visual Representation Learning by Context Prediction", arXiv 1505.05192.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub.errors import RecipeError
from cpchub_training.losses.ranks import of_all_ranks
from cpchub_training.methods.registry import DataFacts, Method, method, width_of
from cpchub_training.recipes import Recipe
from cpchub_training.views.on_device import constant_like

NEIGHBOURS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]


@method("relative_position", views=1)
class RelativePosition(Method):
    """Two patches of a 3 x 3 grid, the middle one and a random neighbour, each moved by up to a sixth of a patch.

    Between patches lies a gap of a quarter of a patch, so that lines which run on do not give the place away. Colours
    would (chromatic aberration): use views with grey images or dropped colours. Raises `RecipeError` for views of
    fewer than 24 pixels.
    """

    def __init__(self, backbone: nn.Module, width: int, side: int, hidden: int = 512) -> None:
        super().__init__()
        # 3 patches, 2 gaps of a quarter and room to move by a sixth on either side
        self.patch = int(side / (3 + 2 / 4 + 2 / 6))
        self.gap, self.move = self.patch // 4, self.patch // 6
        if side < 24:
            raise RecipeError(f"views of {side} pixels leave patches of {self.patch}; use --views.size 24 or more")
        self.backbone = backbone
        self.classifier = nn.Sequential(
            nn.Linear(2 * width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 8)
        )

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> RelativePosition:
        return cls(backbone, width_of(backbone), recipe.views.size, recipe.projector_hidden)

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        (x,) = views
        where = of_all_ranks(lambda n: torch.randint(8, (n,), device=x.device), len(x))
        step = constant_like(x, NEIGHBOURS)[where]
        middle = self._cut(x, torch.zeros_like(step))
        h = self.backbone(torch.cat([middle, self._cut(x, step)]))
        logits = self.classifier(torch.cat(h.chunk(2), dim=1)).float()
        return F.cross_entropy(logits, where), {"accuracy": (logits.detach().argmax(1) == where).float().mean()}

    def _cut(self, x: Tensor, step: Tensor) -> Tensor:
        """The patch `step` `[N, 2]` (row, column) away from the middle one, moved at random."""
        centre = (x.shape[-1] - self.patch) // 2
        moved = of_all_ranks(lambda n: torch.randint(-self.move, self.move + 1, (n, 2), device=x.device), len(x))
        corner = centre + step * (self.patch + self.gap) + moved
        offsets = torch.arange(self.patch, device=x.device)
        rows = (corner[:, 0, None] + offsets)[:, None, :, None]
        columns = (corner[:, 1, None] + offsets)[:, None, None, :]
        n = torch.arange(len(x), device=x.device)[:, None, None, None]
        channels = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
        return x[n, channels, rows, columns].contiguous(memory_format=torch.channels_last)

    def chance(self, n: int) -> float:
        """The loss of guessing: log 8."""
        return math.log(8)
