"""The projection heads that the contrastive methods put on the encoder and throw away afterwards."""

from __future__ import annotations

import torch.nn as nn


def projector(in_features: int, hidden: int, out_features: int, layers: int = 2) -> nn.Sequential:
    """The head of SimCLR: two layers for version 1 (arXiv 2002.05709, section 4.2), three for version 2 (2006.10029).

    Linear, batch norm and ReLU between them. The three-layer head ends as google-research/simclr's does, in a linear
    layer without bias and a batch norm without shift.
    """
    if layers == 2:
        return nn.Sequential(*_hidden(in_features, hidden), nn.Linear(hidden, out_features))
    if layers != 3:
        raise ValueError(f"SimCLR's head has 2 layers (version 1) or 3 (version 2), not {layers}")
    last_norm = nn.BatchNorm1d(out_features)
    last_norm.bias.requires_grad_(False)
    last = nn.Linear(hidden, out_features, bias=False)
    return nn.Sequential(*_hidden(in_features, hidden), *_hidden(hidden, hidden), last, last_norm)


def mlp(in_features: int, hidden: int, out_features: int) -> nn.Sequential:
    """Linear, ReLU, linear: the head of MoCo v2 and of SupCon, without batch norm."""
    return nn.Sequential(nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, out_features))


def _hidden(in_features: int, out_features: int) -> list[nn.Module]:
    return [nn.Linear(in_features, out_features, bias=False), nn.BatchNorm1d(out_features), nn.ReLU()]
