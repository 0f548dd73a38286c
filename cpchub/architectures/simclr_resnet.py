"""The ResNets of SimCLR v1 and v2: width 1 to 4 everywhere, with or without selective kernels.

They differ from timm's in details that matter to converted weights (google-research/simclr, `resnet.py`): the stem is
wider too, TensorFlow's SAME padding puts the odd pixel at the right and at the bottom, and with selective kernels the
stem is three 3x3 convolutions and every shortcut that changes the width averages first, also where it has no stride.
With basic blocks (ResNet-18 and 34) the first block has a convolution on its shortcut, though it changes nothing.
They read images in 0..1, without subtracting a mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.layers import create_pool2d
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn

from cpchub.architectures.cifar_resnet import SmallStemResNet
from cpchub.architectures.patches import PatchGrid
from cpchub.architectures.resnet_head import PooledResNet
from cpchub.architectures.selective_kernel import SelectiveKernelBottleneck
from cpchub.errors import ArgumentError

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class WideResNet(PooledResNet):
    """timm's ResNet with its stem and every stage `width` times as wide, and TensorFlow's padding in the pools.

    basic: blocks of two 3x3 convolutions instead of bottlenecks; not with selective kernels.
    same_padding: False for weights that were trained in PyTorch, with its padding in the pools.
    """

    conv1: nn.Module

    def __init__(
        self,
        layers: Sequence[int],
        width: float = 1,
        selective_kernel: bool = False,
        basic: bool = False,
        same_padding: bool = True,
        in_chans: int = 3,
        **kwargs: Any,
    ) -> None:
        stem = int(64 * width)
        if stem != 64 * width or stem < 2 or stem % 2:
            raise ArgumentError(f"width is {width!r}; 64 times the width must be an even number of channels")
        if basic and selective_kernel:
            raise ArgumentError("basic and selective_kernel exclude each other: SimCLR selects within bottlenecks")
        super().__init__(
            block=BasicBlock if basic else SelectiveKernelBottleneck if selective_kernel else Bottleneck,
            layers=tuple(layers),
            in_chans=in_chans,
            channels=(stem, 2 * stem, 4 * stem, 8 * stem),
            stem_type="deep",  # timm's single convolution has 64 channels, whatever the width
            stem_width=stem // 2,
            avg_down=selective_kernel,
            **kwargs,
        )
        if selective_kernel:
            for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
                stage[0].downsample[0] = _shortcut_pool(stage[0].stride, same_padding)
        else:
            self.conv1 = _conv(in_chans, stem, kernel_size=7, stride=2, padding=3)
        if basic:
            norm_layer = kwargs.get("norm_layer", nn.BatchNorm2d)
            self.layer1[0].downsample = nn.Sequential(_conv(stem, stem, kernel_size=1), norm_layer(stem))
        self.maxpool = create_pool2d("max", 3, 2, padding="same" if same_padding else 1)


class SimclrResNet(PatchGrid, WideResNet):
    """A ResNet of SimCLR's that reads whole images, or a grid of patches."""


class SimclrCifarResNet(PatchGrid, SmallStemResNet, WideResNet):
    """A ResNet of SimCLR's for images of 32 pixels (Chen et al. 2020, appendix B.9)."""


def _conv(in_chs: int, out_chs: int, **kwargs: Any) -> nn.Conv2d:
    conv = nn.Conv2d(in_chs, out_chs, bias=False, **kwargs)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _shortcut_pool(stride: int, same_padding: bool) -> nn.Module:
    if stride == 1 and same_padding:  # averages over what is inside the image: repeating the edge does the same
        return nn.Sequential(nn.ReplicationPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, stride=1))
    return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, stride=stride))


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
        "first_conv": "conv1",
        "classifier": "fc",
        **changes,
    }


def _sk_cfg() -> dict[str, Any]:
    return _cfg(first_conv="conv1.0")


def _cifar_cfg() -> dict[str, Any]:
    return _cfg(input_size=(3, 32, 32), pool_size=(4, 4), crop_pct=1.0)


default_cfgs = generate_default_cfgs(
    {
        "simclr_resnet18_1x.untrained": _cfg(),
        "simclr_resnet34_1x.untrained": _cfg(),
        "simclr_resnet50_1x.untrained": _cfg(),
        "simclr_resnet50_2x.untrained": _cfg(),
        "simclr_resnet50_4x.untrained": _cfg(),
        "simclr_resnet101_1x.untrained": _cfg(),
        "simclr_resnet101_2x.untrained": _cfg(),
        "simclr_resnet152_1x.untrained": _cfg(),
        "simclr_resnet152_2x.untrained": _cfg(),
        "simclr_resnet50_1x_sk.untrained": _sk_cfg(),
        "simclr_resnet50_2x_sk.untrained": _sk_cfg(),
        "simclr_resnet101_1x_sk.untrained": _sk_cfg(),
        "simclr_resnet101_2x_sk.untrained": _sk_cfg(),
        "simclr_resnet152_1x_sk.untrained": _sk_cfg(),
        "simclr_resnet152_2x_sk.untrained": _sk_cfg(),
        "simclr_resnet152_3x_sk.untrained": _sk_cfg(),
        "simclr_resnet18_cifar.untrained": _cifar_cfg(),
        "simclr_resnet34_cifar.untrained": _cifar_cfg(),
        "simclr_resnet50_cifar.untrained": _cifar_cfg(),
    }
)


