"""Labels that the other labels contradict, the worst first: confident learning on held-out probabilities.

Northcutt, Jiang & Chuang, "Confident Learning" (2021): a label is contradicted where the image is, without its label,
at least as likely to be of another class as the images labelled so usually are. Here it is also where the label is less
likely than a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection.collection import Collection
from cpchub.common.vectors import unit_length
from cpchub.errors import LabelError
from cpchub.fewlabels.given_labels import labelled
from cpchub.fewlabels.held_out import HeldOut, held_out, settled
from cpchub.fewlabels.logistic import LogisticProbe

NEAREST = 6  # labelled images that are shown beside a label in doubt


@dataclass(frozen=True)
class LabelErrors:
    """What was found.

    table: path, label (given), suggested, probability (0..1) of the given label while it was held out. Worst first,
    that is the least probable. labels: row -> class, of all labelled images. near: path -> the rows of the labelled
    images that are nearest, for a look. tested: labels that were held out. alone: classes with a single label, of which
    nothing can be said.
    """

    table: pa.Table
    labels: Mapping[int, str]
    near: Mapping[str, list[int]]
    tested: int
    alone: list[str]


def find_label_errors(collection: Collection, labels: Mapping[str, str], shown: int = 0) -> LabelErrors:
    """Find labels that are likely wrong among those of a collection's images.

    labels: path (as in the collection, or of the file itself) -> class. shown: for how many of the worst the nearest
    labelled images are looked up.

    Raises LabelError where no class has two labels, on a single class, or a path that is not in the collection.
    """
    rows, names, vectors = labelled(collection, labels)
    found, worst, suggested, probability = doubted_labels(vectors, names)
    paths = [collection.paths[rows[at]] for at in worst]
    table = pa.table(
        {
            "path": pa.array(paths, pa.string()),
            "label": pa.array([names[at] for at in worst], pa.string()),
            "suggested": pa.array([found.classes[code] for code in suggested], pa.string()),
            "probability": pa.array(probability, pa.float32()),
        }
    )
    unit = unit_length(vectors)
    near = {}
    for place, at in zip(paths, worst[:shown], strict=False):
        closest = np.argsort(-(unit @ unit[at]), kind="stable")
        near[place] = [int(rows[other]) for other in closest if other != at][:NEAREST]
    counts = np.bincount(found.codes)
    alone = [name for name, count in zip(found.classes, counts, strict=True) if count == 1]
    return LabelErrors(table, dict(zip(rows.tolist(), names, strict=True)), near, int(found.tested.sum()), alone)


def doubted_labels(
    vectors: npt.NDArray[np.float32], names: Sequence[str]
) -> tuple[HeldOut, npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The labels `[L]` of vectors `[L, D]`, held out, and those in doubt as `contradicted` gives them.

    Raises LabelError on a single class, and where no class has two labels.
    """
    if len(set(names)) < 2:
        raise LabelError(f"labels of one class only ({', '.join(set(names))}); nothing can contradict them")
    probe = LogisticProbe().fit(vectors, np.asarray(names))
    found = held_out(vectors, names, settled(probe), all_of_them=True)
    if found is None:
        raise LabelError("no class has two labels, so none can be held out; label more images of each class")
    return found, *contradicted(found)


def contradicted(
    found: HeldOut,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The labels in doubt, worst first: places among the labels, the classes suggested, the labels' probabilities."""
    places = np.flatnonzero(found.tested)
    p, codes = found.probabilities[places], found.codes[places]
    own = p[np.arange(len(codes)), codes]
    count = np.bincount(codes, minlength=p.shape[1])
    usual = np.bincount(codes, weights=own, minlength=p.shape[1]) / np.maximum(count, 1)
    usual[count == 0] = np.inf  # nothing is suggested that was never tested
    likely = np.where(p >= usual, p, -np.inf)
    none = np.isinf(likely.max(axis=1))
    likely[none] = p[none]
    suggested = likely.argmax(axis=1)
    in_doubt = (suggested != codes) & (~none | (own < 1 / p.shape[1]))
    order = np.flatnonzero(in_doubt)[np.argsort(own[in_doubt], kind="stable")]
    return places[order], suggested[order], own[order]
