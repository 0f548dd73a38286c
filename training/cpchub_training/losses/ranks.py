"""What ranks share: rows gathered with their gradients, sums, random numbers. One process needs no process group."""

from __future__ import annotations

from collections.abc import Callable
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


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of `x` over all ranks, with gradients: the backward sums what every rank's loss says about the sum."""
    total: Tensor = x if world_size() == 1 else _Sum.apply(x)
    return total


def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean of `x` over all ranks, without a gradient."""
    return x if world_size() == 1 else _all_reduced(x) / world_size()


def of_all_ranks(draw: Callable[[int], Tensor], n: int) -> Tensor:
    """The rows of this rank, `n` of them, in what `draw` gives for the images of all ranks.

    The ranks' random generators have one seed in each step, so images have the same numbers on any number of ranks.
    """
    return draw(n * world_size())[n * rank() : n * (rank() + 1)]


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


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _all_reduced(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _all_reduced(grad)


def _all_reduced(x: Tensor) -> Tensor:
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def _all_gather(x: Tensor) -> Tensor:
    x = x.contiguous()  # before `empty_like`, which keeps channels-last: the bytes of all must lie in one order
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x)
    return torch.cat(parts)
