"""Which ResNet is it? Read off the names and shapes of its tensors, in torchvision's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import timm

import cpchub.architectures  # noqa: F401  registers the wide ones
from cpchub.errors import ImportFormatError

Shapes = Mapping[str, tuple[int, ...]]

LAYERS: dict[tuple[str, tuple[int, ...]], int] = {
    ("basic", (2, 2, 2, 2)): 18,
    ("basic", (3, 4, 6, 3)): 34,
    ("bottleneck", (3, 4, 6, 3)): 50,
    ("bottleneck", (3, 4, 23, 3)): 101,
    ("bottleneck", (3, 8, 36, 3)): 152,
}
SMALL_STEMS: dict[tuple[str, tuple[int, ...]], int] = {
    ("basic", (2, 2, 2, 2)): 18,
    ("basic", (3, 4, 6, 3)): 34,
    ("bottleneck", (3, 4, 6, 3)): 50,
}
_WIDER = {  # (depth, cardinality, base_width): name
    (50, 32, 4): "resnext50_32x4d",
    (101, 32, 8): "resnext101_32x8d",
    (101, 64, 4): "resnext101_64x4d",
    (50, 1, 128): "wide_resnet50_2",
    (101, 1, 128): "wide_resnet101_2",
}
PLAIN_CHANNELS = (64, 128, 256, 512)
STEM = 64


@dataclass(frozen=True)
class Recognised:
    """A network as `timm.create_model` takes it.

    stem: the size of the first convolution's kernel; 0 for a network that was named and not recognised.
    side: of its images, where the network tells.
    """

    architecture: str
    model_args: dict[str, Any] = field(default_factory=dict)
    stem: int = 7
    in_chans: int = 3
    side: int | None = None


def shortcut_to_downsample(name: str) -> str:
    """A key of a CIFAR ResNet (kuangliu's, SupContrast's, lightly's) in torchvision's names."""
    return re.sub(r"^(layer\d+\.\d+)\.shortcut\.", r"\1.downsample.", name)


def recognise(shapes: Shapes, stem_padding: int | None = None) -> Recognised:
    """The ResNet whose tensors have these names and shapes; the names are torchvision's, without a head.

    stem_padding: of a 3x3 stem, which no tensor tells: 1, or 2 as in solo-learn. A 7x7 stem has 3.

    Raises ImportFormatError, naming the tensor, where it is no ResNet that can be published here.
    """
    stem = _stem(shapes)
    block = "bottleneck" if "layer1.0.conv3.weight" in shapes else "basic"
    layers = tuple(_blocks(shapes, f"layer{stage}.") for stage in (1, 2, 3, 4))
    channels = tuple(_channels(shapes, f"layer{stage}.0.", block) for stage in (1, 2, 3, 4))
    cardinality, base_width = _groups(shapes, block)
    known = (SMALL_STEMS if stem == 3 else LAYERS).get((block, layers))
    depth = known or {"basic": 18, "bottleneck": 50}[block]
    width = shapes["conv1.weight"][0] // STEM
    if width != 1:
        wide = tuple(width * each for each in PLAIN_CHANNELS)
        if (block, channels) != ("bottleneck", wide) or stem_padding not in (None, 3):
            raise ImportFormatError(
                f"conv1.weight is {shapes['conv1.weight']}: a stem of {width * STEM} channels before stages of "
                f"{channels}; timm's has {STEM}"
            )
        return _wide(width, depth, None if known else layers, shapes["conv1.weight"][1])
    args: dict[str, Any] = {}
    if known is None:
        args["layers"] = list(layers)
    if channels != PLAIN_CHANNELS:
        args["channels"] = list(channels)
    if stem == 3:
        if stem_padding is None:
            raise ImportFormatError(
                "the stem is a 3x3 convolution, and its padding, which changes every feature, is in no tensor; say "
                "--stem-padding 1, or 2 for a network of solo-learn"
            )
        architecture = f"resnet{depth}_cifar"
        if stem_padding != 1:
            args["stem_padding"] = stem_padding
    else:
        if stem_padding not in (None, 3):
            raise ImportFormatError(f"its padding cannot be {stem_padding}: the stem is a 7x7 convolution, padded by 3")
        architecture = f"resnet{depth}"
        if (wider := _WIDER.get((depth, cardinality, base_width))) and known:
            architecture, cardinality, base_width = wider, 1, STEM
    if cardinality != 1:
        args["cardinality"] = cardinality
    if base_width != STEM:
        args["base_width"] = base_width
    return Recognised(architecture, args, stem, shapes["conv1.weight"][1])


def _wide(width: int, depth: int, layers: tuple[int, ...] | None, in_chans: int) -> Recognised:
    """A ResNet that is wider from its stem on, as VISSL's; timm's are not, so it is SimCLR's with PyTorch's padding."""
    name = f"simclr_resnet{depth}_{width}x"
    if layers is None and timm.is_model(name):
        return Recognised(name, {"same_padding": False}, in_chans=in_chans)
    args = {"layers": list(layers)} if layers else {}
    return Recognised(f"simclr_resnet{depth}_1x", {**args, "width": width, "same_padding": False}, in_chans=in_chans)


def _stem(shapes: Shapes) -> int:
    if "conv1.weight" not in shapes:
        deep = [name for name in ("conv1.0.weight", "stem.0.weight", "net.0.0.weight") if name in shapes]
        vit = "patch_embed.proj.weight" in shapes or "conv_proj.weight" in shapes
        what = f"a stem of several convolutions ({deep[0]})" if deep else "a vision transformer" if vit else "no ResNet"
        raise ImportFormatError(f"it has no conv1.weight: it is {what}. Give timm's name of it with --architecture")
    shape = shapes["conv1.weight"]
    if len(shape) != 4 or shape[2] != shape[3] or shape[2] not in (3, 7):
        raise ImportFormatError(f"conv1.weight is {shape}; a ResNet's first kernel is 7x7 or 3x3")
    if shape[0] % STEM or (shape[0] != STEM and shape[2] == 3):
        raise ImportFormatError(f"conv1.weight is {shape}: a stem of {shape[0]} channels; timm's has {STEM}")
    if "bn1.weight" not in shapes:
        raise ImportFormatError("it has no bn1.weight, so its stem has another normalisation than a ResNet's")
    if "bn1.running_mean" not in shapes:
        raise ImportFormatError(
            "bn1 has no running_mean, so its norms are no batch norms; group norms have as many groups as no tensor "
            "tells. Give timm's name of the network with --architecture, for example resnet50_gn"
        )
    return int(shape[2])


def _blocks(shapes: Shapes, stage: str) -> int:
    indices = {int(match[1]) for name in shapes if (match := re.match(rf"{re.escape(stage)}(\d+)\.", name))}
    if not indices or indices != set(range(len(indices))):
        raise ImportFormatError(f"its {stage}* has the blocks {sorted(indices)}; a ResNet has four stages of blocks")
    return len(indices)


def _channels(shapes: Shapes, block: str, kind: str) -> int:
    last, expansion = ("conv3.weight", 4) if kind == "bottleneck" else ("conv2.weight", 1)
    shape = shapes.get(f"{block}{last}", ())
    if len(shape) != 4 or shape[0] % expansion:
        raise ImportFormatError(f"{block}{last} is {shape or 'missing'}; that is no {kind} block of a ResNet")
    return shape[0] // expansion


def _groups(shapes: Shapes, kind: str) -> tuple[int, int]:
    """Cardinality and base width: of ResNeXt and of wide ResNets; 1 and 64 elsewhere."""
    middle = shapes.get("layer1.0.conv2.weight", ())
    if kind == "basic":
        return 1, STEM
    if len(middle) != 4 or middle[0] % max(1, middle[1]):
        raise ImportFormatError(f"layer1.0.conv2.weight is {middle or 'missing'}; that is no bottleneck of a ResNet")
    cardinality = middle[0] // middle[1]
    planes = _channels(shapes, "layer1.0.", kind)
    return cardinality, middle[0] * STEM // (planes * cardinality)
