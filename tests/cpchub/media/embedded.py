"""The collection of a source, by the smallest encoder, and whether each vector is that of its image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cpchub.collection.collection import Collection
from cpchub.embedding.job import embed
from cpchub.media.decode import read_image
from tests.cpchub.images import TinyEncoder
from tests.cpchub.media.stored import png


def expected(seed: int) -> np.ndarray:
    return TinyEncoder().encode([read_image(png(seed), size=4)], normalize=True)[0]


def embedded(source: object, out: Path, **options: Any) -> Collection:
    return run(source, out, **options)[0]


def run(source: object, out: Path, **options: Any) -> tuple[Collection, int]:
    """The collection, and how many images went through the encoder."""
    encoder = TinyEncoder()
    return embed(source, out, encoder, progress=False, batch_size=4, **options), encoder.seen


def check_pairs(collection: Collection, seeds: dict[str, int]) -> None:
    assert sorted(collection.paths) == sorted(seeds)
    for row, path in enumerate(collection.paths):
        assert np.allclose(collection.vectors()[row], expected(seeds[path]), atol=1e-6), path
