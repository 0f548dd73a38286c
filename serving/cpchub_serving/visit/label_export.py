"""What a visitor takes home from a label set: labels, predictions and the classifier."""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cpchub.collection.collection import Collection
from cpchub.common.columns import Texts
from cpchub.errors import LabelError, OutputError
from cpchub_serving.visit.label_files import IN_BUCKET
from cpchub_serving.visit.label_set import UNSURE, Labels
from cpchub_serving.visit.learned import Judged
from cpchub_serving.visit.predictions import Predictions

if TYPE_CHECKING:
    from cpchub.fewlabels.heads.head import Head

HEADS = "heads"  # the folder of classifiers in a collection


def labels_csv(labels: Labels, paths: Sequence[str]) -> str:
    """The labels as CSV with the columns `path,label`, as `cpchub classify --labels` reads them."""
    if not labels.labels:
        raise LabelError("There are no labels yet: click a few images first.")
    return _csv(["path", "label"], ([paths[row], name] for row, name in labels.labels.items()))


def predictions_csv(labels: Labels, found: Predictions | None, paths: Sequence[str], least: float = 0.0) -> str:
    """Every image as CSV with the columns `path,predicted,confidence`; labelled ones keep their label at 1.

    Where the confidence is below `least`, predicted is empty.
    """
    if found is None:
        raise LabelError("Nothing is classified yet: label images of at least two classes first.")
    chosen, confidence = found.chosen.tolist(), found.confidence.tolist()
    return _csv(
        ["path", "predicted", "confidence"],
        (
            [path, labels.labels[row], "1.0000"]
            if row in labels.labels
            else [path, found.classes[chosen[row]] if confidence[row] >= least else UNSURE, f"{confidence[row]:.4f}"]
            for row, path in enumerate(paths)
        ),
    )


def head_of(labels: Labels, judged: Judged | None, collection: Collection) -> Head:
    """The classifier as `cpchub classify --head` reads it. Raises LabelError until two classes have a label."""
    if judged is None:
        raise LabelError("There is no classifier yet: label images of at least two classes first.")
    from cpchub.fewlabels.heads.head import learned  # here, since scikit-learn takes a second to import

    paths = Texts(collection.mapped_items["path"])
    by_path = {paths[row]: name for row, name in labels.labels.items()}
    return replace(learned(judged.predictions.classifier, collection, by_path), estimate=judged.estimate)


def save_head(head: Head, collection: Collection, name: str) -> str:
    """Save the classifier as `heads/NAME` of the collection, in place of an earlier one; what to call it from there.

    Raises OutputError where that holds anything else, without the place of the collection.
    """
    if collection.stored is not None:
        raise OutputError(f"the classifier was not saved: {IN_BUCKET}; or download it as a zip")
    try:
        head.save(collection.folder / HEADS / name)
    except OutputError as error:
        raise type(error)(f"{HEADS}/{name} of the collection cannot be written, or holds something else") from error
    return f"{HEADS}/{name}"


def zip_head(head: Head, name: str) -> bytes:
    """The folder of the classifier as a zip."""
    found = io.BytesIO()
    with tempfile.TemporaryDirectory() as scratch:
        folder = head.save(Path(scratch) / name)
        with zipfile.ZipFile(found, "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, f"{name}/{path.name}")
    return found.getvalue()


def _csv(header: list[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
