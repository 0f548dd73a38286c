"""What the few-label classifiers share: scikit-learn's habits over encoder outputs, compared by direction only."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from cpchub.errors import ArgumentError, LabelError

Array = npt.NDArray[Any]
FLOATS = (np.float32, np.float64)  # what else comes, float16 for one, becomes the first
VALUES_AT_ONCE = 1 << 19  # that are float64 for a moment, and stay in a CPU's cache
AT_ONCE = 4096  # rows that are predicted together: a cache holds them, and features may be mapped from a disk


class FeatureClassifier(ClassifierMixin, BaseEstimator, ABC):
    """A classifier over features `[N, D]`; a subclass gives `fit`, `FITTED` and `_probabilities`.

    Only the direction of a feature counts (contrastive encoders are trained that way), so every vector is brought to
    unit length first. The same numbers give the same classifier and the same probabilities, to the last bit, whether
    they are float32 or float64, in C or Fortran order, an array, a list or a table.
    """

    FITTED: ClassVar[tuple[str, ...]]  # what `fit` learns besides `classes_`: arrays, numbers, another classifier
    classes_: Array

    def predict_proba(self, X: Any) -> Array:
        """Class probabilities `[N, len(classes_)]`, each row summing to one."""
        check_is_fitted(self)
        if isinstance(X, np.ndarray) and len(X) > AT_ONCE:
            return np.concatenate([self.predict_proba(X[at : at + AT_ONCE]) for at in range(0, len(X), AT_ONCE)])
        return self._probabilities(unit_rows(validate_data(self, X, dtype=FLOATS, reset=False)))

    def predict_unit(self, unit: Array) -> Array:
        """Class probabilities `[N, C]` of features `[N, D]` that have unit length already, as those of a collection.

        Neither that nor anything else is checked, so many rows take a tenth of the time of `predict_proba`.
        """
        parts = (unit[at : at + AT_ONCE] for at in range(0, len(unit), AT_ONCE))
        return np.concatenate([self._probabilities(np.asarray(part, np.float32)) for part in parts])

    def predict(self, X: Any) -> Array:
        """The most probable class of each row, `[N]`."""
        winners = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[winners])

    @abstractmethod
    def _probabilities(self, unit: Array) -> Array:
        """Class probabilities `[N, C]` of unit features `[N, D]`."""

    def _training_data(self, X: Any, y: Any) -> tuple[Array, npt.NDArray[np.int64]]:
        """Unit features `[N, D]` and class numbers `[N]`; sets `classes_`. Raises LabelError on a single class."""
        return self._weighted_data(X, y, None)[:2]

    def _weighted_data(
        self, X: Any, y: Any, sample_weight: Any, class_weight: Any = None
    ) -> tuple[Array, npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Unit features `[N, D]`, class numbers `[N]` and weights `[N]`; sets `classes_`.

        A label of weight two counts as two labels, and one of weight zero is left out. class_weight: class -> a factor
        for the weights of its labels, or "balanced", as scikit-learn has it.

        Raises LabelError where less than two classes are left, ArgumentError for a class weight that is not positive.
        """
        X, y = validate_data(self, X, y, dtype=FLOATS)
        check_classes(y)
        weights = np.ones(len(y))
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            counted = weights > 0
            X, y, weights = X[counted], y[counted], weights[counted]
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            only = self.classes_[0] if len(y) else "none has a weight"
            raise LabelError(f"labels of one class only ({only}); label at least one example of a second class")
        if class_weight is not None:
            weights = weights * compute_sample_weight(class_weight, y)
            if not (weights > 0).all():
                least = y[weights.argmin()]
                raise ArgumentError(f"the class weight of {least} is not above 0; leave out its labels instead")
        return unit_rows(X), codes.astype(np.int64), weights


def check_classes(y: Any) -> None:
    """Raise ValueError for labels that are no classes, as scikit-learn does; few labels of each are usual here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes")
        check_classification_targets(y)


def unit_rows(X: Array) -> Array:
    """Each row of features `[N, D]` at unit length, float32 `[N, D]`, row after row in memory.

    The length is computed in float64 and the result rounded once. So the same numbers are the same vectors to the last
    bit, whichever type, memory layout or table they came in: a difference in the last bit would grow in a classifier
    whose penalty is weak.
    """
    unit = np.empty(X.shape, dtype=np.float32)
    rows = max(1, VALUES_AT_ONCE // X.shape[1])
    for at in range(0, len(X), rows):
        part = np.array(X[at : at + rows], dtype=np.float64, order="C")
        length = np.sqrt(np.einsum("ij,ij->i", part, part))
        length[length == 0] = 1
        np.divide(part, length[:, None], out=unit[at : at + rows], casting="same_kind")
    return unit


def softmax(logits: Array) -> Array:
    """Row-wise softmax of `[N, C]`."""
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=1, keepdims=True))
