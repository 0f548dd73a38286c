"""Batch norms with the statistics of all ranks, on GPUs as on CPUs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor

from cpchub_training.losses.ranks import sum_over_ranks, world_size
from cpchub_training.methods import Method


def synchronised(method: Method, device: torch.device) -> Method:
    """The method with batch norms over all ranks, where it wants them.

    On GPUs they are torch's own. These refuse a CPU, where ours do the same with collectives that every backend has.
    """
    if not method.sync_batch_norm:
        return method
    if device.type != "cpu":
        converted: Method = convert_sync_batchnorm(method)
        return converted
    for module in method.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.__class__ = _ActOnCPUs if isinstance(module, BatchNormAct2d) else _OnCPUs
    return method


class _OnCPUs(nn.modules.batchnorm._BatchNorm):
    """A batch norm of any number of dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        return _normalised(self, x)


class _ActOnCPUs(BatchNormAct2d):
    """timm's, which is followed by its activation."""

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.act(self.drop(_normalised(self, x)))
        return activated


def _normalised(norm: Any, x: Tensor) -> Tensor:
    if not norm.training:
        return nn.functional.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
        )
    rest = [0, *range(2, x.ndim)]
    n = x.numel() // x.shape[1] * world_size()
    mean = sum_over_ranks(x.sum(rest)) / n
    centred = x - _per_channel(mean, x)
    variance = sum_over_ranks(centred.square().sum(rest)) / n
    if norm.track_running_stats:
        norm.num_batches_tracked.add_(1)
        share = norm.momentum if norm.momentum is not None else 1 / int(norm.num_batches_tracked)
        with torch.no_grad():
            norm.running_mean.lerp_(mean.to(norm.running_mean), share)
            norm.running_var.lerp_((variance * n / max(1, n - 1)).to(norm.running_var), share)
    y = centred * _per_channel((variance + norm.eps).rsqrt(), x)
    return y * _per_channel(norm.weight, x) + _per_channel(norm.bias, x) if norm.affine else y


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(1, -1, *[1] * (x.ndim - 2))
