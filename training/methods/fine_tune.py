"""Fine-tuning as in SimCLR v2: from a middle layer of the projection head, on the few labels there are.

Chen et al., "Big Self-Supervised Models are Strong Semi-Supervised Learners", arXiv 2006.10029, section 2: the head is
not thrown away whole; f_task = W_task ReLU(BN(W1 f(x))) starts from its first layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub.errors import RecipeError


class FineTune(nn.Module):
    """Encoder, the first layers of a pretrained head, and a new linear classifier that starts at zero.

    `head`: the pretrained projector, a Sequential whose blocks end in a ReLU; `head_layers`: how many of its blocks are
    kept, 0 for none (a plain classifier on the encoder). Raises `RecipeError` for more than it has.
    """

    def __init__(
        self, backbone: nn.Module, width: int, head: nn.Module | None, head_layers: int, n_classes: int
    ) -> None:
        super().__init__()
        self.backbone = backbone  # f
        self.middle = _first_blocks(head, head_layers)
        for layer in self.middle:
            width = layer.out_features if isinstance(layer, nn.Linear) else width
        self.classifier = nn.Linear(width, n_classes)  # W_task
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def logits(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, classes]`."""
        return self.classifier(self.middle(self.backbone(x)))

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if labels is None:
            raise ValueError("fine-tuning needs the class of each picture")
        (x,) = views
        logits = self.logits(x).float()
        return F.cross_entropy(logits, labels), {"accuracy": (logits.detach().argmax(1) == labels).float().mean()}

    def chance(self, n: int) -> float:
        """The loss of a classifier to which all pictures are alike: log of the number of classes."""
        return math.log(self.classifier.out_features)


def _first_blocks(head: nn.Module | None, count: int) -> nn.Sequential:
    """The layers of `head` up to and with its `count`-th ReLU."""
    kept: list[nn.Module] = []
    if count == 0:
        return nn.Sequential()
    for layer in head if isinstance(head, nn.Sequential) else ():
        kept.append(layer)
        if sum(isinstance(each, nn.ReLU) for each in kept) == count:
            return nn.Sequential(*kept)
    raise RecipeError(
        f"head_layers={count}, and the projection head of the pretraining has fewer hidden layers; use --head-layers 0 "
        "or pretrain with --projector-layers 3"
    )
