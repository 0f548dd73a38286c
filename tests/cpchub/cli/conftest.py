"""A collection of eight images, made once for each file of tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.index import Index
from tests.cpchub.images import folder_of_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("images") / "photos", 8)


@pytest.fixture(scope="module")
def collection(images: Path, tiny_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("collection") / "photos-index"
    Index.build(embed(images, out, load(tiny_encoder_folder), progress=False))
    return out
