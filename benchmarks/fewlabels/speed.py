"""How long `LogisticProbe` takes to choose its regularisation and fit, beside a grid of scikit-learn's.

50,000 features of 512 numbers and ten classes, made around the real vectors of the first set with ten: a vector, half a
difference of another one of its class from the mean of the class, at unit length, and 512 less their numbers that are
random projections of these, cut off below their medians. 10,000 others are the test. scikit-learn's
`LogisticRegression` is fitted to four fifths for every C of the same grid; the C that is best on the last fifth is
fitted to all. The probe is fitted before, between and after these. Seconds are those of the clock, on a machine that
does nothing else. `few` are 100 of the labels: fit, and fit with the prediction of 50,000; the median of five.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.fewlabels.sets import LabelledSet
from cpchub.fewlabels import AutoClassifier, LogisticProbe, RidgeProbe, ShrunkMeans, label_subsets
from cpchub.fewlabels.base import unit_rows
from cpchub.fewlabels.logistic import C_GRID

MANY, TEST, DIM, CLASSES = 50_000, 10_000, 512, 10
HELD_OUT = MANY // 5
FEW = 10  # labels a class
COLUMNS = ("what", "labels", "seconds", "accuracy", "C")


def made(each: LabelledSet, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features `[MANY + TEST, DIM]` around the vectors of a set, and their class numbers."""
    rng = np.random.default_rng(seed)
    x = unit_rows(each.x)
    means = np.stack([x[each.y == c].mean(axis=0) for c in range(CLASSES)])
    n = MANY + TEST
    rows, others = rng.integers(0, len(x), n), rng.integers(0, len(x), n)
    signs = rng.choice([-0.5, 0.5], size=(n, 1))
    near = unit_rows(x[rows] + signs * (x[others] - means[each.y[others]]))
    projected = near @ rng.normal(size=(x.shape[1], DIM - x.shape[1])).astype(np.float32)
    cut = np.maximum(projected - np.median(projected, axis=0), 0) / np.sqrt(DIM / 2)
    return np.concatenate([near, cut], axis=1).astype(np.float32), each.y[rows]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """The seconds, and what came out."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def many(x: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    """The probe and the grid on MANY labels."""
    x_train, y_train, x_test, y_test = x[:MANY], y[:MANY], x[MANY:], y[MANY:]
    unit = unit_rows(x_train)
    centre = unit.mean(axis=0)
    scale = 1 / np.sqrt(np.square(unit - centre).sum(axis=1).mean())
    scaled, scaled_test = (unit - centre) * scale, (unit_rows(x_test) - centre) * scale
    own: list[tuple[float, LogisticProbe]] = []
    grid, scores = 0.0, []
    for number, C in enumerate(C_GRID):
        if number % 4 == 0:
            own.append(timed(lambda: LogisticProbe().fit(x_train, y_train)))
        model = LogisticRegression(C=C, max_iter=2000)
        seconds, _ = timed(lambda model=model: model.fit(scaled[HELD_OUT:], y_train[HELD_OUT:]))
        grid += seconds
        scores.append(model.score(scaled[:HELD_OUT], y_train[:HELD_OUT]))
    best = LogisticRegression(C=C_GRID[int(np.argmax(scores))], max_iter=2000)
    seconds, _ = timed(lambda: best.fit(scaled, y_train))
    probe = own[-1][1]
    return [
        _row("LogisticProbe", MANY, float(np.median([s for s, _ in own])), probe.score(x_test, y_test), probe.C_),
        _row("LogisticRegression, grid", MANY, grid + seconds, best.score(scaled_test, y_test), best.C),
    ]


def few(x: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    """Each classifier on few labels: the fit, and with the prediction of MANY."""
    rows, found = label_subsets(y, [FEW], seed=0)[FEW], []
    for make in (LogisticProbe, RidgeProbe, ShrunkMeans, AutoClassifier):
        fits, both = [], []
        for _ in range(6):
            seconds, fitted = timed(lambda make=make: make().fit(x[rows], y[rows]))
            predicting, _ = timed(lambda fitted=fitted: fitted.predict(x[:MANY]))
            fits.append(seconds)
            both.append(seconds + predicting)
        score = fitted.score(x[MANY:], y[MANY:])
        found.append(_row(f"{make.__name__}, fit", len(rows), float(np.median(fits[1:])), score, None))
        found.append(_row(f"{make.__name__}, fit and predict", len(rows), float(np.median(both[1:])), score, None))
    return found


def _row(what: str, labels: int, seconds: float, accuracy: float, C: float | None) -> dict[str, Any]:
    return {"what": what, "labels": labels, "seconds": round(seconds, 3), "accuracy": round(accuracy, 4), "C": C}


def measure(sets: Sequence[LabelledSet]) -> dict[str, Any]:
    """Everything measured, as it is written to the JSON file."""
    chosen = next(each for each in sets if len(each.names) == CLASSES)
    x, y = made(chosen)
    rows = few(x, y) + many(x, y)
    probe, grid = rows[-2:]
    return {
        "around": chosen.name,
        "share_of_the_grid": round(probe["seconds"] / grid["seconds"], 3),
        "points_of_the_grid": round(100 * (probe["accuracy"] - grid["accuracy"]), 2),
        "results": rows,
    }


def title(found: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return (
        f"LogisticProbe takes {found['share_of_the_grid']:.3f} of the time of the grid, "
        f"{found['points_of_the_grid']:+.2f} points"
    )
