"""Images/s of whole training steps, as a share of the encoder's own rate, and the peak of memory. On a GPU or a CPU.

    python -m benchmarks.training_speed [RECIPE ...] [--steps 100] [--batch N] [--out FILE.json]

Each recipe runs in the loop that `cpchub train` runs, views, loss, optimiser and log included, on images of noise of
the recipe's size: speed does not depend on what is in them. The first steps, in which kernels are compiled and chosen,
do not count. The encoder alone is the forward and backward pass of the recipe's network on ready tensors, as many views
an image, in the same precision. For CPC patches/s are given too. A recipe whose row is in the file already, of the
same device and number of steps, is not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from benchmarks.in_one_line import in_one_line
from cpchub.common.files import write_json
from cpchub_training import data, recipes
from cpchub_training.data.batches import Batch
from cpchub_training.recipes import Recipe
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.loop import train

DEFAULT = ("simclr_resnet18_cifar10_200e", "moco_v2_resnet18_cifar10_200e", "cpc_resnet18_cifar10")


@dataclass
class Clocked:
    """A source of images that notes how long the loop takes from its batch `start` to its batch `stop`."""

    images: data.Images
    start: int
    stop: int
    seconds: float = 0.0

    @property
    def labels(self) -> Tensor | None:
        return self.images.labels

    @property
    def shards(self) -> None:
        """All images are in memory."""

    def __len__(self) -> int:
        return len(self.images)

    def digest(self) -> str:
        return "noise"

    def take(self, rows: Tensor) -> Tensor:
        return self.images.take(rows)

    def views(
        self, batches: Iterable[Batch], recipe: Recipe, device: torch.device
    ) -> Iterator[tuple[Batch, list[Tensor]]]:
        started = 0.0
        for batch, views in self.images.views(batches, recipe, device):
            if batch.step in (self.start, self.stop):
                synchronised(device)
                self.seconds, started = time.perf_counter() - started, time.perf_counter()
            yield batch, views


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recipes", nargs="*", default=DEFAULT, metavar="RECIPE")
    parser.add_argument("--steps", type=int, default=100, help="that count")
    parser.add_argument("--warm", type=int, default=20, help="steps before them")
    parser.add_argument("--batch", type=int, help="instead of the recipe's")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "training_speed.json")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "steps": options.steps,
        "results": [],
    }
    rows = found["results"] = earlier(options.out, found)
    for name in options.recipes:
        if any(row["recipe"] == name and row["batch_size"] == (options.batch or row["batch_size"]) for row in rows):
            continue
        recipe = replace(recipes.get(name), knn_every=0)
        recipe = replace(recipe, batch_size=options.batch or recipe.batch_size)
        rows.append(measured(recipe, device, options.warm, options.steps))
        row = rows[-1]
        print(
            f"{name:<34}{row['images_per_second']:>10,.1f} images/s  {row['share_of_encoder']:.2f} of the encoder alone"
            + (f"  {row['patches_per_second']:>12,.0f} patches/s" if "patches_per_second" in row else ""),
            flush=True,
        )
        write_json(options.out, found)  # after each recipe, so that a stopped job leaves what it measured


def earlier(out: Path, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that `out` has already, if they were measured as those of `found` are."""
    known: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
    same = all(known.get(key) == value for key, value in found.items() if key != "results")
    return list(known["results"]) if same else []


def measured(recipe: Recipe, device: torch.device, warm: int, steps: int) -> dict[str, Any]:
    """The rates of one recipe."""
    side = recipe.stored_size or recipe.input_size
    noise = torch.randint(256, (max(2000, recipe.batch_size), 3, side, side), dtype=torch.uint8)
    labels = torch.arange(len(noise)) % 10
    source = Clocked(data.Images("noise", noise, labels), warm, warm + steps)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    epochs = -(-(warm + steps + 1) // (len(noise) // recipe.batch_size))
    with TemporaryDirectory() as folder:
        run = replace(recipe, epochs=epochs, warmup_epochs=0)
        train(run, Path(folder) / "run", images=source, stop_after_steps=warm + steps + 1)
    whole = recipe.batch_size * steps / source.seconds
    alone = recipe.batch_size * steps / encoder_seconds(recipe, source.images, device, warm, steps)
    found = {
        "recipe": recipe.name,
        "batch_size": recipe.batch_size,
        "precision": recipe.precision,
        "compile": recipe.compile,
        "images_per_second": round(whole, 1),
        "encoder_images_per_second": round(alone, 1),
        "share_of_encoder": round(whole / alone, 3),
    }
    if recipe.takes == "patches":
        size, stride = (int(recipe.backbone_args[name]) for name in ("patch_size", "patch_stride"))
        patches = ((recipe.input_size - size) // stride + 1) ** 2
        found |= {"patches_per_picture": patches, "patches_per_second": round(whole * patches, 1)}
    if device.type == "cuda":
        found["peak_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return found


def encoder_seconds(recipe: Recipe, images: data.Images, device: torch.device, warm: int, steps: int) -> float:
    """Seconds that `steps` forward and backward passes of the network take on views that are ready."""
    network: Any = build_backbone(recipe).to(device).to(memory_format=torch.channels_last).train()
    on_patches = recipe.takes == "patches"
    forward: Callable[[Tensor], Tensor] = network.forward_features if on_patches else network
    if recipe.compile:
        forward = torch.compile(forward)
    part = recipe.batch_size // recipe.accumulate
    batch = Batch(0, 0, torch.arange(part), 0)
    views = next(images.views([batch], recipe, device))[1]
    bf16 = recipe.precision == "bf16"
    seconds = 0.0
    for n in range((warm + steps) * recipe.accumulate):
        if n == warm * recipe.accumulate:
            synchronised(device)
            seconds = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
            outputs = [forward(view) for view in views]
        torch.stack([output.float().sum() for output in outputs]).sum().backward()
        network.zero_grad()
    synchronised(device)
    return time.perf_counter() - seconds


def synchronised(device: torch.device) -> None:
    """Wait for what the device still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    in_one_line(main)
