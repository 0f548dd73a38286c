"""Three clouds of unit vectors, and a visitor who labels rows of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cpchub_serving.visit.label_files import LabelFiles
from cpchub_serving.visit.label_set import LabelSet
from cpchub_serving.visit.predictions import Predictions, predict
from cpchub_serving.visit.session import Session

COUNT = 60
PATHS = [f"{row}.png" for row in range(COUNT)]
Features = npt.NDArray[np.float32]


def three_clouds() -> Features:
    """Three clouds of unit vectors: row r belongs to cloud r % 3."""
    noise = np.random.default_rng(0).normal(scale=0.25, size=(COUNT, 8))
    vectors = np.eye(3, 8)[np.arange(COUNT) % 3] + noise
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def label_set(folder: Path, name: str = "default") -> LabelSet:
    """The set as a server opens it that has just been started."""
    return LabelSet(LabelFiles(folder / "labels", name), PATHS)


def labelled(labels: LabelSet, session: Session, features: Features, per_class: int) -> Predictions:
    """The first images of each cloud labelled as they are, and what follows."""
    classes = labels.now.classes
    session.take(labels, {row: classes[row % 3] for row in range(3 * per_class)})
    return predict(features, labels.now.labels)
