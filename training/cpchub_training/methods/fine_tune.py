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
from cpchub_training.methods.registry import Classifying, DataFacts, Teacher, method, width_of
from cpchub_training.recipes import Recipe


@method("fine_tune", views=1, labels="all", teacher=True)
class FineTune(Classifying):
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

    @classmethod
    def from_recipe(
        cls, recipe: Recipe, backbone: nn.Module, data: DataFacts, teacher: Teacher | None = None
    ) -> FineTune:
        """Go on from the encoder and the head of the pretraining `teacher`."""
        if teacher is None:
            raise RecipeError("fine_tune goes on from another run: name its folder with --teacher")
        try:
            backbone.load_state_dict(teacher.method.get_submodule("backbone").state_dict())
        except RuntimeError as error:
            network = f"a {teacher.recipe.backbone} with {dict(teacher.recipe.backbone_args)}"
            raise RecipeError(
                f"{recipe.teacher} trained {network}; fine-tuning goes on with the same network, so change --backbone "
                "and --backbone-args to these"
            ) from error
        head = getattr(teacher.method, "projector", None)
        return cls(backbone, width_of(backbone), head, recipe.head_layers, data.n_classes)

    def logits(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, classes]`."""
        return self.classifier(self.middle(self.backbone(x)))

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if labels is None:
            raise ValueError("fine-tuning needs the class of each image")
        (x,) = views
        logits = self.logits(x).float()
        return F.cross_entropy(logits, labels), {"accuracy": (logits.detach().argmax(1) == labels).float().mean()}

    def chance(self, n: int) -> float:
        """The loss of a classifier to which all images are alike: log of the number of classes."""
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
