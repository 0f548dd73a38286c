"""Entropy minimisation: on an image without a label the network is to be sure of something.

Grandvalet and Bengio, "Semi-supervised Learning by Entropy Minimization", NIPS 2004.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cpchub_training.methods.registry import DataFacts, method, width_of
from cpchub_training.methods.semi_supervised import SemiSupervised
from cpchub_training.recipes import Recipe


@method("entropy_minimization", views=1, labels="some")
class EntropyMinimization(SemiSupervised):
    """The entropy of the classes of each image without a label, eq. 6 of the paper."""

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> EntropyMinimization:
        return cls(backbone, width_of(backbone), data.n_classes, recipe.semi.unlabelled_weight)

    def unlabelled(self, views: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
        return entropy(logits[0])


def entropy(logits: Tensor) -> Tensor:
    """Of the softmax of each row, `[N, classes]` to `[N]`; log(classes) for equal logits."""
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
