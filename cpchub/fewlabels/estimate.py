"""How good a classifier is, estimated from its few labels alone, and how sure that is.

Each label is held out in turn. What was right is counted by class, and the classes are weighted by their shares of the
collection: where labels were given to ten images of each class, rare classes would count too much otherwise.

The fits of cross-validation share most of their labels, so their errors are correlated and there is no unbiased
estimate of their variance (Bengio & Grandvalet 2004). On training images of Tiny-ImageNet (six classes, 20 to 100
labels) the intervals of half as many independent images held the true accuracy nine times in ten, as they should.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.fewlabels.base import FeatureClassifier
from cpchub.fewlabels.held_out import HeldOut, held_out, settled

LEVEL = 0.90
CORRELATED = 2.0  # how many held-out labels tell as much as one image that has nothing to do with the fit
PRIOR = 2.0  # labels of a class that is as good as the average, added to each


@dataclass(frozen=True)
class Share:
    """A share with its interval: `right` of `of` held-out labels. `value` is weighted where classes are."""

    value: float
    low: float
    high: float
    right: int
    of: int


@dataclass(frozen=True)
class ClassEstimate:
    """A class: recall, None where its only label could not be held out, and precision, None where none is predicted."""

    name: str
    labels: int
    recall: Share | None
    precision: Share | None


@dataclass(frozen=True)
class Estimate:
    """The accuracy on images like those of the collection, with a 90 % interval, and the same by class.

    `confusion[i][j]`: how many held-out labels of class i were taken for class j.
    """

    accuracy: Share
    classes: tuple[ClassEstimate, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def alone(self) -> list[str]:
        """The classes that have a single label; of these nothing is known."""
        return [each.name for each in self.classes if each.labels == 1]

    def as_json(self) -> dict[str, Any]:
        """The estimate as JSON values."""
        return {"level": LEVEL, **asdict(self)}

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Estimate:
        """The estimate that `as_json` wrote. Raises KeyError or TypeError where it is another content."""
        classes = [
            ClassEstimate(each["name"], each["labels"], _share(each["recall"]), _share(each["precision"]))
            for each in found["classes"]
        ]
        return cls(Share(**found["accuracy"]), tuple(classes), tuple(tuple(row) for row in found["confusion"]))


def _share(found: Mapping[str, Any] | None) -> Share | None:
    return None if found is None else Share(**found)


def estimate_accuracy(
    features: npt.NDArray[Any],
    labels: Sequence[str],
    classifier: FeatureClassifier,
    shares: Mapping[str, float],
) -> Estimate | None:
    """Estimate the accuracy of a fitted classifier from its labels `[N]` and their features `[N, D]`.

    shares: of each class in the collection, as its mean probability over all images tells.

    None while no class has two labels, or there is one class only.
    """
    found = held_out(features, labels, settled(classifier))
    return None if found is None else estimate_of(found, shares)


def shares_of(classifier: FeatureClassifier, probabilities: npt.NDArray[Any]) -> dict[str, float]:
    """The share of each class in a collection: its mean probability `[N, C]` over all images."""
    return dict(zip(map(str, classifier.classes_), probabilities.mean(axis=0, dtype=float).tolist(), strict=True))


def estimate_of(found: HeldOut, shares: Mapping[str, float]) -> Estimate:
    """The estimate from what held-out labels were taken for; see `estimate_accuracy`."""
    count = len(found.classes)
    given = np.bincount(found.codes, minlength=count)
    confusion = np.zeros((count, count), int)
    np.add.at(confusion, (found.codes[found.tested], found.probabilities[found.tested].argmax(axis=1)), 1)
    tested, right = confusion.sum(axis=1), confusion.diagonal()
    share = np.array([shares[name] for name in found.classes], float)
    share /= share.sum()
    usual = float(((right + 0.5) / (tested + 1))[tested > 0].mean())
    recall = (right + PRIOR * usual) / (tested + PRIOR)
    accuracy = float((share * recall).sum())
    variance = float((share**2 * recall * (1 - recall) / (tested + PRIOR)).sum())
    known = accuracy * (1 - accuracy) / variance
    total = share_of(accuracy, known, int(right.sum()), int(tested.sum()))
    unseen = float((share * recall)[tested == 0].sum())  # of classes that could not be tested; at worst all are wrong
    total = replace(total, low=wilson_interval(accuracy - unseen, known / CORRELATED)[0])
    weighted = confusion * (share / np.maximum(tested, 1))[:, None]
    classes = []
    for at, name in enumerate(found.classes):
        hits, of, taken = int(right[at]), int(tested[at]), int(confusion[:, at].sum())
        of_class = share_of(hits / of, of, hits, of) if of else None
        certain = float(weighted[at, at] / weighted[:, at].sum()) if weighted[:, at].sum() > 0 else None
        precision = share_of(certain, taken, hits, taken) if certain is not None and taken else None
        classes.append(ClassEstimate(name, int(given[at]), of_class, precision))
    return Estimate(total, tuple(classes), tuple(tuple(map(int, row)) for row in confusion))


def share_of(value: float, labels: float, right: int, of: int) -> Share:
    """A share that `labels` held-out labels tell, with its interval."""
    low, high = wilson_interval(value, labels / CORRELATED)
    return Share(value, low, high, right, of)


def wilson_interval(share: float, total: float, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a share of `total` independent images; it stays in 0..1 for small counts (Wilson, 1927)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = share + z * z / (2 * total)
    spread = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
