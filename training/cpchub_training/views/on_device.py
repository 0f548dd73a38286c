"""Copy values to a device without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def constant_like(x: Tensor, values: Sequence[Any]) -> Tensor:
    """`values` as a tensor on the device of `x`. `torch.tensor(values, device=...)` would wait until the GPU is
    idle."""
    return torch.tensor(values).to(x.device, non_blocking=True)


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Copy to the device. A GPU copies from pinned memory while it computes; a plain copy would wait until it is
    idle."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
