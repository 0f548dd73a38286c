"""Put numbers on a device without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def constant_like(x: Tensor, values: Sequence[Any]) -> Tensor:
    """`values` as a tensor on the device of `x`; `torch.tensor(values, device=...)` would wait for a GPU to be idle."""
    return torch.tensor(values).to(x.device, non_blocking=True)


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """To the device. A GPU fetches it from pinned memory while it works: a plain copy would wait until it is idle."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
