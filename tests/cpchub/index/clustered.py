"""Vectors in soft clusters, stored as a collection, and the recall of an index over them by numpy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.index import Index

D = 32
N = 4000


def clustered(count: int, seed: int, dim: int = D) -> npt.NDArray[np.float32]:
    """Unit vectors in soft clusters, as images of some hundred motifs would be."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(200, dim))
    vectors = centres[random.integers(0, 200, count)] + random.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def stored(folder: Path, ids: npt.NDArray[np.int64], vectors: npt.NDArray[np.float32]) -> Collection:
    """A collection with these ids; the label tells an id's last digit."""
    paths, labels = [f"{i:06d}.jpg" for i in ids], [str(i % 10) for i in ids]
    return import_vectors(folder, vectors, paths, ids=ids, labels=labels)


def true_recall(index: Index, queries: npt.NDArray[np.float32], k: int = 10, mask: object = None) -> float:
    """Recall@k by numpy alone."""
    vectors = np.asarray(index.collection.vectors())
    scores = queries @ vectors.T
    if mask is not None:
        scores[:, ~np.asarray(mask)] = -np.inf
    truth = np.argsort(-scores, axis=1)[:, :k]
    found = index.search_vectors(queries, k, where=None if mask is None else "label in ('1', '2', '3')")[1]
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(truth.tolist(), found.tolist(), strict=True)]))
