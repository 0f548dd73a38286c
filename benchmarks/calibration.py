"""Is a confidence of 80 % right four times in five? The expected calibration error at few labels, on three sets.

    python -m benchmarks.calibration FOLDER [FOLDER ...] [--out benchmarks/results/calibration.json]

Each `FOLDER` has a folder a class, below `train/` and `test/` (or `val/`) or not. With 1, 2, 5, 10 and 50 labels a
class and ten draws of them, the classifiers of `cpchub classify` and of the page say a class and a confidence of every
image that has no label. Measured is the mean difference of confidence and accuracy in ten bins of confidence of equal
width (Guo et al. 2017), for each draw. Beside it: `by_chance`, which a classifier whose confidence is right would show
with as many images, and the plain probe at C = 100, which knows nothing of calibration.

Nothing was chosen on these sets; see `cpchub.fewlabels.calibration` for what was.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from rich.console import Console
from rich.table import Table
from sklearn.base import ClassifierMixin

import cpchub
from benchmarks.fewlabels.sets import Features, open_set
from benchmarks.in_one_line import in_one_line
from cpchub.catalog.listing import bundled_encoder
from cpchub.common.files import write_json
from cpchub.fewlabels import LogisticProbe, label_subsets
from cpchub.fewlabels.classify import METHODS

LABELS = (1, 2, 5, 10, 50)
SEEDS = tuple(range(10))
BINS = 10
UNCALIBRATED = "logistic, C = 100"
CLASSIFIERS: dict[str, Callable[[], ClassifierMixin]] = {
    **METHODS,
    UNCALIBRATED: lambda: LogisticProbe(C=100.0),
}


def calibration_error(probabilities: Features, y: np.ndarray) -> float:
    """The expected calibration error, 0 to 1, of class probabilities `[N, C]` for class numbers `[N]`."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence.astype(np.float64), minlength=BINS)
    return float(np.abs(gaps).sum() / len(y))


def by_chance(probabilities: Features) -> float:
    """The error that these confidences show if each is exactly right: mean of ten draws of which image is."""
    confidence, winner, rng = probabilities.max(axis=1), probabilities.argmax(axis=1), np.random.default_rng(0)
    draws = [np.where(rng.random(len(winner)) < confidence, winner, -1) for _ in range(10)]
    return float(np.mean([calibration_error(probabilities, y) for y in draws]))


def measure(x: Features, y: np.ndarray) -> list[dict[str, Any]]:
    """A row for each classifier and number of labels: means over the draws."""
    rows = []
    subsets = [label_subsets(y, LABELS, seed) for seed in SEEDS]
    for name, make in CLASSIFIERS.items():
        for n in LABELS:
            errors, chance, hits, confidence = [], [], [], []
            for each in subsets:
                rest = np.delete(np.arange(len(y)), each[n])
                p = make().fit(x[each[n]], y[each[n]]).predict_proba(x[rest])
                errors.append(calibration_error(p, y[rest]))
                chance.append(by_chance(p))
                hits.append((p.argmax(axis=1) == y[rest]).mean())
                confidence.append(p.max(axis=1).mean())
            rows.append(
                {
                    "classifier": name,
                    "labels_per_class": n,
                    "calibration_error": round(float(np.mean(errors)), 4),
                    "of_each_draw": [round(error, 4) for error in errors],
                    "by_chance": round(float(np.mean(chance)), 4),
                    "accuracy": round(float(np.mean(hits)), 4),
                    "confidence": round(float(np.mean(confidence)), 4),
                }
            )
    return rows


def report(folders: Sequence[str], encoder_name: str) -> dict[str, Any]:
    """Everything measured, as it is written to the JSON file."""
    encoder = cpchub.load(encoder_name)
    sets, rows = [], []
    for folder in folders:
        found = open_set(folder, encoder)
        sets.append(found.facts)
        rows += [{"data": found.name} | row for row in measure(found.x, found.y)]
    return {
        "encoder": encoder.spec.name,
        "protocol": f"mean expected calibration error of {len(SEEDS)} draws of the labels, {BINS} bins of equal width",
        "sets": sets,
        "versions": {
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
            "python": platform.python_version(),
        },
        "results": rows,
    }


def show(found: dict[str, Any]) -> None:
    """The errors as a table."""
    table = Table("data", "classifier", *(f"{n} a class" for n in LABELS), title="Expected calibration error")
    rows = found["results"]
    cells = {(row["data"], row["classifier"], row["labels_per_class"]): row for row in rows}
    for data, name in dict.fromkeys((row["data"], row["classifier"]) for row in rows):
        table.add_row(data, name, *(f"{cells[data, name, n]['calibration_error']:.3f}" for n in LABELS))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--encoder", default=bundled_encoder(), help="a name or model folder; %(default)s")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "calibration.json")
    options = parser.parse_args()
    found = report(options.folders, options.encoder)
    write_json(options.out, found)
    show(found)


if __name__ == "__main__":
    in_one_line(main)
