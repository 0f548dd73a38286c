"""ResNets with pre-activation blocks and layer normalisation, and no batch statistics.

Layer norm over height, width and channels with an affine per channel is `GroupNorm(1, C)`. It does not depend on the
size of the input, so the same weights read small patches and whole images.

Blocks, layer names and head are those of timm's ResNetV2, so where timm can express the network its weights fit. What
timm cannot express: inner widths of one's own for each stack, networks of three stacks, a stem for small patches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from timm.layers import ClassifierHead, create_conv2d, get_norm_act_layer
from timm.models._features import feature_take_indices
from timm.models.resnetv2 import PreActBasic, PreActBottleneck, ResNetStage
from torch import Tensor, nn

from cpchub.errors import ArgumentError


class PreActResNet(nn.Module):
    """Pre-activation ResNet of any number of stacks.

    layers, channels: blocks and output channels of each stack.
    bottle_ratio: inner over outer channels of a block, one number or one for each stack.
    basic: two 3x3 convolutions a block instead of a bottleneck.
    small_stem: a 3x3 stem of stride 1 without pooling, for patches and images of some 8 to 64 pixels.
    output_stride: stacks beyond it are dilated instead of strided.
    norm_layer: timm's name of one, or "none", where each block starts out as the identity to keep the scale.
    """

    def __init__(
        self,
        layers: Sequence[int],
        channels: Sequence[int] = (256, 512, 1024, 2048),
        bottle_ratio: float | Sequence[float] = 0.25,
        basic: bool = False,
        small_stem: bool = False,
        stem_chs: int = 64,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        output_stride: int = 32,
        norm_layer: str = "groupnorm1",
        act_layer: str = "relu",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        ratios = _ratio_of_each_stack(layers, channels, bottle_ratio)
        if output_stride not in (2, 4, 8, 16, 32):
            raise ArgumentError(f"output_stride is {output_stride!r}; use 2, 4, 8, 16 or 32")
        self.num_classes = num_classes
        self.in_chans = in_chans
        norm_act = _NoNorm if norm_layer == "none" else get_norm_act_layer(norm_layer, act_layer=act_layer)

        self.stem: Any = _small_stem(in_chans, stem_chs) if small_stem else _stem(in_chans, stem_chs)
        stride = 1 if small_stem else 4
        self.feature_info: list[dict[str, Any]] = [
            {"num_chs": stem_chs, "reduction": 1 if small_stem else 2, "module": "stem.conv"}
        ]

        self.stages = nn.Sequential()
        width, dilation, depth = stem_chs, 1, max(1, sum(layers) - 1)
        for index, (blocks, outputs, ratio) in enumerate(zip(layers, channels, ratios, strict=True)):
            step = 1 if index == 0 else 2
            if stride >= output_stride:
                dilation, step = dilation * step, 1
            first = sum(layers[:index])
            stage = ResNetStage(
                width,
                outputs,
                stride=step,
                dilation=dilation,
                depth=blocks,
                bottle_ratio=ratio,
                block_fn=PreActBasic if basic else PreActBottleneck,
                block_dpr=[drop_path_rate * block / depth for block in range(first, first + blocks)],
                conv_layer=create_conv2d,
                norm_layer=norm_act,
            )
            self.stages.add_module(str(index), stage)
            width, stride = outputs, stride * step
            self.feature_info.append({"num_chs": width, "reduction": stride, "module": f"stages.{index}"})

        self.num_features = width
        self.norm: nn.Module = norm_act(width)
        self.head: Any = ClassifierHead(width, num_classes, pool_type=global_pool, drop_rate=drop_rate, use_conv=True)
        self.head_hidden_size = self._pooled_width()
        _init_weights(self, blocks_as_identity=norm_layer == "none")

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, D, h, w]`, normalised."""
        features: Tensor = self.norm(self.stages(self.stem(x)))
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool `[B, D, h, w]`; then classify it, unless `pre_logits`."""
        pooled: Tensor = self.head(x, pre_logits=pre_logits)
        return pooled

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The maps of the stem and of each stack, raw; `norm` normalises the last. Arguments and result as timm's."""
        if output_fmt != "NCHW":
            raise ArgumentError(f"output_fmt is {output_fmt!r}; this network has NCHW maps")
        taken, last = feature_take_indices(len(self.stages) + 1, indices)
        maps = []
        x = self.stem.conv(x)
        if 0 in taken:
            maps.append(x)
        x = self.stem[1:](x)
        for index, stage in enumerate(self.stages[:last] if stop_early else self.stages, start=1):
            x = stage(x)
            if index in taken:
                maps.append(self.norm(x) if norm and index == len(self.stages) else x)
        if intermediates_only:
            return maps
        complete = last == len(self.stages) or not stop_early
        return (self.norm(x) if complete else x), maps

    def get_classifier(self) -> nn.Module:
        classifier: nn.Module = self.head.fc
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)
        self.head_hidden_size = self._pooled_width()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        stage: Any
        for stage in self.stages:
            stage.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of parameter names, from the input to the output, for layer-wise learning rates."""
        block = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.blocks\.(\d+)"
        return {"stem": r"^stem", "blocks": [(block, None), (r"^norm", (99999,))]}

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what the intermediates of these indices do not need; returns the indices counted from the stem."""
        taken, last = feature_take_indices(len(self.feature_info), indices)
        if prune_norm or last < len(self.stages):
            self.norm = nn.Identity()
        if last < len(self.stages):
            self.stages = self.stages[:last]
            self.num_features = self.head.in_features = self.feature_info[last]["num_chs"]
        if prune_head or last < len(self.feature_info) - 1:
            self.reset_classifier(0, "")
        return list(taken)

    def _pooled_width(self) -> int:
        return int(self.num_features * self.head.global_pool.feat_mult())


def _ratio_of_each_stack(
    layers: Sequence[int], channels: Sequence[int], bottle_ratio: float | Sequence[float]
) -> tuple[float, ...]:
    ratios = (bottle_ratio,) * len(layers) if isinstance(bottle_ratio, (int, float)) else tuple(bottle_ratio)
    if not len(layers) == len(channels) == len(ratios):
        raise ArgumentError(
            f"layers {tuple(layers)}, channels {tuple(channels)} and bottle_ratio {ratios} differ in length; "
            "each has one entry a stack"
        )
    return ratios


def _init_weights(network: nn.Module, *, blocks_as_identity: bool) -> None:
    """He's initialisation; `blocks_as_identity` then sets the last convolution of each block to zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if blocks_as_identity:
        for module in network.modules():
            if isinstance(module, (PreActBasic, PreActBottleneck)):
                last: Any = getattr(module, "conv3", module.conv2)
                nn.init.zeros_(last.weight)


class _NoNorm(nn.ReLU):
    """What stands for norm and activation in a network without norm (CPC v1)."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()


def _stem(in_chans: int, width: int) -> nn.Sequential:
    """The total stride is 4; the first block normalises."""
    conv = create_conv2d(in_chans, width, kernel_size=7, stride=2)
    return nn.Sequential(OrderedDict(conv=conv, pool=nn.MaxPool2d(3, stride=2, padding=1)))


def _small_stem(in_chans: int, width: int) -> nn.Sequential:
    """The resolution is kept: behind a stride of 4, a patch of 8 pixels would be a map of 2 x 2."""
    return nn.Sequential(OrderedDict(conv=create_conv2d(in_chans, width, kernel_size=3)))
