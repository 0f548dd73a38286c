"""The objects behind a TensorFlow 2 checkpoint, which a SavedModel needs to say what its variables are.

TensorFlow calls a variable by the shortest way to it. In a SavedModel that is often a list of all variables
(`trainable_variables_list/7`), which says nothing; the way through the network's own objects is longer, and in the
file as well (tensorflow/core/protobuf/trackable_object_graph.proto).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from cpchub.importers.readers.wire import DamagedError, fields, message, number_of

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
ATTRIBUTES = "/.ATTRIBUTES/"
LONGEST_WAY = 1000  # characters


@dataclass
class _Node:
    children: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)  # the checkpoint's key, to the attribute's name


def ways(graph: bytes) -> dict[str, str]:
    """For each variable of a TrackableObjectGraph, by its key in the checkpoint, its way that is no place in a list.

    Raises DamagedError.
    """
    nodes = [_node(message(value)) for number, value in fields(graph) if number == 1]
    found: dict[str, str] = {}
    reached = {0}
    waiting = deque([(0, "")])
    while waiting and nodes:
        index, way = waiting.popleft()
        for key, name in nodes[index].attributes.items():
            found[key] = f"{way}{ATTRIBUTES}{name}"
        for name, child in nodes[index].children.items():
            if child >= len(nodes):
                raise DamagedError(f"it tells of object {child} of {len(nodes)}")
            longer = f"{way}/{name}" if way else name
            if child not in reached and len(longer) <= LONGEST_WAY and not _is_list_of_variables(nodes[child], nodes):
                reached.add(child)
                waiting.append((child, longer))
    return found


def _is_list_of_variables(node: _Node, nodes: list[_Node]) -> bool:
    return bool(node.children) and all(
        name.isdigit() and child < len(nodes) and nodes[child].attributes for name, child in node.children.items()
    )


def _node(content: bytes) -> _Node:
    node = _Node()
    for number, value in fields(content):
        if number == 1:
            inner = dict(fields(message(value)))
            node.children[_text(inner.get(2, b""))] = number_of(inner.get(1, 0))
        elif number == 2:
            inner = dict(fields(message(value)))
            node.attributes[_text(inner.get(3, b""))] = _text(inner.get(1, b""))
    return node


def _text(value: int | bytes) -> str:
    try:
        return message(value).decode()
    except UnicodeDecodeError as error:
        raise DamagedError("a name is no text") from error
