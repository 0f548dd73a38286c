"""The parts of `benchmarks/gpu.py`, each in a process of its own: `python -m benchmarks.gpu_work PART --work FOLDER`.

A part that is finished writes `results/PART.json` into the folder. One that is not goes on from its files.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import training_speed
from benchmarks.in_one_line import in_one_line
from cpchub.catalog.spec import read_json
from cpchub.common.files import write_json
from cpchub.errors import RunError
from cpchub_training import recipes
from cpchub_training.jobs import suite
from cpchub_training.jobs.suite_table import JSON
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.cpc_settings import CPCSettings
from cpchub_training.run.loop import train
from cpchub_training.views.settings import NO_PATCH_VIEWS

SIMCLR, LONG, CPC = "simclr_resnet18_cifar10_200e", "simclr_resnet18_cifar10_500e", "cpc_resnet18_cifar10"
TARGET = 0.9  # kNN accuracy, k = 200, of the final epoch
FIRST, STEP, MOST = 200, 0.8, 800  # epochs of the first try; each next one is shorter, or longer, by this factor
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}
PATCHES = {"patch_size": 8, "patch_stride": 4, "layers": [1, 1], "channels": [8, 12], "stem_chs": 8}


class Work:
    """The folder, the minutes of this call, and whether all is tiny."""

    def __init__(self, folder: Path, minutes: float, tiny: bool) -> None:
        self.folder, self.tiny = folder, tiny
        self.until = time.monotonic() + 60 * minutes

    def minutes(self) -> float:
        return max(0.001, (self.until - time.monotonic()) / 60)

    def recipe(self, name: str) -> Recipe:
        """A recipe of the GPU, or a tiny one of its method."""
        recipe = recipes.get(name)
        if not self.tiny:
            return recipe
        small = replace(recipes.get("simclr_digits"), name=name, limit=96, epochs=2, batch_size=32, warmup_epochs=1)
        small = replace(small, knn_every=1, checkpoint_minutes=0.001)
        if recipe.takes != "patches":
            return replace(small, backbone_args=TINY)
        settings = CPCSettings(context_blocks=1, context_width=8, target_dim=8, group=0, patches=NO_PATCH_VIEWS)
        patches = replace(small, method="cpc_v2", n_views=1, cpc=settings)
        return replace(patches, backbone="cpc_resnet20_small", backbone_args=PATCHES)


def smoke(work: Work) -> dict[str, Any]:
    """Train for some steps, stop, and go on to the end: bfloat16 and compiled on a GPU."""
    folder = work.folder / "smoke"
    shutil.rmtree(folder, ignore_errors=True)  # of a try that did not end
    recipe = work.recipe(SIMCLR)
    recipe = recipe if work.tiny else replace(recipe, data="digits", epochs=20)
    started = time.monotonic()
    first = train(recipe, folder, stop_after_steps=3)
    second = train(recipe, folder)
    losses = [float(result.metrics["loss"]) for result in (first, second)]
    if first.finished or not second.finished or not all(map(math.isfinite, losses)):
        raise RunError(f"the smoke run has the losses {losses}, and {first.steps} and {second.steps} steps")
    seconds = round(time.monotonic() - started, 1)
    return {"steps": [first.steps, second.steps], "losses": losses, "seconds": seconds, "precision": recipe.precision}


def throughput(work: Work) -> dict[str, Any]:
    """Images a second of each recipe; one that is in the file is not measured again."""
    out = work.folder / "training_speed.json"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows: list[dict[str, Any]] = read_json(out)["results"] if out.is_file() else []
    for name in training_speed.DEFAULT[:1] if work.tiny else training_speed.DEFAULT:
        if not any(row["recipe"] == name for row in rows):
            warm, steps = (1, 2) if work.tiny else (20, 100)
            recipe = replace(work.recipe(name), knn_every=0, limit=0)
            rows.append(training_speed.measured(recipe, device, warm, steps))
            write_json(out, {"results": rows})
    return {"results": rows}


def run_of(name: str, work: Work, folder: str = "suite", epochs: int | None = None) -> dict[str, Any] | None:
    """The row of a finished run, trained as far as there is time; None for one that is not finished."""
    recipe = work.recipe(name)
    recipe = recipe if epochs is None else replace(recipe, epochs=epochs)
    home = work.folder / folder
    if not suite.run([recipe], home, suite.Limits(minutes=work.minutes())):
        return None
    (row,) = read_json(home / JSON)["rows"]
    return dict(row)


def knn90(work: Work) -> dict[str, Any] | None:
    """The shortest run that ends at 90 % kNN: lengths are tried, each shorter than one that did and so on."""
    note = work.folder / "knn90.json"
    tries: list[dict[str, Any]] = read_json(note)["tries"] if note.is_file() else []
    target = 0.2 if work.tiny else TARGET
    while (epochs := next_length(tries, target, 2 if work.tiny else FIRST)) is not None:
        row = run_of(LONG, work, f"knn90/{epochs}", epochs)
        if row is None:
            return None
        tries.append({"epochs": epochs, "knn": row["knn"]["value"], "training_minutes": row["training_minutes"]})
        write_json(note, {"tries": tries})
    reached = [each for each in tries if each["knn"] >= target]
    return {"target": target, "tries": tries, "shortest": min(reached, key=lambda each: each["epochs"], default=None)}


def next_length(tries: list[dict[str, Any]], target: float, first: int = FIRST) -> int | None:
    """How many epochs to try next; None where the shortest length that reaches the target is known to a fifth."""
    reached = [each["epochs"] for each in tries if each["knn"] >= target]
    missed = [each["epochs"] for each in tries if each["knn"] < target]
    if not tries:
        return first
    if not reached:
        longer = round(max(missed) / STEP)
        return longer if longer <= MOST and len(missed) < 6 else None
    shorter = round(min(reached) * STEP)
    return shorter if shorter >= 1 and shorter != min(reached) and shorter > max(missed, default=0) else None


PARTS: Mapping[str, Any] = {
    "smoke": smoke,
    "throughput": throughput,
    "simclr": lambda work: run_of(SIMCLR, work),
    "cpc": lambda work: run_of(CPC, work),
    "knn90": knn90,
}


def ends_with_its_parent() -> None:
    """End this process when the one that started it is gone: a GPU is not held by what nobody waits for."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    ends_with_its_parent()
    found = PARTS[options.part](Work(options.work, options.minutes, options.rehearse))
    if found is not None:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        facts = {"device": device, "torch": torch.__version__, "python": platform.python_version()}
        results = options.work / "results"
        results.mkdir(parents=True, exist_ok=True)
        write_json(results / f"{options.part}.json", {**facts, **found})


if __name__ == "__main__":
    in_one_line(main)
