"""From a handful of labelled rows to a class for every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cpchub.fewlabels.auto import CALLED, AutoClassifier
from cpchub.fewlabels.base import FeatureClassifier
from cpchub.fewlabels.estimate import shares_of


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
    shares: dict[str, float]  # of each class among the images, as its mean probability tells
    classifier: FeatureClassifier


def predict(features: NDArray[np.float32], rows: NDArray[np.int64], names: Sequence[str]) -> Predictions:
    """Fit on the labelled rows and classify all `[N, D]` features. Needs at least two classes among `names`.

    The classes count alike, since nobody clicks them in the shares that they have.
    """
    classifier = AutoClassifier().fit(features[rows], np.asarray(names))
    probabilities = classifier.predict_proba(features)
    best_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return Predictions(
        classes=tuple(str(name) for name in classifier.classes_),
        chosen=probabilities.argmax(axis=1),
        confidence=best_two[:, 1].astype(np.float32),
        margin=(best_two[:, 1] - best_two[:, 0]).astype(np.float32),
        method=CALLED[classifier.method_],
        shares=shares_of(classifier, probabilities),
        classifier=classifier,
    )
