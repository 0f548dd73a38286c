"""Weighted k-nearest-neighbour classification, the label-free training monitor of the field."""

from __future__ import annotations

from typing import Any

import numpy as np

from cpchub.errors import ArgumentError
from cpchub.fewlabels.base import Array, FeatureClassifier

CELLS = 1 << 25  # of the similarity matrix: so many queries are answered together that it is no larger


class KNNClassifier(FeatureClassifier):
    """kNN by cosine similarity s, each neighbour voting with weight exp(s / T).

    Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (2018), section 3.4, whose
    k = 200 and T = 0.07 became k = 200, T = 0.1 in the reports that followed.

    k: neighbours that vote; all of them where fewer are labelled.
    temperature: T.
    """

    def __init__(self, k: int = 200, temperature: float = 0.1) -> None:
        self.k = k
        self.temperature = temperature

    def fit(self, X: Any, y: Any) -> KNNClassifier:
        """Remember features `[N, D]` and labels `[N]`. Raises LabelError on a single class."""
        if self.k < 1 or self.temperature <= 0:
            raise ArgumentError(f"k={self.k}, temperature={self.temperature}: both must be positive")
        self._features, self._codes = self._training_data(X, y)
        return self

    def _probabilities(self, unit: Array) -> Array:
        step = max(1, CELLS // len(self._features))
        return np.concatenate([self._vote(unit[start : start + step]) for start in range(0, len(unit), step)])

    def _vote(self, unit: Array) -> Array:
        similarity = unit @ self._features.T  # [Q, N]
        k = min(self.k, similarity.shape[1])
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        s = np.take_along_axis(similarity, nearest, axis=1)  # [Q, k]
        weights = np.exp((s - s.max(axis=1, keepdims=True)) / self.temperature)
        q, c = len(unit), len(self.classes_)
        places = self._codes[nearest] + c * np.arange(q)[:, None]  # of each vote in [Q, C]
        votes = np.bincount(places.ravel(), weights.ravel(), minlength=q * c).reshape(q, c)
        return np.asarray(votes / votes.sum(axis=1, keepdims=True), dtype=unit.dtype)
