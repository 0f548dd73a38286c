"""Distillation as in SimCLR v2: a student learns the teacher's answers on images without labels.

Chen et al., "Big Self-Supervised Models are Strong Semi-Supervised Learners", arXiv 2006.10029, eq. 2. The student may
be the teacher's own size (self-distillation, T = 0.1 in the paper) or smaller (T = 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

from cpchub.errors import RecipeError
from cpchub_training.losses import distillation
from cpchub_training.methods.fine_tune import FineTune
from cpchub_training.methods.registry import Classifying, DataFacts, Teacher, method, width_of
from cpchub_training.recipes import Recipe


@method("distil", views=1, teacher=True)
class Distil(Classifying):
    """A student (encoder and linear classifier) beside its frozen teacher; both see the same view."""

    def __init__(self, backbone: nn.Module, width: int, teacher: FineTune, temperature: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(width, teacher.classifier.out_features)
        self.teacher = teacher.eval().requires_grad_(False)
        self.temperature = temperature

    @classmethod
    def from_recipe(
        cls, recipe: Recipe, backbone: nn.Module, data: DataFacts, teacher: Teacher | None = None
    ) -> Distil:
        """Learn from the classifier of the fine-tuned run `teacher`."""
        if teacher is None or not isinstance(teacher.method, FineTune):
            raise RecipeError(
                f"{recipe.teacher} is no run of fine_tune, so it has no answers to distil; fine-tune it first"
            )
        return cls(backbone, width_of(backbone), teacher.method, recipe.temperature)

    def train(self, mode: bool = True) -> Distil:
        """The teacher's batch norms keep their statistics."""
        super().train(mode)
        self.teacher.eval()
        return self

    def logits(self, x: Tensor) -> Tensor:
        """The student's, `[N, C, H, W]` to `[N, classes]`."""
        return self.classifier(self.backbone(x))

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        (x,) = views
        with torch.no_grad():
            taught = self.teacher.logits(x)
        answer = self.logits(x)
        agreement = (answer.detach().argmax(1) == taught.argmax(1)).float().mean()
        return distillation(answer, taught, self.temperature), {"agreement": agreement}

    def chance(self, n: int) -> float:
        """The loss of a student that gives every class the same probability: log of the number of classes."""
        return math.log(self.classifier.out_features)
