"""What a classifier says of each label that it was not shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from cpchub.fewlabels.base import FeatureClassifier
from cpchub.fewlabels.calibration import Calibrated, deal
from cpchub.fewlabels.logistic import ENOUGH_FOR_ONE_SPLIT, LogisticProbe

FOLDS = 10  # with up to ten labels a class, each fold holds out one of every class


@dataclass(frozen=True, eq=False)
class HeldOut:
    """N labels of C classes: `codes [N]` index `classes`; `probabilities [N, C]` are those of fits without the label.

    `tested [N]` is False for a label that no fit could do without, the only one of its class for example; its
    probabilities are NaN.
    """

    classes: tuple[str, ...]
    codes: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    tested: npt.NDArray[np.bool_]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Of the tested labels, which were predicted, `[T]`."""
        return np.asarray(self.probabilities[self.tested].argmax(axis=1) == self.codes[self.tested])


def settled(classifier: FeatureClassifier) -> FeatureClassifier:
    """A fitted classifier's settings, not fitted: what it has chosen from the labels is not chosen again."""
    if isinstance(classifier, LogisticProbe):
        return LogisticProbe(C=classifier.C_, max_iter=classifier.max_iter)
    inner = classifier.classifier if isinstance(classifier, Calibrated) else classifier
    plain: FeatureClassifier = clone(inner)
    return plain


def held_out(
    features: npt.NDArray[Any], labels: Sequence[str], classifier: FeatureClassifier, *, all_of_them: bool = False
) -> HeldOut | None:
    """Fit `classifier` on features `[N, D]` without some of the labels `[N]`, and ask for those, fold by fold.

    One of each class is held out at a time, a tenth of each beyond ten. Holding out single images instead would leave
    fewer examples of the very class that is asked for. Of more than 5,000 labels a tenth is held out, once, unless
    `all_of_them`. None while no class has two labels, or there is one class only.
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    fold_of = deal(codes, FOLDS)
    if len(classes) < 2 or fold_of.max() < 0:
        return None
    if len(codes) > ENOUGH_FOR_ONE_SPLIT and not all_of_them:
        fold_of[fold_of > 0] = -1
    probabilities = np.full((len(codes), len(classes)), np.nan)
    for fold in range(fold_of.max() + 1):
        out = fold_of == fold
        fitted = clone(classifier).fit(features[~out], codes[~out])
        probabilities[out] = fitted.predict_proba(features[out])  # each class keeps a label, so it has all columns
    return HeldOut(tuple(map(str, classes)), codes.astype(np.int64), probabilities, fold_of >= 0)
