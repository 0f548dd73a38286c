"""The encoders of CMC by name: one network for L and one for ab (Tian et al., arXiv 1906.05849).

In the official code the versions of a ResNet are widths: v1 halves the channels of each network, so that both together
are as long as one ResNet, v2 keeps them, v3 doubles them. The stem has 64 channels in all of them. AlexNet is cut into
two halves.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor

from cpchub.architectures.colour_paths import ColourPaths
from cpchub.architectures.patches import PatchGrid
from cpchub.errors import ArgumentError


class LabSplit(PatchGrid, ColourPaths):
    """Two networks side by side, on whole images or on a grid of patches."""

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of parameter names, from the input to the output, for layer-wise learning rates."""
        block = r"^paths\.\d+\.layer(\d+)" if coarse else r"^paths\.\d+\.layer(\d+)\.(\d+)"
        return {"stem": r"^paths\.\d+\.(?:conv1|bn1)", "blocks": block}


class LabSplitAlexNet(LabSplit):
    """The two halves of an AlexNet, each with its own fc6 and fc7 where the path has them."""

    def use_patches(self, size: int | None, stride: int | None) -> None:
        if self._head_width() != self.num_features:
            raise ArgumentError("fc6 and fc7 read whole images; leave out patch_size, or fully_connected")
        super().use_patches(size, stride)

    def hidden(self, x: Tensor) -> Tensor:
        parts = x.split([path.num_features for path in self.paths], dim=1)
        return torch.cat([path.hidden(part) for path, part in zip(self.paths, parts, strict=True)], dim=1)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        blocks = [(r"^paths\.\d+\.conv_block_(\d+)", None), (r"^paths\.\d+\.fc(\d)", (99,))]
        return {"stem": r"^paths\.\d+\.conv_block_1\.", "blocks": blocks}

    def _head_width(self) -> int:
        return sum(int(path.hidden_size) for path in self.paths)


def _cfg(**changes: Any) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "first_conv": ("paths.0.conv1", "paths.1.conv1"),
        "classifier": "head.fc",
        **changes,
    }


default_cfgs = generate_default_cfgs(
    {
        "cmc_alexnet.untrained": _cfg(
            pool_size=(6, 6), first_conv=("paths.0.conv_block_1.0", "paths.1.conv_block_1.0")
        ),
        "cmc_resnet18_v1.untrained": _cfg(),
        "cmc_resnet18_v2.untrained": _cfg(),
        "cmc_resnet18_v3.untrained": _cfg(),
        "cmc_resnet50_v1.untrained": _cfg(),
        "cmc_resnet50_v2.untrained": _cfg(),
        "cmc_resnet50_v3.untrained": _cfg(),
        "cmc_resnet101_v1.untrained": _cfg(),
        "cmc_resnet101_v2.untrained": _cfg(),
        "cmc_resnet101_v3.untrained": _cfg(),
    }
)


def _build(path: str, version: int, pretrained: bool, kwargs: dict[str, Any]) -> LabSplit:
    base = 2 ** (version - 2) * 64
    channels = [int(base), int(base * 2), int(base * 4), int(base * 8)]
    model_args = {"path": path, **kwargs, "path_args": {"channels": channels, **(kwargs.get("path_args") or {})}}
    # The getter, since timm's default calls layer by layer and knows of one path only.
    return build_model_with_cfg(
        LabSplit, f"cmc_{path}_v{version}", pretrained, feature_cfg={"feature_cls": "getter"}, **model_args
    )


@register_model
def cmc_alexnet(pretrained: bool = False, **kwargs: Any) -> LabSplit:
    """The two halves of an AlexNet, 256-d together; 4096-d behind fc7 with `path_args={"fully_connected": True}`."""
    model_args = {"path": "alexnet_bn", **kwargs, "path_args": {"width": 0.5, **(kwargs.get("path_args") or {})}}
    return build_model_with_cfg(
        LabSplitAlexNet, "cmc_alexnet", pretrained, feature_cfg={"feature_cls": "getter"}, **model_args
    )


@register_model
def cmc_resnet18_v1(pretrained: bool = False, **kwargs: Any) -> LabSplit:
    """Two ResNet-18, half as wide, 512-d together."""
    return _build("resnet18", 1, pretrained, kwargs)


@register_model
def cmc_resnet18_v2(pretrained: bool = False, **kwargs: Any) -> LabSplit:
    """Two ResNet-18, 1024-d together."""
    return _build("resnet18", 2, pretrained, kwargs)


@register_model
def cmc_resnet18_v3(pretrained: bool = False, **kwargs: Any) -> LabSplit:
    """Two ResNet-18, twice as wide, 2048-d together."""
    return _build("resnet18", 3, pretrained, kwargs)


@register_model
def cmc_resnet50_v1(pretrained: bool = False, **kwargs: Any) -> LabSplit:
    """Two ResNet-50, half as wide, 2048-d together."""
    return _build("resnet50", 1, pretrained, kwargs)


@register_model
def cmc_resnet50_v2(pretrained: bool = False, **kwargs: Any) -> LabSplit:
    """Two ResNet-50, 4096-d together."""
    return _build("resnet50", 2, pretrained, kwargs)


@register_model
def cmc_resnet50_v3(pretrained: bool = False, **kwargs: Any) -> LabSplit:
    """Two ResNet-50, twice as wide, 8192-d together."""
    return _build("resnet50", 3, pretrained, kwargs)


@register_model
def cmc_resnet101_v1(pretrained: bool = False, **kwargs: Any) -> LabSplit:
    """Two ResNet-101, half as wide, 2048-d together."""
    return _build("resnet101", 1, pretrained, kwargs)


@register_model
def cmc_resnet101_v2(pretrained: bool = False, **kwargs: Any) -> LabSplit:
    """Two ResNet-101, 4096-d together."""
    return _build("resnet101", 2, pretrained, kwargs)


@register_model
def cmc_resnet101_v3(pretrained: bool = False, **kwargs: Any) -> LabSplit:
    """Two ResNet-101, twice as wide, 8192-d together."""
    return _build("resnet101", 3, pretrained, kwargs)
