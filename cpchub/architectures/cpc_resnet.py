"""The encoders of CPC v2 by name (Henaff et al., Data-Efficient Image Recognition with CPC, arXiv 1905.09272).

Layer norm, because batch norm tells the patches of an image about each other and the task is then solved without
seeing anything. In training the encoder reads patches, 80 pixels every 36 of a 260-pixel crop in the final version of
the paper: pass `patch_size=80, patch_stride=36`. Without them it reads whole images, for dense features and
detection; the weights are the same.

`cpc_resnet170` and `cpc_resnet161` are one network. The first version of the paper counts a fourth stack that the
encoder does not have, the later ones do not: 3 x (3 + 4 + 46) + 2 = 161. In the third stack, 512 channels lie between
4096, so it holds nearly all of the 303.6 million parameters.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from cpchub.architectures.patches import PatchGrid
from cpchub.architectures.preact_resnet import PreActResNet
from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD

LARGE = {"layers": (3, 4, 46), "channels": (256, 512, 4096), "bottle_ratio": (0.25, 0.25, 0.125)}


class CpcResNet(PatchGrid, PreActResNet):
    """A pre-activation ResNet that reads whole images, or a grid of patches."""


def _cfg(**changes: Any) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (14, 14),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "first_conv": "stem.conv",
        "classifier": "head.fc",
        **changes,
    }


default_cfgs = generate_default_cfgs(
    {
        "cpc_resnet170.untrained": _cfg(),
        "cpc_resnet161.untrained": _cfg(),
        "cpc_resnet101.untrained": _cfg(),
        "cpc_resnet50.untrained": _cfg(pool_size=(7, 7)),
        "cpc_resnet18_small.untrained": _cfg(input_size=(3, 32, 32), pool_size=(4, 4), crop_pct=1.0),
        "cpc_resnet20_small.untrained": _cfg(input_size=(3, 32, 32), pool_size=(8, 8), crop_pct=1.0),
    }
)


def _build(variant: str, pretrained: bool, **model_args: Any) -> CpcResNet:
    # The getter, since timm's default calls layer by layer and would skip the patches.
    maps = {"feature_cls": "getter", "out_indices": tuple(range(len(model_args["layers"]) + 1))}
    return build_model_with_cfg(CpcResNet, variant, pretrained, feature_cfg=maps, **model_args)


@register_model
def cpc_resnet170(pretrained: bool = False, **kwargs: Any) -> CpcResNet:
    """The encoder of the paper's results, 4096-d, as its first version names it."""
    return _build("cpc_resnet170", pretrained, **{**LARGE, **kwargs})


@register_model
def cpc_resnet161(pretrained: bool = False, **kwargs: Any) -> CpcResNet:
    """The encoder of the paper's results, 4096-d, as its later versions name it."""
    return _build("cpc_resnet161", pretrained, **{**LARGE, **kwargs})


@register_model
def cpc_resnet101(pretrained: bool = False, **kwargs: Any) -> CpcResNet:
    """The first three stacks of a ResNet-101, 1024-d, as in CPC v1."""
    return _build("cpc_resnet101", pretrained, **{"layers": (3, 4, 23), "channels": (256, 512, 1024), **kwargs})


@register_model
def cpc_resnet50(pretrained: bool = False, **kwargs: Any) -> CpcResNet:
    """A whole ResNet-50, 2048-d; timm's `resnetv2_50` with layer norm."""
    return _build("cpc_resnet50", pretrained, **{"layers": (3, 4, 6, 3), **kwargs})


@register_model
def cpc_resnet18_small(pretrained: bool = False, **kwargs: Any) -> CpcResNet:
    """ResNet-18 behind a stem for small patches and images, 512-d."""
    small = {"channels": (64, 128, 256, 512), "bottle_ratio": 1.0, "basic": True, "small_stem": True}
    return _build("cpc_resnet18_small", pretrained, **{"layers": (2, 2, 2, 2), **small, **kwargs})


@register_model
def cpc_resnet20_small(pretrained: bool = False, **kwargs: Any) -> CpcResNet:
    """Three stacks of two bottlenecks behind a stem for small patches and images, 1024-d."""
    small = {"channels": (256, 512, 1024), "small_stem": True}
    return _build("cpc_resnet20_small", pretrained, **{"layers": (2, 2, 2), **small, **kwargs})
