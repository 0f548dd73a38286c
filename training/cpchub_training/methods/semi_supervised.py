"""Learning from few labels and many images at once: cross-entropy where there is a label, and a term where not.

The baselines of CPC v2's table of low-label results; each is one term in a file of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.losses.ranks import mean_over_ranks, world_size
from cpchub_training.methods.registry import Classifying

UNLABELLED = -1


class SemiSupervised(Classifying):
    """An encoder with a linear classifier; `weight` is that of the unlabelled term. Labels of -1 are unknown."""

    def __init__(self, backbone: nn.Module, width: int, n_classes: int, weight: float = 1.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(width, n_classes)
        self.weight = weight

    def logits(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, classes]`."""
        return self.classifier(self.backbone(x)).float()

    def unlabelled(self, views: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
        """What each image loses without its label, `[N]`; `logits`: `[N, classes]` of each view, from one batch."""
        raise TypeError(f"{type(self).__name__} does not say what it learns from images without labels")

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if labels is None:
            raise ValueError("semi-supervised learning needs the class of some images, and -1 for the others")
        known = labels != UNLABELLED  # a mask: taking out rows would wait for a GPU to say how many
        logits = self.logits(torch.cat(list(views))).chunk(len(views))  # all views under the same batch statistics
        losses = F.cross_entropy(logits[0], labels, ignore_index=UNLABELLED, reduction="none")
        supervised, term = _mean(losses, known), _mean(self.unlabelled(views, logits), ~known)
        return supervised + self.weight * term, {"supervised": supervised.detach(), "unlabelled": term.detach()}


def divergences(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of the softmax of each row of logits, `[N, classes]` each, to `[N]`."""
    return (p.softmax(1) * (p.log_softmax(1) - q.log_softmax(1))).sum(1)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """The mean of some of the values on all ranks, 0 of none; the mean over the ranks is that of one rank with all."""
    return values.masked_fill(~where, 0.0).sum() / mean_over_ranks(where.sum().float()).clamp(min=1 / world_size())
