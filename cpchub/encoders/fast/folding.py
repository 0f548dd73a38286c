"""Batch norms folded into the convolutions before them: the same function in fewer passes over the memory.

y = gamma (w * x + b - mean) / sqrt(var + eps) + beta    is    w' * x + b'
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from cpchub.encoders.fast.quick_conv import QuickConv2d


def folded(model: nn.Module, sample: Tensor) -> nn.Module:
    """A copy of `model` in eval mode whose batch norms are folded away where they directly follow a convolution.

    Which follow which is seen by running `sample`, so it needs no tracing. Where the copy does not give what the model
    gives (a convolution whose output goes elsewhere too), an unchanged copy is returned.
    """
    expected = _run(model, sample)
    candidate = copy.deepcopy(model).eval()
    for convolution, name, norm in _pairs(candidate, sample):
        _fold(convolution, norm)
        rest: nn.Module = nn.Identity()
        if isinstance(norm, BatchNormAct2d):
            rest = cast(nn.Module, norm.act)
        candidate.set_submodule(name, rest)
    if torch.allclose(_run(candidate, sample), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())):
        return candidate
    return copy.deepcopy(model).eval()


def _pairs(model: nn.Module, sample: Tensor) -> list[tuple[nn.Conv2d, str, Any]]:
    """Convolution, name of its batch norm, and the norm; each met once and the one fed by the other."""
    outputs: list[tuple[Tensor, nn.Conv2d]] = []
    met: list[nn.Module] = []
    pairs: list[tuple[nn.Conv2d, str, Any]] = []
    names = {module: name for name, module in model.named_modules()}

    def after_convolution(module: nn.Module, args: Any, output: Any) -> None:
        met.append(module)
        outputs.append((output, cast(nn.Conv2d, module)))

    def before_norm(module: nn.Module, args: Any) -> None:
        met.append(module)
        fed_by = [convolution for output, convolution in outputs if output is args[0]]
        if fed_by:
            pairs.append((fed_by[0], names[module], module))

    handles = []
    for module in names:
        if type(module) in (nn.Conv2d, QuickConv2d):
            handles.append(module.register_forward_hook(after_convolution))
        elif type(module) in (nn.BatchNorm2d, BatchNormAct2d):
            handles.append(module.register_forward_pre_hook(before_norm))
    try:
        _run(model, sample)
    finally:
        for handle in handles:
            handle.remove()
    return [
        pair
        for pair in pairs
        if met.count(pair[0]) == 1 and met.count(pair[2]) == 1 and pair[2].running_var is not None
    ]


def _fold(convolution: nn.Conv2d, norm: Any) -> None:
    with torch.no_grad():
        deviation = torch.sqrt(norm.running_var.double() + norm.eps)
        scale = (norm.weight.double() if norm.weight is not None else torch.ones_like(deviation)) / deviation
        shift = (
            -norm.running_mean.double() if convolution.bias is None else convolution.bias.double() - norm.running_mean
        )
        bias = shift * scale + (norm.bias.double() if norm.bias is not None else 0.0)
        weight = convolution.weight
        weight.copy_((weight.double() * scale[:, None, None, None]).to(weight.dtype))
        convolution.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=False)


def _run(model: nn.Module, sample: Tensor) -> Tensor:
    with torch.no_grad():
        return cast(Tensor, model(sample))
