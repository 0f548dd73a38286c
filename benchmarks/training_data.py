"""Images a second a core from folders of photos of 12 megapixels, first and second epoch, beside torchvision's loader.

    python -m benchmarks.training_data [--photos 96] [--turns 3] [--out FILE]

The photos are made here: 4000 x 3000 pixels of coarse shapes and fine grain, JPEG of quality 90, some 4 MB each, in two
class folders. Each image gives two views of 224 pixels: a random crop of 0.2 to 1 of the image, and a flip. Colours are
left alone, as they cost the same after any loader. Ways to read them:

device       `cpchub train --stored-size 256`: squares, cropped as a batch
cpu          `cpchub train --views-on cpu`: each crop from an image with the pixels that crops need
torchvision  ImageFolder in a DataLoader with a worker a core; RandomResizedCrop, RandomHorizontalFlip, ToTensor

They take turns; each turn of ours begins with an empty cache, and its second epoch reads what the first has kept. The
files are in the system's memory for all of them. Medians over the turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

from benchmarks.in_one_line import in_one_line
from cpchub.common.files import write_json
from cpchub.common.kept import kept_images
from cpchub_training import recipes
from cpchub_training.data.batches import Batches
from cpchub_training.data.loading import open_data
from cpchub_training.recipes import Recipe
from cpchub_training.views.settings import Views

WIDTH, HEIGHT, BATCH, VIEW, STORED = 4000, 3000, 16, 224, 256
CROPS = Views(size=VIEW, crop_scale=(0.2, 1.0), jitter_p=0.0, grey_p=0.0)


def photo(number: int, folder: Path) -> None:
    """Write one photo."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT), Image.BICUBIC)
    middle = Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT), Image.BICUBIC)
    grain = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)).convert("RGB")
    path = folder / ("left", "right")[number % 2] / f"{number:04}.jpg"
    path.parent.mkdir(exist_ok=True)
    Image.blend(Image.blend(coarse, middle, 0.25), grain, 0.08).save(path, quality=90)


def ours(photos: Path, views_on: str) -> list[float]:
    """Seconds of the first and the second epoch."""
    recipe: Recipe = replace(
        recipes.get("simclr_photos"),
        data=str(photos),
        stored_size=STORED,
        views=CROPS,
        views_on=views_on,
        stream="always",
        batch_size=BATCH,
        image_cache="20GB",
    )
    images = open_data(recipe)
    kept_images().clear()
    images = open_data(recipe)
    plan, seconds = Batches(recipe, len(images)), []
    for epoch in range(2):
        started, steps = time.perf_counter(), plan.steps_per_epoch
        for _ in images.views(plan.batches(epoch * steps, (epoch + 1) * steps), recipe, torch.device("cpu")):
            pass
        seconds.append(time.perf_counter() - started)
    return seconds


def torchvisions(photos: Path, workers: int) -> list[float]:
    """Seconds of the first and the second epoch."""
    crop = v2.Compose(
        [v2.RandomResizedCrop(VIEW, scale=(0.2, 1.0)), v2.RandomHorizontalFlip(), v2.PILToTensor(), _as_float]
    )
    found = datasets.ImageFolder(str(photos), transform=_Twice(crop))
    loader = DataLoader(found, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers)
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        for _ in loader:
            pass
        seconds.append(time.perf_counter() - started)
    return seconds


def _as_float(x: Tensor) -> Tensor:
    return x.float() / 255


class _Twice:
    """Two views of an image."""

    def __init__(self, view: Callable[[Any], Tensor]) -> None:
        self.view = view

    def __call__(self, image: Any) -> list[Tensor]:
        return [self.view(image), self.view(image)]


def measured(photos: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The rates of each way, medians over the turns."""
    ways: dict[str, Callable[[], list[float]]] = {
        "device": lambda: ours(photos, "device"),
        "cpu": lambda: ours(photos, "cpu"),
        "torchvision": lambda: torchvisions(photos, options.cores),
    }
    turns: dict[str, list[list[float]]] = {name: [] for name in ways}
    kept: dict[str, int] = {}
    for _ in range(options.turns):
        for name, way in ways.items():
            turns[name].append(way())
            kept[name] = sum(entry.bytes for entry in kept_images().entries())
    number = options.photos // BATCH * BATCH
    report: dict[str, Any] = {}
    for name, found in turns.items():
        rates = [[number / seconds / options.cores for seconds in turn] for turn in found]
        first, second = (statistics.median(rate) for rate in zip(*rates, strict=True))
        report[name] = {
            "images_per_second_per_core": {"first_epoch": round(first, 2), "second_epoch": round(second, 2)},
            "each_turn": [[round(rate, 2) for rate in turn] for turn in rates],
        }
        if name != "torchvision":
            report[name]["kept_bytes_per_image"] = kept[name] // options.photos
    for name in ("device", "cpu"):
        rates = report[name]["images_per_second_per_core"]
        peer = report["torchvision"]["images_per_second_per_core"]
        report[name]["ratio"] = {epoch: round(rates[epoch] / peer[epoch], 2) for epoch in rates}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "training_data.json")
    options = parser.parse_args()
    options.cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(options.cores)
    with TemporaryDirectory() as folder:
        os.environ["CPCHUB_CACHE"] = str(Path(folder) / "cache")
        photos = Path(folder) / "photos"
        photos.mkdir()
        with ThreadPoolExecutor(options.cores) as pool:
            list(pool.map(lambda number: photo(number, photos), range(options.photos)))
        size = sum(path.stat().st_size for path in photos.rglob("*.jpg")) // options.photos
        print(f"{options.photos} photos of {size / 1e6:.1f} MB", flush=True)
        report = {
            "photos": {"number": options.photos, "pixels": [WIDTH, HEIGHT], "mean_bytes": size},
            "views": {"number": 2, "size": VIEW, "crop_scale": CROPS.crop_scale, "stored_size": STORED},
            "cores": options.cores,
            "versions": {"torch": torch.__version__, "pillow": PIL.__version__, "python": platform.python_version()},
            "ways": measured(photos, options),
        }
    for name, row in report["ways"].items():
        rates = row["images_per_second_per_core"]
        ratio = "   {first_epoch:.1f} and {second_epoch:.1f} times".format(**row["ratio"]) if "ratio" in row else ""
        print(f"{name:<12}{rates['first_epoch']:>8.1f}{rates['second_epoch']:>8.1f} images/s a core{ratio}")
    write_json(options.out, report)


if __name__ == "__main__":
    in_one_line(main)
