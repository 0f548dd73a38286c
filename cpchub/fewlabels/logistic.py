"""The logistic probe: multinomial logistic regression on frozen features, its strength chosen inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

from cpchub.errors import ArgumentError
from cpchub.fewlabels.base import Array, FeatureClassifier, softmax

C_GRID = tuple(10.0 ** (power / 2) for power in range(9))  # 1 to 10,000
C_ONE_LABEL = 100.0  # with one label a class nothing can be held out
FOLDS = 5
ENOUGH_FOR_ONE_SPLIT = 5000  # beyond, one held-out fifth tells as much as five folds
TO_CHOOSE, TO_KEEP = 3e-4, 1e-6  # how exactly a model is fitted that is only compared, and the one that stays


class LogisticProbe(FeatureClassifier):
    """Logistic regression on unit features, centred and scaled to a mean squared length of one.

    C: inverse strength of the L2 penalty, on features scaled so that it means the same at every D. None chooses it
        from C_GRID, all fitted in one pass, by held-out log-loss (stratified folds, or one fifth of many labels) when
        each class has two labels or more; the chosen one is then fitted to all labels.
    max_iter: L-BFGS iterations per fit; a fit that needs more warns (`ConvergenceWarning`).
    random_state: seed of the folds.

    After `fit`, `C_` is the strength used and `n_iter_` what the last fit took.
    """

    def __init__(self, C: float | None = None, max_iter: int = 1000, random_state: int = 0) -> None:
        self.C = C
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> LogisticProbe:
        """Fit on features `[N, D]` and labels `[N]`. Raises LabelError on a single class."""
        if self.C is not None and self.C <= 0:
            raise ArgumentError(f"C={self.C}: it must be positive, or None to choose it from the labels")
        from cpchub.fewlabels import softmax_regression  # here, because torch takes seconds to import

        unit, codes = self._training_data(X, y)
        self._centre = unit.mean(axis=0)
        spread = float(np.sqrt(np.square(unit - self._centre).sum(axis=1).mean()))
        self._scale = 1 / spread if spread > 0 else 1.0
        scaled = (unit - self._centre) * self._scale
        self.C_ = self.C if self.C is not None else self._choose_c(scaled, codes)
        self._regression = softmax_regression.fit(
            scaled, codes, [self.C_], classes=len(self.classes_), max_iter=self.max_iter, tol=TO_KEEP
        )
        self.n_iter_ = self._regression.n_iter
        return self

    def _probabilities(self, unit: Array) -> Array:
        return softmax(self._regression.logits((unit - self._centre) * self._scale)[0])

    def _choose_c(self, X: Array, codes: npt.NDArray[np.int64]) -> float:
        """The strength with the lowest mean held-out log-loss; the stronger penalty on a tie."""
        if np.bincount(codes).min() < 2:
            return C_ONE_LABEL
        losses = [self._held_out_losses(X, codes, train, held_out) for train, held_out in self._splits(codes)]
        return C_GRID[int(np.mean(losses, axis=0).argmin())]

    def _splits(self, codes: npt.NDArray[np.int64]) -> Iterator[tuple[Array, Array]]:
        if len(codes) > max(ENOUGH_FOR_ONE_SPLIT, 5 * len(self.classes_)):  # a fifth must have room for every class
            splitter = StratifiedShuffleSplit(1, test_size=0.2, random_state=self.random_state)
        else:
            folds = min(FOLDS, int(np.bincount(codes).min()))
            splitter = StratifiedKFold(folds, shuffle=True, random_state=self.random_state)
        splits: Iterator[tuple[Array, Array]] = splitter.split(codes, codes)
        return splits

    def _held_out_losses(self, X: Array, codes: npt.NDArray[np.int64], train: Array, held_out: Array) -> list[float]:
        """Held-out log-loss for each C of the grid."""
        from cpchub.fewlabels import softmax_regression

        fitted = softmax_regression.fit(
            X[train], codes[train], C_GRID, classes=len(self.classes_), max_iter=self.max_iter, tol=TO_CHOOSE
        )
        rows = np.arange(len(held_out))
        losses = []
        for logits in fitted.logits(X[held_out]):
            p = softmax(logits)[rows, codes[held_out]]
            losses.append(float(-np.log(np.maximum(p, np.finfo(p.dtype).tiny)).mean()))
        return losses
