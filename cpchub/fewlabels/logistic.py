"""The logistic probe: multinomial logistic regression on frozen features, its strength chosen inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from cpchub.errors import ArgumentError
from cpchub.fewlabels.base import Array, FeatureClassifier, softmax
from cpchub.fewlabels.calibration import Tested, folds_to_choose, supported

C_GRID = tuple(10.0 ** (power / 2) for power in range(9))  # 1 to 10,000
# Chosen on training images of Tiny-ImageNet and CIFAR-10, with 1 to 50 labels a class. The temperature is that of
# Tiny-ImageNet alone, since the encoder of these measurements has seen CIFAR-10.
C_USUAL, T_USUAL = 10.0**0.5, 0.8
C_FEW, LABELS_PER_C = 10.0, 10  # no C above the first is tried below 100 labels, and above that none over labels / 10
VALUES_AT_ONCE = 1 << 22
# How exactly a model is fitted that is only compared, the one that stays, and that of many labels: its features are
# float32, which ends short of more, and in which the last steps were 9 in 10 and changed no prediction in 1,000.
TO_CHOOSE, TO_KEEP, TO_KEEP_MANY = 1e-3, 1e-6, 1e-4


class LogisticProbe(FeatureClassifier):
    """Logistic regression on unit features, centred and scaled to a mean squared length of one.

    C: inverse strength of the L2 penalty, on features scaled so that it means the same at every D. None chooses it
        from C_GRID, all fitted in one pass, by held-out log-loss (folds, or one fifth of many labels), together with a
        temperature. A strong penalty is expected beforehand and few labels cannot outweigh that. The chosen C is then
        fitted to all labels, and the probabilities are no surer than they support. With a C given, the probabilities
        are those of the plain model.
    max_iter: steps of Newton's method per fit; a fit that needs more warns (`ConvergenceWarning`).
    random_state: seed of the folds.
    class_weight: class -> what its labels count, or "balanced"; by default every label counts alike.

    After `fit`, `C_` is the strength used, `temperature_` what its logits are divided by, and `n_iter_` what the last
    fit took. Where C was chosen, `tested_` is how it did on held-out labels.
    """

    FITTED: ClassVar = ("C_", "temperature_", "n_iter_", "_labels", "_centre", "_scale", "_weights", "_intercepts")

    def __init__(
        self, C: float | None = None, max_iter: int = 100, random_state: int = 0, class_weight: Any = None
    ) -> None:
        self.C = C
        self.max_iter = max_iter
        self.random_state = random_state
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LogisticProbe:
        """Fit on features `[N, D]` and labels `[N]`, weighted by `[N]`. Raises LabelError on a single class."""
        if self.C is not None and self.C <= 0:
            raise ArgumentError(f"C={self.C}: it must be positive, or None to choose it from the labels")
        from cpchub.fewlabels import softmax_regression  # here, because torch takes seconds to import

        unit, codes, weights = self._weighted_data(X, y, sample_weight, self.class_weight)
        self._centre = np.average(unit, axis=0, weights=weights).astype(np.float32)
        scaled = unit - self._centre
        spread = float(np.sqrt(np.average(np.square(scaled).sum(axis=1), weights=weights)))
        self._scale = 1 / spread if spread > 0 else 1.0
        scaled *= self._scale
        self._labels = float(weights.sum())
        if self.C is not None:
            self.C_, self.temperature_ = self.C, 1.0
        else:
            self.C_, self.tested_ = self._choose(scaled, codes, weights)
            self.temperature_ = self.tested_.temperature
        few = scaled.size <= VALUES_AT_ONCE
        fitted = softmax_regression.fit(
            scaled.astype(np.float64) if few else scaled,
            codes,
            [self.C_],
            weights=weights,
            classes=len(self.classes_),
            max_iter=self.max_iter,
            tol=TO_KEEP if few else TO_KEEP_MANY,
        )
        self._weights, self._intercepts = (part[0].astype(np.float32) for part in (fitted.weights, fitted.intercepts))
        self.n_iter_ = fitted.n_iter
        return self

    def _probabilities(self, unit: Array) -> Array:
        logits = (unit - self._centre) @ (self._weights * self._scale).T + self._intercepts
        return softmax(logits) if self.C is not None else supported(logits, self.temperature_, self._labels)

    def _choose(self, X: Array, codes: npt.NDArray[np.int64], weights: Array) -> tuple[float, Tested]:
        """The most probable strength, given the held-out labels and what is usual, and how it did on them."""
        rows, fold_of = folds_to_choose(codes, self.random_state)
        if fold_of.max() < 0:
            return C_USUAL, Tested(T_USUAL, 0.0, 0.0, 0.0)
        weakest = max(C_FEW, self._labels / LABELS_PER_C)
        grid = [C for C in C_GRID if weakest >= C]
        logits, out = self._held_out(X[rows], codes[rows], weights[rows], fold_of, grid)
        of = codes[rows[out]], self._labels, T_USUAL, weights[rows[out]]
        found = [Tested.of_logits(of_c, *of) for of_c in logits]
        best = int(np.argmin([each.loss + np.log(C / C_USUAL) ** 2 / 2 for C, each in zip(grid, found, strict=True)]))
        return grid[best], found[best]

    def _held_out(
        self,
        X: Array,
        codes: npt.NDArray[np.int64],
        weights: Array,
        fold_of: npt.NDArray[np.int64],
        grid: Sequence[float],
    ) -> tuple[Array, npt.NDArray[np.int64]]:
        """Logits `[len(grid), H, C]` of the labels that were held out, and which rows these are, `[H]`."""
        from cpchub.fewlabels import softmax_regression

        folds, n = int(fold_of.max()) + 1, len(grid)
        together = max(1, VALUES_AT_ONCE // (len(codes) * n * len(self.classes_)))  # folds whose logits fit in memory
        logits, rows = [], []
        for first in range(0, folds, together):
            part = range(first, min(first + together, folds))
            if len(part) == 1:
                kept, used = fold_of != first, None
            else:
                kept, used = np.ones(len(codes), bool), np.repeat([fold_of != fold for fold in part], n, axis=0)
            fitted = softmax_regression.fit(
                X[kept],
                codes[kept],
                [*grid] * len(part),
                used=used,
                weights=weights[kept],
                classes=len(self.classes_),
                max_iter=self.max_iter,
                tol=TO_CHOOSE,
            )
            for at, fold in enumerate(part):
                own = slice(at * n, (at + 1) * n)
                of_fold = replace(fitted, weights=fitted.weights[own], intercepts=fitted.intercepts[own])
                logits.append(of_fold.logits(X[fold_of == fold]))
                rows.append(np.flatnonzero(fold_of == fold))
        return np.concatenate(logits, axis=1), np.concatenate(rows)