def _build(
    depth: int, width: int, pretrained: bool, kwargs: dict[str, Any], *, selective_kernel: bool = False
) -> SimclrResNet:
    variant = f"simclr_resnet{depth}_{width}x" + ("_sk" if selective_kernel else "")
    args = {"layers": DEPTHS[depth], "width": width, "selective_kernel": selective_kernel, "basic": depth < 50}
    # The getter, since timm's default calls layer by layer and would skip the patches.
    return build_model_with_cfg(
        SimclrResNet, variant, pretrained, feature_cfg={"feature_cls": "getter"}, **{**args, **kwargs}
    )


def _build_cifar(depth: int, pretrained: bool, kwargs: dict[str, Any]) -> SimclrCifarResNet:
    args = {"layers": DEPTHS[depth], "basic": depth < 50, **kwargs}
    return build_model_with_cfg(
        SimclrCifarResNet, f"simclr_resnet{depth}_cifar", pretrained, feature_cfg={"feature_cls": "getter"}, **args
    )


@register_model
def simclr_resnet18_1x(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-18, 512-d."""
    return _build(18, 1, pretrained, kwargs)


@register_model
def simclr_resnet34_1x(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-34, 512-d."""
    return _build(34, 1, pretrained, kwargs)


@register_model
def simclr_resnet50_1x(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-50, 2048-d."""
    return _build(50, 1, pretrained, kwargs)


@register_model
def simclr_resnet50_2x(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-50, 2 times as wide, 4096-d."""
    return _build(50, 2, pretrained, kwargs)


@register_model
def simclr_resnet50_4x(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-50, 4 times as wide, 8192-d."""
    return _build(50, 4, pretrained, kwargs)


@register_model
def simclr_resnet101_1x(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-101, 2048-d."""
    return _build(101, 1, pretrained, kwargs)


@register_model
def simclr_resnet101_2x(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-101, 2 times as wide, 4096-d."""
    return _build(101, 2, pretrained, kwargs)


@register_model
def simclr_resnet152_1x(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-152, 2048-d."""
    return _build(152, 1, pretrained, kwargs)


@register_model
def simclr_resnet152_2x(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-152, 2 times as wide, 4096-d."""
    return _build(152, 2, pretrained, kwargs)


@register_model
def simclr_resnet50_1x_sk(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-50, selective kernels, 2048-d."""
    return _build(50, 1, pretrained, kwargs, selective_kernel=True)


@register_model
def simclr_resnet50_2x_sk(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-50, 2 times as wide, selective kernels, 4096-d."""
    return _build(50, 2, pretrained, kwargs, selective_kernel=True)


@register_model
def simclr_resnet101_1x_sk(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-101, selective kernels, 2048-d."""
    return _build(101, 1, pretrained, kwargs, selective_kernel=True)


@register_model
def simclr_resnet101_2x_sk(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-101, 2 times as wide, selective kernels, 4096-d."""
    return _build(101, 2, pretrained, kwargs, selective_kernel=True)


@register_model
def simclr_resnet152_1x_sk(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-152, selective kernels, 2048-d."""
    return _build(152, 1, pretrained, kwargs, selective_kernel=True)


@register_model
def simclr_resnet152_2x_sk(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-152, 2 times as wide, selective kernels, 4096-d."""
    return _build(152, 2, pretrained, kwargs, selective_kernel=True)


@register_model
def simclr_resnet152_3x_sk(pretrained: bool = False, **kwargs: Any) -> SimclrResNet:
    """ResNet-152, 3 times as wide, selective kernels, 6144-d."""
    return _build(152, 3, pretrained, kwargs, selective_kernel=True)


@register_model
def simclr_resnet18_cifar(pretrained: bool = False, **kwargs: Any) -> SimclrCifarResNet:
    """ResNet-18 with the CIFAR stem, 512-d."""
    return _build_cifar(18, pretrained, kwargs)


@register_model
def simclr_resnet34_cifar(pretrained: bool = False, **kwargs: Any) -> SimclrCifarResNet:
    """ResNet-34 with the CIFAR stem, 512-d."""
    return _build_cifar(34, pretrained, kwargs)


@register_model
def simclr_resnet50_cifar(pretrained: bool = False, **kwargs: Any) -> SimclrCifarResNet:
    """ResNet-50 with the CIFAR stem, 2048-d."""
    return _build_cifar(50, pretrained, kwargs)
