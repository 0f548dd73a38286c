"""How well encoders do on sets of photos that nobody tuned on, frozen, beside pixels, colours and an untrained network.

    python -m benchmarks.transfer FOLDER [FOLDER ...] [--encoders NAME ...] [--out benchmarks/results/transfer.json]

Each `FOLDER` has a folder a class, below `train/` and `test/` (or `val/`) or not: then a fifth of each class is the
test. Of every class at most 200 images are learnt from and 100 tested on, the same ones at every call. An encoder
sees the centre square at its own input size. Measured are 5 nearest neighbours (T = 0.1) with every label, and logistic
regression with 1, 5 and 20 labels a class, the mean of five seeds. Rivals: the centre square as 32 x 32 pixels, less
their mean; a histogram of 8 x 8 x 8 colours; the first encoder's network as it was before training.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

import cpchub
from benchmarks.in_one_line import in_one_line
from cpchub.common.files import write_json
from cpchub.encoders.encoder import ImageLike
from cpchub.fewlabels import KNNClassifier, label_curve
from cpchub_training.evaluate.datasets import DataSet, Part, open_labelled

Features = npt.NDArray[np.float32]
Representation = Callable[[Part], Features]

LEARN, TEST = 200, 100  # images of each class, at most
LABELS = (1, 5, 20)
SIDE, BINS = 32, 8
BUNDLED = "simclr-resnet18-w32-cifar10-cpu"


def at_most(part: Part, n: int) -> Part:
    """The first `n` images of each class in a fixed random order."""
    order = np.random.default_rng(0).permutation(len(part))
    rows = np.sort(np.concatenate([order[part.labels[order] == c][:n] for c in np.unique(part.labels)]))
    chosen: list[ImageLike] = [part.images[row] for row in rows]
    return Part(chosen, part.labels[rows], part.digest)


def pixels(part: Part) -> Features:
    """The centre squares, `[N, 3072]` in -0.5 to 0.5."""
    return (part.arrays(side=SIDE).reshape(len(part), -1) / 255 - 0.5).astype(np.float32)


def colours(part: Part) -> Features:
    """The shares of 512 colours, `[N, 512]`; their roots, so that the cosine of two is Bhattacharyya's coefficient."""
    arrays = part.arrays(side=2 * SIDE).reshape(len(part), -1, 3).astype(np.int64) * BINS // 256
    of_each = (arrays[..., 0] * BINS + arrays[..., 1]) * BINS + arrays[..., 2]
    counts = np.stack([np.bincount(row, minlength=BINS**3) for row in of_each])
    return np.sqrt(counts / counts.sum(1, keepdims=True)).astype(np.float32)


def representations(encoders: Sequence[str]) -> dict[str, Representation]:
    """What is measured, by name."""
    found: dict[str, Representation] = {"pixels": pixels, "colour histogram": colours}
    torch.manual_seed(0)
    untrained = cpchub.load(encoders[0], pretrained=False)
    found["untrained network"] = lambda part: untrained.encode(part.images)
    for name in encoders:
        encoder = cpchub.load(name)
        found[encoder.spec.name] = lambda part, encoder=encoder: encoder.encode(part.images)  # type: ignore[misc]
    return found


def measure(represent: Representation, data: DataSet) -> dict[str, Any]:
    """Accuracies, 0 to 1: one with 5 neighbours, five seeds for each number of labels a class."""
    x, x_test = represent(data.train), represent(data.test)
    y, y_test = data.train.labels, data.test.labels
    neighbours = KNNClassifier(k=5, temperature=0.1).fit(x, y)
    curve = label_curve(x, y, x_test, y_test, per_class=LABELS)
    row: dict[str, Any] = {"5 neighbours": round(float(neighbours.score(x_test, y_test)), 4)}
    for n, mean, std in zip(curve.labels, curve.mean, curve.std, strict=True):
        row |= {f"{n} a class": round(float(mean), 4), f"{n} a class, std": round(float(std), 4)}
    return row


def report(folders: Sequence[str], encoders: Sequence[str]) -> dict[str, Any]:
    """Everything measured, as it is written to the JSON file."""
    ways = representations(encoders)
    sets, rows = [], []
    for folder in folders:
        whole = open_labelled(folder)
        data = DataSet(whole.name, whole.classes, at_most(whole.train, LEARN), at_most(whole.test, TEST))
        sets.append(data.facts)
        rows += [{"data": data.name, "representation": name} | measure(way, data) for name, way in ways.items()]
    return {
        "protocol": "frozen; cosine 5-NN with every label, logistic regression with n labels a class, 5 seeds",
        "sets": sets,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "results": rows,
    }


def show(found: dict[str, Any]) -> None:
    """The accuracies as a table, in percent."""
    columns = ["5 neighbours", *(f"{n} a class" for n in LABELS)]
    table = Table("data", "representation", *columns)
    for row in found["results"]:
        table.add_row(row["data"], row["representation"], *(f"{100 * row[c]:.1f}" for c in columns))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--encoders", nargs="+", default=[BUNDLED], help="names or model folders, the newest first")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "transfer.json")
    options = parser.parse_args()
    found = report(options.folders, options.encoders)
    write_json(options.out, found)
    show(found)


if __name__ == "__main__":
    in_one_line(main)
