"""An accuracy that does not depend on how the labels were chosen: that of a random sample which somebody labels.

The sample is systematic: the images are ordered by their predicted class, and every so many are taken. So each class is
in it by its share, and the estimate varies no more than that of a plain random sample, whose interval is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from cpchub.collection.collection import Collection
from cpchub.common.words import some
from cpchub.errors import ArgumentError, LabelError
from cpchub.fewlabels.estimate import Share, wilson_interval
from cpchub.fewlabels.given_labels import rows_of
from cpchub.fewlabels.heads.head import Head, load_classifier
from cpchub.fewlabels.none_of_these import NONE

WIDTH = 0.1
UNKNOWN = 0.5  # the accuracy that takes most labels


@dataclass(frozen=True)
class Audit:
    """What the labels of a random sample tell. accuracy: with its 90 % interval; classes: right, of each, as labelled.

    unknown: classes of the labels that the classifier does not have; their images count as wrong.
    """

    accuracy: Share
    classes: Mapping[str, Share]
    unknown: tuple[str, ...]


def interval_of_sample(share: float, count: int, images: int) -> tuple[float, float]:
    """The 90 % interval for all `images` from a share of `count` of them, drawn at random; none is left of all."""
    rest = (images - count) / (images - 1) if images > 1 else 0.0  # the correction for a finite population
    return (share, share) if rest == 0 else wilson_interval(share, count / rest)


def sample_size(width: float, images: int, accuracy: float = UNKNOWN) -> int:
    """How many labels an interval of `width` takes, for a classifier of about this `accuracy`.

    Raises ArgumentError for a width that is no share.
    """
    if not 0 < width < 1:
        raise ArgumentError(f"width={width:g}: give the width of the interval between 0 and 1, such as {WIDTH}")

    def width_of(count: int) -> float:
        low, high = interval_of_sample(accuracy, count, images) if count else (0.0, inf)
        return high - low

    few, enough = 0, images  # the width falls with the labels
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if width_of(middle) <= width else (middle, enough)
    return enough


def head_to_audit(where: str) -> Head:
    """The saved classifier. Raises ArgumentError for one that tells several classes of an image."""
    head = load_classifier(where)
    if head.several is not None:
        raise ArgumentError(f"{where} tells several classes of an image; an audit is of a classifier that tells one")
    return head


def draw_audit(
    predicted: Sequence[str], rows: npt.NDArray[np.int64], count: int, seed: int = 0
) -> npt.NDArray[np.int64]:
    """`count` of the rows `[n]`, drawn at random, each with the same probability, in a random order.

    predicted: the class of each of the rows; every class is in the sample by its share. Of one class it is a plain
    random sample.
    """
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(len(rows))
    _, codes = np.unique(np.asarray(predicted), return_inverse=True)
    ordered = mixed[np.argsort(rng.permutation(codes.max() + 1)[codes[mixed]], kind="stable")]
    places = ((np.arange(count) + rng.uniform()) * len(rows) / count).astype(np.int64)
    return rows[rng.permutation(ordered[places])]


def rows_to_audit(collection: Collection, without: Mapping[str, str]) -> npt.NDArray[np.int64]:
    """The rows of the images that the classifier has not learned from. Raises LabelError where none is left."""
    taken = rows_of(collection, without) if without else {}
    rows = np.setdiff1d(np.arange(len(collection)), np.fromiter(taken, np.int64, len(taken)))
    if not len(rows):
        raise LabelError("every image has a label already, so there is none to audit the classifier with")
    return rows


def audit(collection: Collection, head: Head, labels: Mapping[str, str], images: int | None = None) -> Audit:
    """The accuracy of a classifier on all images, from the labels of a random sample of them.

    images: how many the sample was drawn from; all of the collection by default.

    Raises LabelError for labels of images that are not in the collection, EncoderMismatchError for another encoder.
    """
    of_row = rows_of(collection, labels)
    predicted = head.classify(collection)["predicted"].to_pylist()
    truth = np.array(list(of_row.values()), object)
    right = np.array([predicted[row] == label for row, label in of_row.items()])
    images = max(images or len(collection), len(right))
    known = {*head.classes, *([NONE] if head.none_of_these is not None else [])}
    unknown = tuple(sorted({label for label in of_row.values() if label not in known}))
    classes = {str(name): _share(right[truth == name], images) for name in sorted(set(truth))}
    return Audit(_share(right, images), classes, unknown)


def _share(right: npt.NDArray[np.bool_], images: int) -> Share:
    value = float(right.mean())
    return Share(value, *interval_of_sample(value, len(right), images), int(right.sum()), len(right))


def unknown_words(found: Audit) -> str:
    """A sentence on the classes that the classifier lacks."""
    return f"The classifier has no class {some(found.unknown)}; their images count as wrong"
