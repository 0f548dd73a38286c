"""A memory bank: one feature for each image of the data set, as InstDisc and CMC keep it.

Wu et al., arXiv 1805.01978 (section 3.1 and 3.2). Both methods tell image i from all others by its row of the bank:
with a softmax over the whole bank, or, where that is too large, by noise-contrastive estimation with m drawn rows.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.losses import gather, instance_softmax, instdisc_nce
from cpchub_training.losses.precision import without_autocast
from cpchub_training.losses.ranks import of_all_ranks
from cpchub_training.recipes import Recipe


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """The arguments that every method with a bank takes from a recipe."""
    bank = recipe.bank
    return {"temperature": recipe.temperature, "m": bank.negatives, "momentum": bank.momentum, "start": bank.start}


class MemoryBank(nn.Module):
    """Unit features `[n, D]`, each moved towards what its image gave last, the same on every rank.

    The official code starts with random features, which for an epoch are told from real ones more easily than real ones
    are from each other: on small data sets that teaches the encoder to give all images one direction. With
    `start="visited"` an image's first feature is its row at once, and only rows of images seen so far are negatives.
    """

    features: Tensor
    visited: Tensor

    def __init__(self, n: int, dim: int, momentum: float = 0.5, start: str = "random") -> None:
        super().__init__()
        if start not in ("random", "visited"):
            raise ValueError(f"start is 'random' or 'visited', not {start!r}")
        self.momentum, self.start = momentum, start
        self._complete = start == "random"
        self.register_buffer("visited", torch.full((n,), self._complete))
        # the official code draws uniformly, with unit length only in expectation
        self.register_buffer("features", F.normalize(torch.randn(n, dim), dim=1))

    def draw(self, indices: Tensor, m: int) -> Tensor:
        """Rows to contrast with, `[N, 1 + m]`: each image's own, then m uniform ones, of which some may be equal."""
        if m == 0:
            return indices[:, None]
        known = None if self.complete() else self.visited.nonzero()[:, 0]
        below = len(self.features if known is None else known)
        rows = of_all_ranks(lambda n: torch.randint(below, (n, 1 + m), device=indices.device), len(indices))
        rows = rows.clone() if known is None else known[rows]  # of which the first column is written
        rows[:, 0] = indices
        return rows

    def complete(self) -> bool:
        """Whether every image has been seen. Once it is so, no GPU is asked (and waited for) again."""
        self._complete = self._complete or bool(self.visited.all())
        return self._complete

    @torch.no_grad()
    def admit(self, indices: Tensor, v: Tensor) -> None:
        """Images that are seen for the first time: v_i is their feature, for all ranks' images."""
        if self.start == "random":
            return
        indices, v = gather(indices), gather(v.detach().float())
        self.features[indices] = torch.where(self.visited[indices, None], self.features[indices], v)
        self.visited[indices] = True

    @torch.no_grad()
    def update(self, indices: Tensor, v: Tensor) -> None:
        """features_i <- momentum * features_i + (1 - momentum) * v_i, back to unit length, for all ranks' images."""
        indices, v = gather(indices), gather(v.detach().float())
        moved = self.momentum * self.features[indices] + (1 - self.momentum) * v
        self.features[indices] = F.normalize(moved, dim=1)


class InstanceContrast(nn.Module):
    """The loss of unit features v against a bank: softmax over all of it (m = 0), or NCE with m negatives.

    NCE's partition constant Z is estimated from the first batch and frozen, as the paper and its code do.
    """

    Z: Tensor

    def __init__(self, temperature: float, m: int) -> None:
        super().__init__()
        self.T, self.m = temperature, m
        self.register_buffer("Z", torch.zeros(()))

    @without_autocast
    def forward(self, v: Tensor, bank: MemoryBank, rows: Tensor) -> Tensor:
        """`v`: `[N, D]`; `rows`: `[N, 1 + m]` from `bank.draw`. The bank may be updated before the backward pass."""
        n = len(bank.features)
        if self.m == 0:
            allowed = None if bank.start == "random" else bank.visited
            return instance_softmax(v, bank.features.clone(), rows[:, 0], self.T, allowed)
        similarity = torch.einsum("nd,nmd->nm", v.float(), bank.features[rows])
        with torch.no_grad():
            estimate = n * gather((similarity / self.T).exp().mean()[None]).mean()
            self.Z.copy_(torch.where(self.Z > 0, self.Z, estimate))
        return instdisc_nce(similarity, self.T, n, self.Z)

    def chance(self, n: int) -> float:
        """The loss where all n images are alike: log n, or for NCE log(1 + m) + m log(1 + 1/m)."""
        return math.log(n) if self.m == 0 else math.log1p(self.m) + self.m * math.log1p(1 / self.m)
