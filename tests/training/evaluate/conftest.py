"""A small labelled data set, a tiny encoder, and an empty folder for its features."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpchub.encoders.encoder import Encoder
from cpchub.encoders.load import load
from cpchub_training.evaluate import FeatureCache
from cpchub_training.evaluate.datasets import DataSet
from tests.training.evaluate.colours import folder_of_colours, patterns


@pytest.fixture(scope="module")
def data() -> DataSet:
    return DataSet("colours", ("red", "green", "blue"), patterns(90, 0), patterns(45, 1))


@pytest.fixture(scope="module")
def encoder(tiny_encoder_folder: Path) -> Encoder:
    return load(tiny_encoder_folder)


@pytest.fixture
def cache(encoder: Encoder, tmp_path: Path) -> FeatureCache:
    return FeatureCache(encoder, tmp_path / "cache")


@pytest.fixture
def colour_folder(tmp_path: Path) -> Path:
    return folder_of_colours(tmp_path / "colours", each=10)
