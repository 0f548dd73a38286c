"""What the ranks of a `torchrun` share: rows gathered with their gradients. One process needs no process group."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather(x: Tensor) -> Tensor:
    """Concatenate `x` of all ranks along dimension 0, in rank order, with gradients to each rank's part.

    The backward sums what every rank's loss says about this rank's rows; ranks must hold equally many rows.
    """
    if world_size() == 1:
        return x
    if not x.requires_grad:
        return _all_gather(x)
    return _Gather.apply(x)


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        return _all_gather(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        dist.all_reduce(grad)
        return grad[ctx.rows * rank() : ctx.rows * (rank() + 1)]


def _all_gather(x: Tensor) -> Tensor:
    x = x.contiguous()  # before `empty_like`, which keeps channels-last: the bytes of all must lie in one order
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x)
    return torch.cat(parts)
