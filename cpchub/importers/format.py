"""What a checkpoint is once it has been read, and what a format has to say about it.

A format is one layout in which somebody's code saves its networks. It recognises the layout by the names of the
tensors, finds the network they belong to, and accounts for every tensor: used under a name of timm's, or dropped with
a reason. It computes nothing; `import_checkpoint` does the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD

UNNAMED_DATA = "unnamed images"
# torch.compile, FullyShardedDataParallel and checkpoint_wrapper
_WRAPPED = re.compile(r"(^|[./])(?:(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)[./])+")


@dataclass(frozen=True)
class Checkpoint:
    """A file's tensors by the way to them, joined with "/" (`state_dict/module.conv1.weight`), and its other values.

    tensors: views of the file, read when they are used.
    meta: what else the top level holds (`epoch`, `arch`, `opt`), as plain values; objects are dictionaries of their
        fields. Nested tensors are in `tensors`, not here.
    container: "pickle", "safetensors" or "tensorflow".

    What torch puts around a network that was compiled or sharded (`_orig_mod.`) is left out of the names, wherever it
    stands: the network is the same.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    meta: Mapping[str, Any] = field(default_factory=dict)
    container: str = "pickle"

    def __post_init__(self) -> None:
        bare = {name: _WRAPPED.sub(r"\1", name) for name in self.tensors}
        if len(set(bare.values())) < len(bare) or all(name == without for name, without in bare.items()):
            return  # the file holds a network both with and without, or there is nothing to leave out
        object.__setattr__(self, "tensors", {without: self.tensors[name] for name, without in bare.items()})


@dataclass(frozen=True)
class Claims:
    """What the user says about the network. It decides what the file leaves open; where it contradicts the file or the
    format, the import is refused."""

    architecture: str | None = None
    patch_size: int | None = None
    stem_padding: int | None = None


NOTHING_CLAIMED = Claims()


@dataclass(frozen=True)
class Facts:
    """What the published encoder states about itself; the fields are those of `cpchub.encoders.model_folder`."""

    method: str
    input_size: tuple[int, int, int] = (3, 224, 224)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    crop_pct: float = 0.875
    data: str = UNNAMED_DATA
    license: str = "unknown"
    limits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # where the file says what was not used, or what is assumed for want of its word
    method_notes: tuple[str, ...] = ()  # why the method is left open; they hold until the user says it


@dataclass(frozen=True)
class Conversion:
    """How a checkpoint becomes a network.

    architecture, model_args: the network, as `timm.create_model` takes it; no head.
    weights: every tensor of that network's state_dict, by its name there.
    used: the checkpoint's tensors that went into `weights`, each with the name it has there.
    dropped: its other tensors, each with the reason, a few words that complete "dropped: ...".
    settings: what the file says about its training, for `recipe.json`; JSON values.
    """

    architecture: str
    model_args: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    used: Mapping[str, str]
    dropped: Mapping[str, str]
    facts: Facts
    settings: Mapping[str, Any] = field(default_factory=dict)


class Format(Protocol):
    """One layout of checkpoints. A new one is a module with a class like this, and its line in `formats.FORMATS`."""

    name: str  # for `--as`
    title: str  # for people: whose code writes it

    def detect(self, checkpoint: Checkpoint) -> float:
        """How sure it is that the file is of this layout: 0 no, 1 yes, less where another format may know better."""
        ...

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        """The conversion; raises ImportFormatError, naming what does not fit, where there can be none."""
        ...
