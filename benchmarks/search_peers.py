"""The default index beside hnswlib and usearch: time of a query at the same recall, memory, build time.

    python -m benchmarks.search_peers COLLECTION [--count 1000000] [--dim 128]     (pip install hnswlib usearch)

Vectors are drawn around those of COLLECTION. Each index is built in a process of its own, with all cores, and written;
its memory is that of a process that opens the file and searches once, without mapped files. Then one process opens all
of them. Half of the queries choose the least effort (ef, expansion) with which a peer finds as much as ours; the other
half is timed, one query at a time on one thread, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.in_one_line import in_one_line
from benchmarks.scale import OF_QUERIES, drawn
from benchmarks.search import QUERIES, REPOSITORY, K, own_memory, timed
from benchmarks.search_vectors import Vectors, like, unit
from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.common.extras import import_extra, need
from cpchub.common.files import write_json
from cpchub.hub.card_tables import table
from cpchub.index import Index
from cpchub.index.engine.exact import nearest

RESULTS = Path(__file__).parent / "results" / "search_peers.json"
LINKS, EF_CONSTRUCTION = 16, 200  # those of hnswlib's examples; usearch calls them connectivity and expansion_add
EFFORTS = (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 1000, 2000)
Query = Callable[[npt.NDArray[np.float32], int], npt.NDArray[np.int64]]  # vectors [Q, D] and an effort to rows [Q, K]


class Ours:
    """The index that `cpchub index` makes; it has chosen its own effort."""

    efforts = (0,)

    def build(self, vectors: Vectors, folder: Path) -> None:
        Index.build(import_vectors(folder / "cpchub", vectors, [f"{row:09d}.jpg" for row in range(len(vectors))]))

    def open(self, folder: Path, dim: int) -> Query:
        index = Index.open(folder / "cpchub")
        return lambda queries, _: index.search_vectors(queries, K)[1]


class Hnswlib:
    efforts = EFFORTS

    def build(self, vectors: Vectors, folder: Path) -> None:
        index = import_extra("hnswlib", extra="bench").Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), M=LINKS, ef_construction=EF_CONSTRUCTION)
        index.add_items(vectors, num_threads=os.cpu_count())
        index.save_index(str(folder / "hnswlib"))

    def open(self, folder: Path, dim: int) -> Query:
        index = import_extra("hnswlib", extra="bench").Index(space="ip", dim=dim)
        index.load_index(str(folder / "hnswlib"))

        def query(queries: npt.NDArray[np.float32], effort: int) -> npt.NDArray[np.int64]:
            index.set_ef(effort)
            return np.asarray(index.knn_query(queries, K, num_threads=1)[0], np.int64)

        return query


class Usearch:
    efforts = EFFORTS

    def build(self, vectors: Vectors, folder: Path) -> None:
        made = _usearch()(
            ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=LINKS, expansion_add=EF_CONSTRUCTION
        )
        made.add(np.arange(len(vectors)), vectors, threads=os.cpu_count())
        made.save(str(folder / "usearch"))

    def open(self, folder: Path, dim: int) -> Query:
        index = _usearch().restore(str(folder / "usearch"))

        def query(queries: npt.NDArray[np.float32], effort: int) -> npt.NDArray[np.int64]:
            index.expansion_search = effort
            return np.asarray(index.search(queries, K, threads=1).keys, np.int64).reshape(len(queries), K)

        return query


def _usearch() -> Any:
    need("usearch", extra="bench")
    return import_module("usearch.index").Index


KINDS = {"cpchub": Ours(), "hnswlib": Hnswlib(), "usearch": Usearch()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("collection", type=Path, help="its vectors are the real ones that others are drawn around")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--child", nargs=2, metavar=("JOB", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        job, name = options.child
        print(json.dumps({"build": building, "memory": memory}[job](options.collection, name)))
        return
    around = unit(Collection.open(options.collection).vectors())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        vectors = drawn(around, options.count, options.dim, folder / "vectors.npy")
        queries = like(around, QUERIES, dim=options.dim, seed=OF_QUERIES)
        np.save(folder / "queries.npy", queries)
        rows: dict[str, dict[str, Any]] = {name: {} for name in KINDS}
        for name, row in rows.items():
            for job in ("build", "memory"):
                row.update(child(job, name, folder))
            print(name, row, flush=True)
        for name, row in compared(folder, queries, nearest(queries, vectors, K)[1]).items():
            rows[name].update(row)
    print(in_words(rows))
    write_json(options.out, {"count": options.count, "dim": options.dim, "cpus": os.cpu_count(), "results": rows})


def child(job: str, name: str, folder: Path) -> dict[str, Any]:
    """What a process of its own measures."""
    command = [sys.executable, "-m", "benchmarks.search_peers", str(folder), "--child", job, name]
    said = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(said.splitlines()[-1])
    return result


def building(folder: Path, name: str) -> dict[str, Any]:
    """Seconds to build and write an index."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r").view(np.ndarray)
    _, seconds, cores = timed(KINDS[name].build, vectors, folder)
    return {"build_s": round(seconds, 1), "build_cpu_s": round(cores, 1)}


def memory(folder: Path, name: str) -> dict[str, Any]:
    """Bytes a vector that a process holds to search, besides mapped files."""
    queries, count = np.load(folder / "queries.npy"), len(np.load(folder / "vectors.npy", mmap_mode="r"))
    before = own_memory()
    kind = KINDS[name]
    search = kind.open(folder, queries.shape[1])
    search(queries[:1], kind.efforts[-1])
    return {"ram_bytes_per_vector": round((own_memory() - before) / count, 1)}


def compared(folder: Path, queries: Vectors, truth: npt.NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """The efforts at which all find as much as ours, and what a query takes with them."""
    choose, check = slice(0, None, 2), slice(1, None, 2)
    opened = {name: kind.open(folder, queries.shape[1]) for name, kind in KINDS.items()}
    wanted = recall(opened["cpchub"](queries[choose], 0), truth[choose])
    efforts = {
        name: next(
            (
                effort
                for effort in kind.efforts
                if recall(opened[name](queries[choose], effort), truth[choose]) >= wanted
            ),
            kind.efforts[-1],
        )
        for name, kind in KINDS.items()
    }
    spent: dict[str, list[float]] = {name: [] for name in opened}
    for query in queries[check]:
        for name, search in opened.items():
            spent[name].append(timed(search, query[None], efforts[name])[1])
    return {
        name: {
            "effort": efforts[name],
            "recall": round(recall(search(queries[check], efforts[name]), truth[check]), 4),
            "p50_ms": round(1000 * float(np.median(spent[name])), 3),
            "p95_ms": round(1000 * float(np.percentile(spent[name], 95)), 3),
        }
        for name, search in opened.items()
    }


def recall(found: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> float:
    """The share of the true nearest that was found."""
    return float(np.mean([len(np.intersect1d(one, other)) / K for one, other in zip(found, truth, strict=True)]))


def in_words(rows: dict[str, dict[str, Any]]) -> str:
    """The results as a table of Markdown."""
    heads = ("", "one query, p50", "p95", "recall@10", "build", "bytes a vector in memory")
    cells = [
        (
            name,
            f"{row['p50_ms']:.2f} ms",
            f"{row['p95_ms']:.2f} ms",
            f"{row['recall']:.3f}",
            f"{row['build_s']:.0f} s",
            f"{row['ram_bytes_per_vector']:.0f}",
        )
        for name, row in rows.items()
    ]
    return table(heads, cells)


if __name__ == "__main__":
    in_one_line(main)
