"""Which FAISS index fits N vectors of dimension D, and how to make, train and steer it.

    exact        IndexFlatIP: every vector is compared
    rabitq       RaBitQ fast-scan (Gao and Long, SIGMOD 2024): 1 bit a dimension, all scanned, the best compared exactly
    ivf-rabitq   the same codes in an inverted file: only the nearest lists are scanned, which was faster at every size
    hnsw         a graph over the full vectors (Malkov and Yashunin): fastest, most memory, slow to build
    pq, ivf-pq   product quantisation, 4 bits a part, where even RaBitQ's codes do not fit the memory asked for

Every index but the exact one answers with the ids of the collection; removed ids stay in it until it is built anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.common.words import size
from cpchub.errors import ArgumentError
from cpchub.index.engine.faiss_import import import_faiss
from cpchub.index.setting import FAISS_KINDS, IndexRequest, Kind

EXACT_SCAN = 256_000_000  # bytes of float32 vectors; one core reads them in some 10 ms
CODE_SCAN = 48_000_000  # bytes of PQ codes; one core scans them in some 5 ms, without the memory that lists take
ID = 8  # bytes
RABITQ_FACTORS = 8  # bytes of correction factors beside the bits of each vector
SAMPLES_PER_LIST = 40  # FAISS warns below 39
HNSW_LINKS = 32
LINK = 4  # bytes
FEW = 1024  # vectors, below which nothing is gained and a quantiser has too few to learn from
DEPTHS = (20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000)
PQ_DEPTHS = (*DEPTHS, 2000, 5000, 10_000)
SQ8_DEPTHS = (20, 30)  # a byte a dimension: the order is nearly that of the vectors
HNSW_DEPTHS = (20,)  # a graph over full vectors needs no second look; it is efSearch that decides


@dataclass(frozen=True)
class IndexPlan:
    """A kind of index with its sizes: lists of an inverted file, parts of a product quantiser."""

    kind: Kind
    reason: str
    lists: int = 0
    parts: int = 0


def choose(count: int, dim: int, wish: IndexRequest) -> IndexPlan:
    """The index for N = count vectors of D = dim.

    Raises ArgumentError where `wish.memory` is too small for any, or for the kind that was asked for, and for a kind
    of Milvus.
    """
    wish.check_kind(FAISS_KINDS, "FAISS")
    flat, code = 4 * dim * count, (math.ceil(dim / 8) + RABITQ_FACTORS) * count
    needs = {"exact": flat, "rabitq": code + ID * count, "ivf-rabitq": code + ID * count}
    needs["hnsw"] = flat + (2 * HNSW_LINKS * LINK + ID) * count
    if wish.memory is not None and needs.get(wish.kind, 0) > wish.memory:
        raise ArgumentError(
            f"an index of kind {wish.kind} takes {size(needs[wish.kind])} for {count:,} vectors, more than the "
            f"{size(wish.memory)} allowed. Allow as much memory, or leave the kind to cpchub (auto)"
        )
    if wish.kind == "exact":
        return IndexPlan("exact", "it was asked for")
    if count < FEW:
        return IndexPlan("exact", f"{count:,} vectors are too few to compress")
    if wish.recall == 1:
        if wish.memory is not None and flat > wish.memory:
            raise ArgumentError(
                f"recall 1 cannot be had in {size(wish.memory)}: every vector has to be compared, and {count:,} take "
                f"{size(flat)}. Allow as much memory, or ask for a recall below 1"
            )
        return IndexPlan("exact", "nothing may be missed (recall 1)")
    if wish.kind == "auto":
        room = wish.memory if wish.memory is not None else math.inf
        if flat <= min(room, EXACT_SCAN):
            return IndexPlan("exact", f"comparing all {count:,} vectors ({size(flat)}) takes a few milliseconds")
        if code + ID * count > room:
            return _pq(count, dim, wish, f"RaBitQ's codes of {count:,} vectors ({size(code + ID * count)}) do not fit")
        return IndexPlan(
            "ivf-rabitq", f"{size(flat)} of vectors are too many to compare for each query", lists_for(count)
        )
    if wish.kind in ("pq", "ivf-pq"):
        return _pq(count, dim, wish, "it was asked for")
    return IndexPlan(wish.kind, "it was asked for", lists_for(count) if wish.kind == "ivf-rabitq" else 0)


def train(plan: IndexPlan, sample: npt.NDArray[np.float32]) -> Any:
    """The empty FAISS index of a plan, trained on vectors `[n, D]`; vectors go in by `add_with_ids`."""
    faiss = import_faiss()
    dim, metric = sample.shape[1], faiss.METRIC_INNER_PRODUCT
    if plan.lists:
        coarse = faiss.IndexFlatIP(dim)
        if plan.kind == "ivf-rabitq":
            index = faiss.IndexIVFRaBitQFastScan(coarse, dim, plan.lists, metric)
        else:
            index = faiss.IndexIVFPQFastScan(coarse, dim, plan.lists, plan.parts, 4, metric)
        index.own_fields = True
        coarse.this.disown()
        index.train(sample)
        return index
    if plan.kind == "rabitq":
        index = faiss.IndexRaBitQFastScan(dim, metric)
    elif plan.kind == "pq":
        index = faiss.IndexPQFastScan(dim, plan.parts, 4, metric)
    elif plan.kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, HNSW_LINKS, metric)
    else:
        index = faiss.IndexFlatIP(dim)
    index.train(sample)
    by_id = faiss.IndexIDMap(index)
    by_id.own_fields = True
    index.this.disown()
    return by_id


def training_rows(plan: IndexPlan, allowed: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The rows to train on, ascending; drawn at random from those that are allowed, the same each time."""
    wanted = {"exact": 1, "hnsw": 1, "rabitq": 100_000}.get(plan.kind, max(65_536, SAMPLES_PER_LIST * plan.lists))
    if wanted >= len(allowed):
        return allowed
    return np.sort(np.random.default_rng(0).choice(allowed, wanted, replace=False))


