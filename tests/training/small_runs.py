"""Runs of seconds on one core: digits, a network of eight channels, and every method on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from cpchub_training import data, recipes
from cpchub_training.recipes import BankSettings, MoCoSettings, Recipe
from cpchub_training.run import loop
from cpchub_training.views.settings import Views

METHODS = ("simclr", "moco_v2", "instdisc", "inva_spread", "cmc", "sup_con")
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}
ONE_VIEW = {"n_views": 1, "bank": BankSettings(negatives=8)}
ONLY_OF: dict[str, dict[str, object]] = {
    "instdisc": {"n_views": 1, "bank": BankSettings(negatives=8, proximal=1.0)},
    "sup_con": {"optimizer": "adamw", "lr": 0.002},
    "cmc": {
        **ONE_VIEW,
        "backbone": "colour_paths",
        "backbone_args": {"path": "resnet18", "path_args": TINY, "space": "ycbcr"},
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
    },
}


def small(method: str = "simclr", **changes: object) -> Recipe:
    """Seconds on one core: 64 digits, a network of 8 channels."""
    recipe = replace(
        recipes.get("simclr_digits"),
        name=f"tiny_{method}",
        method=method,
        backbone_args=TINY,
        views=Views(size=16, crop_scale=(0.7, 1), flip=0, jitter_p=0, grey_p=0, rotation=10),
        input_size=16,
        projector_hidden=16,
        projector_dim=8,
        moco=MoCoSettings(queue_size=48, bn_splits=2),
        optimizer="sgd",
        lr=0.3,
        epochs=3,
        batch_size=16,
        warmup_epochs=1,
        knn_every=1,
    )
    return replace(recipe, **{**ONLY_OF.get(method, {}), **changes})


def some_digits(n: int = 64) -> data.Images:
    import numpy as np

    return data.digits().subset(np.arange(n))


def weight(result: loop.Result) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in result.backbone.parameters()])


def weights(run_dir: Path) -> bytes:
    return (run_dir / "checkpoints" / "last.safetensors").read_bytes()
