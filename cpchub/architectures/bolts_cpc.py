"""The encoders of pl_bolts (Lightning Bolts) that timm lacks, for checkpoints that were trained with pl_bolts.

The CPC v2 encoders of pl_bolts differ from the paper in three ways. Blocks are not pre-activated. The fourth stack is
kept. Each layer norm has a weight and a bias for every position of its feature map, so a network reads only patches of
the size that it was made for. The vector of a patch has dimension 2048.

Source: lightning-bolts, `pl_bolts/models/self_supervised/cpc/networks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn

from cpchub.architectures.patches import PatchGrid
from cpchub.architectures.resnet_head import PooledResNet
from cpchub.errors import ArgumentError

CHANNELS = (64, 128, 512, 512)  # of the 3x3 convolutions in each stack
EXPANSION = (4, 4, 8, 4)  # output channels of a block, as a multiple of these


class PositionNormBlock(nn.Module):
    """Bottleneck block with a layer norm that has a weight per position. It takes `[B, in_chs, side, side]`."""

    def __init__(self, in_chs: int, channels: int, out_chs: int, side: int, stride: int) -> None:
        super().__init__()
        after = _halved(side) if stride == 2 else side
        self.conv1 = nn.Conv2d(in_chs, channels, 1, bias=False)
        self.ln1 = nn.LayerNorm((channels, side, side))
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.ln2 = nn.LayerNorm((channels, after, after))
        self.conv3 = nn.Conv2d(channels, out_chs, 1, bias=False)
        self.ln3 = nn.LayerNorm((out_chs, after, after))
        self.act = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_chs != out_chs:
            conv = nn.Conv2d(in_chs, out_chs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.LayerNorm((out_chs, after, after)))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act(self.ln1(self.conv1(x)))
        x = self.act(self.ln2(self.conv2(x)))
        x = self.ln3(self.conv3(x))
        out: Tensor = self.act(x + shortcut)
        return out


class PositionNormResNet(PooledResNet):
    """timm's ResNet with stacks of `PositionNormBlock`. It only takes inputs of `side` x `side` pixels."""

    bn1: nn.Module

    def __init__(self, layers: Sequence[int], side: int, channels: Sequence[int] = CHANNELS, **kwargs: Any) -> None:
        widths = [width * factor for width, factor in zip(channels, EXPANSION, strict=True)]
        # timm builds the stem and the head. Its stacks, of one block each, are replaced below.
        super().__init__(Bottleneck, (1, 1, 1, 1), channels=[width // 4 for width in widths], **kwargs)
        side = _halved(side)
        self.bn1 = nn.LayerNorm((64, side, side))
        in_chs, side = 64, _halved(side)
        for number, (blocks, width, out_chs) in enumerate(zip(layers, channels, widths, strict=True), start=1):
            stack = nn.Sequential()
            for index in range(blocks):
                stride = 2 if number > 1 and index == 0 else 1
                stack.append(PositionNormBlock(in_chs, width, out_chs, side, stride))
                in_chs, side = out_chs, _halved(side) if stride == 2 else side
            setattr(self, f"layer{number}", stack)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class BoltsCpcResNet(PatchGrid, PositionNormResNet):
    """The CPC v2 encoder of pl_bolts, on patches of `patch_size` pixels: its weights fit no other size.

    patch_stride: in pixels, half of `patch_size` by default. Raises ArgumentError for a `patch_size` below 1.
    """

    def __init__(self, *args: Any, patch_size: int = 8, patch_stride: int | None = None, **kwargs: Any) -> None:
        if patch_size < 1:
            raise ArgumentError(
                f"patch_size is {patch_size!r}, but this encoder cannot read whole images: its layer norms are made "
                "for patches of one size. Give 1 or more"
            )
        stride = max(1, patch_size // 2) if patch_stride is None else patch_stride
        super().__init__(*args, side=patch_size, patch_size=patch_size, patch_stride=stride, **kwargs)

    def use_patches(self, size: int | None, stride: int | None) -> None:
        if self.patch_size not in (None, size):
            raise ArgumentError(
                f"patch_size is {size!r}, but this encoder's layer norms are made for patches of {self.patch_size}"
            )
        super().use_patches(size, stride)


class UnpooledResNet(PooledResNet):
    """timm's ResNet with an optional max pooling in the stem. SimCLR on STL-10 leaves it out (`stem_pool=False`)."""

    feature_info: list[dict[str, Any]]

    def __init__(self, *args: Any, stem_pool: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not stem_pool:
            self.maxpool = nn.Identity()
            stem, *stages = self.feature_info
            self.feature_info = [stem, *({**info, "reduction": info["reduction"] // 2} for info in stages)]


class BoltsResNet(PatchGrid, UnpooledResNet):
    """`UnpooledResNet` on whole images or on a grid of patches."""


def _halved(side: int) -> int:
    """The side of a feature map after a padded layer of stride 2: half of it, rounded up."""
    return (side + 1) // 2


def _cfg(**changes: Any) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 32, 32),
        "pool_size": (7, 7),
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": (0.4914, 0.4824, 0.4471),
        "std": (0.2471, 0.2435, 0.2616),
        "first_conv": "conv1",
        "classifier": "fc",
        **changes,
    }


default_cfgs = generate_default_cfgs(
    {
        "bolts_cpc_resnet101.untrained": _cfg(),
        "bolts_cpc_resnet50.untrained": _cfg(),
        "bolts_resnet18.untrained": _cfg(pool_size=(1, 1)),
        "bolts_resnet50.untrained": _cfg(pool_size=(1, 1)),
    }
)


def _build(network: type[nn.Module], variant: str, pretrained: bool, **model_args: Any) -> Any:
    # For `features_only`, timm's default calls the layers one by one and would not cut patches. "getter" calls
    # `forward_intermediates`, which does.
    return build_model_with_cfg(network, variant, pretrained, feature_cfg={"feature_cls": "getter"}, **model_args)


@register_model
def bolts_cpc_resnet101(pretrained: bool = False, **kwargs: Any) -> BoltsCpcResNet:
    """pl_bolts' `cpc_encoder`, with the 46 wide blocks of CPC v2 and a fourth stack, 2048-d."""
    return _build(BoltsCpcResNet, "bolts_cpc_resnet101", pretrained, **{"layers": (3, 4, 46, 3), **kwargs})


@register_model
def bolts_cpc_resnet50(pretrained: bool = False, **kwargs: Any) -> BoltsCpcResNet:
    """pl_bolts' `cpc_resnet50`, 2048-d."""
    return _build(BoltsCpcResNet, "bolts_cpc_resnet50", pretrained, **{"layers": (3, 4, 6, 3), **kwargs})


@register_model
def bolts_resnet18(pretrained: bool = False, **kwargs: Any) -> BoltsResNet:
    """ResNet-18 with batch norm, on whole images or on patches, 512-d."""
    return _build(BoltsResNet, "bolts_resnet18", pretrained, **{"block": BasicBlock, "layers": (2, 2, 2, 2), **kwargs})


@register_model
def bolts_resnet50(pretrained: bool = False, **kwargs: Any) -> BoltsResNet:
    """ResNet-50 with batch norm, on whole images or on patches, 2048-d."""
    return _build(BoltsResNet, "bolts_resnet50", pretrained, **{"block": Bottleneck, "layers": (3, 4, 6, 3), **kwargs})
