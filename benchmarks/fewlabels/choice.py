"""What it is worth to choose which images are labelled, against a random choice.

Half of a set, at most 2,000 images, may be labelled; the other half, as many, tells the accuracy. Labels are asked for
in rounds, to 1, 2, 3, 5, 7, 10, 15 and 20 a class on average: at random, or by strategies of `label_next`. The
classifier is the logistic probe. Reported for each number of labels: the mean accuracy, its spread over the seeds, and
how many labels the choice needs for one that the random choice needs for the same accuracy. Of the first batch, as many
images as there are classes, typical clustering (Hacohen et al. 2022) is measured too, which needs no label either.

The kernel's width and how doubt counts (`cpchub.fewlabels.choice`) were found on training images of Tiny-ImageNet and
CIFAR-10 and on the digits of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.cluster import KMeans

from benchmarks.fewlabels.sets import Classes, Features, LabelledSet
from cpchub.common.files import replacing
from cpchub.fewlabels import LogisticProbe, label_next
from cpchub.fewlabels.base import unit_rows
from cpchub.fewlabels.labels_saved import labels_saved

PER_CLASS = (1, 2, 3, 5, 7, 10, 15, 20)
SEEDS = 10
MOST = 4000  # images of a set, half of them to be labelled
NEAREST = 20  # images that tell how typical one is of its cluster, in typical clustering
BEST = 0.7  # of the labels of a random choice: the goal

Rows = list[int]
Way = Callable[[Features, Classes, Rows, int, int], Rows]  # vectors, classes, labelled rows, how many more, seed


def by_chance(x: Features, y: Classes, rows: Rows, n: int, seed: int) -> Rows:
    order = np.random.default_rng(seed).permutation(len(x))
    return [row for row in order.tolist() if row not in set(rows)][:n]


def by_label_next(strategy: str) -> Way:
    def choose(x: Features, y: Classes, rows: Rows, n: int, seed: int) -> Rows:
        given = {row: str(y[row]) for row in rows}
        ready = "auto" if len(set(given.values())) < 2 else strategy
        return [each.row for each in label_next(x, given, n, strategy=ready, seed=seed)]  # type: ignore[arg-type]

    return choose


def by_typical_clustering(x: Features, y: Classes, rows: Rows, n: int, seed: int) -> Rows:
    """TypiClust's first batch: of each of n clusters, the image that is nearest to its 20 nearest of the cluster."""
    cluster = KMeans(n, n_init=1, random_state=seed).fit_predict(x)
    found = []
    for number in range(n):
        members = np.flatnonzero(cluster == number)
        distances = np.sort(np.sqrt(np.maximum(2 - 2 * x[members] @ x[members].T, 0)), axis=1)
        typical = distances[:, 1 : NEAREST + 1].mean(axis=1).argmin() if len(members) > 1 else 0
        found.append(int(members[typical]))
    return found


WAYS: dict[str, Way] = {"random": by_chance} | {name: by_label_next(name) for name in ("auto", "typical", "margin")}


def accuracy(x: Features, y: Classes, rows: Rows, test_x: Features, test_y: Classes) -> float:
    if len(classes := np.unique(y[rows])) < 2:
        return float((test_y == classes[0]).mean())
    return float((LogisticProbe().fit(x[rows], y[rows]).predict(test_x) == test_y).mean())


def curves(one: LabelledSet, way: Way, per_class: Sequence[int]) -> np.ndarray:
    """Accuracies `[SEEDS, len(per_class)]`."""
    found = np.empty((SEEDS, len(per_class)))
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(one.y))[:MOST]
        pool, test = np.array_split(order, 2)
        x, y, rows = unit_rows(one.x[pool]), one.y[pool], list[int]()
        test_x = unit_rows(one.x[test])
        for at, labels in enumerate(per_class):
            rows += way(x, y, rows, labels * len(one.names) - len(rows), seed)
            found[seed, at] = accuracy(x, y, rows, test_x, one.y[test])
    return found


def rows_of(one: LabelledSet) -> list[dict[str, Any]]:
    """A row for each way and number of labels."""
    random: dict[int, float] = {}
    rows = []
    for name, way in {**WAYS, "typical clustering": by_typical_clustering}.items():
        per_class = PER_CLASS[:1] if name == "typical clustering" else PER_CLASS
        found = curves(one, way, per_class)
        curve = dict(zip(per_class, found.mean(axis=0).tolist(), strict=True))
        random = random or curve
        saved = {} if name == "random" else {each.labels: each for each in labels_saved(curve, random)}
        for at, labels in enumerate(per_class):
            row = {"data": one.name, "chosen": name, "labels_a_class": labels, "seeds": SEEDS}
            row |= {"accuracy": round(curve[labels], 4), "spread": round(float(found[:, at].std(ddof=1)), 4)}
            if labels in saved:
                row["labels_for_one_of_random"] = round(1 / saved[labels].factor, 2)
                row["bound"] = {">=": "<=", "<=": ">="}.get(saved[labels].bound, "")
            rows.append(row)
    return rows


def measure(sets: Sequence[LabelledSet]) -> dict[str, Any]:
    """Everything measured, as it is written to the JSON file."""
    rows = [row for each in sets for row in rows_of(each)]
    best, first = {}, {}
    for each in sets:
        auto = [row for row in rows if (row["data"], row["chosen"]) == (each.name, "auto")]
        at_best = min(auto, key=lambda row: row.get("labels_for_one_of_random", np.inf))
        best[each.name] = {key: at_best.get(key) for key in ("labels_for_one_of_random", "bound", "labels_a_class")}
        first[each.name] = {
            row["chosen"]: row["accuracy"] for row in rows if row["data"] == each.name and row["labels_a_class"] == 1
        }
    return {"goal": BEST, "best": best, "first_batch": first, "results": rows}


COLUMNS = ("data", "chosen", "labels_a_class", "accuracy", "spread", "bound", "labels_for_one_of_random")


def title(found: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    reached = [each for each in found["best"].values() if (each["labels_for_one_of_random"] or 1) <= found["goal"]]
    return (
        f"{len(reached)} of {len(found['best'])} sets: at best {found['goal']}x the labels of a random choice, or fewer"
    )


def draw(found: dict[str, Any], png: Path) -> None:
    """Accuracy against labels, one panel a set, with the spread over the seeds."""
    sets = list(found["best"])
    figure = Figure(figsize=(4.2 * len(sets), 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        for way in WAYS:
            rows = [row for row in found["results"] if (row["data"], row["chosen"]) == (name, way)]
            x, mean, std = (np.array([row[key] for row in rows]) for key in ("labels_a_class", "accuracy", "spread"))
            axes.plot(x, 100 * mean, marker="o", markersize=4, label=way)
            axes.fill_between(x, 100 * (mean - std), 100 * (mean + std), alpha=0.15)
        axes.set_xscale("log")
        axes.set_xticks(PER_CLASS, [str(each) for each in PER_CLASS], minor=False)
        axes.set_xticks([], minor=True)
        axes.set(title=name, xlabel="labels a class", ylabel="accuracy, %")
    axes.legend(frameon=False)
    with replacing(png) as partial:
        figure.savefig(partial, format="png")
