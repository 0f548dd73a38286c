"""From a handful of labelled rows to a class for every image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cpchub.fewlabels.base import FeatureClassifier


@dataclass(frozen=True, eq=False)
class Predictions:
    """The class of every image: `chosen [N]` indexes `classes`; `confidence` and `margin` are `[N]` in 0..1.

    `margin` is the lead of the first class over the second: small where the classifier cannot decide.
    """

    classes: tuple[str, ...]
    chosen: NDArray[np.int32]
    confidence: NDArray[np.float32]
    margin: NDArray[np.float32]
    method: str
    shares: dict[str, float]  # of each class among the images, as its mean probability tells
    classifier: FeatureClassifier

    def counts(self, without: Iterable[int], least: float = 0.0) -> tuple[dict[str, int], int]:
        """Of the images but some: how many are taken for each class, and for how many that is less sure than `least`.

        Those that are less sure are of no class.
        """
        said = self.confidence >= least
        rest = np.ones(len(said), np.bool_)
        rest[list(without)] = False
        totals = np.bincount(self.chosen[rest & said], minlength=len(self.classes))
        return dict(zip(self.classes, totals.tolist(), strict=True)), int((rest & ~said).sum())


def predict(
    features: NDArray[np.float32], labels: Mapping[int, str], earlier: Predictions | None = None
) -> Predictions:
    """Fit on the labelled rows and classify all `[N, D]` features of unit length. Needs labels of two classes.

    earlier: predictions from almost the same labels. Their choice of a classifier and of its settings is taken over,
    which takes milliseconds; without them the classifiers are compared. The classes count alike, since nobody clicks
    them in the shares that they have.
    """
    from cpchub.fewlabels.auto import AutoClassifier  # here, as in the others: scikit-learn takes a second to import

    rows, names = np.fromiter(labels, np.int64, len(labels)), np.array(list(labels.values()))
    classifier = AutoClassifier() if earlier is None else _again(earlier.classifier)
    return _of(classifier.fit(np.asarray(features[rows], np.float32), names), features, earlier)


def predict_first(features: NDArray[np.float32], labels: Mapping[int, str]) -> Predictions:
    """As `predict`, by the classifier that does best with a label a class; nothing is compared."""
    from cpchub.fewlabels.calibration import Calibrated
    from cpchub.fewlabels.shrunk_means import ShrunkMeans

    rows, names = np.fromiter(labels, np.int64, len(labels)), np.array(list(labels.values()))
    return _of(Calibrated(ShrunkMeans()).fit(np.asarray(features[rows], np.float32), names), features, None)


def _of(classifier: FeatureClassifier, features: NDArray[np.float32], earlier: Predictions | None) -> Predictions:
    from cpchub.fewlabels.auto import CALLED, AutoClassifier
    from cpchub.fewlabels.estimate import shares_of

    probabilities = classifier.predict_unit(features)
    best_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    usual = CALLED["shrunk-means"] if earlier is None else earlier.method
    return Predictions(
        classes=tuple(str(name) for name in classifier.classes_),
        chosen=probabilities.argmax(axis=1).astype(np.int32),
        confidence=best_two[:, 1].astype(np.float32),
        margin=(best_two[:, 1] - best_two[:, 0]).astype(np.float32),
        method=CALLED[classifier.method_] if isinstance(classifier, AutoClassifier) else usual,
        shares=shares_of(classifier, probabilities),
        classifier=classifier,
    )


def _again(chosen: FeatureClassifier) -> FeatureClassifier:
    """What was chosen, not fitted; its confidence is set anew by the labels that there are now."""
    from cpchub.fewlabels.auto import AutoClassifier
    from cpchub.fewlabels.calibration import Calibrated
    from cpchub.fewlabels.held_out import settled

    inner = chosen.classifier_ if isinstance(chosen, AutoClassifier) else chosen
    return Calibrated(settled(inner)) if isinstance(inner, Calibrated) else settled(inner)
