"""Training a whole network on labelled images in memory: what fine-tuning and training from scratch share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from cpchub.encoders.fast.quick_conv import use_fast_weight_gradients

Views = Callable[[Tensor, Generator], Tensor]  # uint8 [B, C, H, W] -> float [B, C, side, side] in 0..1


@dataclass(frozen=True)
class Schedule:
    """AdamW with linear warm-up and a cosine down to zero; every step draws `batch_size` labelled images anew.

    lr is that of the classifier; the network before it learns at `backbone_lr` times it. `warmup` is a share of the
    steps.
    """

    steps: int = 200
    batch_size: int = 64
    lr: float = 5e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    backbone_lr: float = 1.0

    def rate(self, step: int) -> float:
        """The share of the learning rate at `step`."""
        warmup = int(self.warmup * self.steps)
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self.steps - warmup)))


def train(
    backbone: nn.Module,
    head: nn.Module,
    images: Tensor,
    codes: Tensor,
    plan: Schedule,
    *,
    views: Views,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    seed: int = 0,
    after_step: Callable[[], object] = lambda: None,
) -> None:
    """Train `backbone` and `head` in place by cross-entropy.

    images: uint8 `[N, C, H, W]`, codes: class numbers int64 `[N]`, both on the device of the network; mean and std are
    those of the network's input. The draws and views depend on `seed` alone.
    """
    device = images.device
    groups = [
        {"params": list(head.parameters()), "share": 1.0},
        {"params": [p for p in backbone.parameters() if p.requires_grad], "share": plan.backbone_lr},
    ]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=plan.lr, weight_decay=plan.weight_decay)
    generator = torch.Generator(device=device).manual_seed(seed)
    centre, spread = (torch.tensor(v, device=device).reshape(1, -1, 1, 1) for v in (mean, std))
    use_fast_weight_gradients(backbone)
    backbone.train()
    head.train()
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * group["share"] * plan.rate(step)
        drawn = torch.randint(len(images), (plan.batch_size,), generator=generator, device=device)
        x = ((views(images[drawn], generator) - centre) / spread).contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(head(backbone(x)), codes[drawn])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after_step()
    backbone.eval()
    head.eval()


@torch.inference_mode()
def predict_proba(
    backbone: nn.Module,
    head: nn.Module,
    images: Tensor,
    *,
    side: tuple[int, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    batch_size: int = 500,
) -> npt.NDArray[np.float32]:
    """Class probabilities `[N, C]` of uint8 images `[N, C, H, W]`, shown at `side` (height, width)."""
    device = next(head.parameters()).device
    centre, spread = (torch.tensor(v, device=device).reshape(1, -1, 1, 1) for v in (mean, std))
    rows = []
    for part in images.split(batch_size):
        x = part.to(device).float() / 255
        if x.shape[-2:] != torch.Size(side):
            x = F.interpolate(x, size=side, mode="bilinear", align_corners=False, antialias=True)
        x = ((x - centre) / spread).contiguous(memory_format=torch.channels_last)
        rows.append(head(backbone(x)).softmax(dim=1).cpu())
    return torch.cat(rows).numpy()


def flip_and_shift(side: int) -> Views:
    """The mildest views of photos: mirrored half of the time, moved by up to an eighth of the side."""

    def views(images: Tensor, generator: Generator) -> Tensor:
        n = len(images)
        sign = 1 - 2 * (torch.rand(n, device=images.device, generator=generator) < 0.5).float()
        shift = (torch.rand(n, 2, device=images.device, generator=generator) - 0.5) / 2  # of a half side
        theta = images.new_zeros((n, 2, 3), dtype=torch.float32)
        theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = sign, 1, shift
        grid = F.affine_grid(theta, [n, 1, side, side], align_corners=False)
        x = images.float() / 255
        if max(x.shape[2:]) > side:  # as at test time: grid_sample would leave pixels out
            x = F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    return views
