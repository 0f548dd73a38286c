"""Embedding and searching with a real network, an untrained timm ResNet-18."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cpchub.embedding.job import embed
from cpchub.encoders.encoder import Encoder
from cpchub.encoders.load import load
from cpchub.errors import EncoderMismatchError
from cpchub.index import Index
from cpchub.media.decode import ORIENTATION_TAG
from tests.cpchub.images import an_image, folder_of_images, save


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return load("timm/resnet18", pretrained=False, num_classes=0)


@pytest.fixture(scope="module")
def index(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("resnet18")
    source = folder_of_images(folder / "photos", 6)
    save(an_image(20, (2400, 1600)), source / "large.jpg", quality=95)
    return Index.build(embed(source, folder / "out", encoder, progress=False, batch_size=4), encoder)


def test_the_vectors_are_those_of_encode(index: Index, encoder: Encoder) -> None:
    paths = [index.collection.path_of(row) for row in range(len(index))]
    assert np.allclose(index.collection.vectors(), encoder.encode(paths, normalize=True), atol=1e-5)


def test_each_image_finds_itself_first(index: Index) -> None:
    for row in range(len(index)):
        hit = index.search(index.collection.path_of(row), k=1)[0]
        assert hit.row == row
        assert hit.score >= 0.999


def test_a_copy_turned_by_exif_finds_the_upright_one(index: Index, tmp_path: Path) -> None:
    exif = an_image(3).getexif()
    exif[ORIENTATION_TAG] = 8
    turned = save(an_image(3).rotate(-90, expand=True), tmp_path / "turned.png", exif=exif)
    hit = index.search(turned, k=1)[0]
    assert hit.path == "003.png"
    assert hit.score >= 0.999


def test_another_network_is_refused(index: Index) -> None:
    with pytest.raises(EncoderMismatchError, match="resnet18"):
        Index.open(index.collection.folder, load("timm/resnet34", pretrained=False, num_classes=0))
