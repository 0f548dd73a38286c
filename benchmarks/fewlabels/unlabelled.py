"""What the images without a label add (`cpchub classify --use-unlabelled`), at few labels and at many.

For each set and number of labels a class, ten draws: the accuracy of the default classifier on the images without a
label, and the same with labels that spread over the graph of neighbours, where held-out labels say that it gains
(`cpchub.fewlabels.unlabelled`). `gain` is the mean difference in points, `least_gain` that of the worst draw, `used`
the share of draws in which the unlabelled images were used. Beside it, the gain of scikit-learn's LabelSpreading alone,
with the same neighbours. The seconds are those of one core for 100,000 vectors of 256 numbers.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.neighbors import kneighbors_graph
from sklearn.semi_supervised import LabelSpreading

from benchmarks.fewlabels.sets import LabelledSet
from cpchub.fewlabels import AutoClassifier, label_subsets
from cpchub.fewlabels.base import unit_rows
from cpchub.fewlabels.propagation import NEIGHBOURS, SPREAD, neighbour_graph
from cpchub.fewlabels.unlabelled import with_unlabelled

PER_CLASS = (1, 2, 5, 10, 50)
DRAWS = 10
LARGE, DIM, CLUSTERS = 100_000, 256, 10
COLUMNS = ("data", "labels_per_class", "accuracy", "gain", "spread_of_gain", "least_gain", "used", "label_spreading")


def one_draw(each: LabelledSet, graph: Any, near: Any, rows: Any) -> tuple[float, float, bool, float]:
    """The accuracy of the classifier, that with unlabelled images, whether they were used, that of LabelSpreading."""
    names, rest = each.labels, np.delete(np.arange(len(each.y)), rows)
    classifier = AutoClassifier().fit(each.x[rows], names[rows])
    alone = float((classifier.predict(each.x[rest]) == names[rest]).mean())
    found = with_unlabelled(each.x, rows, names[rows].tolist(), classifier, graph=graph)
    p = found.probabilities
    together = alone if p is None else float((classifier.classes_[p[rest].argmax(axis=1)] == names[rest]).mean())
    given = np.full(len(each.y), -1)
    given[rows] = each.y[rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by zero where no label arrives
        spread = LabelSpreading(kernel=lambda *_: near, alpha=SPREAD).fit(each.x, given)
    return alone, together, found.used, float((spread.transduction_[rest] == each.y[rest]).mean())


def seconds() -> dict[str, float]:
    """How long a large collection takes: the graph, and all of it, in seconds of one core."""
    rng, y = np.random.default_rng(0), np.arange(LARGE) % CLUSTERS
    x = (rng.normal(size=(CLUSTERS, DIM))[y] + 2 * rng.normal(size=(LARGE, DIM))).astype(np.float32)
    rows = np.arange(10 * CLUSTERS)
    names = [str(code) for code in y[rows]]
    classifier = AutoClassifier().fit(x[rows], names)
    start = time.process_time()
    graph = neighbour_graph(x)
    of_graph = time.process_time() - start
    with_unlabelled(x, rows, names, classifier, graph=graph)
    return {"graph": round(of_graph, 1), "all": round(time.process_time() - start, 1)}


def measure(sets: Sequence[LabelledSet]) -> dict[str, Any]:
    """The entry of this part; see the package."""
    results = []
    for each in sets:
        graph, near = neighbour_graph(each.x), kneighbors_graph(unit_rows(each.x), NEIGHBOURS)
        subsets = [label_subsets(each.y, PER_CLASS, seed) for seed in range(DRAWS)]
        for n in PER_CLASS:
            alone, together, used, spread = np.array([one_draw(each, graph, near, subset[n]) for subset in subsets]).T
            gain = 100 * (together - alone)
            results.append(
                {
                    "data": each.name,
                    "labels_per_class": n,
                    "accuracy": round(float(alone.mean()), 4),
                    "gain": round(float(gain.mean()), 2),
                    "spread_of_gain": round(float(gain.std()), 2),
                    "least_gain": round(float(gain.min()), 2),
                    "used": round(float(used.mean()), 2),
                    "label_spreading": round(float(100 * (spread - alone).mean()), 2),
                }
            )
    large = {"images": LARGE, "dimensions": DIM, "classes": CLUSTERS, "labels": 10 * CLUSTERS}
    return {"draws": DRAWS, "large": large | {"seconds": seconds()}, "results": results}


def title(found: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    gains, took = [row["gain"] for row in found["results"]], found["large"]["seconds"]["all"]
    return f"Gains {min(gains):+.1f} to {max(gains):+.1f} points; {found['large']['images']:,} images take {took:.0f} s"
