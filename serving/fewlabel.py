"""From a handful of labelled rows to a class for every picture, and an honest guess at how good it is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone

from cpchub.fewlabels import ClassMeans, LogisticProbe

LEAVE_ONE_OUT_UP_TO = 30  # held-out fits cost one fit each; beyond, ten folds say the same for less
FOLDS = 10


@dataclass(frozen=True, eq=False)
class Predictions:
    """The class of every picture: `chosen [N]` indexes `classes`; `confidence` and `margin` are `[N]` in 0..1.

    `margin` is the lead of the first class over the second: small where the classifier cannot decide.
    """

    classes: tuple[str, ...]
    chosen: NDArray[np.int64]
    confidence: NDArray[np.float32]
    margin: NDArray[np.float32]
    method: str
    classifier: ClassifierMixin  # not fitted, its settings settled: what held-out fits start from


@dataclass(frozen=True)
class Estimate:
    """`correct` of `total` labelled pictures were classified right while held out, with a 95 % interval."""

    correct: int
    total: int
    low: float
    high: float
    protocol: str

    @property
    def accuracy(self) -> float:
        return self.correct / self.total


def choose_classifier(names: Sequence[str]) -> tuple[ClassMeans | LogisticProbe, str]:
    """Class means while a class has a single label (nothing to regularise on), a logistic probe from two on."""
    if min(Counter(names).values()) < 2:
        return ClassMeans(), "nearest class mean"
    return LogisticProbe(), "logistic regression"


def predict(features: NDArray[np.float32], rows: NDArray[np.int64], names: Sequence[str]) -> Predictions:
    """Fit on the labelled rows and classify all `[N, D]` features. Needs at least two classes among `names`."""
    classifier, method = choose_classifier(names)
    classifier.fit(features[rows], np.asarray(names))
    probabilities = classifier.predict_proba(features)
    best_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return Predictions(
        classes=tuple(str(name) for name in classifier.classes_),
        chosen=probabilities.argmax(axis=1),
        confidence=best_two[:, 1].astype(np.float32),
        margin=(best_two[:, 1] - best_two[:, 0]).astype(np.float32),
        method=method,
        classifier=LogisticProbe(C=classifier.C_) if isinstance(classifier, LogisticProbe) else clone(classifier),
    )


def estimate_accuracy(
    features: NDArray[np.float32], names: Sequence[str], classifier: ClassifierMixin
) -> Estimate | None:
    """Accuracy of `classifier` on held-out labels: leave-one-out up to 30 of them, ten even folds beyond.

    A picture that is alone in its class cannot be held out, so it only helps the others. None while fewer than
    two pictures can be held out or there is one class only.
    """
    labels = np.asarray(names)
    counts = Counter(names)
    held_out = np.array([counts[name] > 1 for name in names], dtype=bool)
    if len(counts) < 2 or held_out.sum() < 2:
        return None
    positions = np.flatnonzero(held_out)
    if len(positions) <= LEAVE_ONE_OUT_UP_TO:
        folds, protocol = [np.array([position]) for position in positions], "leave-one-out"
    else:
        folds, protocol = _deal(positions, labels), f"{FOLDS}-fold"
    correct = 0
    for fold in folds:
        kept = np.setdiff1d(np.arange(len(labels)), fold)
        fitted = clone(classifier).fit(features[kept], labels[kept])
        correct += int((fitted.predict(features[fold]) == labels[fold]).sum())
    low, high = wilson_interval(correct, len(positions))
    return Estimate(correct, len(positions), low, high, protocol)


def _deal(positions: NDArray[np.int64], labels: NDArray[np.str_]) -> list[NDArray[np.int64]]:
    """Ten folds, each class spread evenly: dealt like cards, so that a class of two lies in two folds."""
    shuffled = np.random.default_rng(0).permutation(positions)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return [by_class[start::FOLDS] for start in range(FOLDS)]


def wilson_interval(correct: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a proportion that stays in 0..1 for small counts (Wilson, 1927)."""
    share = correct / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
