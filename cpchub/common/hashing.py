"""SHA-256 of files and bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


_CHUNK = 1 << 20


def read_sha256(path: Path) -> str:
    """The sha256 of a file, in hex; read now, and not remembered."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_bytes(data: bytes) -> str:
    """The sha256 of bytes in memory, in hex."""
    return hashlib.sha256(data).hexdigest()
