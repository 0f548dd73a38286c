"""Search over many vectors, beside raw FAISS: build time, memory, recall through changes, latency. A table and JSON.

    python -m benchmarks.search [--count 1000000] [--dim 128] [--vectors FILE.npy] [--out search.json]

The vectors are made to be as hard as those of an encoder: `clusters` is a mixture of 2,000 Gaussians whose spectrum
falls as a power law. With --vectors, a file of real ones ([N, D] float32), `like real` draws as many as wanted around
the real ones, with their clusters and their spectrum, and `real` searches the file itself with every kind of index.
Every recall is of fresh queries that were never in the index, against exact search by matrix product.

Seconds are those of a clock on the wall; beside them stands the processor time that the process took, which a machine
busy with other work changes less.

Opening and searching is measured in a process of its own, so that its memory is that of a search service; RAM is what
that process holds itself (RssAnon), without the files that it maps.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.in_one_line import in_one_line
from benchmarks.search_vectors import Vectors, clusters, like, unit

K = 10
QUERIES = 1000
TIMED = 200
REPOSITORY = Path(__file__).resolve().parents[1]
LIMITS = {"build_s": 60, "p50_ms": 5, "recall": 0.95, "ram_bytes_per_vector": 64, "overhead": 0.10}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--vectors", type=Path, help="real vectors, .npy, [N, D]")
    parser.add_argument("--kind", default="auto")
    parser.add_argument(
        "--build-only", action="store_true", help="build and search once; add, remove and merge nothing"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "search.json")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)  # the process that only searches
    options = parser.parse_args()
    if options.serve:
        print(json.dumps(serve(options.serve)))
        return

    cycle = functools.partial(lifecycle, changes=not options.build_only)
    jobs: dict[str, Callable[[], dict[str, Any]]] = {
        "clusters": lambda: cycle(lambda n, seed: clusters(n, options.dim, seed), options.count, options.kind)
    }
    if options.vectors:
        real = unit(np.load(options.vectors))
        draw = functools.partial(like, real, dim=options.dim)
        jobs["like real"] = lambda: cycle(lambda n, seed: draw(n, seed=seed), options.count, options.kind)
        jobs["real"] = lambda: real_only(real)
    results: dict[str, Any] = {}
    for name, job in jobs.items():
        started, load = datetime.now(timezone.utc), os.getloadavg()[0]
        results[name] = {"started": started.isoformat(timespec="seconds"), "load_1m": round(load, 2), **job()}
        report(name, results[name])
        write(options.out, results)


def write(out: Path, results: dict[str, Any]) -> None:
    """Write what is measured so far, with what it was measured on."""
    import faiss

    written = {
        "python": platform.python_version(),
        "faiss": faiss.__version__,
        "cpus": os.cpu_count(),
        "limits": LIMITS,
        "results": results,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(written, indent=2) + "\n")
    print(f"written: {out}", flush=True)


def lifecycle(draw: Callable[[int, int], Vectors], count: int, kind: str, *, changes: bool) -> dict[str, Any]:
    """Build, add a tenth, remove a tenth, merge with another collection; recall on fresh queries after each."""
    from cpchub.collection.import_vectors import import_vectors
    from cpchub.collection.merge import merge
    from cpchub.index import Index

    vectors, queries = draw(count + count // 10, 1), draw(QUERIES, 2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "one"

        def stored(ids: npt.NDArray[np.int64], folder: Path = folder) -> Any:
            return import_vectors(folder, vectors[ids], [f"{i:08d}.jpg" for i in ids], ids=ids, source=folder.name)

        def step(index: Index, ids: npt.NDArray[np.int64], seconds: float, cpu_seconds: float) -> dict[str, Any]:
            return {
                "vectors": len(ids),
                "seconds": round(seconds, 2),
                "cpu_seconds": round(cpu_seconds, 2),
                "recall": round(recall(index, vectors, ids, queries), 4),
                "recall_measured_by_index": index.setting.recall,
                "depth": index.setting.depth,
                "effort": index.setting.effort,
                "index_bytes_per_vector": round((index.collection.folder / "index.faiss").stat().st_size / len(ids), 1),
            }

        steps = {}
        ids = np.arange(count)
        index, *spent = timed(Index.build, stored(ids), kind=kind)
        steps["built"] = step(index, ids, *spent)
        chosen = {"kind": index.setting.kind, "reason": index.setting.reason}
        result = {
            "count": count,
            "dim": vectors.shape[1],
            **chosen,
            "steps": steps,
            "search": searching(folder, queries),
        }
        if not changes:
            return result
        ids = np.arange(len(vectors))
        index, *spent = timed(Index.update, stored(ids))
        steps["+10 %"] = step(index, ids, *spent)
        ids = np.sort(np.random.default_rng(3).choice(len(vectors), count, replace=False))
        index, *spent = timed(Index.update, stored(ids))
        steps["-10 %"] = step(index, ids, *spent)
        others = np.setdiff1d(np.arange(len(vectors)), ids)
        merged = merge([folder, stored(others, Path(temporary) / "other").folder], Path(temporary) / "merged")
        index, *spent = timed(Index.build, merged, kind=kind)
        steps["merged"] = step(index, np.concatenate([ids, others]), *spent)
    return result


def real_only(real: Vectors) -> dict[str, Any]:
    """All of a file but the queries: exact, and each compressed kind at this size."""
    from cpchub.collection.import_vectors import import_vectors
    from cpchub.index import Index

    order = np.random.default_rng(0).permutation(len(real))
    queries, vectors = real[order[:QUERIES]], real[np.sort(order[QUERIES:])]
    kinds: dict[str, Any] = {}
    for kind in ("exact", "rabitq", "ivf-rabitq", "hnsw", "pq"):
        with tempfile.TemporaryDirectory() as folder:
            collection = import_vectors(folder, vectors, [f"{i:08d}.jpg" for i in range(len(vectors))])
            index, seconds, cpu_seconds = timed(Index.build, collection, kind=kind)
            kinds[kind] = {
                "build_s": round(seconds, 2),
                "build_cpu_s": round(cpu_seconds, 2),
                "recall": round(recall(index, vectors, np.arange(len(vectors)), queries), 4),
                "depth": index.setting.depth,
                "effort": index.setting.effort,
                **searching(Path(folder), queries),
            }
    return {"count": len(vectors), "dim": vectors.shape[1], "kinds": kinds}


def recall(index: Any, vectors: Vectors, ids: npt.NDArray[np.int64], queries: Vectors) -> float:
    """Recall@K of fresh queries, in batches as a service would send them; equally near neighbours count."""
    from cpchub.index.engine.exact import nearest

    last = nearest(queries, vectors[ids], K)[0][:, -1:]
    scores, _ = index.search_vectors(queries, K)
    return float((scores >= last - 1e-5).mean())


def searching(folder: Path, queries: Vectors) -> dict[str, Any]:
    """What a process that opens the index and searches measures of itself."""
    np.save(folder / "queries.npy", queries[:TIMED])
    command = [sys.executable, "-m", "benchmarks.search", "--serve", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    (folder / "queries.npy").unlink()
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def serve(folder: Path) -> dict[str, Any]:
    """Open an index and time single queries: ours and raw FAISS on the same index take turns."""
    import faiss

    from cpchub.index import Index

    queries = np.load(folder / "queries.npy")
    before = own_memory()
    index, opened, _ = timed(Index.open, folder)
    raw, depth = index._store.index, index.setting.depth or K
    parameters = index._store.parameters(depth)
    ours, ours_2, plain = np.empty((3, len(queries), 2))  # seconds on the wall and of the processor
    for number, query in enumerate(queries[:, None]):
        faiss.omp_set_num_threads(1)
        plain[number] = timed(raw.search, query, depth, params=parameters)[1:]
        ours[number] = timed(index.search_vectors, query, K)[1:]
        faiss.omp_set_num_threads(2)
        ours_2[number] = timed(index.search_vectors, query, K)[1:]
    index.search_row(0, K)
    used = own_memory() - before
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    _, batch, _ = timed(index.search_vectors, queries, K)
    p50, p50_2, p50_plain = (1000 * np.median(times, axis=0) for times in (ours, ours_2, plain))
    return {
        "open_s": round(opened, 2),
        "p50_ms": round(p50[0], 3),
        "p50_cpu_ms": round(p50[1], 3),
        "p50_ms_2_threads_allowed": round(p50_2[0], 3),
        "faiss_p50_ms": round(p50_plain[0], 3),
        "faiss_p50_cpu_ms": round(p50_plain[1], 3),
        "overhead": round(p50[1] / p50_plain[1] - 1, 3),
        "batch_ms_per_query": round(1000 * batch / len(queries), 3),
        "ram_bytes_per_vector": round(used / len(index), 1),
    }


def own_memory() -> int:
    """Bytes that this process holds itself, without mapped files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell RssAnon")


