"""Milvus Lite for tests: where it is installed, a new folder for it, and its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpchub.index.place import FAISS, MILVUS

__all__ = ["FAISS", "ended", "milvus_in"]


def milvus_in(folder: Path) -> str:
    """A store in a new folder of Milvus Lite; the test is skipped where that is not installed."""
    for package in ("pymilvus", "milvus_lite"):
        pytest.importorskip(package)
    return f"{MILVUS}{folder / 'store.db'}"


def ended(store: str) -> None:
    """End the server of Milvus Lite in this process, so that the next one reads what is on the disk."""
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(store.removeprefix(MILVUS))
