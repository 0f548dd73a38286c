"""Three clouds of unit vectors, and a visitor who labels rows of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cpchub_serving.visit.session import Session

COUNT = 60
Features = npt.NDArray[np.float32]


def three_clouds() -> Features:
    """Three clouds of unit vectors: row r belongs to cloud r % 3."""
    noise = np.random.default_rng(0).normal(scale=0.25, size=(COUNT, 8))
    vectors = np.eye(3, 8)[np.arange(COUNT) % 3] + noise
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def labelled(session: Session, features: Features, per_class: int) -> Session:
    for row in range(3 * per_class):
        session.label(row, session.classes[row % 3])
    session.classify(features)
    return session
