"""A very small encoder, exported as a model folder in a blink, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch

from cpchub.encoders.model_folder import write as write_model_folder

MODEL_ARGS = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16], "stem_type": "deep", "stem_width": 4}
DIM = 16

FACTS: dict[str, Any] = {
    "name": "tiny-simclr",
    "method": "SimCLR",
    "data": "random numbers",
    "license": "apache-2.0",
    "architecture": "resnet18",
    "model_args": MODEL_ARGS,
    "input_size": (3, 32, 32),
    "mean": (0.5, 0.45, 0.4),
    "std": (0.25, 0.24, 0.23),
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "summary": "A network that only a test could love.",
}
RECIPE: dict[str, Any] = {"name": "tiny_simclr", "epochs": 1, "data_root": "/somewhere/else/pictures"}
EVALUATION: dict[str, Any] = {
    "format": 1,
    "model": "tiny-simclr",
    "results": [
        {
            "task": "knn",
            "dataset": "CIFAR-10",
            "split": "test",
            "metric": "accuracy",
            "value": 0.6543,
            "std": None,
            "seeds": [0],
            "protocol": "k=200, T=0.1, cosine",
            "config": "knn_k200",
            "labels": 50000,
        }
    ],
}


def tiny_backbone(seed: int = 0, architecture: str = "resnet18", **changes: Any) -> Any:
    """A network whose batch norms have seen data, so that its features depend on every buffer."""
    torch.manual_seed(seed)
    backbone = timm.create_model(architecture, **{"num_classes": 0, **MODEL_ARGS, **changes})
    with torch.no_grad():
        backbone.train()(torch.randn(8, 3, 32, 32))
    return backbone.eval()


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a folder, as the loopback Hub takes them."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def export_tiny(folder: Path, *, seed: int = 0, evaluation: dict[str, Any] | None = EVALUATION, **facts: Any) -> Path:
    """A model folder of a tiny encoder; `facts` change FACTS."""
    return write_model_folder(
        tiny_backbone(seed), folder, facts={**FACTS, **facts}, recipe=RECIPE, evaluation=evaluation
    )
