"""Class means shrunk towards a common middle, by as much as their number of labels leaves open: empirical Bayes.

In each principal direction of the labelled vectors a class mean is taken as normally distributed around the middle, and
the images of a class around its mean. The mean that n labels support is then n / (n + r) of the way from the middle to
their average (Efron & Morris 1973), and what they leave open is added to the spread of the class. Directions in which
the vectors vary little tell the classes apart less, so there r, the variance within classes over that between them, is
larger: with one label a class this is the nearest class mean, with many it is linear discriminant analysis.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cpchub.errors import ArgumentError
from cpchub.fewlabels.base import Array, FeatureClassifier, softmax
from cpchub.fewlabels.decomposition import decomposed

# Chosen on training images of Tiny-ImageNet and CIFAR-10 and on scikit-learn's digits, with 1 to 50 labels a class.
RATIO = 30.0  # r in a direction with the mean variance
ISOTROPIC = 0.5  # share of the variance that is taken as equal in every direction, as few labels show few of them
T_USUAL = 1.5


class ShrunkMeans(FeatureClassifier):
    """The most likely class under normal distributions around shrunk means, all classes equally frequent.

    centre: the middle `[D]`, for example the mean of a collection's unit vectors. None takes the mean of the class
        means, which does not depend on how frequent each class is.
    ratio: the variance within classes over that between them, in a direction with the mean variance.

    A label of weight two counts as two. There are no class weights: how many labels a class has changes how far its
    mean is trusted, never how frequent the class is expected to be.
    """

    FITTED: ClassVar = ("_centre", "_weights", "_intercepts")

    def __init__(self, centre: Any = None, ratio: float = RATIO) -> None:
        self.centre = centre
        self.ratio = ratio

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ShrunkMeans:
        """Fit on features `[N, D]` and labels `[N]`, weighted by `[N]`. Raises LabelError on a single class."""
        if self.ratio <= 0:
            raise ArgumentError(f"ratio={self.ratio}: it must be positive")
        unit, codes, weights = self._weighted_data(X, y, sample_weight)
        of_class = np.eye(len(self.classes_))[codes] * weights[:, None]
        labels = of_class.sum(axis=0)[:, None]  # [C, 1]
        means = of_class.T @ unit / labels
        centre = means.mean(axis=0) if self.centre is None else self._given_centre()
        share = weights / weights.sum()
        _, singular, directions = decomposed(np.sqrt(share)[:, None] * (unit - share @ unit))
        mean_variance = max(float((singular**2).sum()) / unit.shape[1], np.finfo(np.float32).tiny)
        variances = np.append((1 - ISOTROPIC) * singular**2, 0) + ISOTROPIC * mean_variance  # the last: of the others
        ratios = self.ratio * mean_variance / variances
        shrunk = labels / (labels + ratios)
        precision = 1 / (variances * (1 + 1 / (labels + ratios)))  # [C, r + 1]
        offsets = means - centre
        along = offsets @ directions.T
        pull = shrunk * precision
        self._weights = pull[:, -1:] * (offsets - along @ directions) + (pull[:, :-1] * along) @ directions
        lengths = np.append(along**2, ((offsets - along @ directions) ** 2).sum(axis=1, keepdims=True), axis=1)
        self._intercepts = -(shrunk * pull * lengths).sum(axis=1) / 2
        self._centre = centre.astype(np.float32)
        self._weights, self._intercepts = self._weights.astype(np.float32), self._intercepts.astype(np.float32)
        return self

    def _given_centre(self) -> Array:
        centre = np.asarray(self.centre, dtype=np.float64)
        if centre.shape != (self.n_features_in_,):
            raise ArgumentError(f"a centre of shape {centre.shape} for features of {self.n_features_in_} numbers")
        return centre

    def _probabilities(self, unit: Array) -> Array:
        return softmax(((unit - self._centre) @ self._weights.T + self._intercepts) / T_USUAL)
