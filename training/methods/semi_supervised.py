"""Learning from few labels and many pictures at once: cross-entropy where there is a label, and a term where not.

The baselines of CPC v2's table of low-label results; each is one term in a file of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

UNLABELLED = -1


class SemiSupervised(nn.Module):
    """An encoder with a linear classifier; `weight` is that of the unlabelled term. Labels of -1 are unknown."""

    def __init__(self, backbone: nn.Module, width: int, n_classes: int, weight: float = 1.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(width, n_classes)
        self.weight = weight

    def logits(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, classes]`."""
        return self.classifier(self.backbone(x)).float()

    def unlabelled(self, views: Sequence[Tensor], logits: Tensor) -> Tensor:
        """The term of pictures without labels: their views and the logits `[N, classes]` of the first one."""
        raise TypeError(f"{type(self).__name__} does not say what it learns from pictures without labels")

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if labels is None:
            raise ValueError("semi-supervised learning needs the class of some pictures, and -1 for the others")
        known = labels != UNLABELLED
        logits = self.logits(views[0])
        # a sum over none is 0, where a mean would be nan
        supervised = F.cross_entropy(logits[known], labels[known], reduction="sum") / known.sum().clamp(min=1)
        term = self.unlabelled([view[~known] for view in views], logits[~known])
        return supervised + self.weight * term, {"supervised": supervised.detach(), "unlabelled": term.detach()}


def divergences(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of the softmax of each row of logits, `[N, classes]` each, to `[N]`."""
    return (p.softmax(1) * (p.log_softmax(1) - q.log_softmax(1))).sum(1)


def mean_of(values: Tensor) -> Tensor:
    """The mean, 0 of none."""
    return values.sum() / max(1, len(values))
