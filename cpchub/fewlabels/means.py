"""The nearest class mean: the classifier that works from one label a class."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from cpchub.errors import ArgumentError
from cpchub.fewlabels.base import Array, FeatureClassifier, softmax


class ClassMeans(FeatureClassifier):
    """Each class is the direction of the mean of its unit features; an image goes to the nearest by cosine.

    Wang et al., "SimpleShot" (2019), the L2N variant. Probabilities are softmax(cosine / T).

    temperature: T; it sets how sure the probabilities are, never which class wins.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        self.temperature = temperature

    def fit(self, X: Any, y: Any) -> ClassMeans:
        """Average features `[N, D]` by labels `[N]`. Raises LabelError on a single class."""
        if self.temperature <= 0:
            raise ArgumentError(f"temperature={self.temperature}: it must be positive")
        unit, codes = self._training_data(X, y)
        self.means_ = normalize(np.stack([unit[codes == c].mean(axis=0) for c in range(len(self.classes_))]))
        return self

    def _probabilities(self, unit: Array) -> Array:
        return softmax(unit @ self.means_.T / self.temperature)
