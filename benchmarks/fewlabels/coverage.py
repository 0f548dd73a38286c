"""How often the 90 % interval of the estimated accuracy holds the true one.

Some images are labelled, either drawn at random from all or as many of each class; `cpchub classify` fits on them and
estimates its accuracy, and the images without a label tell the true one. Reported for each number of labels: the share
of draws whose interval holds the true accuracy, the mean error and the spread of the estimate, and the mean width of
the interval over the width that the spread alone would give.

What the estimate assumes (`cpchub.fewlabels.estimate`) was found on training images of Tiny-ImageNet and CIFAR-10 and
on the digits of scikit-learn. That a class with one label counts as wrong at the lower end was added after 60 other
draws of CIFAR-10, so for that rule its figures are no independent check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.fewlabels.sets import Features, LabelledSet
from cpchub.fewlabels import LogisticProbe
from cpchub.fewlabels.estimate import LEVEL, estimate_accuracy, shares_of

LABELS = (20, 50, 100)
FIRST_SEED, DRAWS = 900, 20  # draws of the labels, for each number and each way to draw them
WIDTH_OF_SPREAD = 2 * 1.645  # of 90 % of normally distributed estimates, in standard deviations


def drawn(y: np.ndarray, labels: int, *, balanced: bool, seed: int) -> np.ndarray:
    """The rows that are labelled."""
    rng = np.random.default_rng(seed)
    if not balanced:
        return rng.permutation(len(y))[:labels]
    classes = np.unique(y)
    return np.concatenate([rng.permutation(np.flatnonzero(y == c))[: labels // len(classes)] for c in classes])


def one_draw(x: Features, y: np.ndarray, rows: np.ndarray) -> tuple[float, float, float, float] | None:
    """The estimate, its interval, and the true accuracy; None where no class has two labels."""
    probe = LogisticProbe().fit(x[rows], y[rows].astype(str))
    p = probe.predict_proba(x)
    found = estimate_accuracy(x[rows], y[rows].astype(str).tolist(), probe, shares_of(probe, p))
    if found is None:
        return None
    right = probe.classes_[p.argmax(axis=1)] == y.astype(str)
    true = float(np.delete(right, rows).mean())
    return found.accuracy.value, found.accuracy.low, found.accuracy.high, true


def coverage(x: Features, y: np.ndarray, first: int, count: int) -> list[dict[str, Any]]:
    """A row for each way to draw labels and each number of them."""
    rows = []
    for balanced in (False, True):
        for labels in LABELS:
            draws = (
                one_draw(x, y, drawn(y, labels, balanced=balanced, seed=1000 * labels + first + seed))
                for seed in range(count)
            )
            value, low, high, true = np.array([each for each in draws if each is not None]).T
            spread = float(np.std(value - true))
            rows.append(
                {
                    "labels": labels,
                    "drawn": "as many of each class" if balanced else "at random",
                    "draws": len(value),
                    "covered": round(float(((low <= true) & (true <= high)).mean()), 3),
                    "accuracy": round(float(true.mean()), 4),
                    "mean_error": round(float((value - true).mean()), 4),
                    "spread_of_error": round(spread, 4),
                    "width": round(float((high - low).mean()), 4),
                    "width_over_spread": round(float((high - low).mean() / (WIDTH_OF_SPREAD * spread)), 2),
                }
            )
    return rows


def measure(sets: Sequence[LabelledSet]) -> dict[str, Any]:
    """Everything measured, as it is written to the JSON file."""
    rows = [{"data": each.name} | row for each in sets for row in coverage(each.x, each.y, FIRST_SEED, DRAWS)]
    weights = [row["draws"] for row in rows]
    covered = round(float(np.average([row["covered"] for row in rows], weights=weights)), 4)
    return {"level": LEVEL, "first_seed": FIRST_SEED, "covered": covered, "draws": sum(weights), "results": rows}


COLUMNS = ("data", "drawn", "labels", "accuracy", "mean_error", "spread_of_error", "covered", "width_over_spread")


def title(found: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return f"{found['covered']:.1%} of {found['draws']} intervals hold the accuracy"
