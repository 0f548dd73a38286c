"""SimCLR's network behind a list of layers.

TensorFlow numbers layers as they are created, and the conversions to PyTorch keep that order. So whatever the names, a
checkpoint is a list of kernels and a list of norms: their shapes tell the network, their positions the layers.
(google-research/simclr, resnet.py: in the first block of a stage the shortcut is created before everything else.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

import cpchub.architectures  # noqa: F401  registers the networks
from cpchub.architectures.simclr_resnet import DEPTHS
from cpchub.errors import ArgumentError, ImportFormatError
from cpchub.importers.format import Claims, Conversion, Facts

IMAGENET_SIDE, CIFAR_SIDE = 224, 32
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
Shape = tuple[int, ...]
Place = tuple[int | str, ...]  # sorts layers of a kind in the order of their creation


@dataclass(frozen=True)
class Layers:
    """A network's tensors by their names in the file, both in the order of creation.

    kernels: of the convolutions, `[out, in, height, width]`.
    norms: for each batch norm its NORM_PARTS, and PyTorch's `num_batches_tracked` where there is one.
    """

    kernels: Mapping[str, Tensor]
    norms: Sequence[Mapping[str, tuple[str, Tensor]]]

    def names(self) -> set[str]:
        return {*self.kernels, *(name for norm in self.norms for name, _ in norm.values())}


def of_state_dict(tensors: Mapping[str, Tensor], prefix: str, place: Callable[[str], Place | None]) -> Layers:
    """The layers of a PyTorch conversion; `place` is of a module's name, and None for one that is not the encoder's."""
    kernels: dict[Place, str] = {}
    norms: dict[Place, dict[str, tuple[str, Tensor]]] = {}
    for name in tensors:
        module, _, part = name.removeprefix(prefix).rpartition(".")
        where = place(module) if name.startswith(prefix) else None
        if where is None:
            continue
        if part == "weight" and tensors[name].ndim == 4:
            kernels[where] = name
        elif part in NORM_PARTS or part == "num_batches_tracked":
            norms.setdefault(where, {})[part] = name, tensors[name]
    return Layers(
        kernels={kernels[where]: tensors[kernels[where]] for where in sorted(kernels)},
        norms=[norms[where] for where in sorted(norms)],
    )


@dataclass(frozen=True)
class Network:
    """A network as `timm.create_model` takes it; `small` where its stem is for small images."""

    architecture: str
    model_args: Mapping[str, Any]
    small: bool


def plan(
    layers: Layers,
    claims: Claims,
    *,
    where: str,
    method: str,
    dropped: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
) -> Conversion:
    """The conversion of a network of SimCLR's; `where` names the file in errors.

    Raises ImportFormatError where the layers are no such network's, or its stem is not padded as claimed.
    """
    network = _network({name: tuple(kernel.shape) for name, kernel in layers.kernels.items()}, where)
    if claims.stem_padding is not None and not (network.small and claims.stem_padding == 1):
        stem = "its 3x3 stem pads 1 pixel" if network.small else "its stem is that for large images"
        raise ImportFormatError(f"{where} is of SimCLR, {stem}; a padding of {claims.stem_padding} does not fit")
    weights, used = _weights(layers, network, where)
    side = CIFAR_SIDE if network.small else IMAGENET_SIDE
    facts = Facts(
        method=method,
        input_size=(3, side, side),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        interpolation="bicubic",
        crop_pct=1.0 if network.small else 0.875,
    )
    return Conversion(network.architecture, network.model_args, weights, used, dropped, facts, settings or {})


def _network(shapes: Mapping[str, Shape], where: str) -> Network:
    """The network with these kernels. The stem tells the width, the first shortcut the kind of block."""
    for name, shape in shapes.items():
        if len(shape) != 4 or 0 in shape:
            raise ImportFormatError(f"{where}: {name} is {shape}, which is no kernel of a convolution")
    kernels = list(shapes.values())
    stem = 3 if len(kernels) > 2 and all(_is_3x3(shape) for shape in kernels[:3]) else 1  # selective kernels have 3
    if len(kernels) <= stem:
        raise ImportFormatError(f"{where} has {len(kernels)} convolutions, too few for a network of SimCLR's")
    channels = kernels[stem - 1][0]
    basic = kernels[stem][0] == channels
    small = stem == 1 and _is_3x3(kernels[0])
    blocks = []
    for stage in range(4):
        inner = channels * 2**stage
        inside = [shape for shape in kernels[stem:] if _is_3x3(shape) and shape[0 if basic else 1] == inner]
        blocks.append(-(-len(inside) // 2) if basic else len(inside))
    if 0 in blocks:
        raise ImportFormatError(f"{where} has {blocks} blocks in the four stages of a network of SimCLR's")
    width = channels // 64 if channels % 64 == 0 else channels / 64
    selective = stem == 3
    for depth, depth_blocks in DEPTHS.items():
        name = f"simclr_resnet{depth}_cifar" if small else f"simclr_resnet{depth}_{width}x{'_sk' if selective else ''}"
        if tuple(blocks) == depth_blocks and basic == (depth < 50) and timm.is_model(name):
            return Network(name, {"width": width} if small and width != 1 else {}, small)
    name = f"simclr_resnet{18 if basic else 50}_{'cifar' if small else '1x'}{'_sk' if selective else ''}"
    return Network(name, {"layers": blocks, "width": width}, small)


def _is_3x3(shape: Shape) -> bool:
    return tuple(shape[2:]) == (3, 3)


def _weights(layers: Layers, network: Network, where: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The network's weights, and under which name there each tensor of the file went in."""
    try:
        with torch.device("meta"):
            empty: nn.Module = timm.create_model(network.architecture, num_classes=0, **network.model_args)
    except (ArgumentError, RuntimeError) as error:
        raise ImportFormatError(f"{where} is of no network that SimCLR's code builds: {error}") from error
    convs, norms = _in_order_of_creation(empty)
    counts = {"convolutions": (len(layers.kernels), len(convs)), "norms": (len(layers.norms), len(norms))}
    for what, (there, here) in counts.items():
        if there != here:
            raise ImportFormatError(
                f"{where} has {there} {what}; {network.architecture}, which it is most like, has {here}"
            )
    found: dict[str, tuple[str, Tensor]] = {}
    for ours, (theirs, kernel) in zip(convs, layers.kernels.items(), strict=True):
        found[f"{ours}.weight"] = theirs, kernel
    for ours, norm in zip(norms, layers.norms, strict=True):
        for part, (theirs, value) in norm.items():
            found[f"{ours}.{part}"] = theirs, value
    weights = {}
    for ours, like in empty.state_dict().items():
        if ours in found:
            weights[ours] = _fitting(found[ours], ours, like, network, where)
        elif ours.endswith("num_batches_tracked"):
            weights[ours] = torch.zeros((), dtype=like.dtype)
        else:
            raise ImportFormatError(f"{where} has nothing for {ours} of {network.architecture}")
    return weights, {theirs: ours for ours, (theirs, _) in found.items()}


def _fitting(found: tuple[str, Tensor], ours: str, like: Tensor, network: Network, where: str) -> Tensor:
    theirs, value = found
    if value.shape != like.shape:
        raise ImportFormatError(
            f"{where}: {theirs} is {tuple(value.shape)}, but {ours} of {network.architecture}, which the file is most "
            f"like, is {tuple(like.shape)}"
        )
    return value


def _in_order_of_creation(network: nn.Module) -> tuple[list[str], list[str]]:
    """The names of the convolutions and of the norms: in each block, those of the shortcut come first."""
    blocks: dict[str, int] = {}

    def position(name: str) -> tuple[int, bool]:
        parts = name.split(".")
        block = ".".join(parts[:2]) if parts[0].startswith("layer") else ""
        return blocks.setdefault(block, len(blocks)), "downsample" not in parts

    kinds = {name: type(module) for name, module in network.named_modules()}
    convs = [name for name, kind in kinds.items() if issubclass(kind, nn.Conv2d)]
    norms = [name for name, kind in kinds.items() if issubclass(kind, nn.BatchNorm2d)]
    return sorted(convs, key=position), sorted(norms, key=position)
