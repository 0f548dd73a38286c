"""One visitor's work on a collection: class names, labels, undo, and what follows from them.

Nothing here knows of the page. Rows are the collection's row numbers; `features` is the collection's `[N, D]`
array of L2-normalised vectors, shared by all visitors and never kept in a session.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cpchub.errors import LabelError, QueryError
from cpchub.fewlabels.choice.next_rows import label_next
from cpchub.fewlabels.estimate import Estimate, estimate_accuracy
from cpchub_serving.visit.predictions import Predictions, predict
from cpchub_serving.visit.rows import check_row, mixed_order

VIEWS = ("mixed", "unsure", "sure", "labelled")

MAX_CLASSES = 50
MAX_NAME = 40
UNDO_DEPTH = 200
HELPFUL = 48  # images that are chosen as the most helpful ones; a page


@dataclass(eq=False)
class Session:
    """Labels of one visitor to a collection of `count` images."""

    count: int
    classes: list[str] = field(default_factory=list)
    active: str | None = None
    labels: dict[int, str] = field(default_factory=dict)
    predictions: Predictions | None = None
    label_page: int = 0
    view: str = "mixed"
    only: str | None = None
    _order: NDArray[np.int64] | None = None
    _helpful: list[int] = field(default_factory=list)
    _undo: list[tuple[list[str], str | None, dict[int, str]]] = field(default_factory=list)

    # -- classes ------------------------------------------------------------------------------------------------

    def add_classes(self, text: str) -> list[str]:
        """Add the comma-separated names in `text`; the last becomes active. A name that is there is only activated.

        Raises LabelError for no name, a name over 40 characters, or more than 50 classes.
        """
        names = [" ".join(part.split()) for part in text.split(",")]
        names = [name for name in names if name]
        if not names:
            raise LabelError("A class needs a name: write one, or several separated by commas.")
        for name in names:
            if len(name) > MAX_NAME:
                raise LabelError(f"The class name {name!r} has {len(name)} characters; {MAX_NAME} is the most.")
        known = {name.casefold(): name for name in self.classes}
        new: dict[str, str] = {}
        for name in names:
            if name.casefold() not in known:
                new.setdefault(name.casefold(), name)
        if len(self.classes) + len(new) > MAX_CLASSES:
            raise LabelError(f"{len(self.classes) + len(new)} classes are more than this page holds ({MAX_CLASSES}).")
        if new:
            self._remember()
            self.classes = [*self.classes, *new.values()]
        self.active = (known | new)[names[-1].casefold()]
        return list(new.values())

    def activate(self, name: str) -> None:
        """Make `name` the class that the next click gives. Raises LabelError for a class that is not there."""
        self._check_class(name)
        self.active = name

    def remove_class(self, name: str) -> None:
        """Drop a class and its labels; `undo` brings both back."""
        self._check_class(name)
        self._remember()
        self.classes = [other for other in self.classes if other != name]
        self.labels = {row: label for row, label in self.labels.items() if label != name}
        if self.active == name:
            self.active = self.classes[-1] if self.classes else None
        self._check_only()

    # -- labels -------------------------------------------------------------------------------------------------

    def label(self, row: int, name: str) -> None:
        """Say that image `row` is a `name`. Raises LabelError (class) or QueryError (row)."""
        self._check_class(name)
        row = check_row(row, self.count)
        if self.labels.get(row) == name:
            return
        self._remember()
        self.labels = {**self.labels, row: name}

    def unlabel(self, row: int) -> None:
        """Take back what was said about image `row`."""
        if row in self.labels:
            self._remember()
            self.labels = {other: name for other, name in self.labels.items() if other != row}

    def click(self, row: int) -> None:
        """Give `row` the active class; a second click takes it away again."""
        row = check_row(row, self.count)
        if self.active is None:
            raise LabelError("Name a class first, then click the images that belong to it.")
        if self.labels.get(row) == self.active:
            self.unlabel(row)
        else:
            self.label(row, self.active)

    def undo(self) -> bool:
        """Go back one step over classes and labels; False when there is nothing to undo."""
        if not self._undo:
            return False
        self.classes, self.active, self.labels = self._undo.pop()
        self._check_only()
        return True

    def counts(self) -> dict[str, int]:
        """Number of labelled images of every class, in the order in which the classes were added."""
        counted = Counter(self.labels.values())
        return {name: counted[name] for name in self.classes}

    def predicted_counts(self) -> dict[str, int]:
        """Number of images predicted as every class, without the labelled ones."""
        if self.predictions is None:
            return {}
        unlabelled = np.ones(self.count, dtype=bool)
        unlabelled[list(self.labels)] = False
        totals = np.bincount(self.predictions.chosen[unlabelled], minlength=len(self.predictions.classes))
        return dict(zip(self.predictions.classes, totals.tolist(), strict=True))

    # -- what follows from the labels ----------------------------------------------------------------------------

    def classify(self, features: NDArray[np.float32]) -> Predictions | None:
        """Classify every image from the labels; None until two classes have a label. Kept in `.predictions`."""
        rows, names = self._labelled()
        ready = len(set(names)) >= 2
        self.predictions = predict(features, rows, names) if ready else None
        return self.predictions

    def estimate(self, features: NDArray[np.float32]) -> Estimate | None:
        """How often the labelled images are classified right when held out; None until that can be asked."""
        if self.predictions is None:
            return None
        rows, names = self._labelled()
        found = self.predictions
        return estimate_accuracy(features[rows], names, found.classifier, found.shares)

    def arrange(
        self, view: str | None = None, only: str | None = None, features: NDArray[np.float32] | None = None
    ) -> NDArray[np.int64]:
        """Choose and fix the order in which images are offered for labelling.

        With `features` "unsure" begins with the images whose labels help most, as `cpchub label-next` chooses them.
        The order stays as it is while labels come in, so that images do not move under the pointer; calling
        this again sorts anew. `only` keeps the images that are labelled or predicted as one class.
        """
        if view is not None:
            if view not in VIEWS:
                raise QueryError(f"There is no order {view!r}; the orders are {', '.join(VIEWS)}.")
            self.view = view
        if only is not None:
            if only:
                self._check_class(only)
            self.only = only or None
        chosen = label_next(features, self.labels, HELPFUL) if features is not None and self.view == "unsure" else []
        self._helpful = [each.row for each in chosen]
        self._sort_anew()
        return self.order

    @property
    def order(self) -> NDArray[np.int64]:
        """The rows as they are offered for labelling, sorted when first asked for after `arrange`."""
        if self._order is None:
            self._order = self._sorted_rows()
        return self._order

    def _sort_anew(self) -> None:
        self.label_page = 0
        self._order = None

    def _check_only(self) -> None:
        """Offer all classes again where the one that was chosen is gone."""
        if self.only is not None and self.only not in self.classes:
            self.only = None
            self._sort_anew()  # once it is drawn, and so from predictions that do not know the class either

    def _sorted_rows(self) -> NDArray[np.int64]:
        labelled = np.fromiter(self.labels, dtype=np.int64, count=len(self.labels))
        if self.view == "labelled":
            rows = labelled[::-1]
        elif self.predictions is None or self.view == "mixed":
            rows = mixed_order(self.count)
        else:
            certainty = self.predictions.margin if self.view == "unsure" else -self.predictions.confidence
            rows = np.argsort(certainty, kind="stable")
            rows = rows[~np.isin(rows, labelled)]
        if self.view == "unsure":
            helpful = np.array([row for row in self._helpful if row not in self.labels], dtype=np.int64)
            rows = np.concatenate([helpful, rows[~np.isin(rows, helpful)]])
        if self.only is None:
            return rows
        is_class = np.zeros(self.count, dtype=bool)
        if self.predictions is not None and self.only in self.predictions.classes:
            is_class = self.predictions.chosen == self.predictions.classes.index(self.only)
        for row, name in self.labels.items():
            is_class[row] = name == self.only
        return rows[is_class[rows]]

    # -- export -------------------------------------------------------------------------------------------------

    def labels_csv(self, paths: Sequence[str]) -> str:
        """The labels as CSV with the columns `path,label`, as `cpchub classify --labels` reads them."""
        if not self.labels:
            raise LabelError("There are no labels yet: click a few images first.")
        return _csv(["path", "label"], ([paths[row], name] for row, name in self.labels.items()))

    def predictions_csv(self, paths: Sequence[str]) -> str:
        """Every image as CSV with the columns `path,predicted,confidence`; labelled ones keep their label at 1."""
        if self.predictions is None:
            raise LabelError("Nothing is classified yet: label images of at least two classes first.")
        found = self.predictions
        return _csv(
            ["path", "predicted", "confidence"],
            (
                [path, self.labels[row], "1.0000"]
                if row in self.labels
                else [path, found.classes[found.chosen[row]], f"{found.confidence[row]:.4f}"]
                for row, path in enumerate(paths)
            ),
        )

    # -- checks -------------------------------------------------------------------------------------------------

    def _check_class(self, name: str) -> None:
        if name not in self.classes:
            raise LabelError(f"There is no class {name!r}; add it first.")

    def _labelled(self) -> tuple[NDArray[np.int64], list[str]]:
        return np.fromiter(self.labels, dtype=np.int64, count=len(self.labels)), list(self.labels.values())

    def _remember(self) -> None:
        self._undo.append((self.classes, self.active, self.labels))
        del self._undo[:-UNDO_DEPTH]


def _csv(header: list[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
