"""What a pickle held, laid flat: tensors by the way to them, and the other values as plain ones."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cpchub.errors import ImportFormatError
from cpchub.importers.readers.calls import Inert, Name
from cpchub.importers.readers.tensors import TensorRecord

_MODULE_PARTS = ("_parameters", "_buffers", "_modules")  # in the fields of a torch.nn.Module
_NUMPY_SCALARS = {"f8": "<d", "f4": "<f", "i8": "<q", "i4": "<i"}
_MAX_NESTING = 64  # of containers, on the way to a tensor
_MAX_TENSORS = 100_000  # some hundred times those of a large network with its optimiser
_MAX_DEPTH = 12  # of containers, among the other values
_MAX_VALUES = 20_000
_MAX_TEXT = 1_000  # characters of a name
_MAX_VALUE = 50_000  # characters of a text, for example of a config that was saved whole
_MAX_ALL_TEXT = 1_000_000  # characters of all of them together; then each is cut


def flatten(value: Any) -> tuple[dict[str, TensorRecord], dict[str, Any]]:
    """Every tensor in `value` by its way there (`state_dict/module.conv1.weight`), and the top level's other values.

    A pickled `torch.nn.Module` has the names of its `state_dict()`. A container that can be reached in several ways is
    listed once, so that there are never more of them than the pickle has.
    """
    tensors: dict[str, TensorRecord] = {}
    namesakes: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[Iterator[_Step]] = [iter([_Step("", value)])]
    while waiting:
        step = next(waiting[-1], None)
        if step is None:
            waiting.pop()
        elif isinstance(step.value, TensorRecord):
            if len(tensors) == _MAX_TENSORS:
                raise ImportFormatError(f"The checkpoint has over {_MAX_TENSORS:,} tensors; save a state_dict()")
            tensors[_unused(step.way, tensors, namesakes)] = step.value
        elif isinstance(step.value, (dict, list, tuple, Inert)) and id(step.value) not in seen:
            seen.add(id(step.value))
            if step.depth > _MAX_NESTING:
                raise ImportFormatError(f"The checkpoint is nested more than {_MAX_NESTING} deep; save a state_dict()")
            waiting.append(step.children())
    return tensors, _Plain().fields(value)


@dataclass(frozen=True)
class _Step:
    way: str
    value: Any
    depth: int = 0
    in_module: bool = False

    def children(self) -> Iterator[_Step]:
        module = _is_module(self.value)
        joint = "." if module and self.in_module else "/"
        for key, child in _children(self.value):
            way = f"{self.way}{joint}{key}" if self.way else key
            if len(way) > _MAX_TEXT:
                raise ImportFormatError(f"The checkpoint has a way of {len(way):,} characters; save a state_dict()")
            yield _Step(way, child, self.depth + 1, module)


def _unused(way: str, tensors: dict[str, TensorRecord], namesakes: Counter[str]) -> str:
    """The way itself, or a variation of it: two keys of a dictionary may read the same (1 and "1")."""
    name = way or "tensor"
    while name in tensors:
        namesakes[way] += 1
        name = f"{way} ({namesakes[way] + 1})"
    return name


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """What a container holds, by its key there."""
    if isinstance(value, dict):
        yield from ((_text(key), child) for key, child in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((str(index), child) for index, child in enumerate(value))
    elif _is_module(value):
        for part in _MODULE_PARTS:
            yield from ((_text(key), child) for key, child in value.state[part].items())
    else:
        for part in (value.args, value.elements, value.items, value.state):
            if isinstance(part, (dict, list, tuple)):
                yield from _children(part)


def _is_module(value: Any) -> bool:
    """Whether it is a pickled torch.nn.Module."""
    state = value.state if isinstance(value, Inert) else None
    return isinstance(state, dict) and all(isinstance(state.get(part), dict) for part in _MODULE_PARTS)


def _text(key: Any) -> str:
    text = str(key) if not isinstance(key, int) or abs(key) < 2**63 else "<a large number>"
    if len(text) > _MAX_TEXT:
        raise ImportFormatError(f"The checkpoint has a key of {len(text):,} characters; save a state_dict()")
    return text


class _Plain:
    """Makes values of text, numbers, lists and dictionaries of what a pickle held; a bounded number of them."""

    def __init__(self) -> None:
        self.left = _MAX_VALUES
        self.text_left = _MAX_ALL_TEXT

    def fields(self, value: Any) -> dict[str, Any]:
        found = self.of(value, 0)
        return found if isinstance(found, dict) else {}

    def of(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if isinstance(value, (bool, int, float, type(None))):
            return value if not isinstance(value, int) or abs(value) < 2**63 else "<a large number>"
        if isinstance(value, str):
            kept = value[: _MAX_VALUE if self.text_left > 0 else _MAX_TEXT]
            self.text_left -= len(kept)
            return kept
        if isinstance(value, Name):
            return str(value)
        if self.left < 0 or depth > _MAX_DEPTH:
            return "..."
        if isinstance(value, dict):
            return self.mapping(value, depth)
        if isinstance(value, (list, tuple)):
            return self.sequence(value, depth)
        if isinstance(value, Inert):
            return self.inert(value, depth)
        return f"<{type(value).__name__}>"

    def mapping(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        plain = {}
        for key, child in value.items():
            if self.left < 0:
                break
            if not isinstance(child, TensorRecord):
                plain[_text(key)] = self.of(child, depth + 1)
        return plain

    def sequence(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        plain = []
        for child in value:
            if self.left < 0:
                break
            if not isinstance(child, TensorRecord):
                plain.append(self.of(child, depth + 1))
        return plain

    def inert(self, value: Inert, depth: int) -> Any:
        if value.origin.endswith("core.multiarray.scalar"):
            return _numpy_scalar(value)
        for fields in (value.state, value.items):
            if isinstance(fields, dict) and fields:
                return self.mapping(fields, depth)
        if value.elements:
            return self.sequence(value.elements, depth)
        return f"<{value.origin}>"


def _numpy_scalar(value: Inert) -> Any:
    match value.args:
        case (Inert(args=(str() as kind, *_)), bytes() as data) if kind in _NUMPY_SCALARS:
            layout = _NUMPY_SCALARS[kind]
            return struct.unpack(layout, data)[0] if len(data) == struct.calcsize(layout) else "<numpy scalar>"
    return "<numpy scalar>"
