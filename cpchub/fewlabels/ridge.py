"""The ridge probe: classes as columns of 0 and 1, fitted by penalised least squares, each label held out exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from cpchub.errors import ArgumentError
from cpchub.fewlabels.base import Array, FeatureClassifier
from cpchub.fewlabels.calibration import best_temperature, supported
from cpchub.fewlabels.decomposition import decomposed

ALPHAS = tuple(10.0 ** (power / 4) for power in range(-12, 13))  # 0.001 to 1,000
# Chosen on training images of Tiny-ImageNet and CIFAR-10, with 1 to 50 labels a class.
ALPHA_USUAL, T_USUAL = 1.0, 0.2
SURE = 1 - 1e-6  # of a label that makes its own prediction; without it there is none


class RidgeProbe(FeatureClassifier):
    """Ridge regression of a column of 0 and 1 for each class on unit features, the intercepts free.

    alpha: strength of the L2 penalty, on features scaled to a mean squared length of one. None chooses it from ALPHAS
        by the squared error of held-out labels; few labels cannot outweigh what is usual. What a fit without a label
        predicts for it follows from one decomposition (Allen 1974), so all strengths and all labels together take
        O(N D min(N, D)).
    class_weight: class -> what its labels count, or "balanced"; by default every label counts alike.

    After `fit`, `alpha_` is the strength used. Probabilities are the softmax of the scores divided by `temperature_`,
    the most probable one for the held-out scores, and no surer than the labels support.
    """

    FITTED: ClassVar = ("alpha_", "temperature_", "_labels", "_centre", "_weights", "_intercepts")

    def __init__(self, alpha: float | None = None, class_weight: Any = None) -> None:
        self.alpha = alpha
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RidgeProbe:
        """Fit on features `[N, D]` and labels `[N]`, weighted by `[N]`. Raises LabelError on a single class."""
        if self.alpha is not None and self.alpha <= 0:
            raise ArgumentError(f"alpha={self.alpha}: it must be positive, or None to choose it from the labels")
        unit, codes, weights = self._weighted_data(X, y, sample_weight, self.class_weight)
        self._labels = float(weights.sum())
        problem = _Problem.of(unit, codes, weights)
        tested = np.bincount(codes)[codes] > 1  # without its only label a class would not be predicted at all
        self.alpha_ = self.alpha if self.alpha is not None else _choose(problem, tested)
        scores = problem.held_out(self.alpha_)[tested]
        self.temperature_, _ = best_temperature(scores, codes[tested], self._labels, T_USUAL, weights[tested])
        self._centre = problem.centre.astype(np.float32)
        self._weights = problem.solution(self.alpha_).astype(np.float32)
        self._intercepts = problem.usual.astype(np.float32)
        return self

    def _probabilities(self, unit: Array) -> Array:
        scores = (unit - self._centre) @ self._weights + self._intercepts
        return supported(scores, self.temperature_, self._labels)


@dataclass(frozen=True, eq=False)
class _Problem:
    """Rows of features and targets, weighted and centred, with the decomposition that serves every strength."""

    y: Array  # one-hot [N, C]
    usual: Array  # the weighted mean of y, [C]
    centre: Array  # that of the features, [D]
    scale: float
    weights: Array  # [N]
    left: Array  # [N, r]
    squared: Array  # its squares
    singular: Array  # [r]
    right: Array  # [r, D]
    on: Array  # the centred targets in the left basis, [r, C]

    @classmethod
    def of(cls, unit: Array, codes: npt.NDArray[np.int64], weights: Array) -> _Problem:
        share = weights / weights.sum()
        centre = share @ unit
        x = unit - centre
        spread = float(np.sqrt(share @ np.square(x).sum(axis=1)))
        scale = 1 / spread if spread > 0 else 1.0
        y = np.eye(int(codes.max()) + 1)[codes]
        usual = share @ y
        root = np.sqrt(weights)[:, None]
        left, singular, right = decomposed(root * scale * x)
        return cls(y, usual, centre, scale, weights, left, left**2, singular, right, left.T @ (root * (y - usual)))

    def solution(self, alpha: float) -> Array:
        """The weights `[D, C]`."""
        return np.asarray(self.scale * self.right.T @ (self.on * (self.singular / (self.singular**2 + alpha))[:, None]))

    def held_out(self, alpha: float) -> Array:
        """What the fit without each label says of it, `[N, C]`."""
        kept = self.singular**2 / (self.singular**2 + alpha)
        fitted = self.left @ (self.on * kept[:, None]) / np.sqrt(self.weights)[:, None] + self.usual
        own = np.minimum(self.squared @ kept + self.weights / self.weights.sum(), SURE)[:, None]
        return np.asarray((fitted - own * self.y) / (1 - own))


def _choose(problem: _Problem, tested: npt.NDArray[np.bool_]) -> float:
    """The most probable strength, given the squared errors of held-out labels and what is usual."""
    if not tested.any():
        return ALPHA_USUAL
    weights = problem.weights[tested]

    def loss(alpha: float) -> float:
        errors = np.square(problem.held_out(alpha) - problem.y)[tested].sum(axis=1)
        mean = max(float(np.average(errors, weights=weights)), np.finfo(float).tiny)
        return float(weights.sum() / 2 * np.log(mean) + np.log(alpha / ALPHA_USUAL) ** 2 / 2)

    return min(ALPHAS, key=loss)
