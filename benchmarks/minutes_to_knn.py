"""Minutes from the command to 55 % kNN on CIFAR-10 on a CPU, beside lightly's SimCLR example, in one run.

    CPCHUB_DATA=FOLDER python -m benchmarks.minutes_to_knn [--small]

Ours is the recipe `simclr_resnet18_w32_cifar10_cpu_fast`. The rival is lightly's `examples/pytorch/simclr.py` as it is
published: torchvision's ResNet-18 on 32 pixels, SimCLRTransform(input_size=32, gaussian_blur=0.0), batches of 256 from
a DataLoader with eight workers, NTXentLoss(), SGD with a rate of 0.06. It goes on after the example's ten epochs.

Each is a process of its own with the same cores and threads; ours runs first. The clock starts before the process does,
so the import of libraries and the reading of the data count. It stands still while kNN is measured, by the same code
for both: k = 200, T = 0.1, the 50,000 training images against the 10,000 test images, features in float32. Ours is
measured at the end of each epoch; lightly eight times before it is stopped, after 4 times the time of ours.

Settings are compared on held-out training images only (`benchmarks/fast_choice.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.in_one_line import in_one_line
from cpchub.common.files import write_json

RECIPE = "simclr_resnet18_w32_cifar10_cpu_fast"
AIM, LOOKS, WORKERS = 0.55, 8, 8
SMALL_AIM, SMALL_IMAGES = 0.25, 2048  # of the rehearsal


class Clock:
    """Seconds since the command, without those of measuring, and a line for each measurement."""

    def __init__(self, options: argparse.Namespace) -> None:
        from cpchub_training import data

        self.started, self.measuring, self.out = options.started, 0.0, options.lines
        self.bank, self.queries = (data.load("cifar10", split=split) for split in ("train", "test"))
        if options.small:
            import numpy as np

            rows = np.arange(SMALL_IMAGES)
            self.bank, self.queries = self.bank.subset(rows), self.queries.subset(rows[:1000])

    @property
    def seconds(self) -> float:
        return time.time() - self.started - self.measuring

    def measure(self, backbone: Any, recipe: Any, images: int) -> float:
        """kNN accuracy of a network as the recipe shows images to it; written down with the time."""
        import numpy as np
        import torch

        from cpchub.fewlabels.knn import knn
        from cpchub_training.run.features import features

        at, begun = self.seconds, time.time()
        x, q = (features(backbone, part.images, recipe, torch.device("cpu")) for part in (self.bank, self.queries))
        found = knn(x, self.bank.class_of_each(), q, [200])[200]
        accuracy = float(np.mean(found == self.queries.class_of_each()))
        with self.out.open("a") as lines:
            lines.write(json.dumps({"seconds": round(at, 1), "images": images, "knn": round(accuracy, 4)}) + "\n")
        print(f"   {at / 60:6.2f} min   {images:>9,} images   kNN {accuracy:.1%}", flush=True)
        self.measuring += time.time() - begun
        return accuracy


def ours(options: argparse.Namespace) -> None:
    """Our recipe, epoch by epoch: a run that stops and goes on is the same run."""
    from cpchub_training import recipes
    from cpchub_training.data.batches import Batches
    from cpchub_training.run.loop import train

    recipe = replace(recipes.get(RECIPE), knn_every=0, checkpoint_minutes=1e9)
    if options.small:
        recipe = replace(recipe, epochs=2, warmup_epochs=0.4)
    clock = Clock(options)
    steps = Batches(recipe, len(clock.bank)).steps_per_epoch
    with TemporaryDirectory() as folder:
        for epoch in range(recipe.epochs):
            result = train(recipe, Path(folder) / "run", images=clock.bank, accelerator="cpu", stop_after_steps=steps)
            clock.measure(result.backbone, recipe, (epoch + 1) * steps * recipe.batch_size)


def lightlys(options: argparse.Namespace) -> None:
    """lightly's example, until it reaches the aim or its time is over."""
    import torch
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision.models import resnet18

    from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD
    from cpchub_training.recipes import Recipe

    clock = Clock(options)

    class Cifar(Dataset[Any]):
        """torchvision's CIFAR10, which would unpickle the files."""

        transform = SimCLRTransform(input_size=32, gaussian_blur=0.0)

        def __len__(self) -> int:
            return len(clock.bank)

        def __getitem__(self, i: int) -> Any:
            return self.transform(Image.fromarray(clock.bank.images[i].permute(1, 2, 0).numpy()))

    backbone = torch.nn.Sequential(*list(resnet18().children())[:-1], torch.nn.Flatten())
    head = SimCLRProjectionHead(512, 512, 128)
    loader = DataLoader(Cifar(), batch_size=256, shuffle=True, drop_last=True, num_workers=WORKERS)
    criterion = NTXentLoss()
    optimizer = torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=0.06)
    seen_as = Recipe("lightly", mean=IMAGENET_MEAN, std=IMAGENET_STD, input_size=32)

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    images, looks = 0, 1
    for x0, x1 in batches():
        loss = criterion(head(backbone(x0)), head(backbone(x1)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        images += len(x0)
        if clock.seconds >= looks * options.limit / LOOKS:
            looks += 1
            if clock.measure(backbone, seen_as, images) >= options.aim or looks > LOOKS:
                return


def run(who: str, options: argparse.Namespace, limit: float = 0.0) -> list[dict[str, Any]]:
    """The measurements of one of the two, in a process of its own."""
    print(who, flush=True)
    with TemporaryDirectory() as folder:
        lines = Path(folder) / "lines.jsonl"
        words = [sys.executable, "-m", "benchmarks.minutes_to_knn", "--who", who, "--lines", str(lines)]
        words += ["--limit", str(limit), "--threads", str(options.threads), "--aim", str(options.aim)]
        words += ["--started", str(time.time()), *(["--small"] if options.small else [])]
        subprocess.run(words, check=True, env={**os.environ, "OMP_NUM_THREADS": str(options.threads)})
        return [json.loads(line) for line in lines.read_text().splitlines()]


def reached(curve: list[dict[str, Any]], aim: float) -> float | None:
    """Seconds until a measurement was at the aim."""
    return next((each["seconds"] for each in curve if each["knn"] >= aim), None)


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Both runs, and what they say of each other."""
    from cpchub.encoders.fast.processor import cpu_has_bfloat16

    mine = run("cpchub", options)
    took = reached(mine, options.aim)
    report: dict[str, Any] = {
        "aim": f"{options.aim:.0%} kNN, k=200, T=0.1, training images against test images of CIFAR-10",
        "small": options.small,
        "threads": options.threads,
        "processor": {"machine": platform.machine(), "bfloat16": cpu_has_bfloat16()},
        "recipe": RECIPE,
        "cpchub": {"reached_after_seconds": took, "final_knn": mine[-1]["knn"], "curve": mine},
    }
    last = mine[-1]["seconds"]
    theirs = run("lightly", options, options.times * (took or last))
    there = reached(theirs, options.aim)
    report["lightly"] = {"reached_after_seconds": there, "last_knn": theirs[-1]["knn"], "curve": theirs}
    minutes, times = theirs[-1]["seconds"] / 60, theirs[-1]["seconds"] / (took or last)
    if took is None:
        report["verdict"] = f"cpchub did not reach the aim: {mine[-1]['knn']:.1%} after {last / 60:.1f} minutes"
    elif there is None:
        report["verdict"] = (
            f"cpchub {took / 60:.1f} minutes; lightly not reached: {theirs[-1]['knn']:.1%} after "
            f"{minutes:.1f} minutes, {times:.1f} times as long"
        )
    else:
        report["verdict"] = f"cpchub {took / 60:.1f} minutes, lightly {there / 60:.1f}: {there / took:.1f} times"
    print(report["verdict"])
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--small", action="store_true", help="a rehearsal in two minutes, on a slice")
    parser.add_argument("--times", type=float, default=4, help="lightly is stopped after so many times our time")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "minutes_to_knn.json")
    parser.add_argument(
        "--who", choices=("cpchub", "lightly"), help=argparse.SUPPRESS
    )  # what a process of its own does
    for name, kind in (("--lines", Path), ("--limit", float), ("--started", float), ("--aim", float)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.aim = options.aim or (SMALL_AIM if options.small else AIM)
    if options.who is None:
        write_json(options.out, compare(options))
        return
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    {"cpchub": ours, "lightly": lightlys}[options.who](options)


if __name__ == "__main__":
    in_one_line(main)
