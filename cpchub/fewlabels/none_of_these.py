"""Images that resemble no labelled class: found by a test at a level that is kept, whatever the encoder.

How typical an image is of a class is the cosine of the image and the class mean, both whitened by the covariance of the
collection, labelled or not: differences that all its images show count less (as in Lee et al. 2018, and as the
whitened means of Hariharan, Malik & Ramanan 2012). What the labelled images show when each is left out of its own class
mean tells how typical an image of these classes usually is. So the share of labelled images that are no more typical
than an image is a conformal p-value (Vovk et al. 2005): of images of the labelled classes at most a share `level` is
rejected on average. This holds where the labelled images are like the others of their classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from cpchub.common.words import counted
from cpchub.errors import ArgumentError, LabelError
from cpchub.fewlabels.base import AT_ONCE, FLOATS, Array, check_classes, unit_rows
from cpchub.fewlabels.given_labels import vectors_of

if TYPE_CHECKING:
    from cpchub.collection.collection import Collection

NONE = "none of these"  # what `predicted` says of such an image
ENOUGH = 20_000  # images that tell a covariance
# The mean variance of a direction is added to each direction 1 + 10 / n times, n the mean number of labels a class: a
# mean of few labels is itself uncertain. Chosen on training images of Tiny-ImageNet and CIFAR-10 and on digits.
ADDED, ADDED_FOR_FEW = 1.0, 10.0
UPPER = 0.5  # the p-values above it are those of labelled classes nearly alone (Storey 2002)


class NoneOfThese(OutlierMixin, BaseEstimator):
    """Says which images resemble none of the labelled classes; a novelty detector as scikit-learn has them.

    level: the share of images of the labelled classes that is rejected with the others, 0 to 1.

    After `fit`, `known_` has for each label that could be left out how typical it is of its class, `[T]`, ascending.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("centre_", "whitening_", "means_", "known_")

    centre_: Array
    whitening_: Array
    means_: Array
    known_: Array

    def __init__(self, level: float = 0.05) -> None:
        self.level = level

    def fit(self, X: Any, y: Any, collection: Any = None) -> NoneOfThese:
        """Learn from features `[n, D]` of the labelled images, their labels `[n]`, and the vectors `[N, D]` of all.

        Without a collection the labelled images stand for it. Raises LabelError where so few labels cannot show
        anything at this level, ArgumentError for a level that is no share.
        """
        if not 0 < self.level < 1:
            raise ArgumentError(f"level={self.level}: it is a share of the images, such as 0.05 for one in twenty")
        X, y = validate_data(self, X, y, dtype=FLOATS)
        check_classes(y)
        names, codes = np.unique(y, return_inverse=True)
        counts = np.bincount(codes)
        _check_enough(int(counts[counts > 1].sum()), self.level)
        unit = unit_rows(X)
        everything = unit if collection is None else unit_rows(check_array(collection, dtype=FLOATS))
        self.centre_ = everything.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.whitening_ = _whitening(everything - self.centre_, ADDED + ADDED_FOR_FEW * len(names) / len(codes))
        white = self._whitened(unit)
        sums = np.stack([white[codes == c].sum(axis=0) for c in range(len(names))])
        self.means_ = normalize(sums)
        typical = white @ self.means_.T
        own = normalize(sums[codes] - white)  # the class mean without the image
        typical[np.arange(len(codes)), codes] = (white * own).sum(axis=1)
        self.known_ = np.sort(typical.max(axis=1)[counts[codes] > 1])
        return self

    def score_samples(self, X: Any) -> Array:
        """How typical each image is of the class that it is most typical of, `[N]`, -1 to 1."""
        check_is_fitted(self)
        if isinstance(X, np.ndarray) and len(X) > AT_ONCE:
            return np.concatenate([self.score_samples(X[at : at + AT_ONCE]) for at in range(0, len(X), AT_ONCE)])
        unit = unit_rows(validate_data(self, X, dtype=FLOATS, reset=False))
        return np.asarray((self._whitened(unit) @ self.means_.T).max(axis=1))

    def p_values(self, X: Any) -> Array:
        """The share of labelled images that are no more typical than each image, `[N]`, above 0, to 1."""
        below = np.searchsorted(self.known_, self.score_samples(X), side="right")
        return np.asarray((1 + below) / (1 + len(self.known_)))

    def predict(self, X: Any) -> Array:
        """1 for images of the labelled classes, -1 for none of these, `[N]`, as scikit-learn's detectors say it."""
        return np.where(self.p_values(X) > self.level, 1, -1)

    @property
    def least_typical(self) -> float:
        """An image is rejected where its `score_samples` is below this; -1 where none is."""
        allowed = int(np.floor(round(self.level * (1 + len(self.known_)), 6)))
        return float(self.known_[allowed - 1]) if allowed else -1.0

    def _whitened(self, unit: Array) -> Array:
        return np.asarray(normalize((unit - self.centre_) @ self.whitening_))

    def arrays(self) -> dict[str, Array]:
        """What was learned, as arrays by name."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in self.ARRAYS}

    @classmethod
    def of_arrays(cls, level: float, arrays: Mapping[str, Array]) -> NoneOfThese:
        """The detector that `arrays` took apart. Raises KeyError where one is missing."""
        detector = cls(level)
        for name in cls.ARRAYS:
            setattr(detector, name, arrays[name])
        detector.n_features_in_ = len(detector.centre_)
        return detector


def fit_none_of_these(collection: Collection, names: Sequence[str], vectors: Array, level: float) -> NoneOfThese:
    """The detector of a collection, from the vectors `[n, D]` of its labelled images and their classes `[n]`.

    Of more than 20,000 images as many are drawn. Raises LabelError for too few labels, or a class of this very name.
    """
    if NONE in names:
        raise LabelError(
            f"there are labels {NONE!r}, which is the answer for images of no class; name the class otherwise"
        )
    rows = np.sort(np.random.default_rng(0).permutation(len(collection))[:ENOUGH])
    return NoneOfThese(level).fit(vectors, np.asarray(names), vectors_of(collection, rows))


def share_of_none(p_values: Array, level: float = UPPER) -> float:
    """About which share of images with these p-values `[N]` are of no labelled class, 0 to 1; with few labels too low.

    Those of labelled classes have p-values spread evenly over 0 to 1, so twice as many as lie above one half (Storey,
    2002), and no more than 1 / (1 - level) as many as are not rejected at a level.
    """
    return float(max(0.0, *(1 - (p_values > at).mean() / (1 - at) for at in (UPPER, level))))


def _check_enough(tested: int, level: float) -> None:
    """Raise LabelError where the least p-value that so many labels allow is above the level."""
    needed = int(np.ceil(round(1 / level - 1, 6)))
    if tested < needed:
        raise LabelError(
            f"none of these at a level of {level:g} needs {counted(needed, 'label')} in classes with two or more, and "
            f"there are {tested:,}: label more images"
            + (f", or choose a level of {1 / (tested + 1):.2g} or more" if tested > 1 else "")
        )


def _whitening(centred: Array, added: float) -> Array:
    """The matrix `[D, D]` that whitens centred vectors `[N, D]`, with `added` mean variances in every direction."""
    if len(centred) > ENOUGH:
        centred = centred[np.random.default_rng(0).permutation(len(centred))[:ENOUGH]]
    covariance = (centred.T @ centred).astype(np.float64) / len(centred)
    variances, directions = np.linalg.eigh(covariance)
    usual = variances.mean()
    if usual <= 0:  # all images are the same
        return np.eye(len(covariance), dtype=np.float32)
    scale = 1 / np.sqrt(np.maximum(variances, 0) / usual + added)
    return np.asarray(directions * scale, dtype=np.float32)
