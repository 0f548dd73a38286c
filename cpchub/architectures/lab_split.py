"""The encoders of CMC by name: one ResNet for L and one for ab (Tian et al., arXiv 1906.05849).

In the official code the versions are widths: v1 halves the channels of each network, so that both together are as long
as one ResNet, v2 keeps them, v3 doubles them. The stem has 64 channels in all of them.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from cpchub.architectures.colour_paths import ColourPaths
from cpchub.architectures.patches import PatchGrid


class LabSplit(PatchGrid, ColourPaths):
    """Two networks side by side, on whole pictures or on a grid of patches."""

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of parameter names, from the input to the output, for layer-wise learning rates."""
        block = r"^paths\.\d+\.layer(\d+)" if coarse else r"^paths\.\d+\.layer(\d+)\.(\d+)"
        return {"stem": r"^paths\.\d+\.(?:conv1|bn1)", "blocks": block}


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
