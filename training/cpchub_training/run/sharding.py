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
    """What is gathered by itself: the members of lists of layers, such as the residual blocks of a ResNet."""
    a_list = isinstance(module, (nn.Sequential, nn.ModuleList))
    if listed and not a_list:
        return [module] if next(module.parameters(), None) is not None else []
    return [block for child in module.children() for block in blocks(child, listed=a_list)]


def local(value: Tensor) -> Tensor:
    """This rank's part of a tensor that ranks share out, else the tensor."""
    return value.to_local() if isinstance(value, DTensor) else value
