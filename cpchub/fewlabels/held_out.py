"""What a classifier says of each label that it was not shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from cpchub.fewlabels.auto import AutoClassifier
from cpchub.fewlabels.base import FeatureClassifier
from cpchub.fewlabels.calibration import ENOUGH_FOR_ONE_SPLIT, Calibrated, deal
from cpchub.fewlabels.logistic import LogisticProbe
from cpchub.fewlabels.ridge import RidgeProbe

FOLDS = 10  # with up to ten labels a class, each fold holds out one of every class
EVEN = 0.3  # of the spread of the counts of classes that labels drawn at random have; more even ones were chosen so


@dataclass(frozen=True, eq=False)
class HeldOut:
    """N labels of C classes: `codes [N]` index `classes`; `probabilities [N, C]` are those of fits without the label.

    `tested [N]` is False for a label that no fit could do without, the only one of its class for example; its
    probabilities are NaN. learned_from: the share of the labels that a fit had, in the mean. even: labels of each class
    were held out in turn; False where they were held out as at random, so that a class may have lost all of its labels.
    fold_of: the fold in which each label was held out `[N]`, -1 for one that was not tested.
    """

    classes: tuple[str, ...]
    codes: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    tested: npt.NDArray[np.bool_]
    learned_from: float = 1.0
    even: bool = True
    fold_of: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Of the tested labels, which were predicted, `[T]`."""
        return np.asarray(self.probabilities[self.tested].argmax(axis=1) == self.codes[self.tested])


def settled(classifier: FeatureClassifier) -> FeatureClassifier:
    """A fitted classifier's settings, not fitted: what it has chosen from the labels is not chosen again."""
    if isinstance(classifier, AutoClassifier):
        return settled(classifier.classifier_)
    inner = classifier.classifier if isinstance(classifier, Calibrated) else classifier
    plain: FeatureClassifier = clone(inner)
    if isinstance(classifier, LogisticProbe):
        return plain.set_params(C=classifier.C_)
    return plain.set_params(alpha=classifier.alpha_) if isinstance(classifier, RidgeProbe) else plain


def as_many_of_each(codes: npt.NDArray[np.int64]) -> bool:
    """Whether class numbers `[N]` are spread more evenly over their classes than labels drawn at random would be."""
    counts = np.bincount(codes)
    even = len(codes) / len(counts)
    return bool(np.square(counts - even).sum() / even < EVEN * (len(counts) - 1))


def held_out(
    features: npt.NDArray[Any],
    labels: Sequence[str],
    classifier: FeatureClassifier,
    *,
    all_of_them: bool = False,
    at_random: bool = False,
) -> HeldOut | None:
    """Fit `classifier` on features `[N, D]` without some of the labels `[N]`, and ask for those, fold by fold.

    One of each class is held out at a time, a tenth of each beyond ten. Holding out single images instead would leave
    fewer examples of the very class that is asked for. at_random: a tenth of all is held out, whatever their classes;
    labels that were drawn at random may miss more of a class than of another, and so may a tenth of them. Of more than
    5,000 labels a tenth is held out, once, unless `all_of_them`. None while no class has two labels, or there is one
    class only.
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    fold_of = deal(codes, FOLDS)
    if len(classes) < 2 or fold_of.max() < 0:
        return None
    if at_random:
        alone = fold_of < 0
        fold_of = np.where(alone, -1, np.random.default_rng(0).permutation(len(codes)) % FOLDS)
    if len(codes) > ENOUGH_FOR_ONE_SPLIT and not all_of_them:
        fold_of[fold_of > 0] = -1
    probabilities, kept = np.full((len(codes), len(classes)), np.nan), []
    for fold in np.unique(fold_of[fold_of >= 0]):
        out = fold_of == fold
        probabilities[out] = predicted_without(features, codes, out, classifier, len(classes))
        kept += [float((~out).mean())] * int(out.sum())
    names, learned_from = tuple(map(str, classes)), float(np.mean(kept))
    return HeldOut(names, codes.astype(np.int64), probabilities, fold_of >= 0, learned_from, not at_random, fold_of)


def predicted_without(
    features: npt.NDArray[Any],
    codes: npt.NDArray[np.int64],
    out: npt.NDArray[np.bool_],
    classifier: FeatureClassifier,
    classes: int,
) -> npt.NDArray[np.float64]:
    """Probabilities `[H, C]` of the labels held out, where `out` `[N]`; zero for a class that has lost all of its."""
    left = np.unique(codes[~out])
    probabilities = np.zeros((int(out.sum()), classes))
    if len(left) == 1:  # nothing else is known
        probabilities[:, left] = 1.0
    else:
        probabilities[:, left] = clone(classifier).fit(features[~out], codes[~out]).predict_proba(features[out])
    return probabilities
