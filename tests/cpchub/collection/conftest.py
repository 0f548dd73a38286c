"""A source of eight images in shards of three, and a place in an object store for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cpchub.buckets import another_machine
from tests.cpchub.images import folder_of_images


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpchub.embedding.job.SHARD", 3)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return folder_of_images(tmp_path / "photos", 8)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place that no other test has, and a machine that has never seen it."""
    another_machine(monkeypatch, tmp_path / "cache")
    return f"memory://{request.node.name}"
