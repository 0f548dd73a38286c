"""A network that the user or the file calls by timm's name: are these its tensors?"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

import timm
import torch

import cpchub.architectures  # noqa: F401  registers ours
from cpchub.encoders.network import Network, create_timm_model
from cpchub.errors import ArgumentError
from cpchub.importers.networks.resnet import Recognised, Shapes

_COUNTER = ".num_batches_tracked"


def plain_name(name: str) -> str:
    """timm's name of a network, without the tag that names its weights."""
    return name.partition(".")[0]


def heads(name: str | None) -> tuple[str, ...]:
    """The names of its classifier in timm, each with a "." behind; none for a network that timm has not."""
    if name is None or not timm.is_model(plain_name(name)):
        return ()
    cfg = timm.get_pretrained_cfg(plain_name(name))
    head = (cfg.classifier if cfg else None) or ()
    return tuple(f"{each}." for each in ((head,) if isinstance(head, str) else head))


def fitting(name: str, shapes: Shapes) -> Recognised | None:
    """The network called so, if these are its tensors, all of them and no others; without its head."""
    name = plain_name(name)
    if not timm.is_model(name):
        return None
    network, args, in_chans = like(name, shapes)
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items() if not key.endswith(_COUNTER)}
    if wanted != {key: shape for key, shape in shapes.items() if not key.endswith(_COUNTER)}:
        return None
    side = args.get("img_size", network.pretrained_cfg["input_size"][1])
    return Recognised(name, args, 0, in_chans, side)


def misfit(name: str, shapes: Shapes) -> str:
    """Why these tensors are not those of the network called so, in words that complete "it cannot be imported: "."""
    name = plain_name(name)
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        return f"timm has no network {name!r}" + (f"; near it: {', '.join(near)}" if near else "")
    wanted = {key: tuple(value.shape) for key, value in like(name, shapes)[0].state_dict().items()}
    for key, shape in wanted.items():
        if key not in shapes and not key.endswith(_COUNTER):
            return f"{name} has {key}, and the file has none"
        if key in shapes and shapes[key] != shape:
            return f"{key} of {name} is {shape}, and the file's is {shapes[key]}"
    return f"{name} has no {next(key for key in shapes if key not in wanted)}, which the file has"


def like(name: str, shapes: Shapes) -> tuple[Network, dict[str, Any], int]:
    """timm's network without weights and head; its arguments and channels, made to fit the tensors where they can."""
    network = _empty(name, {})
    cfg: Mapping[str, Any] = network.pretrained_cfg
    first = cfg.get("first_conv") or ""
    shape = shapes.get(f"{first if isinstance(first, str) else first[0]}.weight", ())
    in_chans = shape[1] if len(shape) == 4 else cfg["input_size"][0]
    args: dict[str, Any] = {}
    if (side := _side(network, shapes)) is not None:
        args["img_size"] = side
    if "blocks.0.ls1.gamma" in shapes and "blocks.0.ls1.gamma" not in network.state_dict():
        args["init_values"] = 1.0  # the layer scales, whose values are the file's
    if args or in_chans != cfg["input_size"][0]:
        try:
            network = _empty(name, {**args, "in_chans": in_chans})
        except (ArgumentError, AssertionError, RuntimeError, ValueError):  # of a network that has no choice there
            return network, {}, cfg["input_size"][0]
    return network, args, in_chans


def _side(network: Network, shapes: Shapes) -> int | None:
    """The side of the images that a transformer's positions are for, where it is not what timm's name says."""
    patches: Any = getattr(network, "patch_embed", None)
    positions = shapes.get("pos_embed", ())
    ours = getattr(network, "pos_embed", None)
    if len(positions) != 3 or ours is None or tuple(ours.shape) == positions or not hasattr(patches, "patch_size"):
        return None
    prefix = ours.shape[1] - patches.num_patches
    grid = math.isqrt(max(0, positions[1] - prefix))
    return int(grid * patches.patch_size[0]) if grid and grid * grid == positions[1] - prefix else None


def _empty(name: str, args: Mapping[str, Any]) -> Network:
    with torch.device("meta"):
        return create_timm_model(name, False, {"num_classes": 0, **args})
