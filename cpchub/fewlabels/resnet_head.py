"""The classifier of CPC v2 on frozen feature maps: eleven bottleneck blocks, then a linear layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from cpchub.encoders.fast.quick_conv import use_fast_weight_gradients
from cpchub.errors import ArgumentError, LabelError
from cpchub.fewlabels.base import FLOATS, Array, check_classes
from cpchub.fewlabels.network_training import Schedule

PAPER = {"blocks": 11, "width": 4096, "bottleneck": 1024}  # 196 million parameters


class ResNetHead(ClassifierMixin, BaseEstimator):
    """A ResNet over the last feature maps of a frozen encoder, `[N, D, h, w]` (or `[N, D]`, maps of one position).

    Hénaff et al., "Data-Efficient Image Recognition with Contrastive Predictive Coding" (arXiv 1905.09272): eleven
    pre-activation bottleneck blocks; `PAPER` has the sizes there, the defaults fit encoders of some hundred channels.

    blocks, width, bottleneck: their number, channels between and inside them; width None is D (at most 512),
        bottleneck None a quarter of it.
    dropout: before the linear layer. mirror: whether maps are mirrored half of the time, as the images would be.
    steps, batch_size, lr, weight_decay: AdamW with warm-up and cosine.
    random_state: seed of the weights and draws.
    """

    def __init__(
        self,
        blocks: int = 11,
        width: int | None = None,
        bottleneck: int | None = None,
        *,
        dropout: float = 0.2,
        mirror: bool = True,
        steps: int = 300,
        batch_size: int = 128,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        random_state: int = 0,
        device: str | None = None,
    ) -> None:
        self.blocks = blocks
        self.width = width
        self.bottleneck = bottleneck
        self.dropout = dropout
        self.mirror = mirror
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any) -> ResNetHead:
        """Train on feature maps and labels `[N]`. Raises LabelError on a single class."""
        if self.blocks < 1 or self.steps < 1:
            raise ArgumentError(f"blocks={self.blocks}, steps={self.steps}: both must be at least 1")
        X, y = validate_data(self, X, y, dtype=(*FLOATS, np.float16), allow_nd=True)
        check_classes(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise LabelError(f"labels of one class only ({self.classes_[0]}); label at least one of a second class")
        maps, self._centre, self._scale = self._standardised(X)
        torch.manual_seed(self.random_state)
        self.network_ = head(maps.shape[1], len(self.classes_), self.blocks, self.width, self.bottleneck, self.dropout)
        self.network_ = self.network_.to(self.device)
        self._train(maps, torch.from_numpy(codes))
        return self

    @torch.inference_mode()
    def predict_proba(self, X: Any) -> Array:
        """Class probabilities `[N, len(classes_)]` of feature maps."""
        check_is_fitted(self, "network_")
        X = validate_data(self, X, dtype=(*FLOATS, np.float16), allow_nd=True, reset=False)
        rows = []
        for start in range(0, len(X), 500):
            x = (_maps(X[start : start + 500]) - self._centre) / self._scale
            rows.append(self.network_(x.to(self.device)).softmax(dim=1).cpu())
        return torch.cat(rows).numpy()

    def predict(self, X: Any) -> Array:
        """The most probable class of each map, `[N]`."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def _standardised(self, X: Array) -> tuple[Tensor, Tensor, Tensor]:
        """Maps with mean 0 and variance 1 in every channel, and what was taken off and divided by."""
        maps = _maps(X)
        centre = maps.mean(dim=(0, 2, 3), keepdim=True)
        scale = maps.std(dim=(0, 2, 3), keepdim=True, correction=0)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return (maps - centre) / scale, centre, scale

    def _train(self, maps: Tensor, codes: Tensor) -> None:
        plan = Schedule(self.steps, self.batch_size, self.lr, self.weight_decay)
        optimizer = torch.optim.AdamW(self.network_.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
        generator = torch.Generator().manual_seed(self.random_state)
        use_fast_weight_gradients(self.network_)
        self.network_.train()
        for step in range(plan.steps):
            for group in optimizer.param_groups:
                group["lr"] = plan.lr * plan.rate(step)
            drawn = torch.randint(len(maps), (plan.batch_size,), generator=generator)
            x = maps[drawn]
            if self.mirror:
                flipped = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
                x = torch.where(flipped, x.flip(3), x)
            loss = F.cross_entropy(self.network_(x.to(self.device)), codes[drawn].to(self.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.network_.eval()


def head(
    channels: int, classes: int, blocks: int, width: int | None, bottleneck: int | None, dropout: float
) -> nn.Sequential:
    """The network: maps `[N, channels, h, w]` to logits `[N, classes]`."""
    from timm.layers import create_conv2d, get_norm_act_layer
    from timm.models.resnetv2 import PreActBottleneck

    width = width or min(channels, 512)
    ratio = (bottleneck or max(1, width // 4)) / width
    norm = get_norm_act_layer("groupnorm1", act_layer="relu")
    entry: list[nn.Module] = [] if channels == width else [nn.Conv2d(channels, width, kernel_size=1)]
    body = [
        PreActBottleneck(width, width, bottle_ratio=ratio, conv_layer=create_conv2d, norm_layer=norm)
        for _ in range(blocks)
    ]
    for block in body:
        nn.init.zeros_(block.conv3.weight)  # a new block changes nothing, so eleven train as easily as one
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout)]
    return nn.Sequential(*entry, *body, norm(width), *pool, nn.Linear(width, classes))


def _maps(X: Array) -> Tensor:
    """`[N, D, h, w]` or `[N, D]` as a float tensor `[N, D, h, w]`."""
    if X.ndim not in (2, 4):
        raise ArgumentError(f"features of shape {X.shape} are neither maps [N, D, h, w] nor vectors [N, D]")
    maps = torch.from_numpy(np.ascontiguousarray(X, dtype=np.float32))
    return maps if maps.ndim == 4 else maps[:, :, None, None]
