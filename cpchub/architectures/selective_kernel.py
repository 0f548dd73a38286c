"""Selective kernels as in SimCLR v2: two 3x3 convolutions, weighed against each other per channel and per image.

Li et al. 2019 (arXiv 1903.06586) give the streams kernels of 3x3 and 5x5; SimCLR v2 gives both 3x3 and computes them as
one convolution of twice the width. timm's own selective kernels are the former, and their weights do not fit here.
"""

from __future__ import annotations

from typing import Any

from timm.models.resnet import Bottleneck
from torch import Tensor, nn

RATIO = 0.0625  # width of the hidden layer that weighs the streams over their own; sk_ratio in google-research/simclr
MIN_HIDDEN = 32


class SelectiveKernel(nn.Module):
    """`[B, in_chs, H, W]` to `[B, out_chs, H / stride, W / stride]`, normalised and rectified.

    The two streams are summed with weights, softmax over the streams, that a small network reads off their mean.
    """

    def __init__(
        self, in_chs: int, out_chs: int, stride: int = 1, dilation: int = 1, norm_layer: Any = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        hidden = max(int(out_chs * RATIO), MIN_HIDDEN)
        self.conv = nn.Conv2d(in_chs, 2 * out_chs, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn = norm_layer(2 * out_chs)
        self.squeeze = nn.Conv2d(out_chs, hidden, 1, bias=False)
        self.squeeze_bn = norm_layer(hidden)
        self.select = nn.Conv2d(hidden, 2 * out_chs, 1, bias=False)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        streams = self.act(self.bn(self.conv(x))).unflatten(1, (2, -1))  # [B, 2, C, H, W]
        pooled = streams.sum(1).mean((2, 3), keepdim=True)
        hidden = self.act(self.squeeze_bn(self.squeeze(pooled)))
        weights = self.select(hidden).unflatten(1, (2, -1)).softmax(1)
        mixed: Tensor = (streams * weights).sum(1)
        return mixed


class SelectiveKernelBottleneck(Bottleneck):
    """timm's bottleneck with a selective kernel as its 3x3 convolution."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain: Any = self.conv2
        self.conv2: nn.Module = SelectiveKernel(
            plain.in_channels,
            plain.out_channels,
            stride=plain.stride[0],
            dilation=plain.dilation[0],
            norm_layer=kwargs.get("norm_layer", nn.BatchNorm2d),
        )
        self.bn2: nn.Module = nn.Identity()  # the selective kernel has its own
        self.act2: nn.Module = nn.Identity()
