"""Labelled data sets: a part to learn from and a part to test on.

`open_labelled("cifar10")`, `open_labelled("digits")` or a folder with a sub-folder a class. A folder with `train/` and
`test/` (or `val/`) is split in this way; of any other folder, a fifth of each class is held out. Unreadable images are
removed first, so they have no influence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.common.files import expanded
from cpchub.encoders.encoder import ImageLike
from cpchub.errors import LabelError, SourceError
from cpchub.media.crop import centre_square
from cpchub.media.decode import read_image
from cpchub.media.labels import TEST, TRAIN
from cpchub.media.rules import NO_RULES, Rules
from cpchub.media.sources import open_source
from cpchub_training import data
from cpchub_training.data.left_out import tell_left_out
from cpchub_training.data.listing import report_listing
from cpchub_training.evaluate.readable import Checked, checked
from cpchub_training.recipes.places import check_labelled

Labels = npt.NDArray[np.int64]
Labelled = tuple[Path, str]  # an image and its class


@dataclass(frozen=True)
class Part:
    """Images as an encoder takes them (uint8 arrays `[H, W, 3]`, or paths), class numbers `[N]`, and their digest."""

    images: Sequence[ImageLike]
    labels: Labels
    digest: str  # of images and labels

    def __len__(self) -> int:
        return len(self.images)

    def arrays(self, rows: Labels | None = None, *, side: int) -> npt.NDArray[np.uint8]:
        """The images, or some rows of them, as uint8 `[n, H, W, 3]`; those of files as centre squares of `side`."""
        chosen = range(len(self)) if rows is None else rows
        return np.stack([_square(self.images[i], side) for i in chosen])


@dataclass(frozen=True)
class DataSet:
    """A named data set: classes, the part to learn from, the part to test on.

    left_out: path and reason of the images that cannot be read; no part has them.
    """

    name: str
    classes: tuple[str, ...]
    train: Part
    test: Part
    left_out: tuple[tuple[str, str], ...] = ()

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The description of the data set for `eval.json`."""
        facts: dict[str, Any] = {
            "name": self.name,
            "classes": len(self.classes),
            "train": len(self.train),
            "test": len(self.test),
            "train_digest": self.train.digest,
            "test_digest": self.test.digest,
        }
        if self.left_out:
            facts["left_out"] = [{"path": path, "reason": reason} for path, reason in self.left_out]
        return facts


def open_labelled(name: str, rules: Rules = NO_RULES, cache: Path | None = None) -> DataSet:
    """The data set of that name, or of the folder at that path, of which `rules` leave something out.

    Prints which images are left out because they cannot be read. cache: the folder that remembers which can be read,
    by default the cache of features.

    Raises SourceError for missing data and data without classes, LabelError for a class with fewer than two images.
    """
    if name in data.HAVE_TEST_PART:
        train, test = (data.load(name, split=split) for split in ("train", "test"))
        return DataSet(train.name, train.classes, _in_memory(train), _in_memory(test))
    check_labelled(name)
    folder = expanded(name)
    images = _images(folder, rules)
    names = _train_and_test(images) or ("",)
    found = [_files(folder, images, part) for part in names]
    known = checked([path for files in found for path, _ in files], cache)
    left_out = tuple((path.relative_to(folder).as_posix(), reason) for path, reason in known.broken.items())
    tell_left_out(left_out, sum(map(len, found)), folder.resolve().name)
    readable = [_readable(files, known, folder / part) for files, part in zip(found, names, strict=True)]
    train_files, test_files = readable if len(readable) == 2 else _held_out_fifth(readable[0])
    if more := sorted({c for _, c in test_files} - {c for _, c in train_files}):
        raise SourceError(f"{folder / names[-1]} has the class {more[0]}, of which {folder / names[0]} has no image")
    classes = sorted({label for _, label in train_files})
    to_learn, to_test = (_of_files(files, classes, known) for files in (train_files, test_files))
    return DataSet(folder.resolve().name, tuple(classes), to_learn, to_test, left_out)


def _train_and_test(images: Sequence[str]) -> tuple[str, str] | None:
    """The folders of the two parts, where a data set has them."""
    parts = {each.partition("/")[0].lower(): each.partition("/")[0] for each in images if "/" in each}
    train, test = (next((parts[name] for name in names if name in parts), None) for names in (TRAIN, TEST))
    return None if train is None or test is None else (train, test)


def _in_memory(images: data.Images) -> Part:
    arrays = images.images.permute(0, 2, 3, 1).numpy()
    return Part(list(arrays), images.class_of_each(), images.digest())


def _images(folder: Path, rules: Rules) -> list[str]:
    """The paths of the images of a folder, sorted; what was passed over is told."""
    source = open_source(folder, rules=rules)
    listing = source.listing()
    report_listing(listing)
    if source.kind != "folder":
        raise SourceError(
            f"{folder} holds its images in files of the kind {source.kind}; measuring takes a folder with image "
            "files in a sub-folder a class"
        )
    return [image.path for image in listing.images]


def _files(root: Path, images: Sequence[str], part: str = "") -> list[Labelled]:
    """Path and class of each image in a part of the data set, in a fixed order."""
    folder, start = root / part, f"{part}/" if part else ""
    found = [(root / path, path.removeprefix(start).split("/")) for path in images if path.startswith(start)]
    if loose := [path for path, parts in found if len(parts) == 1]:
        raise SourceError(f"{loose[0]} lies in no class folder; put each image below a folder named for its class")
    files = [(path, parts[0]) for path, parts in found]
    _check_classes(files, folder)
    return files


def _readable(files: list[Labelled], known: Checked, folder: Path) -> list[Labelled]:
    """Those that can be read."""
    readable = [(path, label) for path, label in files if path in known.sha256]
    _check_classes(readable, folder)
    return readable


def _check_classes(files: list[Labelled], folder: Path) -> None:
    """Raise SourceError for less than two classes."""
    if len({label for _, label in files}) < 2:
        raise SourceError(f"{folder} has the images of one class only; measuring needs a folder for each of two")


def _held_out_fifth(files: list[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Four fifths and one fifth of each class, the same at every call."""
    labels = np.array([label for _, label in files])
    rng, held_out = np.random.default_rng(0), np.zeros(len(files), bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if len(rows) < 2:
            raise LabelError(f"the class {label} has one image; it takes one to learn from and one to test on")
        held_out[rows[: max(1, len(rows) // 5)]] = True
    return [f for f, out in zip(files, held_out, strict=True) if not out], [
        f for f, out in zip(files, held_out, strict=True) if out
    ]


def _of_files(files: list[Labelled], classes: Sequence[str], known: Checked) -> Part:
    """The digest covers contents and classes of the files, not their paths."""
    code = {label: number for number, label in enumerate(classes)}
    whole = hashlib.sha256()
    for path, label in files:
        whole.update(bytes.fromhex(known.sha256[path]))
        whole.update(label.encode(errors="surrogateescape") + b"\0")
    return Part([path for path, _ in files], np.array([code[label] for _, label in files]), whole.hexdigest()[:16])


def _square(image: ImageLike, side: int) -> npt.NDArray[np.uint8]:
    """An array is returned as it is; an image file is scaled to a short side of `side` and cut to its centre
    square."""
    if isinstance(image, np.ndarray):
        return image
    if not isinstance(image, Path):
        raise SourceError(f"a {type(image).__name__} is neither an array nor a path")
    return np.array(centre_square(read_image(image, size=side), side))
