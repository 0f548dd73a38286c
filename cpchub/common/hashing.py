"""Hashes of files and bytes: sha256, and what git names a file by."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 22  # bytes read at once


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex; the file is read now, and nothing is remembered."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def bytes_sha256(data: bytes) -> str:
    """The sha256 of bytes in memory, in hex."""
    return hashlib.sha256(data).hexdigest()


def is_sha256(text: str) -> bool:
    """Whether a text is a sha256 as the Hub writes it: 64 lower-case hex digits."""
    return _SHA256.fullmatch(text) is not None


def git_blob_sha1(data: bytes) -> str:
    """What git, and the Hub for small files, names a file with these bytes by, in hex."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
