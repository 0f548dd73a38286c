"""torchvision's Faster R-CNN (Ren et al., arXiv 1506.01497) around a timm network, in two styles.

"fpn": a feature pyramid (Lin et al., arXiv 1612.03144) over the network's stages of stride 4 to 32.
"c4": regions are proposed and cut out at stride 16, and the last stage of a ResNet judges them, as in the evaluations
of MoCo and CPC v2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from cpchub.catalog.spec import ModelSpec
from cpchub.errors import ArgumentError

Style = Literal["fpn", "c4"]
STRIDES = (4, 8, 16, 32)
RATIOS = (0.5, 1.0, 2.0)


def faster_rcnn(
    network: Any, spec: ModelSpec, n_classes: int, *, style: Style, side: int, width: int = 256
) -> FasterRCNN:
    """A detector of `n_classes` classes (its own labels begin at 1; 0 is the background).

    network: a timm network that knows `forward_intermediates`, for "c4" a ResNet of timm's. spec: its normalisation.
    side: pixels of an image's short side; anchors are sized by it. width: channels of the pyramid.
    Raises ArgumentError for a network that the style cannot use.
    """
    body = _Pyramid(network, width) if style == "fpn" else _C4(network)
    levels = len(STRIDES) + 1 if style == "fpn" else 1
    smallest = side / 25  # 32 pixels of 800
    sizes = tuple((smallest * 2**i,) for i in range(levels))
    if style == "c4":
        sizes = (tuple(smallest * 2**i for i in range(5)),)
    names = [str(i) for i in range(len(STRIDES))] if style == "fpn" else ["0"]
    head = TwoMLPHead(width * 49, 4 * width) if style == "fpn" else _LastStage(network)
    out = 4 * width if style == "fpn" else int(network.num_features)
    return FasterRCNN(
        body,
        min_size=side,
        max_size=2 * side,
        image_mean=list(spec.mean),
        image_std=list(spec.std),
        rpn_anchor_generator=AnchorGenerator(sizes, (RATIOS,) * levels),
        box_roi_pool=MultiScaleRoIAlign(names, output_size=7 if style == "fpn" else 14, sampling_ratio=2),
        box_head=head,
        box_predictor=FastRCNNPredictor(out, n_classes + 1),
    )


def freeze(detector: FasterRCNN) -> None:
    """Leave the encoder as it is: no gradient, and the statistics of its batch norms stay."""
    for module in _encoder_parts(detector):
        module.requires_grad_(False)
        module.eval()


def train_mode(detector: FasterRCNN, frozen: bool) -> None:
    """Training mode, of a frozen encoder's detector without the encoder."""
    detector.train()
    if frozen:
        for module in _encoder_parts(detector):
            module.eval()


def _encoder_parts(detector: FasterRCNN) -> list[nn.Module]:
    parts: list[nn.Module] = [detector.backbone.network]
    if isinstance(detector.roi_heads.box_head, _LastStage):
        parts.append(detector.roi_heads.box_head)
    return parts


class _Pyramid(nn.Module):
    """`[N, 3, H, W]` to maps of `width` channels at strides 4, 8, 16, 32, and 64 for proposals alone."""

    def __init__(self, network: Any, width: int) -> None:
        super().__init__()
        info = [dict(level) for level in network.feature_info]
        stride_at = [level["reduction"] for level in info]
        if not set(STRIDES) <= set(stride_at):
            raise ArgumentError(
                f"a pyramid needs maps of stride {', '.join(map(str, STRIDES))}, and the network has "
                f"{', '.join(map(str, stride_at))}; use a ResNet with the usual stem"
            )
        # the last level of a stride is the one with the most layers behind it
        self.levels = [max(i for i, stride in enumerate(stride_at) if stride == wanted) for wanted in STRIDES]
        self.network = network
        channels = [info[i]["num_chs"] for i in self.levels]
        self.pyramid = FeaturePyramidNetwork(channels, width, extra_blocks=LastLevelMaxPool())
        self.out_channels = width

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        maps = self.network.forward_intermediates(x, indices=self.levels, intermediates_only=True)
        named: OrderedDict[str, Tensor] = self.pyramid(OrderedDict((str(i), each) for i, each in enumerate(maps)))
        return named


class _C4(nn.Module):
    """The stages of a timm ResNet up to stride 16."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        if not all(hasattr(network, name) for name in ("conv1", "bn1", "act1", "maxpool", "layer3", "layer4")):
            raise ArgumentError(f"style 'c4' takes a ResNet of timm's, not a {type(network).__name__}; use 'fpn'")
        stages = [network.conv1, network.bn1, network.act1, network.maxpool, *_stages(network, (1, 2, 3))]
        self.network = nn.Sequential(*stages)
        self.out_channels = int(network.feature_info[-2]["num_chs"])

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict([("0", self.network(x))])


class _LastStage(nn.Module):
    """The last stage of a ResNet on regions, `[R, C, 14, 14]` to `[R, D]`."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.layer4 = network.layer4

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(nn.functional.adaptive_avg_pool2d(self.layer4(x), 1), 1)


def _stages(network: Any, numbers: Sequence[int]) -> list[nn.Module]:
    return [getattr(network, f"layer{number}") for number in numbers]
