"""The protocols by name. Each turns a task into cells; all use the same cached features."""

from __future__ import annotations

from functools import cache

import numpy as np

from cpchub.errors import ArgumentError
from cpchub.fewlabels import LogisticProbe, ResNetHead
from cpchub.fewlabels.knn import knn
from cpchub_training.evaluate.cpc_linear import cpc_linear
from cpchub_training.evaluate.networks import fine_tuned, from_scratch_cells
from cpchub_training.evaluate.task import Cell, Outcome, Protocol, Subset, Task

KS = (200, 20, 5, 1)
TEMPERATURE = 0.1
PROBE = {"probe": 3}  # rises where LogisticProbe gives other predictions, so that kept outcomes are measured again
WHEN = "final epoch"  # no checkpoint is chosen


def knn_protocol(task: Task) -> list[Cell]:
    """Weighted kNN as in InstDisc (arXiv 1805.01978, section 3.4), every k of KS in one search.

    A k above the number of images N uses all N; of several such k the largest is measured.
    """

    @cache
    def votes() -> dict[int, np.ndarray]:
        x, x_test = task.features()
        return knn(x, task.y, x_test, KS, TEMPERATURE)

    def cell(k: int) -> Cell:
        protocol = f"weighted kNN on frozen features, k={min(k, len(task.y))}, T={TEMPERATURE}, cosine, {WHEN}"
        return Cell("knn", f"knn_k{k}", protocol, len(task.y), lambda: Outcome(votes()[k]))

    first = {min(k, len(task.y)): k for k in reversed(KS)}
    return [cell(k) for k in KS if k in first.values()]


def linear_protocol(task: Task) -> list[Cell]:
    """Logistic regression on frozen features; its regularisation is chosen on held-out training images."""
    protocol = f"logistic regression on frozen features, regularisation chosen on training images, {WHEN}"
    every = np.arange(len(task.y))
    return [Cell("linear", "linear_probe", protocol, len(task.y), lambda: _probe(task, every), settings=PROBE)]


def cpc_linear_protocol(task: Task) -> list[Cell]:
    """CPC's own linear evaluation: batch norm without scale, 1x1 convolution, averaged logits."""

    def predict() -> Outcome:
        x, x_test = task.features("moments")
        return Outcome(*cpc_linear(x, task.y, x_test))

    protocol = f"batch norm without scale, 1x1 conv, logits averaged over the map; lr and decay held-out, {WHEN}"
    return [Cell("linear", "cpc_linear", protocol, len(task.y), predict)]


def low_label_protocol(task: Task) -> list[Cell]:
    """Logistic regression on the frozen features of few labelled images."""

    def cell(subset: Subset) -> Cell:
        protocol = f"logistic regression on frozen features, {subset.words}, {WHEN}"
        of_each = np.bincount(task.y[subset.rows])
        if len(subset.rows) < 2000 and of_each.min() == of_each.max():
            protocol = protocol.replace(subset.words, f"{of_each[0]} labels a class")
        return Cell(
            "low-label",
            f"lowshot_{subset.config}",
            protocol,
            len(subset.rows),
            lambda: _probe(task, subset.rows),
            subset.seed,
            PROBE,
        )

    first = task.settings.seeds[0]  # there is only one way to draw all labels, and nothing else is random here
    return [cell(each) for each in task.subsets if len(each.rows) < len(task.y) or each.seed == first]


def resnet_head_protocol(task: Task) -> list[Cell]:
    """CPC v2's eleven-block ResNet on the frozen feature maps of few labelled images."""
    steps = task.settings.head_steps

    def predict(subset: Subset) -> Outcome:
        x, x_test = task.features("map")
        head = ResNetHead(steps=steps, random_state=subset.seed).fit(np.asarray(x[subset.rows]), task.y[subset.rows])
        return Outcome(np.asarray(head.predict(x_test), np.int64))

    def cell(subset: Subset) -> Cell:
        protocol = f"11-block ResNet on frozen feature maps, {subset.words}, {steps} steps, {WHEN}"
        return Cell(
            "low-label",
            f"lowshot_{subset.config}_resnet_head",
            protocol,
            len(subset.rows),
            lambda: predict(subset),
            subset.seed,
            {"steps": steps},
        )

    return [cell(subset) for subset in task.subsets]


def _probe(task: Task, rows: np.ndarray) -> Outcome:
    x, x_test = task.features()
    probe = LogisticProbe().fit(np.asarray(x[rows]), task.y[rows])
    return Outcome(np.asarray(probe.predict(np.asarray(x_test)), np.int64), {"C": probe.C_})


PROTOCOLS: dict[str, Protocol] = {
    "knn": knn_protocol,
    "linear": linear_protocol,
    "cpc-linear": cpc_linear_protocol,
    "low-label": low_label_protocol,
    "resnet-head": resnet_head_protocol,
    "fine-tune": fine_tuned,
    "scratch": from_scratch_cells,
}


def get(name: str) -> Protocol:
    """The protocol of that name. Raises ArgumentError, listing the names, for an unknown one."""
    if name not in PROTOCOLS:
        raise ArgumentError(f"no protocol called {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
