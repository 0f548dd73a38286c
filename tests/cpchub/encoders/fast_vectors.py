"""Vectors of the fast path that an encoder takes, and of its plain network, for the same images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from cpchub.encoders.encoder import Encoder
from tests.cpchub.images import an_image

LONG = 50_000  # images, enough for MNN


def seen_data(model: Any) -> Any:
    """A network whose batch norms have statistics and weights of their own."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.running_mean, module.bias):
                    tensor.normal_(0, 0.2, generator=generator)
                for tensor in (module.running_var, module.weight):
                    tensor.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def vectors(encoder: Encoder, *, images: int = 10, count: int = 6) -> tuple[str, np.ndarray]:
    embedder = encoder.embedder(images)
    found = embedder.encode([embedder.prepare(an_image(n, (90, 70))) for n in range(count)])
    embedder.close()
    return embedder.path, found


def exactly(encoder: Encoder, count: int = 6) -> np.ndarray:
    return encoder.encode([an_image(n, (90, 70)) for n in range(count)], normalize=True)
