"""The projection head that the contrastive methods put on the encoder and throw away afterwards."""

from __future__ import annotations

import torch.nn as nn


def projector(in_features: int, hidden: int, out_features: int) -> nn.Sequential:
    """Linear, batch norm, ReLU, linear: the head of SimCLR v1 (arXiv 2002.05709, section 4.2)."""
    return nn.Sequential(
        nn.Linear(in_features, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, out_features),
    )
