"""Checkpoints without numbers, in the layouts of the authors: names and shapes alone, as an importer plans by them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

import cpchub.architectures  # noqa: F401  registers the networks
from cpchub.importers.format import Checkpoint, Claims, Conversion
from cpchub.importers.formats.registry import format_of
from tests.cpchub.importers.google_names import numbered

State = Mapping[str, Tensor]
_TRUNK = "classy_state_dict/base_model/model/trunk/_feature_blocks."


def plan(format_name: str, architecture: str, model_args: Mapping[str, Any], claims: Mapping[str, Any]) -> Conversion:
    """What the importer makes of a file with this network in its official layout."""
    with torch.device("meta"):
        network = timm.create_model(architecture, **{**model_args, "num_classes": 0})
        tensors = numbered(network) if format_name == "google-simclr" else LAYOUTS[format_name](network.state_dict())
    container = "tensorflow" if format_name == "google-simclr" else "pickle"
    checkpoint = Checkpoint(Path("official"), tensors, container=container)
    said = Claims(**claims)
    return format_of(checkpoint, format_name, said).plan(checkpoint, said)


def _moco(state: State) -> dict[str, Tensor]:
    head = {"module.encoder_q.fc.0.weight": torch.empty(2048, 2048), "module.queue": torch.empty(128, 65536)}
    return _under("state_dict/module.encoder_q.", state) | {f"state_dict/{name}": value for name, value in head.items()}


def _moco_v3(state: State) -> dict[str, Tensor]:
    momentum = _under("state_dict/module.momentum_encoder.", state)
    return {**_under("state_dict/module.base_encoder.", state), **momentum}


def _lightly(state: State) -> dict[str, Tensor]:
    backbone = "state_dict/backbone.vit." if "cls_token" in state else "state_dict/backbone."
    return _under(backbone, state) | {"state_dict/projection_head.layers.0.weight": torch.empty(8, 8)}


def _bolts_simclr(state: State) -> dict[str, Tensor]:
    return _under("state_dict/encoder.", state) | {"state_dict/projection.model.0.weight": torch.empty(8, 8)}


def _bolts_cpc(state: State) -> dict[str, Tensor]:
    return {f"state_dict/encoder.{re.sub(r'^bn1[.]', 'ln1.', name)}": value for name, value in state.items()}


def _under(prefix: str, state: State) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


LAYOUTS: dict[str, Callable[[State], dict[str, Tensor]]] = {
    "moco": _moco,
    "moco-v3": _moco_v3,
    "vissl": lambda state: _under(_TRUNK, state),
    "lightly": _lightly,
    "bolts-simclr": _bolts_simclr,
    "bolts-cpc": _bolts_cpc,
    "torchvision": dict,
}
