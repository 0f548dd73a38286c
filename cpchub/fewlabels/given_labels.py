"""Labels as somebody wrote them, and the images of a collection that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import FOLDER
from cpchub.common.csv_table import read_csv
from cpchub.common.words import counted, some
from cpchub.errors import LabelError
from cpchub.media.labels import KNOWN, check_paths, folder_classes, places_of

SEVERAL = ";"  # between the classes of one image
Labelled = tuple[npt.NDArray[np.int64], list[str], npt.NDArray[np.float32]]  # rows, their classes, their vectors


@dataclass(frozen=True)
class GivenLabels:
    """Labels that were read. by_path: path -> class. left_aside: what else was there, as the parts of a sentence."""

    by_path: dict[str, str]
    left_aside: tuple[str, ...] = ()


def classes_of(label: str) -> list[str]:
    """The classes of a label for several, each once, in alphabetical order: `b; a` are two, and `;` is none."""
    return sorted({name.strip() for name in label.split(SEVERAL)} - {""})


def joined(names: Sequence[str]) -> str:
    """Several classes as a label; none are `;`."""
    return SEVERAL.join(names) or SEVERAL


def read_labels(path: str | Path) -> dict[str, str]:
    """Labels by path from a CSV file with the columns `path` and `label`; see `read_label_file`."""
    return read_label_file(path).by_path


def read_label_file(path: str | Path, *, several: bool = False) -> GivenLabels:
    """Labels from a CSV file with the columns `path` and `label`; other columns do not count.

    several: a label may name several classes, `a;b`, or none of them, `;`.

    A line without a label is an image not labelled yet. It is left aside and counted, and so is a line that repeats
    another. Raises LabelError where the file or a column is missing, a path has two labels, no line has a label, or one
    has several classes that must not.
    """
    path = Path(path)
    if not path.exists():
        raise LabelError(f"no file of labels at {path}; it is a CSV with the columns path,label")
    table = read_csv(path, KNOWN, LabelError, "CSV")
    if not set(KNOWN) <= set(table.columns):
        raise LabelError(f"{path} has the columns {', '.join(table.columns) or '(none)'}; it needs path,label")
    check_paths(table)
    labels: dict[str, str] = {}
    empty = repeated = 0
    contradictions: dict[str, str] = {}  # path -> the first of them
    for name, label, line in zip(table.column("path"), table.column("label"), table.lines, strict=True):
        empty += not label
        if SEVERAL in label:
            if not several:
                raise LabelError(
                    f"{path}, line {line}: {label!r} has a semicolon, as for several classes of one image; `cpchub "
                    "classify --multi-label` takes those, and all else takes one class without a semicolon"
                )
            label = joined(classes_of(label))
        if label and labels.setdefault(name, label) != label:
            contradictions.setdefault(name, f"{path}, line {line}: {name} is {label} here and {labels[name]} above")
        repeated += bool(label)
    repeated -= len(labels)
    if contradictions:
        more = len(contradictions) - 1
        others = (
            f"; {counted(more, 'other image')} {'has' if more == 1 else 'have'} two classes as well" if more else ""
        )
        raise LabelError(f"{next(iter(contradictions.values()))}; give each image one class{others}")
    if not labels:
        lines = "no lines below the names of its columns" if not table.rows else "no labels"
        raise LabelError(f"{path} has {lines}; write one into the column label for a few images of each class")
    aside = [f"{counted(empty, 'line')} without a label"] * (empty > 0)
    aside += [f"{counted(repeated, 'line')} that {'repeats' if repeated == 1 else 'repeat'} another"] * (repeated > 0)
    return GivenLabels(labels, tuple(aside))


def labels_of_folders(collection: Collection) -> dict[str, str]:
    """Labels by path: the class folder that each image lies in. Raises LabelError where none lies in one."""
    kind = collection.manifest.get("source_kind", FOLDER)
    classes = folder_classes(collection.paths, kind)
    labels = {path: name for path, name in zip(collection.paths, classes, strict=True) if name is not None}
    if not labels:
        raise LabelError(
            f"no image of {collection.place} lies in a class folder, such as cat/ (the first is "
            f"{collection.paths[0]}); give a CSV of labels"
        )
    return labels


def labelled(collection: Collection, labels: Mapping[str, str]) -> Labelled:
    """The rows `[n]` of the labelled images, their classes, and their vectors `[n, D]`.

    Raises LabelError on no labels, on a path that is not in the collection, and on one with two classes.
    """
    if not labels:
        raise LabelError("no labels to learn from; label a few images of each class")
    of_row = rows_of(collection, labels)
    rows = np.fromiter(of_row, dtype=np.int64)
    return rows, list(of_row.values()), vectors_of(collection, rows)


def vectors_of(collection: Collection, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The vectors of some rows, `[n, D]`, without those of all others in memory."""
    found, first = np.empty((len(rows), collection.dim), np.float32), 0
    for ids, vectors in collection.vector_shards():
        here = (rows >= first) & (rows < first + len(ids))
        found[here] = vectors[rows[here] - first]
        first += len(ids)
    return found


def rows_of(collection: Collection, labels: Mapping[str, str]) -> dict[int, str]:
    """Row -> class. Raises LabelError, naming a path, where the collection lacks some or one has two classes."""
    found = dict(zip(labels, places_of(labels, collection.paths, collection.location), strict=True))
    missing = [path for path, row in found.items() if row is None]
    if missing:
        whose = f"{'of' if collection.imported else 'below'} {collection.source_in_words}"
        broken = set(collection.failures["path"].to_pylist())
        first = f"{missing[0]} (could not be read)" if missing[0] in broken else missing[0]
        raise LabelError(
            f"labels for images that {collection.place} does not hold: {some([first], len(missing), 1)}. They are "
            f"{len(missing):,} of {counted(len(labels), 'label')}; mend or delete their lines. Paths are those "
            f"{whose}, for example {collection.paths[0]}"
        )
    classes: dict[int, str] = {}
    for path, row in found.items():
        if row is not None and classes.setdefault(row, labels[path]) != labels[path]:
            raise LabelError(f"{path} is {labels[path]} here and {classes[row]} under another spelling of its path")
    return classes