def efforts(kind: Kind, lists: int) -> list[int | None]:
    """The values of nprobe (of so many lists) or efSearch to try, cheapest first; [None] where there is no such
    setting."""
    if kind == "hnsw":
        return [32, 64, 128, 256, 512, 1024]
    if kind.startswith("ivf-"):
        return [*(2**step for step in range(int(math.log2(lists)) + 1) if 2**step < lists), lists]
    return [None]


def depths(kind: Kind) -> tuple[int, ...]:
    """The numbers of candidates to try, fewest first."""
    if kind == "hnsw":
        return HNSW_DEPTHS
    if kind == "ivf-sq8":
        return SQ8_DEPTHS
    return PQ_DEPTHS if kind in ("pq", "ivf-pq") else DEPTHS


def parameters(kind: Kind, effort: int, depth: int) -> Any:
    """FAISS's search parameters for an effort."""
    faiss = import_faiss()
    if kind == "hnsw":
        return faiss.SearchParametersHNSW(efSearch=max(effort, depth))
    return faiss.IVFSearchParameters(nprobe=effort)


def lists_for(count: int) -> int:
    """Lists of an inverted file: twice the square root of N, and no more than there are vectors to train."""
    return max(1, min(2 * math.isqrt(count), count // 56))


def _pq(count: int, dim: int, wish: IndexRequest, reason: str) -> IndexPlan:
    """Product quantisation with as many parts as the memory allows; half a byte each."""
    parts_in = [parts for parts in range(1, dim + 1) if dim % parts == 0]
    if wish.memory is None:
        parts = max(part for part in parts_in if part <= max(1, dim // 4))
    else:
        fitting = [part for part in parts_in if count * (part / 2 + ID) <= wish.memory]
        if not fitting:
            raise ArgumentError(
                f"{count:,} vectors cannot be indexed in {size(wish.memory)}: an id takes {ID} bytes and a code at "
                f"least half a byte, so {size(count * (ID + 1))} at least"
            )
        parts = fitting[-1]
        reason += f" in {size(wish.memory)}; {parts / 2:g} bytes a vector do"
    scan = count * parts / 2
    if wish.kind == "ivf-pq" or (wish.kind == "auto" and scan > CODE_SCAN):
        return IndexPlan("ivf-pq", reason, lists_for(count), parts)
    return IndexPlan("pq", reason, 0, parts)
