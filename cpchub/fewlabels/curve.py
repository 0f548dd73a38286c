"""Accuracy against number of labels: what a few labels buy, and what the next ones would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, clone

from cpchub.errors import LabelError
from cpchub.fewlabels.logistic import LogisticProbe

PER_CLASS = (1, 2, 5, 10)
SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class LabelCurve:
    """Test accuracy (0..1) at each number of labels.

    labels: the numbers of labels, of a class or of all, `[P]`.
    values: accuracy for each choice of labelled examples and each number, `[seeds, P]`; NaN where a number was measured
        with fewer seeds than the others.
    """

    labels: tuple[int, ...]
    values: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.labels) or self.values.size == 0:
            raise LabelError(f"values of shape {self.values.shape} do not fit {len(self.labels)} numbers of labels")

    @staticmethod
    def of_points(points: Mapping[int, Sequence[float]]) -> LabelCurve:
        """The curve through the accuracies of each number of labels."""
        seeds = max(len(values) for values in points.values())
        values = np.full((seeds, len(points)), np.nan)
        for column, each in enumerate(points.values()):
            values[: len(each), column] = each
        return LabelCurve(tuple(points), values)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean over the seeds, `[P]`."""
        return np.asarray(np.nanmean(self.values, axis=0))

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Sample standard deviation over the seeds, `[P]`; zero for a single seed."""
        counts = (~np.isnan(self.values)).sum(axis=0)
        squares = np.nansum(np.square(self.values - self.mean), axis=0)
        return np.asarray(np.sqrt(squares / np.maximum(counts - 1, 1)))


def label_subsets(labels: Any, per_class: Iterable[int] = PER_CLASS, seed: int = 0) -> dict[int, npt.NDArray[np.int64]]:
    """Rows of a random balanced choice of n examples a class, for each n of `per_class`.

    The choices of one seed are nested: the examples at n = 1 are among those at n = 2, as when a person goes on
    labelling. Two methods that are given the same seed see the same examples.

    Raises LabelError where a class has too few examples.
    """
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    shuffled = {c: rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)}
    subsets = {}
    for n in per_class:
        short = [f"{c} ({len(rows)})" for c, rows in shuffled.items() if len(rows) < n]
        if n < 1 or short:
            raise LabelError(
                f"cannot take {n} examples of each class" + (f": too few of {', '.join(short)}" * bool(short))
            )
        subsets[n] = np.concatenate([rows[:n] for rows in shuffled.values()])
    return subsets


def label_fractions(labels: Any, fractions: Iterable[float], seed: int = 0) -> dict[float, npt.NDArray[np.int64]]:
    """Rows of a random share of each class (at least one example), for each share of `fractions`, in (0, 1].

    Nested and set by the seed as in `label_subsets`, and with classes of equal size the very same choices.

    Raises LabelError for a share outside (0, 1].
    """
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)]
    subsets = {}
    for share in fractions:
        if not 0 < share <= 1:
            raise LabelError(f"cannot label a share of {share:g} of the examples; give shares above 0, up to 1")
        subsets[share] = np.concatenate([rows[: max(1, round(share * len(rows)))] for rows in shuffled])
    return subsets


def label_curve(
    features: Any,
    labels: Any,
    test_features: Any,
    test_labels: Any,
    *,
    per_class: Sequence[int] = PER_CLASS,
    seeds: Iterable[int] = SEEDS,
    classifier: ClassifierMixin | None = None,
) -> LabelCurve:
    """Fit a classifier on n labels a class for each n and each seed, and score it on the whole test set.

    features `[N, D]`, labels `[N]`: the pool from which the labelled examples are drawn.
    classifier: a scikit-learn classifier, cloned for each fit; `LogisticProbe()` by default.

    Raises LabelError where a class of the pool has fewer examples than the largest n.
    """
    features, labels = np.asarray(features), np.asarray(labels)
    template = LogisticProbe() if classifier is None else classifier
    values = []
    for seed in seeds:
        subsets = label_subsets(labels, per_class, seed)
        fitted = (clone(template).fit(features[rows], labels[rows]) for rows in subsets.values())
        values.append([float(probe.score(test_features, test_labels)) for probe in fitted])
    return LabelCurve(tuple(per_class), np.array(values, dtype=np.float64))
