"""ResNets for small images: 3x3 stem of stride 1 and no max-pooling.

The stem is the one that SimCLR (appendix B.9) and the MoCo CIFAR demo use for 32-pixel images; everything behind it
is timm's ResNet, so `channels`, `layers`, `stem_type` and what timm's networks share hold; `torch.jit.script` does not
work. The total stride is 8, not 32.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn

from cpchub.architectures.patches import PatchGrid
from cpchub.architectures.resnet_head import PooledResNet
from cpchub.errors import ArgumentError

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
_SKIPPED_STRIDE = 4  # timm's stem halves the image twice; this one does not


class SmallStemResNet(PooledResNet):
    """timm's ResNet behind a stem that keeps the resolution.

    `stem_padding` is 1 (a 32-pixel image stays 32) or 2 (it becomes 34). `output_stride` is 8, 4 or 2: the later
    stages are dilated instead of strided beyond it. Without `stem_act` there is no ReLU behind the first batch norm, as
    in the backbones of lightly's CIFAR benchmarks, which take the network apart and lose it.
    """

    conv1: nn.Module
    feature_info: list[dict[str, Any]]

    def __init__(
        self, *args: Any, stem_padding: int = 1, output_stride: int = 8, stem_act: bool = True, **kwargs: Any
    ) -> None:
        if stem_padding not in (1, 2):
            raise ArgumentError(f"stem_padding is {stem_padding!r}; use 1 (keeps the size) or 2 (adds two pixels)")
        if output_stride not in (2, 4, 8):
            raise ArgumentError(f"output_stride is {output_stride!r}; this network has strides 2, 4 and 8")
        super().__init__(*args, output_stride=output_stride * _SKIPPED_STRIDE, **kwargs)
        wide: Any = self.conv1
        if isinstance(wide, nn.Sequential):  # stem_type="deep": three 3x3 convolutions, the first one strided
            first: Any = wide[0]
            first.stride, first.padding = (1, 1), (stem_padding, stem_padding)
        else:
            self.conv1 = nn.Conv2d(
                wide.in_channels,
                wide.out_channels,
                kernel_size=3,
                padding=stem_padding,
                bias=False,
                device=wide.weight.device,
                dtype=wide.weight.dtype,
            )
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.maxpool = nn.Identity()
        if not stem_act:
            self.act1 = nn.Identity()
        self.feature_info = [
            {**info, "reduction": max(1, info["reduction"] // _SKIPPED_STRIDE)} for info in self.feature_info
        ]


class CifarResNet(PatchGrid, SmallStemResNet):
    """A ResNet for small images, or for a grid of small patches."""


def _cfg(**changes: Any) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 32, 32),
        "pool_size": (4, 4),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": CIFAR10_MEAN,
        "std": CIFAR10_STD,
        "first_conv": "conv1",
        "classifier": "fc",
        **changes,
    }


default_cfgs = generate_default_cfgs(
    {
        "resnet18_cifar.untrained": _cfg(),
        "resnet34_cifar.untrained": _cfg(),
        "resnet50_cifar.untrained": _cfg(),
    }
)


def _build(variant: str, pretrained: bool, **model_args: Any) -> CifarResNet:
    # The getter, since timm's default calls layer by layer and would skip the patches.
    return build_model_with_cfg(CifarResNet, variant, pretrained, feature_cfg={"feature_cls": "getter"}, **model_args)


@register_model
def resnet18_cifar(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-18 with the CIFAR stem, 512-d."""
    return _build("resnet18_cifar", pretrained, **{"block": BasicBlock, "layers": (2, 2, 2, 2), **kwargs})


@register_model
def resnet34_cifar(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-34 with the CIFAR stem, 512-d."""
    return _build("resnet34_cifar", pretrained, **{"block": BasicBlock, "layers": (3, 4, 6, 3), **kwargs})


@register_model
def resnet50_cifar(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-50 with the CIFAR stem, 2048-d."""
    return _build("resnet50_cifar", pretrained, **{"block": Bottleneck, "layers": (3, 4, 6, 3), **kwargs})
