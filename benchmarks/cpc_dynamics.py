"""Learning dynamics: downstream accuracy over the course of pretraining with CPC, as a plot and a table.

    CPCHUB_DATA=FOLDER python -m benchmarks.cpc_dynamics [--recipe cpc_cifar10_cpu] [--images 5000] [--points 8]

CPC v2's figure of accuracy that grows steadily over pretraining, at any size: a run of the recipe is stopped `--points`
times at equal distances, and each time the frozen encoder is measured on test images (kNN, k = 20, T = 0.1, and a
linear probe, both fitted to the training images of the run). A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

from benchmarks.in_one_line import in_one_line
from cpchub.common.files import write_json
from cpchub.fewlabels import KNNClassifier, LogisticProbe
from cpchub_training import data, recipes
from cpchub_training.data.batches import Batches
from cpchub_training.recipes import Recipe
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.features import features
from cpchub_training.run.loop import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="cpc_cifar10_cpu")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--queries", type=int, default=2000, help="test images")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--points", type=int, default=8)
    parser.add_argument("--run", type=Path, default=Path("runs/cpc_dynamics"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cpc_dynamics.json"))
    args = parser.parse_args()

    recipe = replace(recipes.get(args.recipe), knn_every=0)
    if args.epochs:
        recipe = replace(recipe, epochs=args.epochs)
    images, test = slices(recipe, args.images, args.queries)
    torch.manual_seed(recipe.seed)
    rows = [{"step": 0, "pictures_seen": 0, **measured(build_backbone(recipe), recipe, images, test)}]
    say(rows[-1])
    total = recipe.epochs * Batches(recipe, len(images)).steps_per_epoch
    started = time.monotonic()
    for point in range(1, args.points + 1):
        until = round(point * total / args.points)
        result = train(recipe, args.run, images=images, stop_after_steps=until - int(rows[-1]["step"]))
        seen = {"step": until, "pictures_seen": until * recipe.batch_size, "loss": result.metrics.get("loss")}
        rows.append(seen | measured(result.backbone, recipe, images, test))
        say(rows[-1])
    found = {
        "data": f"{images.name}, {len(images)} training and {len(test)} test images",
        "recipe": recipe.to_dict(),
        "seconds": round(time.monotonic() - started),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "results": rows,
    }
    write_json(args.out, found)
    plot(rows, args.out.with_suffix(".png"), f"{recipe.name}, {found['data']}")
    print(f"{args.out} and {args.out.with_suffix('.png')}")


def slices(recipe: Recipe, images: int, queries: int) -> tuple[data.Images, data.Images]:
    """The first images of the training and of the test part of the recipe's data."""
    parts = (data.load(recipe.data, split=split, size=recipe.stored_size) for split in ("train", "test"))
    train_part, test_part = (
        part.subset(np.arange(min(n, len(part)))) for part, n in zip(parts, (images, queries), strict=True)
    )
    return train_part, test_part


def measured(backbone: Any, recipe: Recipe, images: data.Images, test: data.Images) -> dict[str, float]:
    """kNN and linear accuracy of a frozen encoder on the test images."""
    device = next(backbone.parameters()).device
    x, x_test = (features(backbone, part.images, recipe, device) for part in (images, test))
    y, y_test = images.class_of_each(), test.class_of_each()
    fitted = {"knn": KNNClassifier(k=20, temperature=0.1), "linear": LogisticProbe()}
    return {name: round(float(probe.fit(x, y).score(x_test, y_test)), 4) for name, probe in fitted.items()}


def say(row: dict[str, Any]) -> None:
    print(f"step {row['step']:>7,}  kNN {row['knn']:.1%}  linear {row['linear']:.1%}", flush=True)


def plot(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, label in (("linear", "linear probe"), ("knn", "kNN")):
        axes.plot([row["pictures_seen"] for row in rows], [row[name] for row in rows], marker="o", label=label)
    axes.set_xlabel("images seen in pretraining")
    axes.set_ylabel("accuracy on test images")
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    in_one_line(main)
