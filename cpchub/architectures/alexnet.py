"""AlexNet with batch norm, of any width: each half of CMC's AlexNet is one of half the width.

Layers and names are those of the official code (HobbitLong/CMC, `models/alexnet.py`): five blocks of convolution, batch
norm and ReLU, three of them with pooling, then fc6 and fc7. Its fc8, which projects to the 128 numbers of the loss, has
no place here. The paper evaluates the maps of the blocks; `fully_connected=True` adds fc6 and fc7 behind them.
"""

from __future__ import annotations

from typing import Any

from timm.layers import ClassifierHead
from timm.models import build_model_with_cfg, checkpoint, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD
from cpchub.errors import ArgumentError

BLOCKS = (  # channels, kernel, stride, padding, pooled; without padding, 224 pixels give maps of 27, 13, 13, 13 and 6
    (96, 11, 4, 2, True),
    (256, 5, 1, 2, True),
    (384, 3, 1, 1, False),
    (384, 3, 1, 1, False),
    (256, 3, 1, 1, True),
)
REDUCTIONS = (8, 16, 16, 16, 32)
HIDDEN = 4096  # the length of fc6 and of fc7
FC6_SIDE = 6  # of the map that fc6 reads


class AlexNet(nn.Module):
    """`[B, in_chans, H, W]` to a map `[B, 256 * width, h, w]`, 6 x 6 for images of 224 pixels.

    width: a factor on every layer; 64 times the width must be a whole number.
    fully_connected: the vector is that of fc7, `4096 * width` long, read off a map averaged to 6 x 6 where it is not.
    """

    def __init__(
        self,
        width: float = 1.0,
        fully_connected: bool = False,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if width <= 0 or 64 * width % 1:
            raise ArgumentError(f"width is {width!r}; 64 times the width must be a whole number above 0")
        self.num_classes, self.in_chans = num_classes, in_chans
        self.grad_checkpointing = False
        self.feature_info: list[dict[str, Any]] = []
        before = in_chans
        for number, ((full, kernel, stride, padding, pooled), reduction) in enumerate(
            zip(BLOCKS, REDUCTIONS, strict=True), start=1
        ):
            channels = round(full * width)
            layers: list[nn.Module] = [
                nn.Conv2d(before, channels, kernel, stride, padding, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            self.add_module(f"conv_block_{number}", nn.Sequential(*layers, *([nn.MaxPool2d(3, 2)] if pooled else [])))
            self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": f"conv_block_{number}"})
            before = channels
        self.num_features = before
        self.fully_connected = fully_connected
        self.hidden_size = round(HIDDEN * width) if fully_connected else before
        if fully_connected:
            self.fc6 = _dense(before * FC6_SIDE**2, self.hidden_size)
            self.fc7 = _dense(self.hidden_size, self.hidden_size)
        self.head: Any = ClassifierHead(self.hidden_size, num_classes, global_pool, drop_rate)
        self.head_hidden_size = self._pooled_width()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks that pruning has left."""
        named = (getattr(self, f"conv_block_{number}", None) for number in range(1, len(BLOCKS) + 1))
        return [block for block in named if block is not None]

    def hidden(self, x: Tensor) -> Tensor:
        """What the head pools: the map, or `[B, hidden_size, 1, 1]` behind fc6 and fc7."""
        if not self.fully_connected:
            return x
        if x.shape[-2:] != (FC6_SIDE, FC6_SIDE):
            x = adaptive_avg_pool2d(x, FC6_SIDE)
        vector: Tensor = self.fc7(self.fc6(x.flatten(1)))
        return vector[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = self._run(block, x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool `[B, D, h, w]`, behind fc7 where there is one; then classify it, unless `pre_logits`."""
        pooled: Tensor = self.head(self.hidden(x), pre_logits=pre_logits)
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
        """The maps of the five blocks; arguments and result as timm's. There is no last norm for `norm` to apply."""
        if output_fmt != "NCHW":
            raise ArgumentError(f"output_fmt is {output_fmt!r}; this network has NCHW maps")
        taken, last = feature_take_indices(len(self.feature_info), indices)
        maps = []
        for index, block in enumerate(self.blocks[: last + 1] if stop_early else self.blocks):
            x = self._run(block, x)
            if index in taken:
                maps.append(x)
        return maps if intermediates_only else (x, maps)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what the intermediates of these indices do not need; returns the indices, counted from the front."""
        taken, last = feature_take_indices(len(self.feature_info), indices)
        shortened = last < len(self.feature_info) - 1
        for info in self.feature_info[last + 1 :]:
            delattr(self, info["module"])
        if prune_head or shortened:
            if self.fully_connected:
                del self.fc6, self.fc7
                self.fully_connected = False
            self.num_features = self.hidden_size = self.head.in_features = self.feature_info[last]["num_chs"]
            self.reset_classifier(0, "")
        return list(taken)

    def get_classifier(self) -> nn.Module:
        classifier: nn.Module = self.head.fc
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)
        self.head_hidden_size = self._pooled_width()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of parameter names, from the input to the output, for layer-wise learning rates."""
        return {"stem": r"^conv_block_1\.", "blocks": [(r"^conv_block_(\d+)", None), (r"^fc(\d)", (99,))]}

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        result: Tensor = checkpoint(block, x) if self.grad_checkpointing and self.training else block(x)
        return result

    def _pooled_width(self) -> int:
        return int(self.hidden_size * self.head.global_pool.feat_mult())


def _dense(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True))


default_cfgs = generate_default_cfgs(
    {
        "alexnet_bn.untrained": {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (6, 6),
            "crop_pct": 0.875,
            "interpolation": "bicubic",
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
            "first_conv": "conv_block_1.0",
            "classifier": "head.fc",
        }
    }
)


@register_model
def alexnet_bn(pretrained: bool = False, **kwargs: Any) -> AlexNet:
    """AlexNet with batch norm, 256-d, or 4096-d with `fully_connected=True`."""
    return build_model_with_cfg(AlexNet, "alexnet_bn", pretrained, feature_cfg={"feature_cls": "getter"}, **kwargs)
