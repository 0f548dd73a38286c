"""What each change of CPC v2 is worth: directions, patch augmentation and layer norm, in one table.

    CPCHUB_DATA=FOLDER python -m benchmarks.cpc_ablation [VARIANT ...] [--recipe cpc_cifar10_cpu] [--images 5000]

Each variant changes one thing of the recipe and trains as long. Measured are kNN (k = 20, T = 0.1) and a linear probe
on test images, both fitted to the training images of the run, at the final step. With `--seeds` several runs each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.cpc_dynamics import measured, slices
from benchmarks.in_one_line import in_one_line, known
from cpchub.common.files import write_json
from cpchub_training import data, recipes
from cpchub_training.recipes import Recipe
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.loop import train
from cpchub_training.views.settings import NO_PATCH_VIEWS

VARIANTS: dict[str, Callable[[Recipe], Recipe]] = {
    "four directions, patch augmentation, layer norm": lambda r: r,
    "two directions": lambda r: replace(r, cpc=replace(r.cpc, directions=2)),
    "one direction": lambda r: replace(r, cpc=replace(r.cpc, directions=1)),
    "no patch augmentation": lambda r: replace(r, cpc=replace(r.cpc, patches=NO_PATCH_VIEWS)),
    "batch norm": lambda r: replace(r, backbone_args={**r.backbone_args, "norm_layer": "batchnorm2d"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", help=f"of: {'; '.join(VARIANTS)}; all by default")
    parser.add_argument("--recipe", default="cpc_cifar10_cpu")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--queries", type=int, default=2000, help="test images")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cpc_ablation.json"))
    args = parser.parse_args()
    variants = known(args.variants, VARIANTS)
    base = replace(recipes.get(args.recipe), knn_every=0)
    if args.epochs:
        base = replace(base, epochs=args.epochs)
    images, test = slices(base, args.images, args.queries)
    torch.manual_seed(base.seed)
    untrained = measured(build_backbone(base), base, images, test)
    rows: list[dict[str, Any]] = [{"variant": "untrained", "runs": [untrained]}]
    say(rows[-1])
    for variant in variants:
        runs = [run(replace(VARIANTS[variant](base), seed=seed), images, test) for seed in range(args.seeds)]
        rows.append({"variant": variant, "runs": runs})
        say(rows[-1])
        found = {
            "data": f"{images.name}, {len(images)} training and {len(test)} test images",
            "recipe": base.to_dict(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "results": rows,
        }
        write_json(args.out, found)  # after each variant, so that a stopped job leaves what it measured


def run(recipe: Recipe, images: data.Images, test: data.Images) -> dict[str, float]:
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        result = train(recipe, Path(folder) / "run", images=images)
    seconds = round(time.monotonic() - started)
    return {
        **measured(result.backbone, recipe, images, test),
        "loss": round(float(result.metrics["loss"]), 4),
        "training_seconds": seconds,
    }


def say(row: dict[str, Any]) -> None:
    knn, linear = (statistics.mean(each[name] for each in row["runs"]) for name in ("knn", "linear"))
    print(f"{row['variant']:<50} kNN {knn:.1%}  linear {linear:.1%}", flush=True)


if __name__ == "__main__":
    in_one_line(main)
