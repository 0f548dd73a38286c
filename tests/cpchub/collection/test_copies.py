"""Copies: near for the encoder and the same as whole images; nearer still where an image cannot be read."""

from __future__ import annotations

import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.collection.copies import COPY, COPY_IF_CONFIRMED, Copies, cosine_at
from cpchub.collection.import_vectors import import_vectors
from tests.cpchub.images import an_image, save

USUAL = np.sqrt(2)  # the distance of vectors at right angles
PATHS = ["one.png", "smaller.png", "other.png", "gone.png"]


def turned(distance: float) -> np.ndarray:
    """A unit vector at a distance from the first axis."""
    cosine = cosine_at(distance)
    return np.array([cosine, np.sqrt(1 - cosine**2), *[0] * 10], np.float32)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Three near the first axis, and a vector along each of the others."""
    near = turned(0.9 * COPY_IF_CONFIRMED * USUAL)
    return np.stack([np.eye(12, dtype=np.float32)[0], near, near, near, *np.eye(12, dtype=np.float32)[1:]])


@pytest.fixture(scope="module")
def collection(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("copies")
    save(an_image(1, (96, 80)), folder / "photos" / "one.png")
    save(an_image(1, (96, 80)).reduce(2), folder / "photos" / "smaller.png")
    save(an_image(2, (96, 80)), folder / "photos" / "other.png")
    paths = [*PATHS, *(f"{number}.png" for number in range(11))]
    return import_vectors(folder / "index", vectors, paths, source=folder / "photos")


def is_copy(collection: Collection | None, vectors: np.ndarray, row: int, vector: np.ndarray | None = None) -> bool:
    """Whether an image is a copy of the first one."""
    copies = Copies(np.eye(12, dtype=np.float32), collection)
    return copies.has(row, vectors[row] if vector is None else vector, np.array([0]), vectors[:1])


def test_a_near_image_is_a_copy_if_it_is_the_same_as_a_whole(collection: Collection, vectors: np.ndarray) -> None:
    assert is_copy(collection, vectors, PATHS.index("smaller.png"))
    assert not is_copy(collection, vectors, PATHS.index("other.png"))


def test_an_image_that_cannot_be_read_is_a_copy_if_it_is_nearer_still(
    collection: Collection, vectors: np.ndarray
) -> None:
    gone = PATHS.index("gone.png")
    assert not is_copy(collection, vectors, gone)
    assert is_copy(collection, vectors, gone, turned(0.9 * COPY * USUAL))


def test_without_images_the_vectors_decide(vectors: np.ndarray) -> None:
    assert not is_copy(None, vectors, 1)
    assert is_copy(None, vectors, 1, turned(0.9 * COPY * USUAL))
    assert not is_copy(None, vectors, 1, turned(1.1 * COPY * USUAL))


def test_an_image_is_no_copy_of_none() -> None:
    none = np.empty((0, 12), np.float32)
    assert not Copies(np.eye(12, dtype=np.float32)).has(0, np.eye(12, dtype=np.float32)[0], np.empty(0, int), none)
