"""In no test of the importers does a checkpoint run code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cpchub.importers.traps import RAN


@pytest.fixture(autouse=True)
def _nothing_runs() -> Iterator[None]:
    RAN.clear()
    yield
    assert not RAN
