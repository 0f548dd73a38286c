"""What a Ray cluster of this machine costs beside one process on the same cores, in one run and as a ratio.

    python -m benchmarks.embedding_ray --photos FOLDER [--network resnet18] [--nodes 1]

The photos of the folder are copied at 500 pixels to a temporary folder, as many times as are needed. One process and
the cluster embed them in turn, two folders of different size each. steady: photos by the difference of the two runs in
seconds, in which no start counts; `overhead` is what the cluster takes more, as a share. start: seconds until the
cluster is there, and what the shorter run on it takes more than in one process (workers load torch and the network).
The vectors of both are compared too. With `--nodes 2` the cores are those of two nodes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cpchub
from benchmarks.embedding_cost import ours, photos_of_500_pixels, some
from benchmarks.in_one_line import in_one_line


@contextmanager
def cluster(nodes: int, cores: int) -> Iterator[float]:
    """A cluster of so many nodes on this machine, which this process has joined; gives the seconds that took."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    started, several = time.perf_counter(), None
    if nodes == 1:
        ray.init("local", num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    else:
        from ray.cluster_utils import Cluster

        several = Cluster(initialize_head=True, head_node_args={"num_cpus": cores // nodes})
        for _ in range(nodes - 1):
            several.add_node(num_cpus=cores // nodes)
        ray.init(several.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield time.perf_counter() - started
    finally:
        ray.shutdown()
        if several is not None:
            several.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos to make the 500-pixel ones of")
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--sizes", type=int, nargs=2, default=(1024, 3072), help="photos of the two runs compared")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "embedding_ray.json")
    options = parser.parse_args()
    torch.manual_seed(0)
    encoder = cpchub.load(f"timm/{options.network}", pretrained=False)
    cores, (short, long) = torch.get_num_threads(), options.sizes
    seconds: dict[str, dict[int, list[float]]] = {who: {short: [], long: []} for who in ("one process", "ray")}
    cosines = []
    with tempfile.TemporaryDirectory() as folder, cluster(options.nodes, cores) as start:
        scratch = Path(folder)
        photos = photos_of_500_pixels(options.photos, scratch / "photos", long)
        for turn in range(options.turns):
            for count in (short, long):
                links, found = some(photos, count, scratch / f"{turn}-{count}"), []
                for who, taken in seconds.items():
                    began = time.perf_counter()
                    on: dict[str, Any] = {"on": "ray"} if who == "ray" else {}
                    found.append(ours(encoder, links, scratch, **on).vectors())
                    taken[count].append(time.perf_counter() - began)
                    print(f"{who}: {count:,} photos in {taken[count][-1]:.1f} s", flush=True)
                cosines.append(float(np.einsum("nd,nd->n", *found).min()))
    steady = {who: statistics.median(taken[long]) - statistics.median(taken[short]) for who, taken in seconds.items()}
    beyond = statistics.median(seconds["ray"][short]) - statistics.median(seconds["one process"][short])
    report = {
        "machine": {"cores": cores, "nodes": options.nodes, "capability": torch.backends.cpu.get_cpu_capability()},
        "network": options.network,
        "photos": [short, long],
        "seconds": {who: {str(n): [round(s, 2) for s in all_of[n]] for n in all_of} for who, all_of in seconds.items()},
        "steady": {who: round((long - short) / taken, 2) for who, taken in steady.items()},
        "overhead": round(steady["ray"] / steady["one process"] - 1, 4),
        "start": {"cluster": round(start, 2), "workers": round(beyond, 2)},
        "least_cosine": round(min(cosines), 7),
    }
    known = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    known[f"{options.nodes} nodes"] = report
    options.out.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    in_one_line(main)
