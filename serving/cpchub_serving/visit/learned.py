"""What follows from the labels of a set, computed once for all visitors.

At first, within a click, the classifier that was chosen before learns again and classifies all images. Then, in the
background, the classifiers are compared anew, the accuracy is estimated, and its growth is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cpchub_serving.visit.label_set import Labels
from cpchub_serving.visit.predictions import Predictions, predict, predict_first

if TYPE_CHECKING:
    from cpchub.fewlabels.estimate import Estimate
    from cpchub.fewlabels.how_many import LabelsNeeded

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """The predictions of the best classifier, the estimate of its accuracy, and the labels that a target takes.

    Both are None while no class has two labels.
    """

    predictions: Predictions
    estimate: Estimate | None
    needed: LabelsNeeded | None


class Learned:
    """Predictions of one label set, the last ones kept; of several visitors who ask at once one computes."""

    def __init__(self) -> None:
        self._quick = Lock()
        self._slow = Lock()
        self._first: tuple[Mapping[int, str], Predictions] | None = None
        self._judged: tuple[Mapping[int, str], Judged] | None = None

    def predictions(self, features: Features, now: Labels) -> Predictions | None:
        """The class of every image; None until two classes have a label."""
        if not now.ready:
            return None
        with self._quick:
            judged, first = self._judged, self._first
            if judged is not None and judged[0] == now.labels:
                return judged[1].predictions
            if first is None or first[0] != now.labels:
                last = judged and judged[1].predictions
                found = predict_first(features, now.labels) if last is None else predict(features, now.labels, last)
                self._first = first = now.labels, found
            return first[1]

    def known(self, now: Labels) -> Judged | None:
        """What `judge` found of these labels; None before."""
        judged = self._judged
        return judged[1] if judged is not None and judged[0] == now.labels else None

    def judge(self, features: Features, now: Labels) -> Judged | None:
        """Compare the classifiers, classify every image, and estimate; None until two classes have a label."""
        if not now.ready:
            return None
        with self._slow:
            if (known := self.known(now)) is not None:
                return known
            from cpchub.fewlabels.estimate import estimate_accuracy  # here, since scikit-learn takes a second
            from cpchub.fewlabels.how_many import how_many_labels

            found = predict(features, now.labels)
            rows, names = np.fromiter(now.labels, np.int64, len(now.labels)), list(now.labels.values())
            labelled = np.asarray(features[rows], np.float32)
            estimate = estimate_accuracy(labelled, names, found.classifier, found.shares)
            needed = how_many_labels(labelled, names, found.classifier, found.shares, most=len(features))
            judged = Judged(found, estimate, needed)
            self._judged = now.labels, judged
            return judged
