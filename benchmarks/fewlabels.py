"""Few labels on real images: how often the interval of the estimated accuracy holds the true one.

    python -m benchmarks.fewlabels FOLDER [FOLDER ...] [--out benchmarks/results/fewlabels.json]

Each `FOLDER` has a folder a class, below `train/` and `test/` (or `val/`) or not; `cifar10:FOLDER` is the test part of
CIFAR-10. Some images are labelled, either drawn at random from all or as many of each class; `cpchub classify` fits on
them and estimates its accuracy, and the images without a label tell the true one. Reported for each number of labels:
the share of draws whose 90 % interval holds the true accuracy, the mean error and the spread of the estimate, and the
mean width of the interval over the width that the spread alone would give.

What the estimate assumes (`cpchub.fewlabels.estimate`) was found on the digits of scikit-learn and on Imagenette, with
all of their images, and holds on training images of Tiny-ImageNet. That a class with one label counts as wrong at the
lower end was added after 60 other draws of CIFAR-10, so for that rule the figures here are no independent check.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import cpchub
from benchmarks.transfer import Features
from cpchub.catalog.listing import bundled_encoder
from cpchub.common.files import write_json
from cpchub.fewlabels import LogisticProbe
from cpchub.fewlabels.estimate import LEVEL, estimate_accuracy, shares_of
from cpchub_training.evaluate.datasets import open_labelled

LABELS = (20, 50, 100)
WIDTH_OF_SPREAD = 2 * 1.645  # of 90 % of normally distributed estimates, in standard deviations


def drawn(y: np.ndarray, labels: int, *, balanced: bool, seed: int) -> np.ndarray:
    """The rows that are labelled."""
    rng = np.random.default_rng(seed)
    if not balanced:
        return rng.permutation(len(y))[:labels]
    classes = np.unique(y)
    return np.concatenate([rng.permutation(np.flatnonzero(y == c))[: labels // len(classes)] for c in classes])


def one_draw(x: Features, y: np.ndarray, rows: np.ndarray) -> tuple[float, float, float, float] | None:
    """The estimate, its interval, and the true accuracy; None where no class has two labels."""
    probe = LogisticProbe().fit(x[rows], y[rows].astype(str))
    p = probe.predict_proba(x)
    found = estimate_accuracy(x[rows], y[rows].astype(str).tolist(), probe, shares_of(probe, p))
    if found is None:
        return None
    right = probe.classes_[p.argmax(axis=1)] == y.astype(str)
    true = float(np.delete(right, rows).mean())
    return found.accuracy.value, found.accuracy.low, found.accuracy.high, true


def coverage(x: Features, y: np.ndarray, first: int, count: int) -> list[dict[str, Any]]:
    """A row for each way to draw labels and each number of them."""
    rows = []
    for balanced in (False, True):
        for labels in LABELS:
            draws = (
                one_draw(x, y, drawn(y, labels, balanced=balanced, seed=1000 * labels + first + seed))
                for seed in range(count)
            )
            value, low, high, true = np.array([each for each in draws if each is not None]).T
            spread = float(np.std(value - true))
            rows.append(
                {
                    "labels": labels,
                    "drawn": "as many of each class" if balanced else "at random",
                    "draws": len(value),
                    "covered": round(float(((low <= true) & (true <= high)).mean()), 3),
                    "accuracy": round(float(true.mean()), 4),
                    "mean_error": round(float((value - true).mean()), 4),
                    "spread_of_error": round(spread, 4),
                    "width": round(float((high - low).mean()), 4),
                    "width_over_spread": round(float((high - low).mean() / (WIDTH_OF_SPREAD * spread)), 2),
                }
            )
    return rows


def features_of(folder: str, encoder: Any) -> tuple[dict[str, Any], Features, np.ndarray]:
    """What is known of a set, its vectors and its class numbers."""
    if not folder.startswith("cifar10:"):
        data = open_labelled(folder)
        x = encoder.encode([*data.train.images, *data.test.images])
        return data.facts, x, np.concatenate([data.train.labels, data.test.labels])
    from torchvision.datasets import CIFAR10

    test = CIFAR10(folder.removeprefix("cifar10:"), train=False)
    return {"name": "CIFAR-10 test", "images": len(test)}, encoder.encode(list(test.data)), np.array(test.targets)


def report(folders: Sequence[str], encoder_name: str, seed: int, draws: int) -> dict[str, Any]:
    """Everything measured, as it is written to the JSON file."""
    encoder = cpchub.load(encoder_name)
    sets, rows = [], []
    for folder in folders:
        facts, x, y = features_of(folder, encoder)
        sets.append(facts)
        rows += [{"data": facts["name"]} | row for row in coverage(x, y, seed, draws)]
    return {
        "encoder": encoder.spec.name,
        "level": LEVEL,
        "first_seed": seed,
        "sets": sets,
        "covered": round(
            float(np.average([row["covered"] for row in rows], weights=[row["draws"] for row in rows])), 4
        ),
        "draws": sum(row["draws"] for row in rows),
        "results": rows,
    }


def show(found: dict[str, Any]) -> None:
    """The rows as a table."""
    columns = ("data", "drawn", "labels", "accuracy", "mean_error", "spread_of_error", "covered", "width_over_spread")
    table = Table(*columns, title=f"{found['covered']:.1%} of {found['draws']} intervals hold the accuracy")
    for row in found["results"]:
        table.add_row(*(str(row[column]) for column in columns))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--encoder", default=bundled_encoder(), help="a name or model folder; %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="the first seed; %(default)s")
    parser.add_argument("--draws", type=int, default=25, help="for each number of labels; %(default)s")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "fewlabels.json")
    options = parser.parse_args()
    found = report(options.folders, options.encoder, options.seed, options.draws)
    write_json(options.out, found)
    show(found)


if __name__ == "__main__":
    main()
