"""The queues in which images are offered for labelling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cpchub.errors import LabelError, QueryError
from cpchub_serving.visit.label_set import Labels
from cpchub_serving.visit.predictions import Predictions
from cpchub_serving.visit.rows import mixed_order

MIXED, NEXT, UNCERTAIN, ERRORS, LABELLED, SKIPPED = "mixed", "next", "uncertain", "errors", "labelled", "skipped"
CALLED = {
    MIXED: "Mixed",
    NEXT: "Label these next",
    UNCERTAIN: "Most uncertain",
    ERRORS: "Likely wrong labels",
    LABELLED: "Labelled",
    SKIPPED: "Unsure, skipped",
}
OF_CLASS = "class:"  # before the name of a class: what is predicted as it, the surest first
HELPFUL = 48  # images that are chosen as the most helpful ones; a page
MOST = 5000  # images of a queue other than the mixed one, so that a visitor stays small


@dataclass(frozen=True, eq=False)
class Queue:
    """Images in the order in which they are offered. doubts: row -> its label, and the class that it may be of."""

    rows: NDArray[np.int64]
    doubts: dict[int, tuple[str, str]]


def queue(name: str, features: NDArray[np.float32], now: Labels, found: Predictions | None) -> Queue:
    """The images of a queue by its name: one of `CALLED`, or "class:" with a class.

    Labelled images, and those marked as unsure, are offered in the mixed queue and those that are about them only.
    Raises QueryError for another name, LabelError for a class that is not there.
    """
    doubts: dict[int, tuple[str, str]] = {}
    if name == MIXED:
        return Queue(mixed_order(len(features)), doubts)
    if name == LABELLED:
        rows = np.fromiter(now.labels, np.int64, len(now.labels))[::-1]
    elif name == SKIPPED:
        rows = np.array(sorted(now.unsure), np.int64)
    elif name == ERRORS:
        rows, doubts = _errors(features, now)
    elif name == NEXT:
        rows = _next(features, now, found)
    elif name == UNCERTAIN:
        rows = _open(mixed_order(len(features)) if found is None else np.argsort(found.margin, kind="stable"), now)
    elif name.startswith(OF_CLASS):
        rows = _of_class(name.removeprefix(OF_CLASS), now, found)
    else:
        raise QueryError(f"There is no queue {name!r}; the queues are {', '.join(CALLED)} and class:NAME.")
    return Queue(rows[:MOST].copy(), doubts)


def _open(everything: NDArray[np.int64], now: Labels) -> NDArray[np.int64]:
    """Of all rows, in their order, those that have no label and were not skipped."""
    done = np.zeros(len(everything), np.bool_)
    done[[*now.labels, *now.unsure]] = True
    return everything[~done[everything]]


def _next(features: NDArray[np.float32], now: Labels, found: Predictions | None) -> NDArray[np.int64]:
    """The images whose labels help most, as `cpchub label-next` chooses them, then the most uncertain ones."""
    from cpchub.fewlabels.choice.next_rows import label_next  # here, since scikit-learn takes a second to import

    wanted = HELPFUL + min(len(now.unsure), HELPFUL)  # skipped ones are among them and are left out
    helpful = [each.row for each in label_next(features, now.labels, wanted) if each.row not in now.unsure][:HELPFUL]
    rest = queue(UNCERTAIN, features, now, found).rows
    return np.concatenate([np.array(helpful, np.int64), rest[~np.isin(rest, helpful)]])


def _errors(features: NDArray[np.float32], now: Labels) -> tuple[NDArray[np.int64], dict[int, tuple[str, str]]]:
    """The labels that the others contradict, the worst first, and the class that these suggest."""
    from cpchub.fewlabels.label_errors import doubted_labels

    rows, names = np.fromiter(now.labels, np.int64, len(now.labels)), list(now.labels.values())
    try:
        held, worst, suggested, _ = doubted_labels(np.asarray(features[rows], np.float32), names)
    except LabelError:  # too few labels to contradict one: nothing is doubted
        return np.empty(0, np.int64), {}
    doubts = {int(rows[at]): (names[at], held.classes[code]) for at, code in zip(worst, suggested, strict=True)}
    return rows[worst], doubts


def _of_class(name: str, now: Labels, found: Predictions | None) -> NDArray[np.int64]:
    if name not in now.classes:
        raise LabelError(f"There is no class {name!r}; add it first.")
    if found is None or name not in found.classes:
        return np.empty(0, np.int64)
    rows = _open(np.argsort(-found.confidence, kind="stable"), now)
    return rows[found.chosen[rows] == found.classes.index(name)]
