"""The logistic probe: multinomial logistic regression on frozen features, its strength chosen inside."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

from cpchub.errors import ArgumentError
from cpchub.fewlabels.base import Array, FeatureClassifier

C_GRID = tuple(10.0**power for power in (0, 1, 2, 3, 4))
C_ONE_LABEL = 100.0  # with one label a class nothing can be held out
FOLDS = 5
ENOUGH_FOR_ONE_SPLIT = 5000  # beyond, one held-out fifth tells as much as five folds


class LogisticProbe(FeatureClassifier):
    """Logistic regression on unit features, centred and scaled to a mean squared length of one.

    C: inverse strength of the L2 penalty, on features scaled so that it means the same at every D. None chooses it
        from C_GRID by held-out log-loss (stratified folds) when each class has two labels or more.
    max_iter: L-BFGS iterations per fit.
    random_state: seed of the folds.

    After `fit`, `C_` is the strength used.
    """

    def __init__(self, C: float | None = None, max_iter: int = 200, random_state: int = 0) -> None:
        self.C = C
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> LogisticProbe:
        """Fit on features `[N, D]` and labels `[N]`. Raises LabelError on a single class."""
        if self.C is not None and self.C <= 0:
            raise ArgumentError(f"C={self.C}: it must be positive, or None to choose it from the labels")
        unit, codes = self._training_data(X, y)
        self._centre = unit.mean(axis=0)
        spread = float(np.sqrt(np.square(unit - self._centre).sum(axis=1).mean()))
        self._scale = 1 / spread if spread > 0 else 1.0
        scaled = (unit - self._centre) * self._scale
        self.C_ = self.C if self.C is not None else self._choose_c(scaled, codes)
        self._regression = self._regress(self.C_).fit(scaled, codes)
        self.n_iter_ = int(self._regression.n_iter_.max())
        return self

    def _probabilities(self, unit: Array) -> Array:
        return np.asarray(self._regression.predict_proba((unit - self._centre) * self._scale))

    def _regress(self, C: float) -> LogisticRegression:
        return LogisticRegression(C=C, max_iter=self.max_iter, warm_start=True)

    def _choose_c(self, X: Array, codes: npt.NDArray[np.int64]) -> float:
        """The strength with the lowest mean held-out log-loss; the stronger penalty on a tie."""
        if np.bincount(codes).min() < 2:
            return C_ONE_LABEL
        losses = [self._losses_along_path(X, codes, train, held_out) for train, held_out in self._splits(codes)]
        return C_GRID[int(np.mean(losses, axis=0).argmin())]

    def _splits(self, codes: npt.NDArray[np.int64]) -> Iterator[tuple[Array, Array]]:
        if len(codes) > ENOUGH_FOR_ONE_SPLIT:
            splitter = StratifiedShuffleSplit(1, test_size=0.2, random_state=self.random_state)
        else:
            folds = min(FOLDS, int(np.bincount(codes).min()))
            splitter = StratifiedKFold(folds, shuffle=True, random_state=self.random_state)
        splits: Iterator[tuple[Array, Array]] = splitter.split(codes, codes)
        return splits

    def _losses_along_path(self, X: Array, codes: npt.NDArray[np.int64], train: Array, held_out: Array) -> list[float]:
        """Held-out log-loss for each C, every fit starting from the one before it."""
        regression, classes = self._regress(C_GRID[0]), np.arange(len(self.classes_))
        losses = []
        for C in C_GRID:
            regression.set_params(C=C)
            with warnings.catch_warnings():
                # an unfinished fit is scored as it stands; only the final one has to converge
                warnings.simplefilter("ignore", ConvergenceWarning)
                regression.fit(X[train], codes[train])
            losses.append(float(log_loss(codes[held_out], regression.predict_proba(X[held_out]), labels=classes)))
        return losses
