"""What a head says of images: the one rule from probabilities to classes, for collections, files and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.fewlabels.base import Array, FeatureClassifier
from cpchub.fewlabels.given_labels import joined
from cpchub.fewlabels.multi_label import P
from cpchub.fewlabels.none_of_these import NONE, NoneOfThese
from cpchub.fewlabels.one_vs_rest import HALF, OneVsRest


@dataclass(frozen=True, eq=False)
class Answers:
    """What is said of N images.

    probabilities: of the C classes, `[N, C]`. of_class: which classes each image is said to be of, `[N, C]`; at most
    one, unless `several`. typical: the p-values of `NoneOfThese`, `[N]`; None where each image gets a class.
    """

    classes: Sequence[str]
    probabilities: Array
    of_class: npt.NDArray[np.bool_]
    typical: Array | None
    several: bool

    @property
    def predicted(self) -> list[str]:
        """The class of each image, or "none of these"; of several: `a;b`, or `;` for none."""
        if self.several:
            return [joined([self.classes[at] for at in np.flatnonzero(row).tolist()]) for row in self.of_class]
        which = np.where(self.of_class.any(axis=1), self.of_class.argmax(axis=1), -1)
        return list(np.array([*self.classes, NONE], object)[which])

    @property
    def confidence(self) -> list[float | None]:
        """The probability of the class that is said (0..1); None where there is none, or where there may be several."""
        if self.several:
            return [None] * len(self.of_class)
        best = self.probabilities.max(axis=1).astype(np.float32).tolist()
        said = [bool(row.any()) for row in self.of_class]
        return [value if known else None for value, known in zip(best, said, strict=True)]

    def columns(self) -> dict[str, pa.Array]:
        """The columns of `Head.classify`, without the paths."""
        found = {"predicted": pa.array(self.predicted, pa.string())}
        if self.several:
            by_class = zip(self.classes, self.probabilities.T, strict=True)
            return found | {P + name: pa.array(each, pa.float32()) for name, each in by_class}
        found["confidence"] = pa.array(self.confidence, pa.float32())
        return found if self.typical is None else found | {"typical": pa.array(self.typical, pa.float32())}


def answers(
    classifier: FeatureClassifier, detector: NoneOfThese | None, vectors: Array, probabilities: Array | None = None
) -> Answers:
    """What a fitted classifier says of vectors `[N, D]`; see `Head.answers`."""
    p = np.asarray(classifier.predict_proba(vectors)) if probabilities is None else probabilities
    classes = [str(name) for name in classifier.classes_]
    if isinstance(classifier, OneVsRest):
        return Answers(classes, p, p >= HALF, None, several=True)
    of_class = np.zeros(p.shape, bool)
    of_class[np.arange(len(p)), p.argmax(axis=1)] = True
    typical = None
    if detector is not None:
        typical = detector.p_values(vectors)
        of_class[typical <= detector.level] = False
    return Answers(classes, p, of_class, typical, several=False)
