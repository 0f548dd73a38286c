"""A checkpoint is one safetensors file: every tensor of the run by name, everything else as JSON in its header.

There is no pickle. The file is written under a temporary name, flushed and renamed, so a run that is killed keeps its
last complete checkpoint. A resumed run ends with the same bits as one that was never stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn as nn
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from cpchub.common.files import PARTIAL, replacing, save_tensors, writing
from cpchub.errors import NoSpaceError, RunError
from cpchub_training.losses.ranks import rank

FORMAT = 1
_OF_THE_DEVICE = ("fused", "foreach")  # settings of optimizers that follow the machine, not the run


def save(path: Path, modules: Mapping[str, nn.Module], optimizer: Optimizer, progress: dict[str, Any]) -> None:
    """Write the modules by name, the optimizer and `progress` (JSON values, such as the step) to `path`, atomically."""
    write(path, *collected(modules, optimizer, progress))


def collected(
    modules: Mapping[str, nn.Module], optimizer: Optimizer, progress: dict[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a checkpoint by name, and the rest of it.

    What ranks hold parts of is gathered, on rank 0 alone, in the memory of the CPU; all ranks have to call this.
    """
    whole = {f"{m}.{k}": _whole(v) for m, module in modules.items() for k, v in module.state_dict().items()}
    tensors = {name: value for name, value in whole.items() if value is not None}
    state = optimizer.state_dict()
    plain: dict[str, Any] = {"param_groups": state["param_groups"], "state": {}}
    for i, slots in state["state"].items():
        for key, value in slots.items():
            if isinstance(value, Tensor):
                if (gathered := _whole(value)) is not None:
                    tensors[f"optimizer.{i}.{key}"] = gathered
            else:
                plain["state"].setdefault(str(i), {})[key] = value
    return tensors, {"format": FORMAT, "optimizer": plain, "progress": progress}


def _whole(value: Tensor) -> Tensor | None:
    """The tensor; None for one that ranks hold parts of, on every rank but the first."""
    if not isinstance(value, DTensor):
        return value.contiguous()
    gathered = value.full_tensor()
    return gathered.contiguous().cpu() if rank() == 0 else None


def write(path: Path, tensors: Mapping[str, Tensor], header: dict[str, Any]) -> None:
    """Write what `collected` gave to `path`, atomically."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{path.name}.*{PARTIAL}"):
            left.unlink()  # left by a run that was killed while saving
    try:
        with replacing(path) as partial:
            save_tensors(dict(tensors), partial, {"cpchub": json.dumps(header)})
    except SafetensorError as e:  # how safetensors reports what the system said
        raise NoSpaceError(f"the checkpoint {path} could not be written ({e}); the one before it is intact") from e


def load(path: Path, modules: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Restore what `save` wrote into the modules, in place; returns `progress`."""
    with _opened(path) as (f, header):
        names = [name for name in f.keys() if not name.startswith("optimizer.")]  # noqa: SIM118  (not a dict)
        tensors = {name: f.get_tensor(name) for name in names}
    for name, module in modules.items():
        mine = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        try:
            module.load_state_dict(mine)
        except RuntimeError as e:
            raise RunError(f"the checkpoint {path} is of another network: {e}") from e
    return cast("dict[str, Any]", header["progress"])


def load_optimizer(path: Path, optimizer: Optimizer) -> None:
    """Restore what `save` wrote into the optimizer; of parameters that ranks hold parts of, each its own parts."""
    with _opened(path) as (f, header):
        names = [name for name in f.keys() if name.startswith("optimizer.")]  # noqa: SIM118  (not a dict)
        tensors = {name: f.get_tensor(name) for name in names}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {int(i): dict(slots) for i, slots in header["optimizer"]["state"].items()}
    for name, value in tensors.items():
        _, i, key = name.split(".", 2)
        like = parameters[int(i)]
        if isinstance(like, DTensor) and value.shape == like.shape:
            value = distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
        state.setdefault(int(i), {})[key] = value
    groups = [
        saved | {flag: mine[flag] for flag in _OF_THE_DEVICE if flag in mine}
        for saved, mine in zip(header["optimizer"]["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, slots in optimizer.state.items():
        for key, value in slots.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:  # fused kernels ask for one memory format
                slots[key] = torch.empty_like(parameter).copy_(value)


def progress(path: Path) -> dict[str, Any]:
    """What `load` returns; no tensor is read."""
    with _opened(path) as (_, header):
        return cast("dict[str, Any]", header["progress"])


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Open the file and return it with its header; the format must be one that this version reads."""
    try:
        with safe_open(path, framework="pt") as f:
            header = json.loads((f.metadata() or {})["cpchub"])
            if header["format"] != FORMAT:
                raise RunError(f"the checkpoint {path} has format {header['format']}, this version reads {FORMAT}")
            yield f, header
    except (OSError, SafetensorError, KeyError, ValueError) as e:
        raise RunError(f"the checkpoint {path} cannot be read ({e}); delete it to start the run again") from e


def shapes(path: Path) -> dict[str, list[int]]:
    """The shape of every tensor in a checkpoint, by name; no tensor is read."""
    try:
        with safe_open(path, framework="pt") as f:
            return {name: f.get_slice(name).get_shape() for name in f.keys()}  # noqa: SIM118  (not a dict)
    except (OSError, SafetensorError) as e:
        raise RunError(f"the checkpoint {path} cannot be read ({e}); train the run again") from e
