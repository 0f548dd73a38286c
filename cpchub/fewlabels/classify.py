"""Classify the images of a collection from a few labels in a CSV file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from cpchub.collection.collection import Collection
from cpchub.errors import LabelError
from cpchub.fewlabels.auto import AutoClassifier
from cpchub.fewlabels.base import FeatureClassifier
from cpchub.fewlabels.calibration import Calibrated
from cpchub.fewlabels.estimate import estimate_accuracy, estimate_of
from cpchub.fewlabels.given_labels import Labelled, labelled, rows_of
from cpchub.fewlabels.heads.head import Head, learned, sha256_of_labels
from cpchub.fewlabels.how_many import LabelsNeeded, how_many_labels
from cpchub.fewlabels.knn import KNNClassifier
from cpchub.fewlabels.logistic import LogisticProbe
from cpchub.fewlabels.means import ClassMeans
from cpchub.fewlabels.multi_label import estimate_classes, indicators
from cpchub.fewlabels.none_of_these import fit_none_of_these
from cpchub.fewlabels.one_vs_rest import OneVsRest
from cpchub.fewlabels.ridge import RidgeProbe
from cpchub.fewlabels.shrunk_means import ShrunkMeans
from cpchub.fewlabels.target import TARGET
from cpchub.fewlabels.unlabelled import WithUnlabelled, with_unlabelled

METHODS: dict[str, Callable[[], FeatureClassifier]] = {
    "auto": AutoClassifier,
    "logistic": LogisticProbe,
    "ridge": RidgeProbe,
    "shrunk-means": lambda: Calibrated(ShrunkMeans()),
    "means": lambda: Calibrated(ClassMeans()),
    "knn": lambda: Calibrated(KNNClassifier()),
}


def learn(
    collection: Collection, labels: Mapping[str, str], method: str = "auto", none_of_these: float | None = None
) -> Head:
    """Fit a classifier on the labelled images of a collection.

    labels: path (as in the collection, or of the file itself) -> class. method: one of `METHODS`.
    none_of_these: find images that resemble no labelled class, at this level; see `NoneOfThese`.

    Raises LabelError on no labels, a path that is not in the collection, a single class, an unknown method, or too few
    labels for `none_of_these`.
    """
    return _learn(collection, labels, method, none_of_these)[0]


def _learn(
    collection: Collection, labels: Mapping[str, str], method: str, none_of_these: float | None
) -> tuple[Head, Labelled]:
    classifier = _made(method)
    rows, names, vectors = found = labelled(collection, labels)
    classifier.fit(vectors, np.array(names))
    by_path = dict(zip((collection.paths[row] for row in rows), names, strict=True))
    head = learned(classifier, collection, by_path)
    if none_of_these is not None:
        head = replace(head, none_of_these=fit_none_of_these(collection, names, vectors, none_of_these))
    return head, found


def classify(
    collection: Collection,
    labels: Mapping[str, str],
    method: str = "auto",
    head: Head | None = None,
    none_of_these: float | None = None,
) -> pa.Table:
    """Fit a classifier on the labelled images and apply it to the whole collection.

    labels, method, none_of_these: as for `learn`. head: a classifier that is fitted already; the labels may then be
    empty.

    Returns the table of `Head.classify` and a column label (what was given, or null).
    Raises as `learn` does, and EncoderMismatchError for a head of another encoder.
    """
    head = head or learn(collection, labels, method, none_of_these)
    return _with_labels(head.classify(collection), rows_of(collection, labels))


def classify_and_estimate(
    collection: Collection, labels: Mapping[str, str], method: str = "auto", none_of_these: float | None = None
) -> tuple[pa.Table, Head]:
    """The table of `classify`, and the classifier with an estimate of its accuracy; it takes ten fits more."""
    head, (rows, names, vectors) = _learn(collection, labels, method, none_of_these)
    table, shares = head.apply(collection)
    estimate = estimate_accuracy(vectors, names, head.classifier, shares)
    return _with_labels(table, dict(zip(rows.tolist(), names, strict=True))), replace(head, estimate=estimate)


def classify_with_unlabelled(
    collection: Collection,
    labels: Mapping[str, str],
    method: str = "auto",
    none_of_these: float | None = None,
    *,
    progress: bool = True,
) -> tuple[pa.Table, Head, WithUnlabelled]:
    """The table of `classify` with the help of the images that have no label, where these help; and what they gain.

    The graph of nearest neighbours belongs to this collection, so the classifier and its estimate are those of the
    labels alone; the accuracy of the table is that of `WithUnlabelled`. All vectors are in memory.
    """
    head, (rows, names, _) = _learn(collection, labels, method, none_of_these)
    gain = with_unlabelled(collection.vectors(), rows, names, head.classifier, progress=progress)
    table, shares = head.apply(collection, gain.probabilities)
    gain = gain.estimated(shares)
    estimate = None if gain.without is None else estimate_of(gain.without, shares)
    return _with_labels(table, dict(zip(rows.tolist(), names, strict=True))), replace(head, estimate=estimate), gain


def labels_needed(
    collection: Collection, labels: Mapping[str, str], head: Head, table: pa.Table, target: float = TARGET
) -> LabelsNeeded | None:
    """How many more labels of a collection bring the classifier to an accuracy of `target`; see `how_many_labels`.

    head, table: what was learned from the labels, and what it says of the images. None where the labels tell nothing.
    """
    _, names, vectors = labelled(collection, labels)
    predicted = Counter(table["predicted"].to_pylist())
    shares = {name: (predicted[name] + 1) / (len(table) + len(head.classes)) for name in head.classes}
    return how_many_labels(vectors, names, head.classifier, shares, target, len(collection))


def classify_multi_label(
    collection: Collection, labels: Mapping[str, str], method: str = "logistic"
) -> tuple[pa.Table, Head]:
    """The table of `Head.classify` for labels of several classes each (`a;b`, or `;` for none), and the classifier.

    Raises as `learn` does, and LabelError for a class that all or none of the labels have.
    """
    rows, names, vectors = labelled(collection, labels)
    classes, of_class = indicators(names)
    one = _made(method)
    if isinstance(one, AutoClassifier):
        one.set_params(class_weight=None)  # most images are not of a class, and its labels tell how many
    classifier = OneVsRest(one).fit(vectors, of_class, classes)
    by_path = dict(zip((collection.paths[row] for row in rows), names, strict=True))
    counts = dict(zip(classes, of_class.sum(axis=0).tolist(), strict=True))
    several = estimate_classes(vectors, of_class, classifier)
    head = Head(classifier, collection.manifest["encoder"], counts, sha256_of_labels(by_path), several=several)
    return _with_labels(head.classify(collection), dict(zip(rows.tolist(), names, strict=True))), head


def _made(method: str) -> FeatureClassifier:
    """A classifier by the name of its method. Raises LabelError for an unknown one."""
    if method not in METHODS:
        raise LabelError(f"no method {method!r}; there are {', '.join(METHODS)}")
    return METHODS[method]()


def _with_labels(table: pa.Table, rows: Mapping[int, str]) -> pa.Table:
    given = pa.array([rows.get(row) for row in range(table.num_rows)], pa.string())
    return table.append_column("label", given)
