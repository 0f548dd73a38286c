"""How often `how_many_labels` is right within a factor of two, and how often its interval holds the right number.

Some images of a set are labelled, drawn at random. The truth is the mean accuracy of the same classifier on the rest
with so many random labels, up to 2,000 or two thirds of the set; it is made monotone and interpolated in the logarithm
of the number. A case is a target in steps of 5 points, from the first above the true accuracy with the labels given up
to the first that the set does not reach. Where it is reached, the answer is right within a factor of two of all labels;
where it is not, by saying so or by more than half of the labels that were tried.

Beside it: three times the labels given, as an answer to everything (`thrice`), and the answer of somebody who knows the
true curve but for its height, which is estimated from the labels (`height_alone`): no fit can be expected to do better.
Nothing was chosen on these sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from benchmarks.fewlabels.sets import Features, LabelledSet
from cpchub.fewlabels import LogisticProbe, how_many_labels
from cpchub.fewlabels.estimate import shares_of

LABELS, DRAWS = (50, 100, 200, 500), 4
TARGETS = np.arange(30, 100, 5) / 100
SMALLEST, RATIO, MOST = 20, 1.5, 2000  # of the true curve, in labels
CURVES, TESTED = 3, 3000  # draws of the true curve, and images that it is measured on
FIRST_SEED = 60
COLUMNS = ("data", "labels", "cases", "right", "reached", "not_reached", "interval_holds", "thrice", "height_alone")


def true_curve(x: Features, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of labels `[J]` and the accuracy with each, monotone."""
    top = min(MOST, 2 * len(y) // 3)
    sizes = np.unique(
        np.geomspace(top, SMALLEST, 1 + round(np.log(top / SMALLEST) / np.log(RATIO))).round().astype(int)
    )
    accuracy = np.zeros((CURVES, len(sizes)))
    for seed in range(CURVES):
        order = np.random.default_rng(seed).permutation(len(y))
        for at, size in enumerate(sizes):
            rest = order[size:][:TESTED]
            accuracy[seed, at] = LogisticProbe().fit(x[order[:size]], y[order[:size]]).score(x[rest], y[rest])
    monotone = IsotonicRegression().fit_transform(np.log(sizes), accuracy.mean(axis=0), sample_weight=sizes**0.5)
    return sizes, monotone


def reached_at(sizes: np.ndarray, accuracy: np.ndarray, target: float) -> float:
    """The number of labels at which a monotone curve reaches the target; infinite where it does not."""
    if accuracy[0] >= target:
        return float(sizes[0])
    for (small, low), (large, high) in pairwise(zip(sizes, accuracy, strict=True)):
        if high >= target:
            return float(np.exp(np.interp(target, [low, high], np.log([small, large]))))
    return float("inf")


def right(answer: float, truth: float, most: int) -> bool:
    """Within a factor of two; for a target that is not reached, beyond half of the labels that were tried."""
    return answer > most / 2 if np.isinf(truth) else truth / 2 <= answer <= 2 * truth


def cases(x: Features, y: np.ndarray, labels: int, seed: int, curve: tuple[np.ndarray, np.ndarray]) -> list[list[bool]]:
    """For each case: reached, right, whether the interval holds the number, and whether the two rivals are right."""
    sizes, accuracy = curve
    rows = np.random.default_rng(1000 * labels + FIRST_SEED + seed).permutation(len(y))[:labels]
    names, most, found = y[rows].astype(str), int(sizes[-1]), []
    probe = LogisticProbe().fit(x[rows], names)
    shares = shares_of(probe, probe.predict_proba(x))
    now = float(np.interp(np.log(labels), np.log(sizes), accuracy))
    measured = how_many_labels(x[rows], names.tolist(), probe, shares, most=most)
    assert measured is not None
    for target in TARGETS[now < TARGETS]:
        truth = reached_at(sizes, accuracy, target)
        needed = measured.for_target(float(target))
        answer = np.inf if needed.more is None else labels + needed.more
        high = np.inf if needed.high is None else labels + needed.high
        holds = high >= min(truth, most) and labels + needed.low <= truth
        higher = 1 - (1 - accuracy) * (1 - needed.now[0]) / (1 - now)
        height_alone = reached_at(sizes, higher, target)
        rivals = [right(each, truth, most) for each in (3.0 * labels, height_alone)]
        found.append([np.isfinite(truth), right(answer, truth, most), holds, *rivals])
        if np.isinf(truth):
            break
    return found


def row_of(found: Sequence[Sequence[bool]]) -> dict[str, Any]:
    """The shares of the cases, as a row."""
    table = np.array(found, bool)
    reached = table[:, 0]
    return {
        "cases": len(table),
        "right": round(float(table[:, 1].mean()), 3),
        "reached": f"{table[reached, 1].sum()} of {reached.sum()}",
        "not_reached": f"{table[~reached, 1].sum()} of {(~reached).sum()}",
        "interval_holds": round(float(table[:, 2].mean()), 3),
        "thrice": round(float(table[:, 3].mean()), 3),
        "height_alone": round(float(table[:, 4].mean()), 3),
    }


def measure(sets: Sequence[LabelledSet]) -> dict[str, Any]:
    """Everything measured, as it is written to the JSON file."""
    rows, of_labels = [], {labels: [] for labels in LABELS}
    for each in sets:
        curve = true_curve(each.x, each.y)
        for labels in LABELS:
            found = [case for seed in range(DRAWS) for case in cases(each.x, each.y, labels, seed, curve)]
            of_labels[labels] += found
            if found:
                rows.append({"data": each.name, "labels": labels} | row_of(found))
    rows += [{"data": "all", "labels": labels} | row_of(found) for labels, found in of_labels.items()]
    every = row_of([case for found in of_labels.values() for case in found])
    return {"targets": TARGETS.tolist(), "draws": DRAWS, **every, "results": rows}


def title(found: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return f"{found['right']:.1%} of {found['cases']} answers are right within a factor of two"
