"""The map of the page: how long its layout takes and what it keeps, and how many frames a second its points are drawn.

    python -m benchmarks.page_map layout [--counts 1000 50000 100000] [--peers umap pacmap]
    python -m benchmarks.page_map frames [--points 100000]
    python -m benchmarks.page_map quality COLLECTION

Each part writes its own entry of `benchmarks/results/page_map.json`; `layout` replaces the lines of its counts.
`layout` makes vectors of 512 dimensions in 2,000 soft clusters and measures processor seconds on one core, beside the
peers that are installed (`pip install umap-learn pacmap`). `quality` needs a collection with labels. `frames` draws in
a headless Chromium; without a GPU it draws by software, and the entry says by what. The map is panned and zoomed in
every frame, and each frame is waited for.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.in_one_line import in_one_line
from benchmarks.page_frames import frames
from benchmarks.search_vectors import clusters
from cpchub.common.files import write_json
from cpchub.index import Index
from cpchub.index.engine.faiss_import import import_faiss
from cpchub.index.layout import NEIGHBOURS, arranged
from cpchub.index.neighbours import Neighbours, nearest_others
from cpchub.index.plane import project_to_plane

DIM, SAMPLE = 512, 1000
OUT = Path(__file__).parent / "results" / "page_map.json"


def processor(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and its processor seconds."""
    started = time.process_time()
    result = work()
    return result, round(time.process_time() - started, 2)


def neighbours_of(vectors: Any) -> Neighbours:
    """The exact neighbours, as an index finds them."""
    faiss = import_faiss()
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    parts = [index.search(vectors[start : start + 1024], NEIGHBOURS + 1) for start in range(0, len(vectors), 1024)]
    scores, rows = (np.concatenate([part[side] for part in parts])[:, 1:] for side in (0, 1))
    return Neighbours(scores, rows)


def umap(vectors: Any, neighbours: Neighbours) -> Any:
    """umap-learn with its defaults, on the same neighbours."""
    from umap import UMAP

    own = np.arange(len(vectors))[:, None]
    rows = np.concatenate([own, neighbours.rows], axis=1)[:, :15].astype(np.int32)
    distances = np.concatenate([np.zeros((len(vectors), 1)), neighbours.distances()], axis=1)[:, :15]
    return UMAP(random_state=0, n_jobs=1, precomputed_knn=(rows, distances.astype(np.float32))).fit_transform(vectors)


def pacmap(vectors: Any, neighbours: Neighbours) -> Any:
    """PaCMAP with its defaults; it finds its neighbours by itself."""
    from pacmap import PaCMAP

    return PaCMAP(random_state=0).fit_transform(vectors, init="pca")


PEERS = {"umap": umap, "pacmap": pacmap}


def kept(points: Any, rows: Any) -> float:
    """The share of the 10 nearest neighbours that are among the 10 nearest on the map, of a sample."""
    from sklearn.neighbors import NearestNeighbors

    some = np.random.default_rng(0).permutation(len(points))[:SAMPLE]
    near = NearestNeighbors(n_neighbors=11).fit(points).kneighbors(points[some], return_distance=False)[:, 1:]
    shares = [len({*a} & {*b}) / 10 for a, b in zip(near.tolist(), rows[some, :10].tolist(), strict=True)]
    return round(float(np.mean(shares)), 3)


def layout(counts: list[int], peers: list[str]) -> list[dict[str, Any]]:
    """A line for each number of images and method."""
    lines = []
    for count in counts:
        vectors = clusters(count, DIM, 0)
        neighbours, searched = processor(lambda vectors=vectors: neighbours_of(vectors))
        start, first = processor(lambda vectors=vectors: project_to_plane(vectors))
        methods: dict[str, Callable[[], Any]] = {
            "tsne": lambda near=neighbours, start=start: arranged(near, start, lambda share: None)
        }
        methods |= {
            name: lambda name=name, vectors=vectors, near=neighbours: PEERS[name](vectors, near) for name in peers
        }
        for name, work in methods.items():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            points, seconds = processor(work)
            more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            found = {"method": name, "images": count, "neighbours_s": searched, "first_view_s": first}
            lines.append(found | {"arrange_s": seconds, "more_mb": round(more), "kept": kept(points, neighbours.rows)})
            Console().print(lines[-1])
    return lines


def quality(collection: Path, peers: list[str]) -> dict[str, Any]:
    """Of a labelled collection: how often one of the 10 nearest on the map has the same label; "all": in the space."""
    from sklearn.neighbors import NearestNeighbors

    index = Index.open(collection)
    labels = np.array(index.items["label"].to_pylist())
    neighbours = nearest_others(index, NEIGHBOURS, progress=False)
    start = project_to_plane(index.vectors)
    maps = {"pca": start, "tsne": arranged(neighbours, start, lambda share: None)}
    maps |= {name: PEERS[name](np.asarray(index.vectors), neighbours) for name in peers}
    found: dict[str, Any] = {"images": len(index), "encoder": index.collection.encoder_name}
    found["all"] = {"same_label": round(float((labels[neighbours.rows[:, :10]] == labels[:, None]).mean()), 3)}
    for name, points in maps.items():
        near = NearestNeighbors(n_neighbors=11).fit(points).kneighbors(points, return_distance=False)[:, 1:]
        same = round(float((labels[near] == labels[:, None]).mean()), 3)
        found[name] = {"same_label": same, "kept": kept(points, neighbours.rows)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("part", choices=["layout", "frames", "quality"])
    parser.add_argument("collection", type=Path, nargs="?", help="for quality: a collection with labels")
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 50_000, 100_000])
    parser.add_argument("--peers", nargs="*", choices=sorted(PEERS), default=[])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.part == "quality" and options.collection is None:
        parser.error("quality takes a collection with labels")
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    if options.part == "layout":
        lines = layout(options.counts, options.peers)
        others = [line for line in known.get("layout", {}).get("lines", []) if line["images"] not in options.counts]
        known["layout"] = {"dim": DIM, "lines": sorted([*others, *lines], key=lambda line: line["images"])}
    elif options.part == "quality":
        known["quality"] = quality(options.collection, options.peers)
    else:
        known["frames"] = frames(options.points)
    write_json(options.out, known)
    Console().print(known[options.part])


if __name__ == "__main__":
    in_one_line(main)
