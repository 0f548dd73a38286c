"""How many labels a target takes: the growth of the cross-validated accuracy, carried on by a power law.

The classifier learns from ever smaller parts of the labels and is asked for the others. All parts are asked about the
same few labels, so their errors go up and down together; the covariance of the points says so to the law.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.common.words import counted
from cpchub.fewlabels.base import FeatureClassifier
from cpchub.fewlabels.calibration import deal
from cpchub.fewlabels.held_out import FOLDS, as_many_of_each, predicted_without, settled
from cpchub.fewlabels.power_law import PowerLaw
from cpchub.fewlabels.target import TARGET, check_target

REPEATS = 8  # parts of each size
SMALLEST = 20  # of the labels, the smallest part is one in twenty
CORRELATED = 1.5  # how many held-out labels tell as much as one; chosen on the sets that the power law names
ENOUGH = 5000  # labels; of more, so many are drawn and the law is carried on from there
MOST_TIMES = 100  # what is looked for where no collection says how many images there are


@dataclass(frozen=True, eq=False)
class LabelsNeeded:
    """How many more labels an accuracy of `target` takes.

    more: labels besides those given; 0 where the target is reached, None where not even `most` labels in all reach it.
    low, high: the 90 % interval of `more`; high is None where the target may not be reached at all. now, at_most: the
    accuracy with the labels given and with `most`, each with its interval. sizes, accuracies: what was measured, `[J]`.
    """

    target: float
    given: int
    most: int
    more: int | None
    low: int
    high: int | None
    now: tuple[float, float, float]
    at_most: tuple[float, float, float]
    sizes: npt.NDArray[np.int64]
    accuracies: npt.NDArray[np.float64]
    law: PowerLaw

    def for_target(self, target: float) -> LabelsNeeded:
        """The answer for another target, from what was measured. Raises ArgumentError for one that is no share."""
        check_target(target)
        reached = self.now[0] >= target
        more, low, high = (0, 0, 0) if reached else _more(self.law, target, self.most, self.given)
        return replace(self, target=target, more=more, low=low, high=high)

    @property
    def sentence(self) -> str:
        """The answer in words."""
        target = f"{100 * self.target:g} %"
        if self.more is None:
            value, low, high = (f"{100 * each:.0f}" for each in self.at_most)
            return (
                f"{target} is not reachable with this encoder: {self.most:,} labels would give about {value} % "
                f"({low} to {high})"
            )
        if self.more == 0:
            return f"{target} is about reached with the {counted(self.given, 'label')} there are"
        if self.high is None:
            return (
                f"About {self.more:,} more labels for {target}, at least {self.low:,}; it may not be reachable with "
                "this encoder"
            )
        return f"About {self.more:,} ({self.low:,} to {self.high:,}) more labels for {target}"


def how_many_labels(
    features: npt.NDArray[Any],
    labels: Sequence[str],
    classifier: FeatureClassifier,
    shares: Mapping[str, float],
    target: float = TARGET,
    most: int | None = None,
) -> LabelsNeeded | None:
    """How many labels, chosen as those given `[N]` were, bring a fitted classifier to an accuracy of `target`.

    features: of the labels, `[N, D]`. shares: of each class in the collection, see `estimate_accuracy`. most: labels
    beyond which a target counts as not reachable, for example the images of the collection; 100 a label by default.

    None while no class has two labels, or there is one class only. Raises ArgumentError for a target that is no share.
    """
    check_target(target)
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    given, most = len(codes), most or MOST_TIMES * len(codes)
    if len(names) < 2 or np.bincount(codes).max() < 2:
        return None
    drawn = np.random.default_rng(0).permutation(given)[:ENOUGH] if given > ENOUGH else np.arange(given)
    kept, codes = np.unique(codes[drawn], return_inverse=True)
    share = np.array([shares[str(name)] for name in names[kept]], float)
    sizes, wrong = growth(features[drawn], codes, settled(classifier))
    errors, covariance = _weighted(wrong, (share / np.bincount(codes))[codes])
    law = PowerLaw.fitted(len(drawn), sizes, errors, covariance)
    now, at_most = law.accuracy(given), law.accuracy(max(most, given))
    found = LabelsNeeded(target, given, most, 0, 0, 0, now, at_most, sizes, 1 - errors, law)
    return found.for_target(target)


def _more(law: PowerLaw, target: float, most: int, given: int) -> tuple[int | None, int, int | None]:
    """More labels, with the interval, to two digits."""
    found = law.needed(target, most)
    low, high = (None if each is None else _rounded(each - given) for each in (found.low, found.high))
    return None if found.labels is None else max(1, _rounded(found.labels - given)), low or 0, high


def _rounded(number: float) -> int:
    return round(float(f"{max(number, 0):.2g}"))


def growth(
    features: npt.NDArray[Any], codes: npt.NDArray[np.int64], classifier: FeatureClassifier
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Sizes of parts `[J]`, and how often each label was wrong when it was not in a part of that size, `[N, J]`.

    NaN for a label that was in every part. Where there are as many labels of each class, there are in the parts too.
    """
    count, classes, even = len(codes), int(codes.max()) + 1, as_many_of_each(codes)
    sizes = [round(count * (1 - 1 / FOLDS))]
    while sizes[-1] / 2 >= max(1.5 * classes, count / SMALLEST, FOLDS):
        sizes.append(round(sizes[-1] / 2))
    rng = np.random.default_rng(0)
    wrong, asked = np.zeros((count, len(sizes))), np.zeros((count, len(sizes)))

    def ask(out: npt.NDArray[np.bool_], column: int) -> None:
        found = predicted_without(features, codes, out, classifier, classes).argmax(axis=1)
        wrong[out, column] += found != codes[out]
        asked[out, column] += 1

    fold_of = deal(codes, FOLDS) if even else rng.permutation(count) % FOLDS
    for fold in np.unique(fold_of[fold_of >= 0]):
        ask(fold_of == fold, 0)
    for _ in range(REPEATS):
        order = _evenly(codes, rng) if even else rng.permutation(count)
        for column, size in enumerate(sizes[1:], 1):
            ask(~np.isin(np.arange(count), order[:size]), column)
    return np.array(sizes[::-1]), np.where(asked, wrong / np.maximum(asked, 1), np.nan)[:, ::-1]


def _evenly(codes: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The labels in a random order in which every class comes as often, from the first ones on."""
    order = rng.permutation(len(codes))
    turn = np.empty(len(codes))
    for code in np.unique(codes):
        members = order[codes[order] == code]
        turn[members] = (np.arange(len(members)) + rng.uniform(0, 0.5)) / len(members)
    return np.argsort(turn, kind="stable")


def _weighted(
    wrong: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The mean errors `[J]` of labels that count `weight` `[N]`, and their covariance `[J, J]`."""
    counts = np.where(np.isnan(wrong), 0, weight[:, None])
    counts = counts / counts.sum(axis=0)
    errors = np.nansum(counts * wrong, axis=0)
    off = counts * np.nan_to_num(wrong - errors)
    return errors, CORRELATED * off.T @ off + (1 / (len(wrong) + 2)) ** 2  # even none wrong of a few may be luck
