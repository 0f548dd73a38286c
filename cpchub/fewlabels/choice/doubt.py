"""How much the labels leave an image in doubt, by classifiers that need no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cpchub.fewlabels.base import unit_rows
from cpchub.fewlabels.logistic import C_USUAL
from cpchub.fewlabels.means import ClassMeans

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
TIE = 1e-3  # what the lead of a class counts against a contradiction
ENOUGH = 2000  # labels that a classifier is fitted on; of more, some are drawn


@dataclass(frozen=True, eq=False)
class Doubt:
    """What two classifiers say of N images: probabilities `[N, C]` of the classes, by regression and by class means."""

    classes: tuple[str, ...]
    regression: Numbers
    means: Numbers

    def small_lead(self) -> Numbers:
        """1 where the first two classes are equally likely, 0 where one is certain, `[N]`."""
        first = np.sort(self.regression, axis=1)
        return np.asarray(1 - (first[:, -1] - first[:, -2]))

    def disagreement(self) -> Numbers:
        """How surely each classifier contradicts the other, `[N]`, at most 2; where both agree, a small lead counts."""
        rows, one, other = np.arange(len(self.means)), self.regression.argmax(axis=1), self.means.argmax(axis=1)
        contradicted = self.regression[rows, one] - self.regression[rows, other]
        contradicted += self.means[rows, other] - self.means[rows, one]
        return np.asarray(np.where(one == other, TIE * self.small_lead(), contradicted))

    def leading(self, place: int) -> str:
        """The two most likely classes of an image, in words: cat 41 %, dog 38 %."""
        best = np.argsort(-self.regression[place], kind="stable")[:2]
        return ", ".join(f"{self.classes[code]} {100 * self.regression[place, code]:.0f} %" for code in best)

    def both(self, place: int) -> str:
        """What each classifier takes an image for, and how sure it is, in words."""
        one, other = (
            f"{self.classes[p[place].argmax()]} {100 * p[place].max():.0f} %" for p in (self.regression, self.means)
        )
        return f"{one} by regression, {other} by class means"


def doubt_of(labelled: Vectors, names: Sequence[str], images: Vectors, seed: int) -> Doubt | None:
    """Fit on labelled vectors `[L, D]` of classes `[L]`, and ask for images `[N, D]`; None on fewer than two classes.

    The regression is the logistic probe's with its usual penalty, which needs no folds.
    """
    if len(set(names)) < 2:
        return None
    from sklearn.linear_model import LogisticRegression  # here, because it loads much of scipy

    y = np.asarray(names)
    if len(y) > ENOUGH:
        some = np.random.default_rng(seed).permutation(len(y))
        first_of_each = np.unique(y[some], return_index=True)[1]  # so that no class is lost
        kept = some[np.unique(np.concatenate([first_of_each, np.arange(ENOUGH)]))]
        labelled, y = labelled[kept], y[kept]
    unit, asked = unit_rows(labelled), unit_rows(images)
    means = ClassMeans().fit(unit, y)
    centre = unit.mean(axis=0)
    scale = 1 / max(float(np.sqrt(np.square(unit - centre).sum(axis=1).mean())), 1e-6)
    regression = LogisticRegression(C=C_USUAL, max_iter=300, tol=1e-3).fit((unit - centre) * scale, y)
    p = regression.predict_proba((asked - centre) * scale)
    return Doubt(tuple(map(str, means.classes_)), p.astype(np.float64), means.predict_proba(asked).astype(np.float64))
