"""The two ways in which google's TensorFlow code names the layers of a SimCLR network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

OBJECT = "/.ATTRIBUTES/VARIABLE_VALUE"
SLOT = "/.OPTIMIZER_SLOT/optimizer/momentum/.ATTRIBUTES/VARIABLE_VALUE"


# TensorFlow's two ways of naming the layers of our network, in the order in which google's code creates them.


def in_order(network: Any) -> list[str]:
    blocks = [f"layer{stage}.{i}" for stage in (1, 2, 3, 4) for i in range(len(getattr(network, f"layer{stage}")))]
    inner = ("downsample.0", "downsample.1", "downsample.2", "conv1", "bn1", "conv2.conv", "conv2.bn", "conv2.squeeze",
             "conv2.squeeze_bn", "conv2.select", "conv2", "bn2", "conv3", "bn3")  # fmt: skip
    stem = ["conv1", "conv1.0", "conv1.1", "conv1.3", "conv1.4", "conv1.6", "bn1"]
    kinds = {name: module for name, module in network.named_modules() if hasattr(module, "weight")}
    return [name for name in (*stem, *(f"{block}.{each}" for block in blocks for each in inner)) if name in kinds]


def google_tensors(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    if state[f"{name}.weight"].ndim == 4:
        return {"kernel": state[f"{name}.weight"].permute(2, 3, 1, 0)}
    parts = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    return {part: state[f"{name}.{ours}"] for part, ours in parts.items()}


def numbered(network: Any) -> dict[str, Tensor]:
    counts = {"conv2d": 0, "batch_normalization": 0}
    tensors = {}
    state = network.state_dict()
    for name in in_order(network):
        values = google_tensors(state, name)
        kind = "conv2d" if "kernel" in values else "batch_normalization"
        suffix = f"_{counts[kind]}" if counts[kind] else ""
        counts[kind] += 1
        tensors |= {f"base_model/{kind}{suffix}/{part}": value for part, value in values.items()}
    return tensors


def as_objects(network: Any) -> dict[str, Tensor]:
    """By the way through the objects of tf2/resnet.py: lists with a DropBlock after each layer of a bottleneck."""
    state = network.state_dict()
    basic, selective = "layer1.0.conv3.weight" not in state, "layer1.0.conv2.select.weight" in state
    main = "conv2d_bn_layers" if basic else "conv_relu_dropblock_layers"
    shortcut = "shortcut_layers" if basic else "projection_layers"
    norm_after_3 = "4/bn"
    ways = {
        "conv1": f"{main}/0/conv2d", "bn1": f"{main}/1/bn", "conv2": f"{main}/{2 if basic else 3}/conv2d",
        "bn2": f"{main}/{'3/bn' if basic else norm_after_3}", "conv2.conv": f"{main}/3/conv2d_fixed_padding/conv2d",
        "conv2.bn": f"{main}/3/batch_norm_relu/bn", "conv2.squeeze": f"{main}/3/conv2d_0",
        "conv2.squeeze_bn": f"{main}/3/batch_norm_relu_1/bn", "conv2.select": f"{main}/3/conv2d_1",
    }  # fmt: skip
    tensors: dict[str, Tensor] = {}
    last = 5 if selective else 6
    for name in in_order(network):
        match = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", name)
        if match is None:
            item = {"bn1": 6 if selective else 2, "conv1": 0}.get(name, int(name[-1]) - int(name[-1]) // 3)
            way = f"initial_conv_relu_max_pool/{item}/{'bn' if name in ('bn1', 'conv1.1', 'conv1.4') else 'conv2d'}"
        else:
            stage, block, layer = int(match[1]) - 1, int(match[2]), match[3]
            if layer.startswith("downsample"):
                pads = int(selective) + int(selective and stage > 0)  # an average, and what pads for it
                conv = layer == "downsample.0" or (selective and layer == "downsample.1")
                inside = f"{shortcut}/{pads + (not conv)}/{'conv2d' if conv else 'bn'}"
            elif layer in ("conv3", "bn3"):
                inside = f"{main}/{last if layer == 'conv3' else last + 1}/{'conv2d' if layer == 'conv3' else 'bn'}"
            else:
                inside = ways[layer]
            way = f"block_groups/{stage}/layers/{block}/{inside}"
        tensors |= {
            f"model/resnet_model/{way}/{part}{OBJECT}": value for part, value in google_tensors(state, name).items()
        }
    return tensors
