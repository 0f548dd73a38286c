"""Which classifier for how many labels: `AutoClassifier`, the default of `cpchub classify`, beside scikit-learn's.

For each set and number of labels a class, ten draws of the labels; the accuracy is that on images without a label, at
most 2,000 of them, the same for all classifiers. `uneven` has 1 to 20 labels a class, as many different numbers as
there are classes, drawn anew each time. All see the vectors at unit length, as a collection has them. The rivals have
scikit-learn's own settings; logistic regression and the support vector machine are there a second time with C = 10, of
which the better one for a column counts, and kNN has no more neighbours than there are labels of a class. `error` is
the standard error of the mean over the draws. `behind` is how far, in points, the best rival is ahead.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.svm import SVC

from benchmarks.fewlabels.sets import LabelledSet
from cpchub.fewlabels import AutoClassifier, label_subsets
from cpchub.fewlabels.base import unit_rows
from cpchub.fewlabels.classify import METHODS

PER_CLASS = (1, 2, 5, 10, 50)
UNEVEN, MOST = "uneven", 20  # labels of the class that has most
DRAWS = 10
TESTED = 2000
RIVALS: dict[str, Callable[[int], ClassifierMixin]] = {
    "LogisticRegression": lambda _: LogisticRegression(max_iter=1000),
    "LogisticRegression, C=10": lambda _: LogisticRegression(C=10, max_iter=1000),
    "KNeighborsClassifier": lambda fewest: KNeighborsClassifier(min(5, fewest)),
    "NearestCentroid": lambda _: NearestCentroid(),
    "SVC": lambda _: SVC(),
    "SVC, C=10": lambda _: SVC(C=10),
    "RandomForestClassifier": lambda _: RandomForestClassifier(random_state=0),
}
COLUMNS = ("data", "labels_per_class", "auto", "error", "best_rival", "of_best_rival", "behind")


def drawn(y: np.ndarray, seed: int) -> Iterator[tuple[int | str, np.ndarray]]:
    """The rows that are labelled, for each number of labels a class."""
    yield from label_subsets(y, PER_CLASS, seed).items()
    rng = np.random.default_rng(seed)
    counts = rng.permutation(np.geomspace(1, MOST, int(y.max()) + 1).round().astype(int))
    yield UNEVEN, np.concatenate([rng.permutation(np.flatnonzero(y == c))[:n] for c, n in enumerate(counts)])


def accuracies(each: LabelledSet) -> dict[int | str, dict[str, list[float]]]:
    """The accuracy of each draw, for each number of labels and each classifier."""
    warnings.filterwarnings("ignore", module="sklearn.neighbors._nearest_centroid")  # with one label there is no spread
    x, found = unit_rows(each.x), {}
    for seed in range(DRAWS):
        for n, rows in drawn(each.y, seed):
            rest = np.random.default_rng(seed).permutation(np.delete(np.arange(len(x)), rows))[:TESTED]
            y = each.y[rows]
            ours = {name: make() for name, make in METHODS.items()}
            rivals = {name: make(int(np.bincount(y).min())) for name, make in RIVALS.items()}
            of_n = found.setdefault(n, {name: [] for name in (*ours, *rivals, "chosen")})
            for name, classifier in (ours | rivals).items():
                of_n[name].append(float(classifier.fit(x[rows], y).score(x[rest], each.y[rest])))
            chosen = ours["auto"]
            assert isinstance(chosen, AutoClassifier)
            of_n["chosen"].append(chosen.method_)
    return found


def row_of(data: str, n: int | str, found: dict[str, list[Any]]) -> dict[str, Any]:
    """A column of the table: what auto reaches, the best rival, and all means."""
    chosen = found.pop("chosen")
    means = {name: 100 * float(np.mean(values)) for name, values in found.items()}
    error = 100 * float(np.std(found["auto"], ddof=1)) / np.sqrt(DRAWS)
    best = max(RIVALS, key=lambda name: means[name])
    difference = 100 * (np.array(found[best]) - np.array(found["auto"]))
    return {
        "data": data,
        "labels_per_class": n,
        "auto": round(means["auto"], 2),
        "error": round(error, 2),
        "best_rival": best,
        "of_best_rival": round(means[best], 2),
        "behind": round(float(difference.mean()), 2),
        "error_of_behind": round(float(difference.std(ddof=1) / np.sqrt(DRAWS)), 2),
        "within_error": bool(means[best] <= means["auto"] + error),
        "chosen": {name: chosen.count(name) for name in dict.fromkeys(chosen)},
        "accuracies": {name: round(mean, 2) for name, mean in means.items()},
    }


def measure(sets: Sequence[LabelledSet]) -> dict[str, Any]:
    """Everything measured, as it is written to the JSON file."""
    rows = [row_of(each.name, n, found) for each in sets for n, found in accuracies(each).items()]
    within = sum(row["within_error"] for row in rows)
    return {"draws": DRAWS, "within_error": within, "best": sum(row["behind"] <= 0 for row in rows), "results": rows}


def title(found: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return (
        f"auto is best, or within its error of the best, in {found['within_error']} of {len(found['results'])} columns"
    )