def timed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, float, float]:
    """What a function returns, its seconds on the wall, and those of the processor."""
    started, cpu = time.perf_counter(), time.process_time()
    result = function(*args, **kwargs)
    return result, time.perf_counter() - started, time.process_time() - cpu


def report(name: str, result: dict[str, Any]) -> None:
    """Print one set of vectors as a table."""
    print(f"\n{name}: {result['count']:,} x {result['dim']}")
    if "kinds" in result:
        print(f"{'':<12}{'build':>9}{'recall':>9}{'depth':>7}{'p50':>10}{'FAISS':>10}{'batch':>10}{'RAM B/vec':>11}")
        for kind, row in result["kinds"].items():
            print(
                f"{kind:<12}{row['build_s']:>7.1f} s{row['recall']:>9.4f}{row['depth'] or '-':>7}"
                f"{row['p50_ms']:>7.2f} ms{row['faiss_p50_ms']:>7.2f} ms"
                f"{row['batch_ms_per_query']:>7.2f} ms{row['ram_bytes_per_vector']:>11}"
            )
        return
    print(f"  {result['kind']}: {result['reason']}")
    print(f"  {'':<8}{'vectors':>10}{'seconds':>9}{'CPU s':>8}{'recall':>9}{'told':>8}{'depth':>7}{'B/vector':>10}")
    for step, row in result["steps"].items():
        print(
            f"  {step:<8}{row['vectors']:>10,}{row['seconds']:>9.1f}{row['cpu_seconds']:>8.1f}{row['recall']:>9.4f}"
            f"{row['recall_measured_by_index']:>8.4f}{row['depth'] or '-':>7}{row['index_bytes_per_vector']:>10}"
        )
    search = result["search"]
    print(
        f"  one query: p50 {search['p50_ms']:.2f} ms ({search['p50_cpu_ms']:.2f} of the processor) on one thread, "
        f"{search['p50_ms_2_threads_allowed']:.2f} ms with two allowed; "
        f"raw FAISS {search['faiss_p50_ms']:.2f} ms; "
        f"ours takes {search['overhead']:+.1%} processor time; "
        f"batch {search['batch_ms_per_query']:.2f} ms a query; RAM {search['ram_bytes_per_vector']} bytes a vector"
    )


if __name__ == "__main__":
    in_one_line(main)
