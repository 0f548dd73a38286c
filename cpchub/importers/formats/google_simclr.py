"""Checkpoints of google-research/simclr: of its TensorFlow 1 code (v1 and v2, as published), and of its tf2 folder.

The first name layers by number (`base_model/conv2d_7/kernel`), the second by the way through the objects
(`model/resnet_model/block_groups/0/layers/0/projection_layers/0/conv2d/kernel/.ATTRIBUTES/VARIABLE_VALUE`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from cpchub.errors import ImportFormatError
from cpchub.importers.format import Checkpoint, Claims, Conversion
from cpchub.importers.ledger import CLASSIFIER, NO_PART, OPTIMISER, PROJECTION
from cpchub.importers.networks import simclr_layers
from cpchub.importers.networks.simclr_layers import Layers, Place

PARTS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_PART = "/(?P<part>kernel|gamma|beta|moving_mean|moving_variance)"
NUMBERED = re.compile(rf"base_model/(?:conv2d|batch_normalization)(?:_(?P<number>\d+))?{_PART}")
OBJECTS = re.compile(
    r"(?:\w+/)*resnet_model/"
    r"(?:initial_conv_relu_max_pool|block_groups/(?P<group>\d+)/layers/(?P<block>\d+)/(?P<list>\w+))"
    rf"/(?P<item>\d+)/(?P<layer>\w+(?:/\w+)*){_PART}/\.ATTRIBUTES/VARIABLE_VALUE"
)
SHORTCUTS = ("projection_layers", "shortcut_layers")
STEP = re.compile(r"global_step(?:/\.ATTRIBUTES/VARIABLE_VALUE)?")
PROJECTION_OF_3 = re.compile(r"head_contrastive/nl_2/|_projection_head/linear_layers/2/")
DROPPED = {  # the reason is the first whose pattern is in the name
    r"/\.OPTIMIZER_SLOT/|(?:^|/)optimizer/|/(?:Momentum|Adam|Adam_1)$|^beta[12]_power$": OPTIMISER,
    r"^ema_model/": "a moving average of the weights, kept beside them",
    r"head_contrastive/|_projection_head/": PROJECTION,
    r"head_supervised/|supervised_head/": CLASSIFIER,
    r"^global_step|^save_counter": "a counter of steps",
    r"^_CHECKPOINTABLE_OBJECT_GRAPH$": "a description of objects, not a tensor of numbers",
}
ENCODER = re.compile(r"^base_model/|(?:^|/)resnet_model/")


class GoogleSimclr:
    """SimCLR v1 and v2 as TensorFlow saves them; the encoder is taken from the weights, not from their average."""

    name = "google-simclr"
    title = "google-research/simclr (TensorFlow)"

    def detect(self, checkpoint: Checkpoint) -> float:
        if checkpoint.container != "tensorflow":
            return 0.0
        return float(any(_place(name) is not None for name in checkpoint.tensors))

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        where, tensors = checkpoint.path.name, checkpoint.tensors
        layers = _layers(tensors)
        used = layers.names()
        dropped = {name: _reason(name, where) for name in tensors if name not in used}
        # Version 1 came without its projection head; that of version 2 has three layers.
        method = "simclr-v2" if any(PROJECTION_OF_3.search(name) for name in tensors) else "simclr"
        return simclr_layers.plan(
            layers, claims, where=where, method=method, dropped=dropped, settings=_settings(tensors)
        )


def _settings(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """How many steps it was trained for, where the file has that."""
    steps = [tensors[name] for name in tensors if STEP.fullmatch(name)]
    if len(steps) != 1 or steps[0].numel() != 1 or steps[0].is_floating_point():
        return {}
    return {"global_step": int(steps[0])}


def _layers(tensors: Mapping[str, Tensor]) -> Layers:
    kernels: dict[Place, str] = {}
    norms: dict[Place, dict[str, tuple[str, Tensor]]] = {}
    for name in tensors:
        found = _place(name)
        if found is None:
            continue
        place, part = found
        if part == "kernel":
            kernels[place] = name
        else:
            norms.setdefault(place, {})[PARTS[part]] = name, tensors[name]
    return Layers(
        kernels={kernels[place]: _kernel(tensors[kernels[place]]) for place in sorted(kernels)},
        norms=[norms[place] for place in sorted(norms)],
    )


def _kernel(kernel: Tensor) -> Tensor:
    """From `[height, width, in, out]` to `[out, in, height, width]`; another shape is refused later, by its name."""
    return kernel.permute(3, 2, 0, 1).contiguous() if kernel.ndim == 4 else kernel


def _place(name: str) -> tuple[Place, str] | None:
    """When a layer of the encoder was created, among those of its kind, and which tensor of it this is."""
    if match := NUMBERED.fullmatch(name):
        return (int(match["number"] or 0),), match["part"]
    if match := OBJECTS.fullmatch(name):
        # In a selective kernel the first convolution is wrapped, the others are conv2d_0 and conv2d_1.
        layer = match["layer"].removeprefix("conv2d_fixed_padding/")
        if match["group"] is None:
            return (-1, 0, 0, int(match["item"]), layer), match["part"]
        after_shortcut = int(match["list"] not in SHORTCUTS)
        return (int(match["group"]), int(match["block"]), after_shortcut, int(match["item"]), layer), match["part"]
    return None


def _reason(name: str, where: str) -> str:
    """Why a tensor is left out; raises ImportFormatError for one without which the encoder is another network."""
    for pattern, reason in DROPPED.items():
        if re.search(pattern, name):
            return reason
    if ENCODER.search(name):
        raise ImportFormatError(
            f"{where} has {name}, of a layer that SimCLR's networks here do not have (squeeze-and-excitation is one)"
        )
    return NO_PART
