"""Which index of Milvus fits N vectors of dimension D.

    exact      FLAT: every vector is compared
    hnsw       HNSW: a graph over the full vectors; on a server, while it has room for them
    ivf-sq8    IVF_SQ8: a byte a dimension in an inverted file; for more vectors, and in Milvus Lite, where a graph
               takes long to build

All are in Milvus Lite, in a server and in a cluster. The candidates are compared exactly here, so a code of one byte a
dimension is enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from cpchub.common.words import size
from cpchub.errors import ArgumentError
from cpchub.index.engine.kinds import EXACT_SCAN, FEW, lists_for
from cpchub.index.setting import MILVUS_KINDS, IndexRequest, Kind

INDEX_TYPES: dict[Kind, str] = {"exact": "FLAT", "hnsw": "HNSW", "ivf-sq8": "IVF_SQ8"}
GRAPH = 64_000_000_000  # bytes of vectors and links, up to which a graph is taken
LINKS, BUILD_EFFORT = 32, 200
LINK = 4  # bytes
MOST_LISTS = 65_536  # of Milvus
MOST_EFFORT = 32_768


@dataclass(frozen=True)
class MilvusPlan:
    """A kind of index, why, and its parameters in the words of Milvus. lists: of an inverted file."""

    kind: Kind
    reason: str
    lists: int = 0
    params: dict[str, Any] = field(default_factory=dict)


def choose(count: int, dim: int, wish: IndexRequest, *, lite: bool) -> MilvusPlan:
    """The index for N = count vectors of D = dim.

    Raises ArgumentError where `wish.memory` is too small for it, and for a kind that Milvus does not have.
    """
    wish.check_kind(MILVUS_KINDS, "Milvus")
    flat, code = 4 * dim * count, dim * count
    graph = flat + 2 * LINKS * LINK * count
    needs = {"exact": flat, "hnsw": graph, "ivf-sq8": code}
    room = math.inf if wish.memory is None else wish.memory
    if needs.get(wish.kind, code) > room:
        least = needs.get(wish.kind, code)
        raise ArgumentError(
            f"{count:,} vectors take {size(least)} in Milvus, more than the {size(room)} allowed. Allow as much memory"
        )
    if wish.kind == "exact":
        return MilvusPlan("exact", "it was asked for")
    if count < FEW:
        return MilvusPlan("exact", f"{count:,} vectors are too few to compress")
    if wish.recall == 1 and flat <= room:
        return MilvusPlan("exact", "nothing may be missed (recall 1)")
    if wish.kind == "hnsw":
        return _graph("it was asked for")
    if wish.kind == "ivf-sq8":
        return _lists(count, "it was asked for")
    if flat <= min(room, EXACT_SCAN):
        return MilvusPlan("exact", f"comparing all {count:,} vectors ({size(flat)}) takes little")
    if not lite and graph <= min(room, GRAPH):
        return _graph(f"a graph over {count:,} vectors ({size(graph)}) is the fastest that fits")
    return _lists(count, f"codes of a byte a dimension take {size(code)} for {count:,} vectors")


def parameters(kind: Kind, effort: int | None, depth: int) -> dict[str, int]:
    """The parameters of a search in the words of Milvus."""
    if effort is None:
        return {}
    if kind == "hnsw":
        return {"ef": min(max(effort, depth), MOST_EFFORT)}
    return {"nprobe": min(effort, MOST_LISTS)}


def _graph(reason: str) -> MilvusPlan:
    return MilvusPlan("hnsw", reason, params={"M": LINKS, "efConstruction": BUILD_EFFORT})


def _lists(count: int, reason: str) -> MilvusPlan:
    lists = min(lists_for(count), MOST_LISTS)
    return MilvusPlan("ivf-sq8", reason, lists, {"nlist": lists})
