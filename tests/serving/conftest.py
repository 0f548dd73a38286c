"""A small collection of coloured pictures, embedded by the real code with a tiny random encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.embed import embed
from cpchub.encoder import Encoder, load
from cpchub.index import Index

COLOURS = {"blue": (40, 80, 200), "green": (50, 170, 70), "red": (210, 50, 40)}
PER_CLASS = 20


@dataclass(frozen=True)
class Served:
    """What a page is built from, and where its pictures lie."""

    index: Index
    encoder: Encoder
    pictures: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_encoder_folder: Path) -> Served:
    root = tmp_path_factory.mktemp("served")
    pictures = root / "colours"
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (pictures / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            coarse = np.clip(np.array(colour) + random.normal(scale=30, size=(4, 4, 3)), 0, 255).astype(np.uint8)
            picture = Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)
            picture.save(pictures / name / f"{name}-{number:02}.png")
    encoder = load(tiny_encoder_folder, device="cpu")
    collection = embed(pictures, root / "collection", encoder, progress=False, labels="folders")
    return Served(Index.build(collection, encoder), encoder, pictures)
