"""Images of classes that nobody labelled: how well they are found, and how many others are taken for them.

Half of the classes of each set (rounded up) are labelled. The detector (`cpchub.fewlabels.none_of_these`)
learns from the labelled images and the vectors of all. Measured on the images without a label: the area under the ROC
curve (AUROC), the share of images of the labelled classes that is rejected at the nominal level, the share of the
others that is found, and the estimated share of images of no labelled class beside the true one. Beside it, on the
same labels: the greatest probability of the logistic probe (Hendrycks & Gimpel 2017), the cosine to the nearest class
mean, and scikit-learn's OneClassSVM and LocalOutlierFactor. With fewer than 19 labels nothing can be rejected at 5 %.

The level holds for labels at random. How far it is off where `cpchub label-next` chooses what is labelled (about 10
images a class, of 2,000 images) is measured too: it prefers typical images, and the others are less typical.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from benchmarks.fewlabels.sets import Classes, Features, LabelledSet
from cpchub.fewlabels import ClassMeans, LogisticProbe
from cpchub.fewlabels.base import unit_rows
from cpchub.fewlabels.choice.next_rows import label_next
from cpchub.fewlabels.none_of_these import NoneOfThese, share_of_none

PER_CLASS = (5, 10, 50)
DRAWS = 10
DRAWS_CHOSEN, CHOSEN_PER_CLASS, IMAGES_CHOSEN = 5, 10, 2000  # by `label-next`
LEVELS = {"at_5": 0.05, "at_10": 0.1}
COLUMNS = (
    "data",
    "chosen",
    "labels_per_class",
    "auroc",
    "spread_of_auroc",
    "best_other",
    "auroc_of_it",
    "known_rejected_at_5",
    "unknown_found_at_5",
    "known_rejected_at_10",
    "unknown_found_at_10",
    "share",
    "true_share",
)


def draws(y: Classes, per_class: int) -> Iterator[tuple[Classes, Classes]]:
    """The rows that are labelled, and the classes that are, of each draw."""
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        classes = rng.permutation(np.unique(y))
        known = classes[: (len(classes) + 1) // 2]
        yield np.concatenate([rng.permutation(np.flatnonzero(y == c))[:per_class] for c in known]), known


def chosen(x: Features, y: Classes) -> Iterator[tuple[Features, Classes, Classes, Classes]]:
    """Vectors and classes of some images of a set, the rows that `label-next` has chosen, and the classes labelled.

    What it proposes of other classes is labelled as such for the choice, and is no label of the detector.
    """
    for seed in range(DRAWS_CHOSEN):
        rng = np.random.default_rng(seed)
        classes = rng.permutation(np.unique(y))
        known, some = classes[: (len(classes) + 1) // 2], rng.permutation(len(y))[:IMAGES_CHOSEN]
        labels: dict[int, str] = {}
        rows: list[int] = []
        while len(rows) < CHOSEN_PER_CLASS * len(known) and len(labels) < len(some) // 2:
            for each in label_next(x[some], labels, seed=seed):
                is_known = y[some[each.row]] in known
                labels[each.row] = str(y[some[each.row]]) if is_known else "another"
                rows += [each.row] * is_known
        yield x[some], y[some], np.array(rows), known


def others(x: Features, y: Classes, rest: Features) -> dict[str, Features]:
    """How much each image of the rest is like the labelled ones, by other means; a number more is likelier known."""
    few = min(20, len(x) - 1)
    return {
        "probability of the probe": LogisticProbe().fit(x, y).predict_proba(rest).max(axis=1),
        "cosine to a class mean": (rest @ ClassMeans().fit(x, y).means_.T).max(axis=1),
        "OneClassSVM": OneClassSVM().fit(x).decision_function(rest),
        "LocalOutlierFactor": LocalOutlierFactor(few, novelty=True).fit(x).decision_function(rest),
    }


def one_draw(x: Features, y: Classes, rows: Classes, known: Classes) -> dict[str, Any]:
    """What is found with some rows labelled, of the classes that are known."""
    rest = np.delete(np.arange(len(y)), rows)
    is_known = np.isin(y[rest], known)
    detector = NoneOfThese(max(LEVELS.values())).fit(x[rows], y[rows], x)
    p = detector.p_values(x[rest])
    found = {
        "auroc": roc_auc_score(is_known, detector.score_samples(x[rest])),
        "share": share_of_none(p),
        "true_share": (~is_known).mean(),
        "auroc_of_others": {
            name: roc_auc_score(is_known, score) for name, score in others(x[rows], y[rows], x[rest]).items()
        },
    }
    for at, level in LEVELS.items():
        found |= {f"known_rejected_{at}": (p[is_known] <= level).mean()}
        found |= {f"unknown_found_{at}": (p[~is_known] <= level).mean()}
    return found


def mean(found: Sequence[Any]) -> Any:
    """The mean of numbers, or of each number of mappings, rounded."""
    if isinstance(found[0], dict):
        return {name: mean([each[name] for each in found]) for name in found[0]}
    return round(float(np.mean(found)), 4)


def measure(sets: Sequence[LabelledSet]) -> dict[str, Any]:
    """The entry of this part; see the package."""
    rows = []
    for each in sets:
        x = unit_rows(each.x)
        at_random = {n: [one_draw(x, each.y, *draw) for draw in draws(each.y, n)] for n in PER_CLASS}
        by_choice = {CHOSEN_PER_CLASS: [one_draw(*draw) for draw in chosen(x, each.y)]}
        for how, of_each in (("at random", at_random), ("label-next", by_choice)):
            rows += [{"data": each.name, "chosen": how, "labels_per_class": n} | row(of_each[n]) for n in of_each]
    return {"draws": DRAWS, "draws_of_label_next": DRAWS_CHOSEN, "levels": LEVELS, "results": rows}


def row(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of some draws, and the best of the other means."""
    means = mean(found)
    means["spread_of_auroc"] = round(float(np.std([one["auroc"] for one in found])), 4)
    means["auroc_of_it"], means["best_other"] = max((v, name) for name, v in means["auroc_of_others"].items())
    return means


def title(found: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    at = [row["known_rejected_at_5"] for row in found["results"] if row["chosen"] == "at random"]
    return f"At a level of 5 %, {min(at):.1%} to {max(at):.1%} of the images of the labelled classes are rejected"
