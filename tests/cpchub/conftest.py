"""Fixtures for tests that talk to a Hub: their own cache, and a Hub on 127.0.0.1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cpchub.catalog import listing
from tests.loopback_hub import LoopbackHub, loopback_hub


@pytest.fixture(scope="session", autouse=True)
def cpu_without_bfloat16() -> Iterator[None]:
    """The vectors of a test are of one precision on every machine; tests of bfloat16 say that the CPU has it."""
    from cpchub.encoders.fast import processor

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(processor, "cpu_has_bfloat16", lambda: False)
        yield


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny_encoder import export_tiny

    return export_tiny(tmp_path_factory.mktemp("hub") / "tiny")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing leaves the test: its own cache, no token, no Xet, an empty catalog, and no Hub unless it starts one."""
    import huggingface_hub.constants

    home = tmp_path / "hf"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(home))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(listing, "catalog_folder", lambda: tmp_path / "model_cards")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    return home


@pytest.fixture
def hub(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with loopback_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
