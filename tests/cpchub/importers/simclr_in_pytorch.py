"""SimCLR's ResNet with TensorFlow's pooling in plain functions, and two conversions' names for its tensors."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCKS, STEM = (2, 1, 1, 1), 8

State = dict[str, Tensor]


def resnet_state(selective: bool = False) -> State:
    """Random weights under torchvision's names, and timm's for selective kernels.

    In the order of the converter's network: in each first block the shortcut, then the rest.
    """
    torch.manual_seed(0)
    state: State = {}
    if selective:
        for position, (out_chs, in_chs) in enumerate([(STEM // 2, 3), (STEM // 2, STEM // 2), (STEM, STEM // 2)]):
            conv(state, f"conv1.{2 * position}", out_chs, in_chs, 3)
            norm(state, f"conv1.{2 * position + 1}", out_chs)
    else:
        conv(state, "conv1", STEM, 3, 7)
        norm(state, "bn1", STEM)
    in_chs = STEM
    for stage, count in enumerate(BLOCKS):
        inner = STEM * 2**stage
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            if block == 0:
                conv(state, f"{name}.downsample.0", 4 * inner, in_chs)
                norm(state, f"{name}.downsample.1", 4 * inner)
            conv(state, f"{name}.conv1", inner, in_chs)
            norm(state, f"{name}.bn1", inner)
            if selective:
                conv(state, f"{name}.conv2.conv", 2 * inner, inner, 3)
                norm(state, f"{name}.conv2.bn", 2 * inner)
                conv(state, f"{name}.conv2.squeeze", 32, inner)
                norm(state, f"{name}.conv2.squeeze_bn", 32)
                conv(state, f"{name}.conv2.select", 2 * inner, 32)
            else:
                conv(state, f"{name}.conv2", inner, inner, 3)
                norm(state, f"{name}.bn2", inner)
            conv(state, f"{name}.conv3", 4 * inner, inner)
            norm(state, f"{name}.bn3", 4 * inner)
            in_chs = 4 * inner
    return state


def conv(state: State, name: str, out_chs: int, in_chs: int, kernel: int = 1) -> None:
    state[f"{name}.weight"] = torch.randn(out_chs, in_chs, kernel, kernel) * (2 / in_chs / kernel**2) ** 0.5


def norm(state: State, name: str, channels: int) -> None:
    state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(channels) + 0.5, torch.randn(channels) * 0.1
    state[f"{name}.running_mean"], state[f"{name}.running_var"] = (
        torch.randn(channels) * 0.1,
        torch.rand(channels) + 0.5,
    )
    state[f"{name}.num_batches_tracked"] = torch.tensor(5)


def forward(state: State, x: Tensor) -> Tensor:
    """The features [B,D] of the network with these weights."""
    selective = "conv1.0.weight" in state
    stem = [(f"conv1.{i}", f"conv1.{i + 1}") for i in (0, 2, 4)] if selective else [("conv1", "bn1")]
    for position, (conv_name, norm_name) in enumerate(stem):
        x = apply_norm(state, norm_name, apply_conv(state, conv_name, x, 2 if position == 0 else 1)).relu()
    x = same_max_pool(x)
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage > 0 and block == 0 else 1
            shortcut = apply_shortcut(state, f"{name}.downsample", x, stride, selective) if block == 0 else x
            x = apply_norm(state, f"{name}.bn1", apply_conv(state, f"{name}.conv1", x)).relu()
            if selective:
                x = apply_selection(state, f"{name}.conv2", x, stride)
            else:
                x = apply_norm(state, f"{name}.bn2", apply_conv(state, f"{name}.conv2", x, stride)).relu()
            x = (apply_norm(state, f"{name}.bn3", apply_conv(state, f"{name}.conv3", x)) + shortcut).relu()
    return x.mean((2, 3))


def apply_conv(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, stride=stride, padding=(weight.shape[-1] - 1) // 2)


def apply_norm(state: State, name: str, x: Tensor) -> Tensor:
    parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *parts, training=False, eps=1e-5)


def same_max_pool(x: Tensor) -> Tensor:
    odd_rows, odd_columns = (side % 2 for side in x.shape[-2:])  # an even side is padded behind it only
    return F.max_pool2d(F.pad(x, (odd_columns, 1, odd_rows, 1), value=float("-inf")), 3, 2)


def apply_shortcut(state: State, name: str, x: Tensor, stride: int, selective: bool) -> Tensor:
    if selective:
        padded = F.pad(x, (0, 1, 0, 1), mode="constant" if stride == 2 else "replicate")
        x = apply_conv(state, f"{name}.0", F.avg_pool2d(padded, 2, stride))
    else:
        x = apply_conv(state, f"{name}.0", x, stride)
    return apply_norm(state, f"{name}.1", x)


def apply_selection(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    streams = apply_norm(state, f"{name}.bn", apply_conv(state, f"{name}.conv", x, stride)).relu()
    first, second = streams.chunk(2, dim=1)
    pooled = (first + second).mean((2, 3), keepdim=True)
    hidden = apply_norm(state, f"{name}.squeeze_bn", apply_conv(state, f"{name}.squeeze", pooled)).relu()
    weights = torch.stack(apply_conv(state, f"{name}.select", hidden).chunk(2, dim=1)).softmax(0)
    return first * weights[0] + second * weights[1]


def as_tonylins(state: State) -> State:
    head = {"fc.weight": torch.randn(10, 32 * STEM), "fc.bias": torch.randn(10)}
    return {f"state_dict/{name}": value for name, value in (state | head).items()}


def as_separius(state: State) -> State:
    selective = "conv1.0.weight" in state
    last = 3 if selective else 4
    layers = {
        "downsample.0": "projection.shortcut.2" if selective else "projection.shortcut",
        "downsample.1": "projection.bn.0",
        "conv1": "net.0",
        "bn1": "net.1.0",
        "conv2": "net.2",
        "bn2": "net.3.0",
        "conv2.conv": "net.2.main_conv.0",
        "conv2.bn": "net.2.main_conv.1.0",
        "conv2.squeeze": "net.2.mixing_conv.0",
        "conv2.squeeze_bn": "net.2.mixing_conv.1.0",
        "conv2.select": "net.2.mixing_conv.2",
        "conv3": f"net.{last}",
        "bn3": f"net.{last + 1}.0",
    }
    stem = {"conv1": "0", "bn1": "1.0"} | {f"conv1.{i}": f"{i}.0" if i % 2 else f"{i}" for i in range(6)}
    named: State = {}
    for name, value in state.items():
        layer, _, part = name.rpartition(".")
        if match := re.fullmatch(r"layer(\d)\.(\d)\.(.+)", layer):
            theirs = f"net.{match[1]}.blocks.{match[2]}.{layers[match[3]]}"
        else:
            theirs = f"net.0.{stem[layer]}"
        named[f"resnet/{theirs}.{part}"] = value
    classifier = {"resnet/fc.weight": torch.zeros(10, 8), "resnet/fc.bias": torch.zeros(10)}
    head = {"head/layers.0.weight": torch.zeros(8, 8), "head/layers.1.bias": torch.zeros(8)}
    return named | classifier | head
