"""From a handful of labelled rows to a class for every image, and an honest guess at how good it is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone

from cpchub.fewlabels import Calibrated, ClassMeans, LogisticProbe
from cpchub.fewlabels.calibration import deal

FOLDS = 10  # held-out fits; with up to ten labels a class, each fold holds out one of every class


@dataclass(frozen=True, eq=False)
class Predictions:
    """The class of every image: `chosen [N]` indexes `classes`; `confidence` and `margin` are `[N]` in 0..1.

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
    """`correct` of `total` labelled images were classified right while held out, with a 95 % interval."""

    correct: int
    total: int
    low: float
    high: float

    @property
    def accuracy(self) -> float:
        return self.correct / self.total


def choose_classifier(names: Sequence[str]) -> tuple[Calibrated | LogisticProbe, str]:
    """Class means while a class has a single label (nothing to regularise on), a logistic probe from two on.

    The confidence of both is what held-out labels support.
    """
    if min(Counter(names).values()) < 2:
        return Calibrated(ClassMeans()), "nearest class mean"
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
        classifier=LogisticProbe(C=classifier.C_) if isinstance(classifier, LogisticProbe) else ClassMeans(),
    )


def estimate_accuracy(
    features: NDArray[np.float32], names: Sequence[str], classifier: ClassifierMixin
) -> Estimate | None:
    """Accuracy of `classifier` on labels held out: one of each class at a time, a tenth of each beyond ten.

    Holding out single images instead would bias it downwards at few labels: what is left then has fewer examples
    of the very class that is asked for. An image alone in its class cannot be held out, so it only helps the
    others. None while no class has two labels or there is one class only.
    """
    labels = np.asarray(names)
    counts = Counter(names)
    if len(counts) < 2 or max(counts.values()) < 2:
        return None
    correct = total = 0
    fold_of = deal(labels, FOLDS)
    for fold in range(fold_of.max() + 1):
        held_out = fold_of == fold
        fitted = clone(classifier).fit(features[~held_out], labels[~held_out])
        correct += int((fitted.predict(features[held_out]) == labels[held_out]).sum())
        total += int(held_out.sum())
    low, high = wilson_interval(correct, total)
    return Estimate(correct, total, low, high)


def wilson_interval(correct: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a proportion that stays in 0..1 for small counts (Wilson, 1927)."""
    share = correct / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
