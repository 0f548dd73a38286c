"""Settings of the fast recipe for CIFAR-10 on a CPU, compared by runs of equal processor time on held-out images.

    CPCHUB_DATA=FOLDER python -m benchmarks.fast_choice [SETTING ...] [--seconds 70] [--runs FOLDER] [--out FILE]

Each setting changes a few fields of the recipe and trains on 45,000 training images for the same processor time of one
core; rate and sizes of views follow the share of that time. kNN (k = 200, T = 0.1) of 4,000 of the other training
images against 10,000 of those that were trained on. No test image is looked at. One standard error is 0.75 points. A
setting that is in the file already is not run again; one that is stopped (Ctrl-C, SIGTERM) goes on in its folder.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.in_one_line import in_one_line, known
from cpchub.common.files import write_json
from cpchub.encoders.fast.processor import cpu_has_bfloat16
from cpchub.fewlabels.knn import knn
from cpchub_training import data, recipes
from cpchub_training.data.batches import Batches
from cpchub_training.recipes import Recipe
from cpchub_training.run import ranks
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.features import features
from cpchub_training.run.saved_run import build_method, facts_of
from cpchub_training.run.stopping import StopBetweenSteps
from cpchub_training.run.training_run import TrainingRun

HELD_OUT, QUERIES, BANK = 5000, 4000, 10_000
SPENT = "spent.json"

BASE = recipes.get("simclr_resnet18_w32_cifar10_cpu_fast")
SHALLOW = {**BASE.backbone_args, "layers": [1, 1, 1, 1]}
NARROW = {**BASE.backbone_args, "channels": [24, 48, 96, 192], "stem_width": 12}

SETTINGS: dict[str, Recipe] = {
    "base": BASE,
    "views of 32 throughout": replace(BASE, early_sizes=()),
    "views of 48 throughout": replace(BASE, early_sizes=(), views=replace(BASE.views, size=48), input_size=64),
    "one block a stage": replace(BASE, backbone_args=SHALLOW),
    "three quarters of the width": replace(BASE, backbone_args=NARROW),
    "rate 0.2": replace(BASE, lr=0.2),
    "rate 0.8": replace(BASE, lr=0.8),
    "AdamW": replace(BASE, optimizer="adamw", lr=3e-3, weight_decay=0.02),
    "batch 128": replace(BASE, batch_size=128, lr=0.2),
    "batch 512": replace(BASE, batch_size=512, lr=0.8),
    "four views": replace(BASE, n_views=4, batch_size=128),
    "temperature 0.2": replace(BASE, temperature=0.2),
    "decoupled": replace(BASE, decoupled=True),
}


def trained(recipe: Recipe, images: data.Images, seconds: float, folder: Path) -> TrainingRun:
    """Train for so many processor seconds, in all the calls with this folder."""
    fabric = ranks.launch("cpu", recipe.precision)
    torch.manual_seed(recipe.seed)
    method = build_method(recipe, build_backbone(recipe), facts_of(images))
    endless = replace(recipe, epochs=10_000, warmup_epochs=0, schedule="constant")
    run = TrainingRun(endless, folder, images, method, fabric)
    before = json.loads((folder / SPENT).read_text())["seconds"] if run.done else 0.0
    warm = recipe.warmup_epochs / recipe.epochs
    started = time.process_time()
    with StopBetweenSteps() as stopping:
        for batch in Batches(endless, len(images)).batches(run.done, run.total):
            spent = before + time.process_time() - started
            done = spent / seconds
            if done >= 1:
                break
            share = done / warm if done < warm else (1 - done) / (1 - warm)
            run.recipe = replace(endless, lr=recipe.lr * max(share, 1e-3))
            ((_, views),) = images.views([replace(batch, done=done)], recipe, run.device)
            loss, _ = run.step(batch, views)
            if stopping.asked:
                run.save(loss, wait=True)
                write_json(folder / SPENT, {"seconds": spent})
                raise KeyboardInterrupt
    return run


def held_out_knn(run: TrainingRun, recipe: Recipe, whole: data.Images, train: np.ndarray, held: np.ndarray) -> float:
    """kNN accuracy of images that the run has not seen. In bfloat16 where the CPU computes with it."""
    y = whole.class_of_each()
    bank, queries = train[:BANK], held[:QUERIES]
    with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bfloat16()):
        x, q = (features(run.kept, whole.images[rows], recipe, run.device) for rows in (bank, queries))
    return float(np.mean(knn(x, y[bank], q, [200])[200] == y[queries]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=f"of {', '.join(SETTINGS)}; all by default")
    parser.add_argument("--seconds", type=float, default=70, help="of one core, a setting")
    parser.add_argument("--runs", type=Path, default=Path("runs", "fast_choice"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "fast_choice.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "protocol": f"kNN k=200, T=0.1, {QUERIES} held-out training images against {BANK} others; one core",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "results": [],
    }
    if options.out.is_file():
        report["results"] = json.loads(options.out.read_text())["results"]
    whole = data.load("cifar10")
    order = np.random.default_rng(0).permutation(len(whole))
    held, train = order[:HELD_OUT], order[HELD_OUT:]
    images = whole.subset(train)
    for name in known(options.settings, SETTINGS):
        if (name, options.seconds) in {(row["setting"], row["seconds"]) for row in report["results"]}:
            continue
        recipe = SETTINGS[name]
        run = trained(recipe, images, options.seconds, options.runs / f"{name}, {options.seconds:g}")
        row = {"setting": name, "seconds": options.seconds, "images_seen": run.done * recipe.batch_size}
        row["knn"] = round(held_out_knn(run, recipe, whole, train, held), 4)
        report["results"].append(row)
        write_json(options.out, report)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    in_one_line(main)
