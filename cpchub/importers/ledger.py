"""The account of a checkpoint's tensors: each is taken or dropped, once, and none is forgotten."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor

from cpchub.errors import ImportFormatError
from cpchub.importers.format import Checkpoint, Conversion, Facts

OPTIMISER = "the state of the optimiser"
CLASSIFIER = "a classifier, trained beside the encoder"
PROJECTION = "the projection head, which the paper discards after training"
NO_PART = "no part of the encoder"
_WORDS = re.compile(r"[\w .,:+=-]{1,60}")  # no path, no link, no markup: it goes into a card that others read
_ELSEWHERE = {  # what checkpoints of every kind have beside the network
    "optimizer": OPTIMISER,
    "optimizer_states": OPTIMISER,
    "lr_schedulers": OPTIMISER,
    "scheduler": OPTIMISER,
    "scaler": OPTIMISER,
    "amp": OPTIMISER,
    "callbacks": "the state of the training loop",
    "loops": "the state of the training loop",
    "hyper_parameters": "a setting of the training",
}


class Ledger:
    """What a format does with the tensors of one checkpoint, written down as it goes."""

    def __init__(self, checkpoint: Checkpoint, format_name: str) -> None:
        self.checkpoint = checkpoint
        self.format_name = format_name
        self._open = dict.fromkeys(checkpoint.tensors)
        self._dropped: dict[str, str] = {}

    def names(self, prefix: str) -> list[str]:
        """What is left under a prefix, without the prefix."""
        return [name.removeprefix(prefix) for name in self._open if name.startswith(prefix)]

    def drop(self, prefix: str, reason: str) -> None:
        """Leave out whatever is still there under a prefix, or is called so."""
        for name in [name for name in self._open if name.startswith(prefix)]:
            del self._open[name]
            self._dropped[name] = reason

    def take(self, prefix: str, rename: Callable[[str], str] = lambda name: name) -> Taken:
        """Claim the remaining tensors under `prefix`. `rename` maps each name, without the prefix, to the network's
        parameter name."""
        taken: dict[str, str] = {}
        for name in [name for name in self._open if name.startswith(prefix)]:
            del self._open[name]
            new = rename(name.removeprefix(prefix))
            if new in taken:
                raise self.error(f"{name} and {taken[new]} would both be {new}")
            taken[new] = name
        return Taken(self.checkpoint, taken)

    def plan(
        self,
        architecture: str,
        model_args: Mapping[str, Any],
        taken: Taken,
        facts: Facts,
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> Conversion:
        """The plan, with what is still left dropped."""
        for top, reason in _ELSEWHERE.items():
            self.drop(f"{top}/", reason)
        self.drop("", NO_PART)
        used = {name: new for new, name in taken.sources.items()}
        return Conversion(architecture, model_args, taken.tensors(), used, dict(self._dropped), facts, settings)

    def error(self, problem: str) -> ImportFormatError:
        """An error that names the file and the format."""
        return ImportFormatError(f"{self.checkpoint.path.name} cannot be imported as {self.format_name}: {problem}")


class Taken:
    """Tensors taken for the network: `sources` has the checkpoint's name for each of the network's."""

    def __init__(self, checkpoint: Checkpoint, sources: Mapping[str, str]) -> None:
        self.checkpoint = checkpoint
        self.sources = dict(sources)
        self.shapes = {new: tuple(checkpoint.tensors[name].shape) for new, name in sources.items()}

    def tensors(self) -> dict[str, Tensor]:
        return {new: self.checkpoint.tensors[name] for new, name in self.sources.items()}

    def under(self, prefix: str) -> Taken:
        """The part of it under a prefix, named without the prefix."""
        inside = {new: name for new, name in self.sources.items() if new.startswith(prefix)}
        return Taken(self.checkpoint, {new.removeprefix(prefix): name for new, name in inside.items()})


def has(checkpoint: Checkpoint, *prefixes: str) -> bool:
    """Whether there is a tensor under each of the prefixes."""
    return all(any(name.startswith(prefix) for name in checkpoint.tensors) for prefix in prefixes)


def training_settings(checkpoint: Checkpoint, *groups: str) -> dict[str, Any]:
    """Numbers and short texts of the file about its training, for recipe.json; no paths, no names of machines.

    groups: names of the top level whose fields are settings, for example "opt".
    """
    private = ("dir", "path", "folder", "file", "url", "host", "user", "key", "token", "root", "resume", "save", "log")
    found: dict[str, Any] = {}
    sources = [{name: checkpoint.meta.get(name) for name in ("epoch", "arch")}]
    sources += [group for name in groups if isinstance(group := checkpoint.meta.get(name), dict)]
    for source in sources:
        for name, value in source.items():
            number = isinstance(value, (bool, int, float)) and math.isfinite(value)  # JSON has no others
            plain = number or (isinstance(value, str) and _WORDS.fullmatch(value))
            if plain and _WORDS.fullmatch(name) and not any(word in name.lower() for word in private):
                found[name] = value
    return found
