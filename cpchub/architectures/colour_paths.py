"""A network for lightness beside a network for colour: the encoder of CMC (arXiv 1906.05849), as one timm network.

It takes RGB in [0, 1] (mean 0, std 1), converts it to a colour space, and gives each path its channels. Its features
are those of the paths side by side, which is what CMC evaluates. With the space "channels" nothing is converted, and
the channels are whatever lies over one another: a photo, its depth, its normals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from timm.layers import ClassifierHead
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from cpchub.architectures.colour_spaces import SPACES
from cpchub.errors import ArgumentError

CHANNELS = "channels"  # the space in which nothing is converted


class ColourPaths(nn.Module):
    """One network `path` (any of timm's) for each group of channels of the colour space `space`.

    `channels`: (0) for lightness and (1, 2) for colour by default; ((0,), (1,), (2,)) makes three paths.
    `in_chans`: 3, or any number with `space="channels"`.
    `path_args` go to every path. Raises `ArgumentError` for values that cannot work.
    """

    paths: Any  # timm's networks, which have no type of their own

    def __init__(
        self,
        path: str = "resnet18_cifar",
        path_args: Mapping[str, Any] | None = None,
        space: str = "lab",
        channels: Sequence[Sequence[int]] = ((0,), (1, 2)),
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if space not in (*SPACES, CHANNELS):
            raise ArgumentError(f"space is {space!r}; use one of {', '.join((*SPACES, CHANNELS))}")
        if in_chans != 3 and space != CHANNELS:
            raise ArgumentError(f"in_chans is {in_chans}; colour_paths takes RGB images, 3 channels")
        if len(channels) < 2 or any(not group or not {*group} <= {*range(in_chans)} for group in channels):
            raise ArgumentError(
                f"channels is {channels!r}; give two groups or more, of the channels 0 to {in_chans - 1}"
            )
        self.in_chans = in_chans
        self.space, self.channels = space, tuple(tuple(group) for group in channels)
        args = {**(path_args or {}), "num_classes": 0}
        self.paths = nn.ModuleList(timm.create_model(path, in_chans=len(group), **args) for group in self.channels)
        infos = [p.feature_info for p in self.paths]
        widths = [sum(level["num_chs"] for level in levels) for levels in zip(*infos, strict=True)]
        self.feature_info = [{**level, "num_chs": w} for level, w in zip(infos[0], widths, strict=True)]
        self.num_classes = num_classes
        self.num_features = sum(int(p.num_features) for p in self.paths)
        self.head = ClassifierHead(self._head_width(), num_classes, global_pool, drop_rate)
        self.head_hidden_size = self._pooled_width()

    def split(self, x: Tensor) -> list[Tensor]:
        """What each path sees of RGB images in [0, 1]: `[N, 3, H, W]` -> `[N, len(group), H, W]` for each group."""
        if x.shape[1] != self.in_chans:
            raise ArgumentError(f"images of {x.shape[1]} channels, and the network takes {self.in_chans}")
        converted = x if self.space == CHANNELS else SPACES[self.space](x)
        one = converted.split(1, dim=1)  # not `converted[:, group]`: a GPU would wait for the list
        return [torch.cat([one[channel] for channel in group], dim=1) for group in self.channels]

    def forward_features(self, x: Tensor) -> Tensor:
        maps = [path.forward_features(part) for path, part in zip(self.paths, self.split(x), strict=True)]
        return torch.cat(maps, dim=1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        return self.head(self.hidden(x), pre_logits=pre_logits)

    def hidden(self, x: Tensor) -> Tensor:
        """What the head pools, `[N, D, h, w]`: here the map itself."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(self, x: Tensor, **kwargs: Any) -> Any:
        """timm's: the last map and a list of maps (or the list alone), each with the channels of all paths."""
        each = [path.forward_intermediates(p, **kwargs) for path, p in zip(self.paths, self.split(x), strict=True)]
        if kwargs.get("intermediates_only"):
            return [torch.cat(level, dim=1) for level in zip(*each, strict=True)]
        finals, maps = zip(*each, strict=True)
        return torch.cat(finals, dim=1), [torch.cat(level, dim=1) for level in zip(*maps, strict=True)]

    def prune_intermediate_layers(self, indices: Any = 1, prune_norm: bool = False, prune_head: bool = True) -> Any:
        taken = [path.prune_intermediate_layers(indices, prune_norm, prune_head) for path in self.paths]
        if prune_head:
            self.reset_classifier(0, "")
        return taken[0]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        for path in self.paths:
            path.set_grad_checkpointing(enable)

    def get_classifier(self) -> nn.Module:
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.head.reset(num_classes, pool_type=global_pool)
        self.head_hidden_size = self._pooled_width()

    def _head_width(self) -> int:
        return self.num_features

    def _pooled_width(self) -> int:
        return int(self._head_width() * self.head.global_pool.feat_mult())


default_cfgs = generate_default_cfgs(
    {
        "colour_paths.untrained": {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 32, 32),
            "pool_size": (4, 4),
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "mean": (0.0, 0.0, 0.0),
            "std": (1.0, 1.0, 1.0),
            "first_conv": "paths.0.conv1",
            "classifier": "head.fc",
        }
    }
)


@register_model
def colour_paths(pretrained: bool = False, **kwargs: Any) -> ColourPaths:
    """Two ResNet-18 with the CIFAR stem, for L and for ab, 1024-d together."""
    return build_model_with_cfg(
        ColourPaths,
        "colour_paths",
        pretrained,
        feature_cfg={"feature_cls": "getter", "out_indices": (0, 1, 2, 3, 4)},
        **kwargs,
    )
