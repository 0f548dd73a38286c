"""A running average of weights (Polyak averaging), which is often the better encoder at no cost in training."""

from __future__ import annotations

import copy

import torch
import torch.nn as nn
from torch import Tensor


class WeightAverage(nn.Module):
    """An exponential average of a network's parameters and buffers; `network` is the averaged copy, in eval mode.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), as in TensorFlow's ExponentialMovingAverage, so that
    the first weights are soon forgotten.
    """

    updates: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards `network` as it is now."""
        self.updates += 1
        n = self.updates.double()
        share = 1 - torch.minimum(torch.full_like(n, self.decay), (1 + n) / (10 + n))
        theirs = network.state_dict()
        for name, mine in self.network.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name], share.to(mine.dtype))
            else:
                mine.copy_(theirs[name])
