"""FSDP2: each rank keeps its part of every weight, and gathers a block of the network while it computes with it."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor


def over(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Share the weights of `module` out between the ranks of a mesh, in place: each block by itself, then the rest."""
    ranks = mesh["data_parallel"]
    for block in blocks(module):
        fully_shard(block, mesh=ranks)
    fully_shard(module, mesh=ranks)
    return module


def blocks(module: nn.Module, listed: bool = False) -> list[nn.Module]:
    """What is gathered by itself: the members of lists of layers, such as the residual blocks of a ResNet.

    A member most of whose weights lie in lists of its own, such as a stage of blocks, is taken apart further.
    """
    a_list = isinstance(module, (nn.Sequential, nn.ModuleList))
    inner = [block for child in module.children() for block in blocks(child, listed=a_list)]
    if not listed or a_list or _weights([module]) < 2 * _weights(inner):
        return inner
    return [module] if _weights([module]) else []


def _weights(modules: list[nn.Module]) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def local(value: Tensor) -> Tensor:
    """This rank's part of a tensor that ranks share out, else the tensor."""
    return value.to_local() if isinstance(value, DTensor) else value
