"""Lay out Tiny-ImageNet and CIFAR-10 as one folder of training images, for the recipe of the photo encoder.

    python -m benchmarks.photos_data --tiny tiny-imagenet-200 --cifar10 FOLDER --out images

    pictures/tiny-imagenet-cifar10/tiny-n01443537/n01443537_0.JPEG   cifar10-frog/00000.png   95,000 and 45,000 images
    pictures/held-out/tiny-imagenet/n01443537/...   held-out/cifar10/frog/...   5,000 and 5,000 images

Only training parts are read, the test parts of neither. A run is not taught by labels; the folders' names serve to
measure. The held-out images, a twentieth and a tenth of each class, are for choosing settings and watching a run.
The folder appears when it is complete.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.in_one_line import in_one_line
from cpchub.common.files import PARTIAL
from cpchub.errors import SourceError
from cpchub_training.data.known import cifar10
from cpchub_training.recipes.places import cifar10_folder

TRAIN = "tiny-imagenet-cifar10"  # what the training images together are called, on cards too
HELD_OUT = 5000  # of each set


def held_out(labels: np.ndarray, n: int) -> np.ndarray:
    """Which images are held out, bool `[N]`: `n` of all, as many of each class, the same at every call."""
    rng, chosen = np.random.default_rng(0), np.zeros(len(labels), bool)
    classes = np.unique(labels)
    for label in classes:
        chosen[rng.permutation(np.flatnonzero(labels == label))[: n // len(classes)]] = True
    return chosen


def places(out: Path, name: str, classes: list[str], labels: np.ndarray, files: list[str]) -> Iterator[Path]:
    """Where each image of the set `name` goes."""
    prefix = name.partition("-")[0]
    for file, label, out_of_training in zip(files, labels, held_out(labels, HELD_OUT), strict=True):
        if out_of_training:
            yield out / "held-out" / name / classes[label] / file
        else:
            yield out / TRAIN / f"{prefix}-{classes[label]}" / file


def lay_out_tiny(folder: Path, out: Path) -> int:
    """Copy the training images of Tiny-ImageNet; the classes are its folders. Returns how many there are."""
    images = sorted((folder / "train").glob("*/images/*.JPEG"))
    if not images:
        raise SourceError(f"{folder} is not Tiny-ImageNet: it has no train/CLASS/images/*.JPEG")
    classes = sorted({image.parts[-3] for image in images})
    labels = np.array([classes.index(image.parts[-3]) for image in images])
    files = [image.name for image in images]
    for image, place in zip(images, places(out, "tiny-imagenet", classes, labels, files), strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, place)
    return len(images)


def lay_out_cifar10(folder: Path, out: Path) -> int:
    """Write the training images of CIFAR-10 as PNG, 32 pixels as they are. Returns how many there are."""
    images = cifar10(folder)
    labels = images.class_of_each()
    files = [f"{row:05d}.png" for row in range(len(images))]
    arrays = images.images.permute(0, 2, 3, 1).numpy()
    for array, place in zip(arrays, places(out, "cifar10", list(images.classes), labels, files), strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(place, compress_level=1)
    return len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tiny", type=Path, required=True, help="the folder tiny-imagenet-200")
    parser.add_argument("--cifar10", type=Path, required=True, help="the folder with cifar-10-batches-py")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.out.exists():
        raise SystemExit(f"{options.out} is there already; remove it, or give another --out")
    cifar10_folder(options.cifar10)  # raises where it is not there, before a hundred thousand files are copied
    partial = options.out.with_name(options.out.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)  # of a call that was killed
    n = lay_out_tiny(options.tiny, partial) + lay_out_cifar10(options.cifar10, partial)
    partial.replace(options.out)
    print(f"{n} images in {options.out}, of which {2 * HELD_OUT} are held out")


if __name__ == "__main__":
    in_one_line(main)
