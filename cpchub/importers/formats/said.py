"""What a file says of itself beside its tensors: network, images, training. It is used, or contradicted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from cpchub.importers.format import Checkpoint, Facts
from cpchub.importers.networks.resnet import STEM, Recognised

_GROUPS = ("opt", "args", "hyper_parameters", "hparams", "cfg")  # where training code keeps its settings
_NETWORK = ("arch", "architecture", "model", "base_encoder", "backbone", "encoder")
_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*")
_NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:e-?\d+)?|-?\.\d+", re.IGNORECASE)
_LARGEST_LEVEL = 255.0
_INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
_LONGEST = 100  # characters of a name


def settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """The settings of the training that the file holds, from whichever group; one that is nested there comes up too."""
    found: dict[str, Any] = {}
    for group in _groups(checkpoint.meta):
        found.update({name: value for name, value in group.items() if value is not None})
    return found


def _groups(meta: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in _GROUPS:
        group = meta.get(name)
        if isinstance(group, dict):
            yield group
            if isinstance(group.get("hparams"), dict):
                yield group["hparams"]


def network(checkpoint: Checkpoint) -> str | None:
    """What the file calls its network, for example by the `arch` of PyTorch's own training script."""
    for source in (checkpoint.meta, settings(checkpoint)):
        for field in _NETWORK:
            value = source.get(field)
            value = value.get("name") if isinstance(value, dict) else value
            if isinstance(value, str) and len(value) <= _LONGEST and _NAME.fullmatch(value):
                # A function of torchvision's is saved as the way to it.
                return value.rpartition(".")[2] if value.startswith("torchvision.") else value.partition(".")[0]
    return None


def agrees(name: str, found: Recognised) -> bool:
    """Whether a name in somebody's code is that of the network that the tensors are of."""
    ours, theirs = _plain(found.architecture), _plain(name)
    if ours == theirs:
        return True
    if match := re.fullmatch(r"(resnet\d+)(?:_|w|x)(\d)x?", theirs):  # as wide as that many
        channels = found.model_args.get("channels", [STEM])[0]
        width = found.model_args.get("width", channels / STEM)
        return ours == f"{match[1]}_{match[2]}x" or (match[1] == ours.partition("_")[0] and float(match[2]) == width)
    return theirs.startswith("vit_") and ours.startswith(f"{theirs}_")


def _plain(name: str) -> str:
    """Without what says whose code builds it, and which stem it has."""
    return re.sub(r"^(?:tv|bolts|simclr)_|_(?:cifar|1x)$", "", name.lower().replace("-", "_"))


def mean_and_std(source: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """`mean` and `std` of images in [0, 1], given as numbers or in a text (`"(0.5, 0.5, 0.5)"`, or up to 255)."""
    mean, std = (_numbers(source.get(name)) for name in ("mean", "std"))
    if mean is None or std is None or len(mean) != len(std) or len(mean) not in (1, 3) or min(std) <= 0:
        return None
    if len(mean) == 1:
        mean, std = mean * 3, std * 3
    if max(*mean, *std) > 1:  # of levels
        mean, std = (tuple(value / _LARGEST_LEVEL for value in values) for values in (mean, std))
    return mean, std


def images(facts: Facts, options: Mapping[str, Any]) -> Facts:
    """The facts with what a training script like timm's says of its images: size, mean, std, crop, interpolation."""
    if (stated := mean_and_std(options)) is not None:
        facts = replace(facts, mean=stated[0], std=stated[1])
    size = options.get("input_size") or options.get("img_size")
    side = size[-1] if isinstance(size, (list, tuple)) and len(size) == 3 else size
    if type(side) is int and side > 0:
        facts = replace(facts, input_size=(facts.input_size[0], side, side))
    crop: Any = options.get("crop_pct")
    if type(crop) in (int, float) and 0 < crop <= 1:
        facts = replace(facts, crop_pct=float(crop))
    if options.get("interpolation") in _INTERPOLATIONS:
        facts = replace(facts, interpolation=options["interpolation"])
    return facts


def _numbers(value: Any) -> tuple[float, ...] | None:
    if isinstance(value, str):
        value = [float(number) for number in _NUMBER.findall(value)]
    if isinstance(value, (list, tuple)) and value and all(type(each) in (int, float) for each in value):
        return tuple(float(each) for each in value)
    return None


def noted(facts: Facts, *notes: str) -> Facts:
    """The facts with notes, each a sentence that the user is told and the card has."""
    return replace(facts, notes=(*facts.notes, *notes))
