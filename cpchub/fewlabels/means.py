"""The nearest class mean: the classifier that works from one label a class."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.preprocessing import normalize

from cpchub.errors import ArgumentError
from cpchub.fewlabels.base import Array, FeatureClassifier, softmax

USUAL = 0.5  # the best T with a label a class, on training images of CIFAR-10 and Tiny-ImageNet


class ClassMeans(FeatureClassifier):
    """Each class is the direction of the mean of its unit features; an image goes to the nearest by cosine.

    Wang et al., "SimpleShot" (2019), the L2N variant. Probabilities are softmax(cosine / T).

    temperature: T; it sets how sure the probabilities are, never which class wins. None takes half the mean squared
        distance of the class means from their middle, so that it means the same however alike an encoder's vectors are.
    """

    FITTED: ClassVar = ("means_", "temperature_")

    def __init__(self, temperature: float | None = None) -> None:
        self.temperature = temperature

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ClassMeans:
        """Average features `[N, D]`, weighted by `[N]`, by labels `[N]`. Raises LabelError on a single class."""
        if self.temperature is not None and self.temperature <= 0:
            raise ArgumentError(
                f"temperature={self.temperature}: it must be positive, or None to take it from the means"
            )
        unit, codes, weights = self._weighted_data(X, y, sample_weight)
        of_class = np.eye(len(self.classes_))[codes] * weights[:, None]
        self.means_ = normalize((of_class.T @ unit / of_class.sum(axis=0)[:, None]).astype(np.float32))
        apart = float(np.square(self.means_ - self.means_.mean(axis=0)).sum(axis=1).mean())
        usual = USUAL * apart if apart > 0 else 1.0
        self.temperature_ = usual if self.temperature is None else self.temperature
        return self

    def _probabilities(self, unit: Array) -> Array:
        return softmax(unit @ self.means_.T / self.temperature_)
