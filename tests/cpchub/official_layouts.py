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


def _swav(state: State) -> dict[str, Tensor]:
    heads = {"projection_head.0.weight": torch.empty(2048, 2048), "prototypes.weight": torch.empty(3000, 128)}
    return _under("module.", {**state, **heads})


def _simsiam(state: State) -> dict[str, Tensor]:
    heads = {"encoder.fc.6.weight": torch.empty(2048, 2048), "predictor.0.weight": torch.empty(512, 2048)}
    return _under("state_dict/module.encoder.", state) | _under("state_dict/module.", heads)


def _pycontrast(state: State) -> dict[str, Tensor]:
    """One network, or those of lightness and colour."""
    single = "conv1.weight" in state
    halves = {re.sub(r"^paths\.([01])\.", lambda path: f"encoder{int(path[1]) + 1}.", name): value
              for name, value in state.items()}  # fmt: skip
    heads = {f"{name}.0.weight": torch.empty(128, 2048) for name in (("head",) if single else ("head1", "head2"))}
    return _under("model/module.", {**(_under("encoder.", state) if single else halves), **heads})


def _under(prefix: str, state: State) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


LAYOUTS: dict[str, Callable[[State], dict[str, Tensor]]] = {
    "moco": _moco,
    "moco-v3": _moco_v3,
    "vissl": lambda state: _under(_TRUNK, state),
    "lightly": _lightly,
    "bolts-simclr": _bolts_simclr,
    "bolts-cpc": _bolts_cpc,
    "swav": _swav,
    "simsiam": _simsiam,
    "pycontrast": _pycontrast,
    "torchvision": dict,
}
