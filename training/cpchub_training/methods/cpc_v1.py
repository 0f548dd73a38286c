"""CPC v1 on images: the same prediction as in version 2, from above only, by a PixelCNN over the grid.

Van den Oord, Li and Vinyals, Representation Learning with Contrastive Predictive Coding, arXiv 1807.03748, section 3.2:
grey images, 7 x 7 patches of 64 pixels with spatial jitter, a ResNet-101 without norm up to its third stack, up to
five rows ahead. The paper is silent on the depth and width of the PixelCNN: here those of version 2's context network.
"""

from __future__ import annotations

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.methods.cpc import CPC
from cpchub_training.methods.registry import method


class PixelCNN(nn.Module):
    """A context sees the rows above, and its own row from the left up to itself; `[B, D, rows, columns]` to the same.

    Residual blocks around a masked 3x3 convolution (van den Oord et al., arXiv 1601.06759, mask B in every layer: what
    is predicted lies rows below, so a context may see its own patch).
    """

    def __init__(self, dim: int, blocks: int, hidden: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_PixelBlock(dim, hidden) for _ in range(blocks)))

    def forward(self, z: Tensor) -> Tensor:
        context: Tensor = self.blocks(z)
        return F.relu(context)


class _PixelBlock(nn.Module):
    """The masked 3x3 convolution as its two halves: the three cells above, and this cell with its left neighbour."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(dim, hidden, 1)
        self.above = nn.Conv2d(hidden, hidden, (1, 3), padding=(0, 1), bias=False)
        self.left = nn.Conv2d(hidden, hidden, (1, 2))
        self.expand = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        c = F.relu(self.reduce(x))
        above = self.above(F.pad(c[:, :, :-1], (0, 0, 1, 0)))
        c = F.relu(above + self.left(F.pad(c, (1, 0))))
        out: Tensor = x + self.expand(c)
        return out


@method("cpc_v1", views=1)
class CPCv1(CPC):
    """CPC v1 on a grid of patches; see `cpchub_training.methods.cpc`."""

    Context = PixelCNN
