"""Features of three clouds, and a visitor with three classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpchub_serving.visit.label_set import LabelSet
from cpchub_serving.visit.session import Session
from tests.serving.visit.clouds import Features, label_set, three_clouds


@pytest.fixture
def features() -> Features:
    return three_clouds()


@pytest.fixture
def labels(tmp_path: Path) -> LabelSet:
    """An empty set with the classes cat, dog and bird."""
    labels = label_set(tmp_path)
    labels.change("somebody", {}, add=["cat", "dog", "bird"])
    return labels


@pytest.fixture
def session(labels: LabelSet) -> Session:
    """A visitor who gives the class bird."""
    return Session("me", active="bird")
