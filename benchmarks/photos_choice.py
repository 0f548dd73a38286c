"""Settings of the photo encoder, chosen by short runs of equal processor time: kNN on images held out of training.

    python -m benchmarks.photos_choice --images FOLDER [SETTING ...] [--minutes 4] [--out FILE]

`FOLDER` is what `benchmarks/photos_data.py` makes. Each setting changes a few fields of `BASE`, and runs for the same
processor time on one core, with a constant rate and an average of the weights in place of a cooldown. kNN (k = 20, T =
0.1) of the held-out images of each set, at 64 pixels: Tiny-ImageNet (200 classes) against 20,000 of its training
images, CIFAR-10 against 5,000. No test image is looked at. A setting that is in the file already is not run again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.in_one_line import in_one_line, known
from benchmarks.photos_data import TRAIN
from cpchub.common.files import write_json
from cpchub.encoders.fast.processor import cpu_has_bfloat16
from cpchub.fewlabels.knn import knn
from cpchub_training import data, recipes
from cpchub_training.data.batches import Batch
from cpchub_training.recipes import Recipe
from cpchub_training.run.features import features
from cpchub_training.run.loop import train

BANK = {"tiny": 20_000, "cifar10": 5_000}
W32: dict[str, Any] = {"channels": [32, 64, 128, 256], "stem_type": "deep", "stem_width": 16}
W48: dict[str, Any] = {"channels": [48, 96, 192, 368], "stem_type": "deep", "stem_width": 24}
W64: dict[str, Any] = {"channels": [64, 128, 256, 256], "stem_type": "deep", "stem_width": 32}

BASE = replace(
    recipes.get("simclr_photos_quickstart"),
    name="photos_choice",
    backbone_args=W32,
    epochs=1000,
    batch_size=256,
    warmup_epochs=0.2,
    schedule="constant",
    ema_decay=0.99,
    precision="bf16",
    knn_every=0,
    checkpoint_minutes=1000,
)
_GENTLE = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.05, "grey_p": 0.0}
_WEAK = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.1, "hue": 0.02, "grey_p": 0.0}

SETTINGS: dict[str, Recipe] = {
    "base": BASE,
    "decoupled": replace(BASE, decoupled=True),
    "gentle colours": replace(BASE, views=replace(BASE.views, **_GENTLE)),
    "weak colours": replace(BASE, views=replace(BASE.views, **_WEAK)),
    "temperature 0.1": replace(BASE, temperature=0.1),
    "rate 0.5": replace(BASE, lr=0.5),
    "batch 128": replace(BASE, batch_size=128, lr=0.1),
    "views of 32": replace(BASE, views=replace(BASE.views, size=32)),
    "width 64": replace(BASE, backbone_args=W64),
}
SHARP = replace(BASE, temperature=0.1)
SETTINGS |= {
    "0.1, decoupled": replace(SHARP, decoupled=True),
    "0.1, a plain view": replace(SHARP, plain_views=1),
    "0.1, no grey": replace(SHARP, views=replace(BASE.views, grey_p=0.0)),
    "0.1, more jitter": replace(
        SHARP, views=replace(BASE.views, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, grey_p=0.2)
    ),
    "0.1, colours 0.3": replace(SHARP, colour_weight=0.3),
    "0.1, colours 1": replace(SHARP, colour_weight=1.0),
    "0.1, rate 0.5": replace(SHARP, lr=0.5),
    "0.1, batch 128": replace(SHARP, batch_size=128, lr=0.1),
    "0.1, batch 512": replace(SHARP, batch_size=512, lr=0.4),
    "0.1, head of three layers": replace(SHARP, projector_layers=3),
    "0.1, views of 32": replace(SHARP, views=replace(BASE.views, size=32)),
    "0.1, width 48": replace(SHARP, backbone_args=W48),
    "0.1, width 64": replace(SHARP, backbone_args=W64),
    "0.1, crops from 0.1": replace(SHARP, views=replace(BASE.views, crop_scale=(0.1, 1.0))),
    "0.1, AdamW": replace(SHARP, optimizer="adamw", lr=2e-3, weight_decay=0.05),
}


class Limited:
    """Images whose views end when the processor time is spent."""

    def __init__(self, images: data.Images, seconds: float) -> None:
        self.images, self.seconds, self.batches = images, seconds, 0
        self.labels, self.shards = images.labels, images.shards

    def __len__(self) -> int:
        return len(self.images)

    def digest(self) -> str:
        return "limited"

    def take(self, rows: Tensor) -> Tensor:
        return self.images.take(rows)

    def views(
        self, batches: Iterable[Batch], recipe: Recipe, device: torch.device
    ) -> Iterator[tuple[Batch, list[Tensor]]]:
        started = time.process_time()
        for each in self.images.views(batches, recipe, device):
            yield each
            self.batches += 1
            if time.process_time() - started > self.seconds:
                return


def bank_rows(classes: Sequence[str], labels: np.ndarray, prefix: str) -> np.ndarray:
    """The training images that those of a set are compared with, the same ones at every call."""
    of_set = np.array([each.startswith(f"{prefix}-") for each in classes])[labels]
    return np.random.default_rng(0).permutation(np.flatnonzero(of_set))[: BANK[prefix]]


def held_out_knn(backbone: torch.nn.Module, recipe: Recipe, train_part: data.Images, folder: Path) -> dict[str, float]:
    """kNN accuracy on the held-out images of each set, against training images of the same set.

    train_part: all training images, or those of `bank_rows`. In bfloat16 where the CPU computes with it.
    """
    found = {}
    for name, prefix in (("tiny-imagenet", "tiny"), ("cifar10", "cifar10")):
        queries = data.load(str(folder / "held-out" / name), size=recipe.stored_size)
        bank = train_part.subset(bank_rows(train_part.classes, train_part.class_of_each(), prefix))
        names = [f"{prefix}-{each}" for each in queries.classes]
        y = np.array([train_part.classes.index(each) for each in names])[queries.class_of_each()]
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bfloat16()):
            x, q = (features(backbone, part.images, recipe, torch.device("cpu")) for part in (bank, queries))
        found[name] = float(np.mean(knn(x, bank.class_of_each(), q, [20])[20] == y))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=f"of {', '.join(SETTINGS)}; all by default")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "photos_choice.json")
    options = parser.parse_args()
    chosen = known(options.settings, SETTINGS)
    torch.set_num_threads(1)

    report: dict[str, Any] = {
        "protocol": f"{options.minutes:g} processor minutes of one core each; kNN k=20, T=0.1 on held-out images",
        "bank": BANK,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "results": [],
    }
    if options.out.is_file():
        earlier = json.loads(options.out.read_text())
        report["results"] = earlier["results"]
    done = {(row["setting"], row["minutes"]) for row in report["results"]}
    images = data.load(str(options.images / TRAIN), size=BASE.stored_size)
    for name in chosen:
        if (name, options.minutes) in done:
            continue
        recipe, limited = SETTINGS[name], Limited(images, 60 * options.minutes)
        with TemporaryDirectory() as folder:
            result = train(recipe, Path(folder) / "run", images=limited)
        seen = limited.batches * recipe.batch_size
        row = {"setting": name, "minutes": options.minutes, "pictures_seen": seen, "loss": result.metrics["loss"]}
        row |= {f"knn {k}": v for k, v in held_out_knn(result.backbone, recipe, images, options.images).items()}
        report["results"].append(row)
        write_json(options.out, report)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    in_one_line(main)
