"""What one of several ranks keeps in memory of a network, with `--fsdp` and without: weights, gradients, optimizer.

    python -m benchmarks.rank_memory --recipe cpc_resnet170_imagenet --ranks 1 8

The network is counted, not computed with (torch's device `meta`), so it takes no memory. Activations are not in it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from benchmarks.in_one_line import in_one_line
from cpchub_training import recipes
from cpchub_training.methods import DataFacts
from cpchub_training.run import sharding
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.saved_run import build_method

COPIES = {"sgd": 3, "lars": 3, "adam": 4, "adamw": 4}  # weights, gradients, and what the optimizer keeps of each


def counted(rank: int, name: str, n: int, folder: str) -> None:
    """On each rank: share the method of a recipe out, and write down what this rank holds."""
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", n), rank=rank, world_size=n)
    recipe = recipes.get(name)
    with torch.device("meta"):
        method = build_method(recipe, build_backbone(recipe), DataFacts(1_000_000))
    whole = sum(p.nbytes for p in method.parameters())
    largest = max(sum(p.nbytes for p in block.parameters()) for block in sharding.blocks(method))
    sharding.over(method, init_device_mesh("cpu", (n, 1), mesh_dim_names=("data_parallel", "tensor_parallel")))
    part = sum(sharding.local(p).nbytes for p in method.parameters())
    line = {"ranks": n, "whole_bytes": whole, "part_bytes": part, "largest_block_bytes": largest}
    Path(f"{folder}/{rank}.json").write_text(json.dumps(line | {"copies": COPIES[recipe.optimizer]}))
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="cpc_resnet170_imagenet")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/rank_memory.json"))
    args = parser.parse_args()
    multiprocessing.set_forkserver_preload(["cpchub_training.run.loop"])
    lines: list[dict[str, Any]] = []
    for n in args.ranks:
        with tempfile.TemporaryDirectory() as folder:
            given = (args.recipe, n, folder)
            torch.multiprocessing.start_processes(counted, given, nprocs=n, start_method="forkserver")
            ranks = [json.loads(Path(f"{folder}/{rank}.json").read_text()) for rank in range(n)]
        lines.append(max(ranks, key=lambda each: each["part_bytes"]))
        line = lines[-1]
        plain, shared = (line[key] * line["copies"] / 1e9 for key in ("whole_bytes", "part_bytes"))
        block = line["largest_block_bytes"] / 1e9
        print(f"{n} ranks: {plain:.2f} GB each, with --fsdp {shared:.2f} GB and {block:.2f} GB for the block in use")
    args.out.write_text(json.dumps({"recipe": args.recipe, "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    in_one_line(main)
