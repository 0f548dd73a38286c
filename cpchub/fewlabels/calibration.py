"""Confidence that the labels support: a temperature from held-out predictions, and the rule of succession.

A classifier that has seen two examples of a class separates them perfectly and believes itself. What it says of labels
that it has not seen tells by how much its logits have to be divided (Guo et al. 2017). A handful of held-out labels
tells little, so the temperature is the most probable one, given them and what was usual on other data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from sklearn.base import clone
from sklearn.utils.class_weight import compute_sample_weight

from cpchub.fewlabels.base import Array, FeatureClassifier, softmax

FOLDS = 5
ENOUGH_FOR_ONE_SPLIT = 5000  # labels; beyond, one held-out fifth tells as much as five folds
MOST_TO_LEARN = 8000  # labels that are learned from to predict that fifth; more of them led to the same choices
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


def folds_to_choose(codes: npt.NDArray[Any], seed: int = 0) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows `[M]` on which settings are compared, all of them while they are few, and the fold of each as in `deal`.

    Of many labels one fold is held out, and a part of the others is learned from, with the classes as frequent as they
    are.
    """
    fold_of = deal(codes, seed=seed)
    if len(codes) <= ENOUGH_FOR_ONE_SPLIT:
        return np.arange(len(codes)), fold_of
    others = np.flatnonzero(fold_of != 0)
    part = deal(codes[others], -(-len(others) // MOST_TO_LEARN), seed)
    rows = np.sort(np.concatenate([np.flatnonzero(fold_of == 0), others[part <= 0]]))
    return rows, np.where(fold_of[rows] == 0, 0, -1)


def supported(logits: Array, temperature: float, labels: float) -> Array:
    """Probabilities `[N, C]` of logits `[N, C]`, no surer than a number of labels can show.

    By the rule of succession, what none of n labels contradicts is still wrong about once in n + 2. So the highest
    confidence is (n + 2 / C) / (n + 2): 83 % with four labels of two classes.
    """
    p = softmax(logits / temperature)
    return np.asarray((labels * p + NEVER_SEEN / p.shape[1]) / (labels + NEVER_SEEN))


def best_temperature(
    logits: Array, codes: npt.NDArray[np.int64], labels: float, usual: float = 1.0, weights: Array | None = None
) -> tuple[float, float]:
    """The most probable temperature of held-out logits `[H, C]` of class numbers `[H]`, and its loss in nats.

    labels: how many the classifier learns from in the end. usual: the temperature to expect without these.
    weights: `[H]`, what each label counts; all alike by default.
    """
    if not len(codes):
        return usual, 0.0
    rows = np.arange(len(codes))
    total = len(codes) if weights is None else weights.sum()

    def loss(log_t: float) -> float:
        p = supported(logits, float(np.exp(log_t)), labels)[rows, codes]
        return float(-np.average(np.log(p), weights=weights) * total + (log_t - np.log(usual)) ** 2 / (2 * SPREAD**2))

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x)), float(found.fun)


@dataclass(frozen=True)
class Tested:
    """What held-out labels say of a classifier: the most probable temperature, the loss in nats of all of them together
    (with what the temperature's being unusual costs), and how many of how many are right. Labels count by weight."""

    temperature: float
    loss: float
    right: float
    of: float

    @classmethod
    def of_logits(
        cls, logits: Array, codes: npt.NDArray[np.int64], labels: float, usual: float, weights: Array
    ) -> Tested:
        """From logits `[H, C]`, class numbers and weights `[H]`; labels: how many are learned from in the end."""
        temperature, loss = best_temperature(logits, codes, labels, usual, weights)
        right = weights[logits.argmax(axis=1) == codes].sum() if len(codes) else 0.0
        return cls(temperature, loss, float(right), float(weights.sum()))


def held_out_test(
    classifier: FeatureClassifier, unit: Array, y: Array, weights: Array, seed: int = 0, class_weight: Any = None
) -> Tested:
    """Test a classifier, cloned, on unit features `[N, D]` of labels `[N]` that are held out in turn.

    weights: `[N]`, what each label counts. class_weight: what those of a class count besides, in the test only.
    """
    names, codes = np.unique(y, return_inverse=True)
    rows, fold_of = folds_to_choose(codes, seed)
    unit, y, codes, of_rows = unit[rows], y[rows], codes[rows], weights[rows]
    logits, order = [np.empty((0, len(names)))], [np.empty(0, np.int64)]
    for fold in range(fold_of.max() + 1):
        out = fold_of == fold
        logits.append(_log_p(fitted(classifier, unit[~out], y[~out], of_rows[~out]), unit[out]))
        order.append(np.flatnonzero(out))
    at = np.concatenate(order)
    if class_weight is not None:
        of_rows = of_rows * compute_sample_weight(class_weight, y)
    return Tested.of_logits(np.concatenate(logits), codes[at], float(weights.sum()), 1.0, of_rows[at])


def fitted(classifier: FeatureClassifier, unit: Array, y: Array, weights: Array) -> FeatureClassifier:
    """A clone that is fitted; the weights are given to it only where a label counts more than another."""
    plain: Any = clone(classifier)
    own: FeatureClassifier = plain.fit(unit, y, **({} if (weights == 1).all() else {"sample_weight": weights}))
    return own


class Calibrated(FeatureClassifier):
    """Another classifier with the confidence that its labels support. What it predicts stays the same.

    classifier: one of this package, `ClassMeans()` for example; it is cloned. random_state: seed of the folds.

    After `fit`, `temperature_` is what the logarithms of its probabilities are divided by: the most probable one for
    labels held out in turn, and 1 where every class has a single label. `tested_` is how it did on them.
    """

    FITTED: ClassVar = ("classifier_", "labels_", "temperature_")

    labels_: float

    def __init__(self, classifier: FeatureClassifier, random_state: int = 0) -> None:
        self.classifier = classifier
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Calibrated:
        """Fit on features `[N, D]` and labels `[N]`, weighted by `[N]`. Raises LabelError on a single class."""
        unit, codes, weights = self._weighted_data(X, y, sample_weight)
        names = self.classes_[codes]
        self.labels_ = float(weights.sum())
        self.tested_ = held_out_test(self.classifier, unit, names, weights, self.random_state)
        self.temperature_ = self.tested_.temperature
        self.classifier_ = fitted(self.classifier, unit, names, weights)
        return self

    def _probabilities(self, unit: Array) -> Array:
        return supported(_log_p(self.classifier_, unit), self.temperature_, self.labels_)


def _log_p(classifier: FeatureClassifier, unit: Array) -> Array:
    p = classifier._probabilities(unit)
    return np.asarray(np.log(np.maximum(p, np.finfo(p.dtype).tiny)))
