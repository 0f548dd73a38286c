"""From how many images on is one's own encoder worth more than the one in the package? The quickstart's training.

    python -m benchmarks.own_encoder FOLDER [--images 300 1000 3000 10000] [--runs FOLDER] [--out FILE]

`FOLDER` has a folder a class, below `train/` and `test/`. For each number of images, that many of the training part are
pretrained on without labels, by the recipe and for the length that `cpchub quickstart` takes: some 30,000 images, a
few processor minutes, in bfloat16 where the CPU computes with it. A number above the images of `FOLDER` means all of
them. Each encoder is frozen and measured by logistic regression with 1, 5 and 10 labels a class, mean of 3 draws, on
at most 200 test images of each class. The labelled images are the same for every number and are among the fewest.
Beside it: the encoder in the package, and the quickstart's network trained from scratch on the same labels. A stopped
call goes on: the runs are kept in `--runs`, and what the file has is not measured again.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cpchub
from benchmarks.in_one_line import in_one_line
from cpchub.catalog.listing import bundled_encoder
from cpchub.common.files import write_json
from cpchub.fewlabels import LabelCurve, label_curve, label_subsets
from cpchub.media.rules import NO_RULES
from cpchub_training import data
from cpchub_training.evaluate import encode_images, from_scratch
from cpchub_training.jobs.quickstart import recipe_for
from cpchub_training.run.features import features
from cpchub_training.run.loop import train

LABELS, SEEDS = (1, 5, 10), (0, 1, 2)
TEST = 200  # images of each class, at most


def parts(folder: Path, size: int, fewest: int) -> tuple[data.Images, data.Images, data.Images]:
    """The training images in a fixed random order, the first `fewest` of them, which are labelled, and the test."""
    whole, test = (data.load(str(folder / part), size=size) for part in ("train", "test"))
    rng = np.random.default_rng(0)
    train_set = whole.subset(rng.permutation(len(whole)))
    y, order = test.class_of_each(), rng.permutation(len(test))
    chosen = np.concatenate([order[y[order] == c][:TEST] for c in np.unique(y)])
    return train_set, train_set.subset(np.arange(fewest)), test.subset(chosen)


def own(folder: Path, run: Path, images: data.Images, labelled: data.Images, test: data.Images) -> LabelCurve:
    """The curve of an encoder that is pretrained on `images` in the run folder `run`."""
    recipe = recipe_for(folder, len(images), NO_RULES)
    recipe = replace(recipe, knn_every=0, checkpoint_minutes=2, precision="bf16")
    backbone = train(recipe, run, images=images.without_labels(), accelerator="cpu").backbone
    return curve_of(lambda part: features(backbone, part.images, recipe, torch.device("cpu")), labelled, test)


def curve_of(encode: Callable[[data.Images], np.ndarray], labelled: data.Images, test: data.Images) -> LabelCurve:
    """Test accuracy of a probe on frozen features at each number of labels a class."""
    y, y_test = labelled.class_of_each(), test.class_of_each()
    return label_curve(encode(labelled), y, encode(test), y_test, per_class=LABELS, seeds=SEEDS)


def scratch_curve(folder: Path, labelled: data.Images, test: data.Images) -> LabelCurve:
    """Test accuracy of the quickstart's network trained on the labels alone."""
    recipe = recipe_for(folder, len(labelled), NO_RULES)
    subsets = [label_subsets(labelled.class_of_each(), LABELS, seed) for seed in SEEDS]
    values = [
        [from_scratch(recipe, labelled, rows, test, seed=seed) for rows in each.values()]
        for seed, each in zip(SEEDS, subsets, strict=True)
    ]
    return LabelCurve(LABELS, np.array(values))


def row(name: str, images: int | None, curve: LabelCurve) -> dict[str, Any]:
    """One line of the file."""
    accuracy = {"accuracy": curve.mean.round(4).tolist(), "std": curve.std.round(4).tolist()}
    return {"encoder": name, "images": images} | accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[300, 1000, 3000, 10_000])
    parser.add_argument("--runs", type=Path, default=Path("runs", "own-encoder"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "own_encoder.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = recipe_for(options.folder, 1000, NO_RULES).stored_size
    train_set, labelled, test = parts(options.folder, size, min(options.images))
    report: dict[str, Any] = {
        "protocol": "frozen encoder, logistic regression, n labels a class, mean and std of 3 draws; one thread",
        "data": {"name": options.folder.name, "train": len(train_set), "test": len(test), "digest": test.digest()},
        "labels_per_class": list(LABELS),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "results": [],
    }
    if options.out.is_file():
        report["results"] = json.loads(options.out.read_text(encoding="utf-8"))["results"]

    def add(name: str, images: int | None, measure: Callable[[], LabelCurve]) -> None:
        if any((each["encoder"], each["images"]) == (name, images) for each in report["results"]):
            return
        report["results"].append(row(name, images, measure()))
        write_json(options.out, report)
        print(json.dumps(report["results"][-1]), flush=True)

    bundled = cpchub.load(bundled_encoder())
    add(bundled.spec.name, None, lambda: curve_of(lambda part: encode_images(bundled, part), labelled, test))
    for n in [min(n, len(train_set)) for n in options.images]:
        add(
            "own",
            n,
            lambda n=n: own(options.folder, options.runs / str(n), train_set.subset(np.arange(n)), labelled, test),
        )  # type: ignore[misc]
    add("from scratch", None, lambda: scratch_curve(options.folder, labelled, test))


if __name__ == "__main__":
    in_one_line(main)
