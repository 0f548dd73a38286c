"""Does every method learn? kNN accuracy before and after a few CPU minutes on 5,000 images of CIFAR-10, in one table.

    CPCHUB_DATA=FOLDER python -m benchmarks.methods [METHOD ...] [--epochs 24] [--out benchmarks/results/methods.json]

The same half-width ResNet-18, images of 32 pixels and number of epochs for each; the rest is each method's CIFAR-10
recipe, scaled to the slice. kNN (k = 20, T = 0.1) with the slice as the bank and 2,000 test images as queries, at the
final epoch. A method whose row is in the file already is not trained again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.in_one_line import in_one_line, known
from cpchub.fewlabels import KNNClassifier
from cpchub_training import data, recipes
from cpchub_training.recipes import Recipe
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.features import features
from cpchub_training.run.loop import train

RECIPES = {
    "simclr": "simclr_resnet18_cifar10_200e",
    "moco_v1": "moco_v2_resnet18_cifar10_200e",
    "moco_v2": "moco_v2_resnet18_cifar10_200e",
    "instdisc": "instdisc_resnet18_cifar10_200e",
    "inva_spread": "inva_spread_resnet18_cifar10_200e",
    "cmc": "cmc_resnet18_cifar10_200e",
    "sup_con": "supcon_resnet18_cifar10_200e",
    "exemplar": "exemplar_resnet18_cifar10_200e",
    "relative_position": "relative_position_resnet18_cifar10_200e",
}
# What so small a slice needs: InstDisc's rate of the paper, in many small steps, because its features must not outrun a
# bank that is renewed once an epoch; CMC in the batch for the same reason; AdamW where a head without batch norm would
# stay on the first plateau for the whole run.
OWN = {
    "moco_v1": {"method": "moco_v1"},
    "cmc": {"negatives": "batch"},
    "instdisc": {"batch_size": 32, "lr": 0.03},
    "sup_con": {"optimizer": "adamw", "lr": 1e-3},
}
NETWORK = {"channels": [32, 64, 128, 256], "stem_type": "deep", "stem_width": 16}
BATCH = 128


def scaled(name: str, epochs: int) -> Recipe:
    """The method's CIFAR-10 recipe with the small network, a batch of 128 and a rate for so few steps."""
    recipe = recipes.get(RECIPES[name])
    paths = recipe.backbone == "colour_paths"
    common = replace(
        recipe,
        name=name,
        backbone="colour_paths" if paths else "resnet18",
        backbone_args={"path": "resnet18", "path_args": NETWORK, "space": "lab"} if paths else NETWORK,
        views=replace(recipe.views, size=32),
        input_size=32,
        epochs=epochs,
        batch_size=BATCH,
        lr=0.1,
        warmup_epochs=1,
        schedule="cosine",
        temperature=min(recipe.temperature, 0.2),
        moco=replace(recipe.moco, queue_size=2048),
        precision="fp32",
        compile=False,
        knn_every=0,
    )
    return Recipe.from_dict(common.to_dict() | OWN.get(name, {}))


def knn(backbone: torch.nn.Module, recipe: Recipe, bank: data.Images, queries: data.Images) -> float:
    x, x_test = (features(backbone, part.images, recipe, torch.device("cpu")) for part in (bank, queries))
    return float(
        KNNClassifier(k=20, temperature=0.1).fit(x, bank.class_of_each()).score(x_test, queries.class_of_each())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(RECIPES)}; all by default")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "methods.json")
    options = parser.parse_args()
    chosen = known(options.methods, RECIPES)

    slice_ = data.load("cifar10").subset(np.arange(options.images))
    test = data.load("cifar10", split="test").subset(np.arange(2000))
    bank = f"{options.images} training images"
    report: dict[str, Any] = {
        "protocol": f"kNN k=20, T=0.1, bank {bank}, 2000 test queries, final epoch, seed 0",
        "epochs": options.epochs,
        "batch_size": BATCH,
        "own_settings": OWN,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "results": [],
    }
    if options.out.is_file():
        earlier = json.loads(options.out.read_text())
        if all(earlier.get(key) == report[key] for key in report if key != "results"):
            report["results"] = earlier["results"]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        if name in {row["method"] for row in report["results"]}:
            continue
        recipe = scaled(name, options.epochs)
        torch.manual_seed(recipe.seed)
        before = knn(build_backbone(recipe), recipe, slice_, test)
        started = time.monotonic()
        with TemporaryDirectory() as folder:
            result = train(recipe, Path(folder) / "run", images=slice_)
        seconds = round(time.monotonic() - started)
        after = knn(result.backbone, recipe, slice_, test)
        row = {"method": name, "knn_untrained": before, "knn_trained": after, "gain": after - before}
        report["results"].append({**row, "seconds": seconds})
        options.out.write_text(json.dumps(report, indent=2) + "\n")
    for row in report["results"]:
        before, after = row["knn_untrained"], row["knn_trained"]
        print(f"{row['method']:<12} untrained {before:.1%}   trained {after:.1%}   {100 * row['gain']:+.1f} points")


if __name__ == "__main__":
    in_one_line(main)
