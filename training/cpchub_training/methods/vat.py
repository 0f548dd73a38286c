"""VAT: the answer is not to change in the direction in which it changes most.

Miyato et al., "Virtual Adversarial Training", arXiv 1704.03976; with entropy minimisation as VAT + EntMin there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn as nn
from torch import Tensor

from cpchub_training.losses.ranks import of_all_ranks
from cpchub_training.methods.entropy_minimization import entropy
from cpchub_training.methods.registry import DataFacts, method, width_of
from cpchub_training.methods.semi_supervised import SemiSupervised, divergences
from cpchub_training.recipes import Recipe


@method("vat", views=1, labels="some")
class VAT(SemiSupervised):
    """The perturbation has length `epsilon` in the units of the normalised input, found by one power iteration from a
    random direction of length `xi` (algorithm 1). `entropy_weight` adds entropy minimisation.

    The paper takes the smallest `xi` that float32 can tell from 0; in bfloat16 even 0.1 is lost among the rounding.
    """

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        n_classes: int,
        weight: float = 1.0,
        epsilon: float = 6.0,
        xi: float = 1.0,
        entropy_weight: float = 0.0,
    ) -> None:
        super().__init__(backbone, width, n_classes, weight)
        self.epsilon, self.xi, self.entropy_weight = epsilon, xi, entropy_weight

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> VAT:
        semi = recipe.semi
        return cls(
            backbone,
            width_of(backbone),
            data.n_classes,
            semi.unlabelled_weight,
            semi.adversarial_length,
            entropy_weight=semi.entropy_weight,
        )

    def unlabelled(self, views: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
        x, clean = views[0], logits[0].detach()
        with _statistics_kept(self.backbone):
            divergence = divergences(clean, self.logits(x + self._adversarial(x, clean)))
        return divergence + self.entropy_weight * entropy(logits[0])

    def _adversarial(self, x: Tensor, logits: Tensor) -> Tensor:
        """The direction of each image in which the answer changes most, of length epsilon."""
        drawn = of_all_ranks(lambda n: torch.randn(n, *x.shape[1:], device=x.device), len(x))
        direction = _unit(drawn.to(x)).requires_grad_()
        change = divergences(logits, self.logits(x + self.xi * direction)).sum()
        (gradient,) = torch.autograd.grad(change, direction)
        return self.epsilon * _unit(gradient.detach())


def _unit(x: Tensor) -> Tensor:
    return x / x.flatten(1).norm(dim=1).clamp(min=1e-12).reshape(-1, *[1] * (x.ndim - 1))


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """Batch norms use the statistics of what they see, but do not remember perturbed images."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = not norm.training
    try:
        yield
    finally:
        for norm, tracked in zip(norms, before, strict=True):
            norm.track_running_stats = tracked
