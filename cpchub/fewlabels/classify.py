"""Classify the images of a collection from a few labels in a CSV file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import FOLDER
from cpchub.common.csv_table import read_csv
from cpchub.errors import LabelError
from cpchub.fewlabels.base import FeatureClassifier
from cpchub.fewlabels.calibration import Calibrated
from cpchub.fewlabels.estimate import estimate_accuracy
from cpchub.fewlabels.head import Head, learned
from cpchub.fewlabels.knn import KNNClassifier
from cpchub.fewlabels.logistic import LogisticProbe
from cpchub.fewlabels.means import ClassMeans
from cpchub.media.labels import KNOWN, check_paths, folder_classes, places_of

METHODS: dict[str, Callable[[], FeatureClassifier]] = {
    "logistic": LogisticProbe,
    "means": lambda: Calibrated(ClassMeans()),
    "knn": lambda: Calibrated(KNNClassifier()),
}
SHOWN = 3  # examples named in an error
Labelled = tuple[npt.NDArray[np.int64], list[str], npt.NDArray[np.float32]]  # rows, their classes, their vectors


def read_labels(path: str | Path) -> dict[str, str]:
    """Labels by path from a CSV file with the columns `path` and `label`; others are left aside.

    A line without a label is an image not labelled yet, and is skipped. Raises LabelError where the file or a column
    is missing, a path has two labels, or no line has a label.
    """
    path = Path(path)
    if not path.exists():
        raise LabelError(f"no file of labels at {path}; it is a CSV with the columns path,label")
    table = read_csv(path, KNOWN, LabelError, "CSV")
    if not set(KNOWN) <= set(table.columns):
        raise LabelError(f"{path} has the columns {', '.join(table.columns) or '(none)'}; it needs path,label")
    check_paths(table)
    labels: dict[str, str] = {}
    for name, label, line in zip(table.column("path"), table.column("label"), table.lines, strict=True):
        if labels.get(name, label) != label and label:
            raise LabelError(f"{path}, line {line}: {name} is {label} here and {labels[name]} above")
        if label:
            labels[name] = label
    if not labels:
        raise LabelError(f"{path} has no labels; write one into the column label for a few images of each class")
    return labels


def labels_of_folders(collection: Collection) -> dict[str, str]:
    """Labels by path: the class folder that each image lies in. Raises LabelError where none lies in one."""
    kind = collection.manifest.get("source_kind", FOLDER)
    classes = folder_classes(collection.paths, kind)
    labels = {path: name for path, name in zip(collection.paths, classes, strict=True) if name is not None}
    if not labels:
        raise LabelError(
            f"no image of {collection.location} lies in a class folder, such as cat/; give a CSV of labels"
        )
    return labels


def learn(collection: Collection, labels: Mapping[str, str], method: str = "logistic") -> Head:
    """Fit a classifier on the labelled images of a collection.

    labels: path (as in the collection, or of the file itself) -> class. method: "logistic", "means" or "knn".

    Raises LabelError on no labels, a path that is not in the collection, a single class, or an unknown method.
    """
    return _learn(collection, labels, method)[0]


def _learn(collection: Collection, labels: Mapping[str, str], method: str) -> tuple[Head, Labelled]:
    if method not in METHODS:
        raise LabelError(f"no method {method!r}; there are {', '.join(METHODS)}")
    rows, names, vectors = found = labelled(collection, labels)
    classifier = METHODS[method]().fit(vectors, np.array(names))
    by_path = dict(zip((collection.paths[row] for row in rows), names, strict=True))
    return learned(classifier, collection, by_path), found


def classify(
    collection: Collection, labels: Mapping[str, str], method: str = "logistic", head: Head | None = None
) -> pa.Table:
    """Fit a classifier on the labelled images and apply it to the whole collection.

    labels, method: as for `learn`. head: a classifier that is fitted already; the labels may then be empty.

    Returns a table in the order of the collection: path, predicted, confidence (0..1), label (what was given, or null).
    Raises as `learn` does, and EncoderMismatchError for a head of another encoder.
    """
    head = head or learn(collection, labels, method)
    return _with_labels(head.classify(collection), _rows_of(collection, labels))


def classify_and_estimate(
    collection: Collection, labels: Mapping[str, str], method: str = "logistic"
) -> tuple[pa.Table, Head]:
    """The table of `classify`, and the classifier with an estimate of its accuracy; it takes ten fits more."""
    head, (rows, names, vectors) = _learn(collection, labels, method)
    table, shares = head.apply(collection)
    estimate = estimate_accuracy(vectors, names, head.classifier, shares)
    return _with_labels(table, dict(zip(rows.tolist(), names, strict=True))), replace(head, estimate=estimate)


def _with_labels(table: pa.Table, rows: Mapping[int, str]) -> pa.Table:
    given = pa.array([rows.get(row) for row in range(table.num_rows)], pa.string())
    return table.append_column("label", given)


def labelled(collection: Collection, labels: Mapping[str, str]) -> Labelled:
    """The rows `[n]` of the labelled images, their classes, and their vectors `[n, D]`.

    Raises LabelError on no labels, on a path that is not in the collection, and on one with two classes.
    """
    if not labels:
        raise LabelError("no labels to learn from; label a few images of each class")
    of_row = _rows_of(collection, labels)
    rows = np.fromiter(of_row, dtype=np.int64)
    return rows, list(of_row.values()), _vectors_of(collection, rows)


def _vectors_of(collection: Collection, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The vectors of some rows, `[n, D]`, without those of all others in memory."""
    found, first = np.empty((len(rows), collection.dim), np.float32), 0
    for ids, vectors in collection.vector_shards():
        here = (rows >= first) & (rows < first + len(ids))
        found[here] = vectors[rows[here] - first]
        first += len(ids)
    return found


def _rows_of(collection: Collection, labels: Mapping[str, str]) -> dict[int, str]:
    """Row -> class. Raises LabelError, naming the paths, where the collection does not have them."""
    found = dict(zip(labels, places_of(labels, collection.paths, collection.location), strict=True))
    missing = [path for path, row in found.items() if row is None]
    if missing:
        broken = set(collection.failures["path"].to_pylist())
        named = [f"{path} (could not be read)" if path in broken else path for path in missing[:SHOWN]]
        more = f" and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
        raise LabelError(
            f"labels for images that {collection.folder} does not hold: {', '.join(named)}{more}. Paths are those "
            f"below {collection.location}, for example {collection.paths[0]}"
        )
    classes: dict[int, str] = {}
    for path, row in found.items():
        if row is not None and classes.setdefault(row, labels[path]) != labels[path]:
            raise LabelError(f"{path} is {labels[path]} here and {classes[row]} under another spelling of its path")
    return classes
