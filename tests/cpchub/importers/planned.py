"""What an importer plans for given tensors, and what the planned network computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from torch import Tensor

from cpchub.importers.format import Checkpoint, Claims, Conversion, Format


def planned(importer: Format, tensors: Mapping[str, Tensor]) -> Conversion:
    return importer.plan(checkpoint(tensors), Claims())


def checkpoint(tensors: Mapping[str, Tensor], container: str = "pickle") -> Checkpoint:
    return Checkpoint(Path("some.pth"), tensors, container=container)


def features(plan: Conversion, x: Tensor) -> Tensor:
    network = timm.create_model(plan.architecture, num_classes=0, **plan.model_args).eval()
    network.load_state_dict(plan.weights)
    with torch.inference_mode():
        return network(x)


def assert_all_accounted_for(plan: Conversion, tensors: Mapping[str, Tensor]) -> None:
    assert set(plan.used) | set(plan.dropped) == set(tensors)
    assert not set(plan.used) & set(plan.dropped)
    invented = {name for name in plan.weights if name.endswith("num_batches_tracked")}
    assert set(plan.weights) - invented <= set(plan.used.values()) <= set(plan.weights)
