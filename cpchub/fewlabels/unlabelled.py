"""What the images without a label add to a classifier, and whether they add anything.

The classifier's probabilities are multiplied with those of labels that spread over the graph of nearest neighbours. The
labels are held out, fold by fold, from both. Where their probabilities are better without the graph, it is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from cpchub.fewlabels.base import Array, FeatureClassifier
from cpchub.fewlabels.calibration import best_temperature, supported
from cpchub.fewlabels.estimate import Estimate, estimate_of
from cpchub.fewlabels.held_out import HeldOut, as_many_of_each, held_out, settled
from cpchub.fewlabels.propagation import neighbour_graph, propagate

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DOUBT = 1e-3  # added to a spread probability: a label that did not get through says nothing for certain


@dataclass(frozen=True, eq=False)
class WithUnlabelled:
    """What came of it. used: whether the probabilities `[N, C]` of all images are those with the unlabelled ones.

    without, with_them: what is said of each held-out label by the classifier alone, and with them; None where no class
    has two labels. estimate: of the accuracy, by what is used of the two; see `estimated`.
    """

    used: bool
    probabilities: Array | None = None
    without: HeldOut | None = None
    with_them: HeldOut | None = None
    estimate: Estimate | None = None

    def estimated(self, shares: Mapping[str, float]) -> WithUnlabelled:
        """The same with an estimate of the accuracy, for classes of these shares in the collection."""
        found = self.with_them if self.used else self.without
        return self if found is None else replace(self, estimate=estimate_of(found, shares))

    def sentence(self) -> str:
        """What they gain, and what is done."""
        if self.without is None or self.with_them is None:
            return (
                "Unlabelled images: used; what they gain cannot be measured, since no class has two labels. Label a "
                "second image of a class"
            )
        without, with_them = (int(found.right.sum()) for found in (self.without, self.with_them))
        of = int(self.without.tested.sum())
        what = f"{without:,} of {of:,} held-out labels are right without them, {with_them:,} with them"
        if self.used:
            return f"Unlabelled images: used; {what}"
        return f"Unlabelled images: not used, since they gain nothing here; {what}"


def with_unlabelled(
    vectors: Array,
    rows: npt.NDArray[np.int64],
    names: Sequence[str],
    classifier: FeatureClassifier,
    *,
    graph: csr_array | None = None,
    progress: bool = False,
) -> WithUnlabelled:
    """Class probabilities of all vectors `[N, D]` from labels `[n]` of some rows `[n]`, and from the other vectors.

    classifier: fitted to these labels. graph: `neighbour_graph(vectors)`, where it is made already.

    Labels are held out as in `estimate_accuracy`, and the loss of their calibrated probabilities decides; with no class
    that has two labels the unlabelled images are used.
    """
    classes, codes = np.unique(np.asarray(names), return_inverse=True)
    codes = codes.astype(np.int64)
    plain = settled(classifier)
    graph = neighbour_graph(vectors, progress=progress) if graph is None else graph
    found = held_out(vectors[rows], names, plain, at_random=not as_many_of_each(codes))
    spread = np.log(propagate(graph, rows, codes, len(classes)) + DOUBT)
    if found is None:
        logits = _log(classifier.predict_proba(vectors)) + spread
        return WithUnlabelled(True, supported(logits, 1.0, len(rows)))
    alone, tested = _log(found.probabilities), found.tested
    usual, loss_alone = best_temperature(alone[tested], codes[tested], len(rows))
    together = alone / usual + _held_out_spread(graph, rows, codes, found)
    temperature, loss = best_temperature(together[tested], codes[tested], len(rows))
    with_them = replace(found, probabilities=supported(together, temperature, len(rows)))
    if loss >= loss_alone or with_them.right.sum() < found.right.sum():
        return WithUnlabelled(False, None, found, with_them)
    logits = _log(clone(plain).fit(vectors[rows], codes).predict_proba(vectors)) / usual + spread
    return WithUnlabelled(True, supported(logits, temperature, len(rows)), found, with_them)


def _held_out_spread(
    graph: csr_array, rows: npt.NDArray[np.int64], codes: npt.NDArray[np.int64], found: HeldOut
) -> Array:
    """Logarithms of what spreads to each label `[n, C]` from those of other folds; NaN for one that is not tested."""
    spread = np.full(found.probabilities.shape, np.nan)
    for fold in np.unique(found.fold_of[found.tested]):
        out = found.fold_of == fold
        spread[out] = propagate(graph, rows[~out], codes[~out], len(found.classes))[rows[out]]
    return np.asarray(np.log(spread + DOUBT))


def _log(p: Array) -> Array:
    return np.asarray(np.log(np.maximum(p, np.finfo(np.float32).tiny)))
