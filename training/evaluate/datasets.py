"""What an encoder is measured on: labelled pictures to learn from, and others to test on.

`open_labelled("cifar10")`, `open_labelled("digits")` or a folder with a sub-folder a class. A folder that holds
`train/` and `test/` (or `val/`) is split so; of any other, a fifth of each class is held out.
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

from cpchub.encoder import ImageLike
from cpchub.errors import BrokenImageError, LabelError, SourceError
from cpchub.files import expanded
from cpchub.images.decode import read_image
from cpchub.images.rules import NO_RULES, Rules
from cpchub.images.sources import open_source
from cpchub.labels import TEST, TRAIN
from training import data
from training.listing import tell

Labels = npt.NDArray[np.int64]
AT_ONCE = 1 << 20  # bytes read at a time while a file is hashed


@dataclass(frozen=True)
class Part:
    """Pictures as an encoder takes them (uint8 arrays `[H, W, 3]`, or paths), class numbers `[N]`, and their digest."""

    pictures: Sequence[ImageLike]
    labels: Labels
    digest: str  # of pictures and labels

    def __len__(self) -> int:
        return len(self.pictures)

    def arrays(self, rows: Labels | None = None, *, side: int) -> npt.NDArray[np.uint8]:
        """The pictures, or some rows of them, as uint8 `[n, H, W, 3]`; those of files as centre squares of `side`."""
        chosen = range(len(self)) if rows is None else rows
        return np.stack([_square(self.pictures[i], side) for i in chosen])


@dataclass(frozen=True)
class DataSet:
    """A named data set: classes, the part to learn from, the part to test on."""

    name: str
    classes: tuple[str, ...]
    train: Part
    test: Part

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What `eval.json` says about it."""
        return {
            "name": self.name,
            "classes": len(self.classes),
            "train": len(self.train),
            "test": len(self.test),
            "train_digest": self.train.digest,
            "test_digest": self.test.digest,
        }


def open_labelled(name: str, rules: Rules = NO_RULES) -> DataSet:
    """The data set of that name, or of the folder at that path, of which `rules` leave something out.

    Raises SourceError for what is not there or has no classes, LabelError for a class with fewer than two pictures.
    """
    if name in data.HAVE_TEST_PART:
        train, test = (data.load(name, split=split) for split in ("train", "test"))
        return DataSet(train.name, train.classes, _in_memory(train), _in_memory(test))
    folder = expanded(name)
    if not folder.is_dir():
        raise SourceError(
            f"no data set called {name!r}: use {', '.join(data.HAVE_TEST_PART)}, or a folder with a folder a class"
        )
    pictures = _pictures(folder, rules)
    parts = {each.partition("/")[0].lower(): each.partition("/")[0] for each in pictures if "/" in each}
    train_part, test_part = (next((parts[n] for n in names if n in parts), None) for names in (TRAIN, TEST))
    if train_part is not None and test_part is not None:
        train_files, test_files = (_files(folder, pictures, part) for part in (train_part, test_part))
        if more := sorted({c for _, c in test_files} - {c for _, c in train_files}):
            raise SourceError(
                f"{folder / test_part} has the class {more[0]}, of which {folder / train_part} has no picture"
            )
    else:
        train_files, test_files = _held_out_fifth(_files(folder, pictures))
    classes = sorted({label for _, label in train_files})
    to_learn, to_test = (_of_files(files, classes) for files in (train_files, test_files))
    return DataSet(folder.resolve().name, tuple(classes), to_learn, to_test)


def _in_memory(pictures: data.Pictures) -> Part:
    arrays = pictures.images.permute(0, 2, 3, 1).numpy()
    return Part(list(arrays), pictures.class_of_each(), pictures.digest())


def _pictures(folder: Path, rules: Rules) -> list[str]:
    """The paths of the pictures of a folder, sorted; what was passed over is told."""
    source = open_source(folder, rules=rules)
    listing = source.listing()
    tell(listing)
    if source.kind != "folder":
        raise SourceError(
            f"{folder} holds its pictures in files of the kind {source.kind}; measuring takes a folder with picture "
            "files in a sub-folder a class"
        )
    return [picture.path for picture in listing.pictures]


def _files(root: Path, pictures: Sequence[str], part: str = "") -> list[tuple[Path, str]]:
    """Path and class of each picture in a part of the data set, in a fixed order."""
    folder, start = root / part, f"{part}/" if part else ""
    found = [(root / path, path.removeprefix(start).split("/")) for path in pictures if path.startswith(start)]
    if loose := [path for path, parts in found if len(parts) == 1]:
        raise SourceError(f"{loose[0]} lies in no class folder; put each picture below a folder named for its class")
    files = [(path, parts[0]) for path, parts in found]
    if len({label for _, label in files}) < 2:
        raise SourceError(f"{folder} has the pictures of one class only; measuring needs a folder for each of two")
    return files


def _held_out_fifth(files: list[tuple[Path, str]]) -> tuple[list[tuple[Path, str]], list[tuple[Path, str]]]:
    """Four fifths and one fifth of each class, the same at every call."""
    labels = np.array([label for _, label in files])
    rng, held_out = np.random.default_rng(0), np.zeros(len(files), bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if len(rows) < 2:
            raise LabelError(f"the class {label} has one picture; it takes one to learn from and one to test on")
        held_out[rows[: max(1, len(rows) // 5)]] = True
    return [f for f, out in zip(files, held_out, strict=True) if not out], [
        f for f, out in zip(files, held_out, strict=True) if out
    ]


def _of_files(files: list[tuple[Path, str]], classes: Sequence[str]) -> Part:
    """The digest is over the contents of the files and their classes, not over where they lie."""
    code = {label: number for number, label in enumerate(classes)}
    whole = hashlib.sha256()
    for path, label in files:
        whole.update(_sha256(path))
        whole.update(label.encode(errors="surrogateescape") + b"\0")
    return Part([path for path, _ in files], np.array([code[label] for _, label in files]), whole.hexdigest()[:16])


def _sha256(path: Path) -> bytes:
    h = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(AT_ONCE):
                h.update(block)
    except OSError as error:
        raise BrokenImageError(f"{path} cannot be read ({error.strerror or error})") from error
    return h.digest()


def _square(picture: ImageLike, side: int) -> npt.NDArray[np.uint8]:
    """An array as it is; a file's picture scaled to a short side of `side` and cut to its centre square."""
    if isinstance(picture, np.ndarray):
        return picture
    if not isinstance(picture, Path):
        raise SourceError(f"a {type(picture).__name__} is neither an array nor a path")
    image = read_image(picture, size=side)
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    return np.array(image.resize((width, height), 2).crop((left, top, left + side, top + side)))
