"""The keys of an API and of its page: where they come from, and their comparison in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from pathlib import Path

from cpchub.errors import ArgumentError

VARIABLE = "CPCHUB_API_KEYS"  # several are separated by commas
SHORTEST = 16


class Keys:
    """Keys, of which a client sends one; without any, everybody may ask."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def has(self, given: str) -> bool:
        """Whether `given` is one of the keys."""
        return _is_among(_digest(given), self._digests)

    def ticket(self, given: str) -> str:
        """What a browser keeps in place of the key: it admits as long as the key does, and does not tell the key."""
        return _ticket(_digest(given)).hex()

    def admits(self, ticket: str) -> bool:
        """Whether `ticket` was given for one of the keys."""
        seen = ticket.encode("utf-8", "surrogateescape")
        return _is_among(seen, [_ticket(key).hex().encode() for key in self._digests])


def read_keys(file: Path | None) -> Keys:
    """The keys of a file, one a line, and of CPCHUB_API_KEYS. Raises ArgumentError for one that can be guessed."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file is not None else []
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"the file of API keys {file} cannot be read: {error}") from error
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if file is not None and not found:
        raise ArgumentError(f"the file of API keys {file} has none; write one a line")
    found += [key.strip() for key in os.environ.get(VARIABLE, "").split(",") if key.strip()]
    if short := next((key for key in found if len(key) < SHORTEST), None):
        raise ArgumentError(f"an API key has {len(short)} characters, and can be guessed; use {SHORTEST} or more")
    return Keys(found)


def _is_among(seen: bytes, known: Sequence[bytes]) -> bool:
    """All are compared, and their hashes, so the time tells neither which was near nor how long it is."""
    same = [hmac.compare_digest(seen, each) for each in known]
    return any(same)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _ticket(digest: bytes) -> bytes:
    return hmac.digest(digest, b"cpchub page", "sha256")
