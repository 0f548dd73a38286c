"""What is watched while training: the lines of `metrics.jsonl`, the same in TensorBoard, and kNN accuracy.

These are for the person at the screen. Published numbers come from `training.evaluate` on the finished encoder.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from cpchub.fewlabels import KNNClassifier
from cpchub.files import replacing
from training.data import Pictures

if TYPE_CHECKING:
    from training.recipes import Recipe


class Metrics:
    """Appends to `metrics.jsonl` and TensorBoard; on resume, lines after the checkpoint are dropped first."""

    def __init__(self, run_dir: Path | None, from_step: int) -> None:
        self.path = run_dir / "metrics.jsonl" if run_dir else None
        self.board: Any = None
        if run_dir is None or self.path is None:
            return
        if self.path.exists():
            kept = [x for x in self.path.read_text().splitlines() if _step(x) <= from_step]
            with replacing(self.path) as partial:
                partial.write_text("".join(x + "\n" for x in kept))
        from torch.utils.tensorboard import SummaryWriter

        self.board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=from_step + 1)

    def write(self, line: dict[str, Any]) -> None:
        if self.path is None:
            return
        with self.path.open("a") as f:
            f.write(json.dumps(line) + "\n")
        for name, value in line.items():
            if name not in ("step", "epoch"):
                self.board.add_scalar(name, value, line["step"])

    def close(self) -> None:
        if self.board is not None:
            self.board.close()


def _step(line: str) -> float:
    """The step of a line; infinite for one that was cut off when the run was killed."""
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return math.inf


def knn_accuracy(
    backbone: nn.Module, pictures: Pictures, recipe: Recipe, device: torch.device, bank: int = 8000, queries: int = 2000
) -> float:
    """kNN accuracy (k=200, T=0.1) of up to `queries` training pictures against up to `bank` others. No test data."""
    queries = min(queries, len(pictures) // 5)
    bank = min(bank, len(pictures) - queries)
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))[: bank + queries]
    x, y = features(backbone, pictures.images[order], recipe, device), pictures.class_of_each()[order.numpy()]
    knn = KNNClassifier(k=min(200, bank), temperature=0.1).fit(x[:bank], y[:bank])
    return float(knn.score(x[bank:], y[bank:]))


@torch.no_grad()
def features(
    backbone: nn.Module, images: torch.Tensor, recipe: Recipe, device: torch.device, batch: int = 500
) -> np.ndarray:
    """Features `[N, D]` float32 of uint8 pictures at the recipe's input size, in eval mode, whatever mode it was in."""
    was_training = backbone.training
    backbone.eval()
    mean = torch.tensor(recipe.mean, device=device).reshape(1, 3, 1, 1)
    std = torch.tensor(recipe.std, device=device).reshape(1, 3, 1, 1)
    side = (recipe.input_size, recipe.input_size)
    rows = []
    for part in images.split(batch):
        x = part.to(device).float() / 255
        if x.shape[-2:] != side:
            x = F.interpolate(x, size=side, mode="bilinear", align_corners=False, antialias=True)
        rows.append(backbone(((x - mean) / std).contiguous(memory_format=torch.channels_last)).float().cpu())
    backbone.train(was_training)
    return torch.cat(rows).numpy()
