"""Classify images that may be of several classes each, or of none: labels such as `beach;people`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cpchub.errors import LabelError
from cpchub.fewlabels.estimate import LEVEL, ClassEstimate, Share, share_of
from cpchub.fewlabels.given_labels import SEVERAL, classes_of
from cpchub.fewlabels.held_out import held_out, settled
from cpchub.fewlabels.one_vs_rest import HALF, OneVsRest

if TYPE_CHECKING:
    from cpchub.fewlabels.base import Array

P = "p_"  # before the name of a class: the column of its probability
Shape = npt.NDArray[np.bool_]


def indicators(labels: Sequence[str]) -> tuple[list[str], Shape]:
    """The names of the C classes of n labels, and which label has which, `[n, C]`. Raises LabelError where C is 0."""
    found = [classes_of(label) for label in labels]
    names = sorted({name for each in found for name in each})
    if not names:
        raise LabelError(f"every label is {SEVERAL}, that is none of the classes; label images of some class")
    of_class = np.zeros((len(found), len(names)), bool)
    for row, each in enumerate(found):
        of_class[row, [names.index(name) for name in each]] = True
    return names, of_class


@dataclass(frozen=True)
class MultiLabelEstimate:
    """How well each class is told from the rest, from held-out labels. macro_f1: the mean of the tested classes' F1.

    F1 is the harmonic mean of recall and precision, 0 where no image is taken for the class. None where no class has
    two labels.
    """

    macro_f1: float | None
    classes: tuple[ClassEstimate, ...]

    @property
    def alone(self) -> list[str]:
        """The classes that have a single label; of these no recall is known."""
        return [each.name for each in self.classes if each.labels == 1]

    def as_json(self) -> dict[str, Any]:
        """The estimate as JSON values."""
        return {"level": LEVEL, **asdict(self)}

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> MultiLabelEstimate:
        """The estimate that `as_json` wrote. Raises KeyError or TypeError where it is another content."""
        return cls(found["macro_f1"], tuple(ClassEstimate.of_json(each) for each in found["classes"]))


def estimate_classes(vectors: Array, of_class: Shape, classifier: OneVsRest) -> MultiLabelEstimate:
    """Estimate a fitted classifier from its labels `[n, C]` and their vectors `[n, D]`, held out class by class.

    Recall and precision have 90 % intervals, as those of `estimate_accuracy`. They are for images like the labelled.
    """
    classes, f1 = [], []
    for name, own, fitted in zip(classifier.classes_, of_class.T, classifier.classifiers_, strict=True):
        found = held_out(vectors, own.astype(int).tolist(), settled(fitted))
        recall = precision = None
        if found is not None:
            is_of, taken = own[found.tested], found.probabilities[found.tested][:, 1] >= HALF
            recall = _share(taken[is_of])
            if recall is not None:
                precision = _share(is_of[taken])
                f1.append(2 * (is_of & taken).sum() / (is_of.sum() + taken.sum()))
        classes.append(ClassEstimate(str(name), int(own.sum()), recall, precision))
    return MultiLabelEstimate(float(np.mean(f1)) if f1 else None, tuple(classes))


def _share(right: Shape) -> Share | None:
    """The share that is right with its interval; None of none."""
    if not len(right):
        return None
    return share_of(float(right.mean()), len(right), int(right.sum()), len(right))
