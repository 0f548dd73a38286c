"""A source of ten images, and shards of three of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cpchub.images import folder_of_images


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return folder_of_images(tmp_path / "photos")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpchub.embedding.job.SHARD", 3)
