"""Features of three clouds, and a visitor with three classes."""

from __future__ import annotations

import pytest

from cpchub_serving.visit.session import Session
from tests.serving.visit.clouds import COUNT, Features, three_clouds


@pytest.fixture
def features() -> Features:
    return three_clouds()


@pytest.fixture
def session() -> Session:
    session = Session(COUNT)
    session.add_classes("cat, dog, bird")
    return session
