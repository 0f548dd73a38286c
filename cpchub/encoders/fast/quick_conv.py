"""Weight gradients of convolutions on a CPU, as one matrix product where that is faster than torch's own kernel.

oneDNN, which torch calls on a CPU, is at a processor's limit in the forward pass and in the gradient of the input, but
not in the gradient of the weights: it reaches two thirds of it on large maps, a third on maps of 2 x 2 and a tenth on
single places, which is where small images end in a ResNet. In bfloat16, on CPUs that compute with it, the two are
further apart. Values and gradients are those of `nn.Conv2d` up to rounding; on a GPU, in other precisions and without
gradients it is `nn.Conv2d`. `benchmarks/weight_gradient.py` has the numbers.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL_MAP = {torch.float32: 9, torch.bfloat16: 16}  # places of the output, up to which it is faster
GATHERED = 2**24  # numbers of receptive fields at once, 64 MB; smaller parts cost more waiting than they save


def use_fast_weight_gradients(network: nn.Module) -> None:
    """Let the convolutions of `network` take the faster way; names and values of its weights stay as they are.

    Left alone: subclasses of `nn.Conv2d`, groups, dilation, and padding with anything but zeros.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_plain(module):
            module.__class__ = QuickConv2d


class QuickConv2d(nn.Conv2d):
    """`nn.Conv2d` whose weight gradient is a matrix product where that pays."""

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, K, h, w]`."""
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if not (learns and x.device.type == "cpu" and x.ndim == 4 and dtype in (torch.float32, torch.bfloat16)):
            return super().forward(x)
        bias = None if self.bias is None else self.bias.to(dtype)
        y: Tensor = _Convolution.apply(x.to(dtype), self.weight.to(dtype), bias, self.stride, self.padding)
        return y


def weight_gradient(x: Tensor, gradient: Tensor, kernel: Any, stride: Any, padding: Any) -> Tensor:
    """Gradient of a convolution's weights `[K, C, kh, kw]` from its input `[N, C, H, W]` and that of its output.

    gradient: `[N, K, h, w]`. The sum over all places of (gradient there) x (receptive field there), in float32.
    """
    n, outputs, height, width = gradient.shape
    (kernel_h, kernel_w), (pad_h, pad_w) = kernel, padding
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, pad_w, pad_w, pad_h, pad_h)).contiguous()
    image, row, column, channel = padded.stride()
    fields = padded.as_strided(
        (n, height, width, kernel_h, kernel_w, x.shape[1]),
        (image, row * stride[0], column * stride[1], row, column, channel),
    )
    by_place = gradient.permute(0, 2, 3, 1)
    total = torch.zeros(outputs, kernel_h * kernel_w * x.shape[1])
    images = max(1, GATHERED // (height * width * total.shape[1]))
    for some, field in zip(by_place.split(images), fields.split(images), strict=True):
        total += some.reshape(-1, outputs).t() @ field.reshape(-1, total.shape[1])
    return total.to(x.dtype).view(outputs, kernel_h, kernel_w, -1).permute(0, 3, 1, 2)


def pays(places: int, dtype: torch.dtype = torch.float32) -> bool:
    """Whether the matrix product is the faster way, for so many places in the output.

    On larger maps it gains or loses a little, by their channels, on a quiet processor, and loses on a busy one.
    """
    return places <= SMALL_MAP[dtype]


def _is_plain(module: nn.Conv2d) -> bool:
    padding = isinstance(module.padding, tuple) and module.padding_mode == "zeros"
    return padding and module.groups == 1 and tuple(module.dilation) == (1, 1)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.has_bias = stride, padding, bias is not None
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        ours = pays(gradient.shape[2] * gradient.shape[3], x.dtype)
        for_x, for_weight = ctx.needs_input_grad[:2]
        dx, dw, db = torch.ops.aten.convolution_backward(
            gradient,
            x,
            weight,
            [len(gradient[0])] if ctx.has_bias else None,
            ctx.stride,
            ctx.padding,
            (1, 1),
            False,
            (0, 0),
            1,
            (for_x, for_weight and not ours, ctx.has_bias and not ours),
        )
        if ours and for_weight:
            dw = weight_gradient(x, gradient, weight.shape[2:], ctx.stride, ctx.padding)
        if ours and ctx.has_bias:
            db = gradient.sum((0, 2, 3))
        return dx, dw, db, None, None
