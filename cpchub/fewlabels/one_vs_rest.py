"""Several classes an image: a classifier for each class, of images that are of it against those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import validate_data

from cpchub.common.words import some
from cpchub.errors import LabelError
from cpchub.fewlabels.base import FLOATS, Array, FeatureClassifier

HALF = 0.5  # the probability from which on an image is of a class


class OneVsRest(FeatureClassifier):
    """Calibrated probabilities of each class on its own; they do not sum to one, and an image may be of none.

    classifier: one of this package, `LogisticProbe()` for example; it is cloned for each class.

    After `fit`, `classifiers_` has those of the classes, in the order of `classes_`.
    """

    FITTED: ClassVar = ("classifiers_",)

    def __init__(self, classifier: FeatureClassifier) -> None:
        self.classifier = classifier

    def fit(self, X: Any, y: Any, classes: Sequence[str] | None = None) -> OneVsRest:
        """Fit on features `[N, D]` and y `[N, C]`, true where an image is of a class. classes: their names.

        Raises LabelError where all images are of a class, or none, since nothing tells it from the rest then.
        """
        X = validate_data(self, X, dtype=FLOATS)
        of_class = np.asarray(y, dtype=bool)
        if of_class.ndim != 2 or len(of_class) != len(X) or not of_class.shape[1]:
            raise LabelError(
                f"y of shape {of_class.shape} for {len(X)} images; give [N, C], true where one is of a class"
            )
        self.classes_ = np.arange(of_class.shape[1]) if classes is None else np.asarray(classes)
        for found, what in ((of_class.all(axis=0), "every"), (~of_class.any(axis=0), "no")):
            if found.any():
                named = some([str(name) for name in self.classes_[found]])
                raise LabelError(
                    f"{what} labelled image is {named}; label one that is {'not' if what == 'every' else ''}"
                )
        self.classifiers_ = [clone(self.classifier).fit(X, each.astype(np.int64)) for each in of_class.T]
        return self

    def predict(self, X: Any) -> Array:
        """Of which classes each image is, as 0 and 1, `[N, C]`."""
        return (self.predict_proba(X) >= HALF).astype(np.int64)

    def _probabilities(self, unit: Array) -> Array:
        return np.stack([each.predict_proba(unit)[:, 1] for each in self.classifiers_], axis=1)
