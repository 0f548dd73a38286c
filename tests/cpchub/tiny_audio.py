"""A very small network for sound, and a waveform for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import timm
import torch

TINY = {"channels": 6, "context": 5, "strides": [5, 4], "kernels": [10, 8], "paddings": [2, 2]}


def network(**kwargs: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model("cpc_audio", **{**TINY, **kwargs}).eval()


def waveform(samples: int = 300, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=samples).astype(np.float32) / 10
