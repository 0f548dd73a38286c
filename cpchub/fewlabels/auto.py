"""The classifier that chooses among the others by held-out labels, and says why."""

from __future__ import annotations

from typing import Any, ClassVar

from cpchub.common.words import listed
from cpchub.fewlabels.base import Array, FeatureClassifier
from cpchub.fewlabels.calibration import Calibrated, Tested, held_out_test
from cpchub.fewlabels.knn import KNNClassifier
from cpchub.fewlabels.logistic import LogisticProbe
from cpchub.fewlabels.ridge import RidgeProbe
from cpchub.fewlabels.shrunk_means import ShrunkMeans

# What each has to gain in nats over all held-out labels to be chosen, and the neighbours that vote. The first is what
# does best with a label a class; the rest too was found on training images of Tiny-ImageNet and CIFAR-10 and on digits.
HANDICAP = {"shrunk-means": 0.0, "ridge": 1.0, "logistic": 1.0, "knn": 2.0}
NEIGHBOURS, TEMPERATURE = 10, 0.05
CALLED = {
    "shrunk-means": "shrunk class means",
    "ridge": "ridge regression",
    "logistic": "logistic regression",
    "knn": "nearest neighbours",
}


class AutoClassifier(FeatureClassifier):
    """Shrunk class means, ridge, logistic regression or nearest neighbours: the one that is most probably the best.

    Each label is held out in turn, by five folds, and the classifier with the smallest log loss on them is taken; with
    few labels the difference has to be large to speak against what is usual. With one label a class it is the shrunk
    means.

    class_weight: class -> what its labels count, or None to count every label alike. By default the classes count
        alike, however many labels each has: labels are seldom given in the shares that the classes really have.
    random_state: seed of the folds.

    After `fit`, `method_` is the name of the chosen one, `classifier_` the fitted classifier, and `why_` a sentence.
    """

    FITTED: ClassVar = ("classifier_", "method_", "why_")

    def __init__(self, class_weight: Any = "balanced", random_state: int = 0) -> None:
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> AutoClassifier:
        """Fit on features `[N, D]` and labels `[N]`, weighted by `[N]`. Raises LabelError on a single class."""
        unit, codes, weights = self._weighted_data(X, y, sample_weight)
        labels, seed, balance = self.classes_[codes], self.random_state, self.class_weight

        def test(classifier: FeatureClassifier) -> Tested:
            return held_out_test(classifier, unit, labels, weights, seed, balance)

        shrunk = Calibrated(ShrunkMeans(), random_state=seed)
        knn = Calibrated(KNNClassifier(NEIGHBOURS, TEMPERATURE, class_weight=balance), random_state=seed)
        ridge = RidgeProbe(class_weight=balance)
        logistic = LogisticProbe(random_state=seed, class_weight=balance)
        candidates: dict[str, FeatureClassifier] = {
            "shrunk-means": shrunk,
            "ridge": ridge,
            "logistic": logistic,
            "knn": knn,
        }
        self.method_ = "shrunk-means"
        self.why_ = f"{CALLED[self.method_]}: while every class has one label, none can be held out to compare others"
        if len(codes) > len(self.classes_):
            ridge.fit(unit, labels, weights)
            logistic.fit(unit, labels, weights)
            found = {
                "shrunk-means": test(shrunk.classifier),
                "ridge": test(RidgeProbe(alpha=ridge.alpha_, class_weight=balance)),
                "logistic": logistic.tested_,
                "knn": test(knn.classifier),
            }
            self.method_ = min(found, key=lambda name: found[name].loss + HANDICAP[name])
            self.why_ = _why(self.method_, found)
        self.classifier_ = candidates[self.method_]
        if self.method_ not in ("ridge", "logistic"):
            self.classifier_.fit(unit, labels, weights)
        return self

    def _probabilities(self, unit: Array) -> Array:
        return self.classifier_._probabilities(unit)


def _why(chosen: str, found: dict[str, Tested]) -> str:
    """The choice in a sentence, with the log loss of each; their accuracy is told by the estimate, which weighs classes
    by their shares."""
    loss = {name: f"{each.loss / each.of:.2f}" for name, each in found.items()}
    others = listed([f"{CALLED[name]} {loss[name]}" for name in found if name != chosen])
    return f"{CALLED[chosen]}, with a log loss of {loss[chosen]} on held-out labels; {others}"
