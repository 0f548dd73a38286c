"""The sets of images that are measured: their vectors by one encoder, and their classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.encoders.encoder import Encoder
from cpchub_training.evaluate.datasets import open_labelled
from cpchub_training.evaluate.features import FeatureCache

Features = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelledSet:
    """x: vectors `[N, D]`, not normalised; y: class numbers `[N]`; names: those of the classes.

    facts: what describes the set in a JSON file.
    """

    name: str
    facts: dict[str, Any]
    names: tuple[str, ...]
    x: Features
    y: Classes

    @property
    def labels(self) -> npt.NDArray[np.str_]:
        """The class names `[N]`, as a file of labels has them."""
        return np.array(self.names)[self.y]


def open_set(where: str, encoder: Encoder, cache: Path | None = None) -> LabelledSet:
    """A folder with a folder a class, below `train/` and `test/` (or `val/`) or not, or `cifar10`.

    Of CIFAR-10 (in the folder `CPCHUB_DATA`) only the test part is taken, since the encoders of this package were
    trained on the other. cache: the folder of the vectors, by default that of `cpchub eval`.
    """
    data, features = open_labelled(where), FeatureCache(encoder, cache)
    if where == "cifar10":
        facts = {"name": f"{data.name} test", "classes": len(data.classes), "images": len(data.test)}
        facts |= {"digest": data.test.digest}
        return LabelledSet(facts["name"], facts, data.classes, np.array(features.of(data, "test")), data.test.labels)
    x = np.concatenate([features.of(data, "train"), features.of(data, "test")])
    y = np.concatenate([data.train.labels, data.test.labels])
    return LabelledSet(data.name, {"images": len(y)} | data.facts, data.classes, x, y)
