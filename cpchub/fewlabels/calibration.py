"""Confidence that the labels support: a temperature from held-out predictions, and the rule of succession.

A classifier that has seen two examples of a class separates them perfectly and believes itself. What it says of labels
that it has not seen tells by how much its logits have to be divided (Guo et al. 2017). A handful of held-out labels
tells little, so the temperature is the most probable one, given them and what was usual on other data.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from sklearn.base import ClassifierMixin, clone

from cpchub.fewlabels.base import Array, FeatureClassifier, softmax

FOLDS = 5
# Of the logarithm of the temperature from data set to data set; chosen on training images of Tiny-ImageNet.
SPREAD = 0.4
COLDEST, HOTTEST = 0.05, 20.0
NEVER_SEEN = 2.0  # labels, spread over all classes, that the rule of succession adds


def deal(codes: npt.NDArray[Any], folds: int = FOLDS, seed: int = 0) -> npt.NDArray[np.int64]:
    """The fold `[N]` in which each label is held out; -1 for the only one of its class, which cannot be.

    Every class is dealt over the folds like cards: up to `folds` labels of a class, each fold holds out one of it.
    """
    fold_of = np.full(len(codes), -1)
    rng = np.random.default_rng(seed)
    for each in np.unique(codes):
        members = np.flatnonzero(codes == each)
        if len(members) > 1:
            fold_of[rng.permutation(members)] = np.arange(len(members)) % folds
    return fold_of


def supported(logits: Array, temperature: float, labels: int) -> Array:
    """Probabilities `[N, C]` of logits `[N, C]`, no surer than a number of labels can show.

    By the rule of succession, what none of n labels contradicts is still wrong about once in n + 2. So the highest
    confidence is (n + 2 / C) / (n + 2): 83 % with four labels of two classes.
    """
    p = softmax(logits / temperature)
    return np.asarray((labels * p + NEVER_SEEN / p.shape[1]) / (labels + NEVER_SEEN))


def best_temperature(
    logits: Array, codes: npt.NDArray[np.int64], labels: int, usual: float = 1.0
) -> tuple[float, float]:
    """The most probable temperature of held-out logits `[H, C]` of class numbers `[H]`, and its loss in nats.

    labels: how many the classifier learns from in the end. usual: the temperature to expect without these.
    """
    rows = np.arange(len(codes))

    def loss(log_t: float) -> float:
        p = supported(logits, float(np.exp(log_t)), labels)[rows, codes]
        return float(-np.log(p).sum(dtype=np.float64) + (log_t - np.log(usual)) ** 2 / (2 * SPREAD**2))

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x)), float(found.fun)


class Calibrated(FeatureClassifier):
    """Another classifier with the confidence that its labels support. What it predicts stays the same.

    classifier: one of this package, `ClassMeans()` for example; it is cloned. random_state: seed of the folds.

    After `fit`, `temperature_` is what the logarithms of its probabilities are divided by: the most probable one for
    labels held out in turn, and 1 where every class has a single label.
    """

    FITTED: ClassVar = ("classifier_", "labels_", "temperature_")

    def __init__(self, classifier: ClassifierMixin, random_state: int = 0) -> None:
        self.classifier = classifier
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Calibrated:
        """Fit on features `[N, D]` and labels `[N]`. Raises LabelError on a single class."""
        unit, codes = self._training_data(X, y)
        self.labels_, self.temperature_ = len(codes), 1.0
        fold_of = deal(codes, seed=self.random_state)
        held_out, truth = [], []
        for fold in range(fold_of.max() + 1):
            out = fold_of == fold
            held_out.append(_log_p(clone(self.classifier).fit(unit[~out], codes[~out]), unit[out]))
            truth.append(codes[out])
        if held_out:
            logits, right = np.concatenate(held_out), np.concatenate(truth)
            self.temperature_, _ = best_temperature(logits, right, self.labels_)
        self.classifier_ = clone(self.classifier).fit(unit, codes)
        return self

    def _probabilities(self, unit: Array) -> Array:
        return supported(_log_p(self.classifier_, unit), self.temperature_, self.labels_)


def _log_p(classifier: Any, unit: Array) -> Array:
    p = classifier.predict_proba(unit)
    return np.asarray(np.log(np.maximum(p, np.finfo(p.dtype).tiny)))
