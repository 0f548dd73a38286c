"""Noisy images of three colours, in memory and in folders, and settings to measure on them in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cpchub_training.evaluate import Settings
from cpchub_training.evaluate.datasets import Part

SETTINGS = Settings(fractions=(0.1, 1.0), per_class=(2,), seeds=(0, 1), scratch_images=32)


def patterns(n: int, seed: int) -> Part:
    """Noisy images of three colours."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 120, (n, 16, 16, 3))
    images[np.arange(n), :, :, labels] += 60
    return Part(list(images.astype(np.uint8)), labels.astype(np.int64), f"digest{n}{seed}")


def folder_of_colours(root: Path, each: int) -> Path:
    """A folder a class, with so many noisy images each."""
    rng = np.random.default_rng(0)
    for channel, name in ((2, "blue"), (1, "green"), (0, "red")):
        (root / name).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 100, (20, 20, 3), np.uint8)
            pixels[:, :, channel] += 100
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root
