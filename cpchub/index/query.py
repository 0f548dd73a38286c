"""Queries: images, images of the collection by id, vectors, and weighted sums of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cpchub.common.vectors import unit_length, without_direction
from cpchub.encoders.protocols import ImageEncoder
from cpchub.errors import BrokenImageError, QueryError
from cpchub.media.decode import ImageSource, read_image, resize_side

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Item:
    """An image of the collection, by its id."""

    id: int


Subject: TypeAlias = "ImageSource | Item | Vector"
Weighted: TypeAlias = "Subject | tuple[Subject, float]"
Query: TypeAlias = "Subject | Sequence[Subject]"


def unit(vectors: Any, dim: int) -> Vector:
    """Vectors `[Q, D]` (or `[D]`) as float32 `[Q, D]` of unit length. Raises QueryError where that cannot be."""
    try:
        q = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise QueryError(f"query vectors must be numbers, {type(vectors).__name__} is not: {error}") from error
    if q.ndim != 2 or q.shape[1] != dim or not len(q):
        raise QueryError(f"query vectors of shape {q.shape}; the collection needs [Q, {dim}]")
    if len(without_direction(q)):
        raise QueryError("a query vector is zero or not finite, so it has no direction to search in")
    return unit_length(q)


def is_vector(subject: Any) -> bool:
    """Whether this is a vector and not an image: one row of floating point numbers."""
    return isinstance(subject, np.ndarray) and subject.ndim == 1 and np.issubdtype(subject.dtype, np.floating)


def weighted(query: Query, plus: Sequence[Weighted], minus: Sequence[Weighted]) -> list[tuple[Subject, float]]:
    """Every part of a query with its weight; several images weigh the same, 1 together."""
    several: Sequence[Any] = query if isinstance(query, (list, tuple)) else [query]
    if not several:
        raise QueryError("nothing to search with: give an image, an id or a vector")
    parts = [(subject, 1 / len(several)) for subject in several]
    for sign, more in ((1.0, plus), (-1.0, minus)):
        for subject in more:
            if isinstance(subject, tuple):
                parts.append((subject[0], sign * float(subject[1])))
            else:
                parts.append((subject, sign))
    if not all(np.isfinite(weight) for _, weight in parts):
        raise QueryError("a weight of the query is not a finite number")
    return parts


def encode_images(images: Sequence[ImageSource], encoder: ImageEncoder) -> Vector:
    """Images as unit vectors `[n, D]`, read as `embed` reads, so that one of the collection gives its own vector.

    Raises BrokenImageError.
    """
    size = resize_side(encoder.spec.input_size, encoder.spec.crop_pct)
    vectors = encoder.encode([read_image(image, size=size) for image in images], normalize=True)
    if not np.isfinite(vectors).all():
        raise BrokenImageError("the encoder gives values that are not finite for this image")
    return vectors
