"""A running average of weights (Polyak averaging). It is often the better encoder and costs no training time."""

from __future__ import annotations

import copy

import torch
import torch.nn as nn
from torch import Tensor

from cpchub_training.run.sharding import local


class WeightAverage(nn.Module):
    """An exponential average of a network's parameters and buffers; `network` is the averaged copy, in eval mode.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), as in TensorFlow's ExponentialMovingAverage, so the
    first weights soon lose their influence.
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
        mine, theirs = self.network.state_dict(), network.state_dict()
        averaged = [name for name, value in mine.items() if value.is_floating_point()]
        old, new = ([local(state[name]) for name in averaged] for state in (mine, theirs))
        way = torch._foreach_sub(new, old)
        torch._foreach_mul_(way, share.float())  # a few kernels for all tensors, and no waiting for `updates`
        torch._foreach_add_(old, way)
        for name in mine.keys() - averaged:
            mine[name].copy_(theirs[name])
