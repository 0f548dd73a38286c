"""Choose the cosine threshold for near-duplicates from the usual distances in the collection."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from cpchub.collection.copies import COPY, COPY_IF_CONFIRMED, IDENTICAL, PHOTOS, cosine_at, distance_at
from cpchub.index.neighbours import Neighbours

FAR_FROM_USUAL = 5.0  # standard deviations
FAR_IF_CONFIRMED = 4.0  # the same, where pairs are compared as whole images as well
LEAST_SPREAD = 1e-3  # of the log distances: rounding alone must not make all images duplicates
FEWEST = 20  # images, below which there is no usual distance to the nearest other one


def calibrate_threshold(
    neighbours: Neighbours, contents: npt.NDArray[np.int64], usual: float | None, *, confirmed: bool
) -> tuple[float, str]:
    """The cosine that an ordinary image hardly ever reaches with another one, and a sentence about it.

    The log distance of an image to its nearest other image is about normal. The threshold is 5 sigma below the median;
    sigma is estimated from the upper half. Duplicates are excluded: another image counts only if it is farther than
    COPY times the `usual` distance of two images. If pairs are `confirmed` as whole images, 4 sigma and
    COPY_IF_CONFIRMED are enough. With fewer images than FEWEST the nearest distances are not used, only the usual
    distance. If `usual` is None, no two images differ, and PHOTOS takes its place.
    """
    copy = COPY * (PHOTOS if usual is None else usual)
    distances, one_each = neighbours.distances(), np.unique(contents, return_index=True)[1]
    other = (contents[neighbours.rows] != contents[:, None]) & (distances > max(copy, distance_at(IDENTICAL)))
    ordinary = one_each[other[one_each].any(axis=1)]
    nearest = distances[ordinary, other[ordinary].argmax(axis=1)]
    few = len(one_each) < FEWEST
    if few or 2 * len(nearest) < len(one_each):  # of most images, all the nearest are as near as copies
        if confirmed or few:
            return _by_share(COPY_IF_CONFIRMED if confirmed else COPY, usual)
        return IDENTICAL, "most images have many others as near as copies, so only equal vectors count"
    median, above = np.quantile(np.log(nearest), [0.5, 0.8413])
    deviations = FAR_IF_CONFIRMED if confirmed else FAR_FROM_USUAL
    far = float(np.exp(median - deviations * max(above - median, LEAST_SPREAD)))
    if confirmed and far * COPY < copy * COPY_IF_CONFIRMED:
        return _by_share(COPY_IF_CONFIRMED, usual)
    threshold = cosine_at(far)
    return threshold, (
        f"the nearest other image that is no copy is usually at {cosine_text(cosine_at(float(np.exp(median))))}; "
        f"{cosine_text(threshold)} is {deviations:g} standard deviations of the log distance nearer"
    )


def cosine_text(cosine: float) -> str:
    """A cosine with four digits, or as many as tell it from 1."""
    from_one = 1 - cosine
    return f"{cosine:.{max(4, 1 - math.floor(math.log10(from_one)))}f}" if 0 < from_one < 1 else f"{cosine:.4f}"


def threshold_reaching(cosine: float) -> str:
    """A threshold that includes two images at this cosine: the cosine, rounded down to few digits."""
    digits = max(2, 1 - math.floor(math.log10(max(1 - cosine, 1e-7))))
    return f"{math.floor(cosine * 10**digits) / 10**digits:.{digits}f}"


def _by_share(share: float, usual: float | None) -> tuple[float, str]:
    threshold = cosine_at(share * (PHOTOS if usual is None else usual))
    if usual is None:
        return threshold, (
            f"no two are different as whole images; {cosine_text(threshold)} is {share:g} of the distance of two "
            "photos for an untrained network"
        )
    return threshold, (
        f"two images are usually at {cosine_text(cosine_at(usual))}; {cosine_text(threshold)} is {share:g} of that "
        "distance, and copies mostly lie nearer"
    )
