"""Who may ask: keys, compared in constant time, and how often."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import Sequence
from pathlib import Path

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from cpchub.errors import ArgumentError
from cpchub_serving.api.failures import Refused

VARIABLE = "CPCHUB_API_KEYS"  # several are separated by commas
SHORTEST = 16


def read_keys(file: Path | None) -> tuple[str, ...]:
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
    return tuple(found)


class Door:
    """Lets a request in by its key and its rate.

    keys: of these one has to be sent, `Authorization: Bearer KEY`; none for an API that is open. rate: requests of one
    key, or without keys of one address, as `limits` writes it; "" for no bound. Raises ArgumentError for another rate.
    """

    def __init__(self, keys: Sequence[str], rate: str) -> None:
        self._keys = [_digest(key) for key in keys]
        self._rate = _rate(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for."""
        return not self._keys

    def check(self, authorization: str, address: str) -> None:
        """Raise Refused with 401 for a wrong key, and with 429 for a client that asks too often."""
        client = address
        if self._keys:
            scheme, _, given = authorization.partition(" ")
            seen = _digest(given.strip())
            # All keys are compared, and their hashes, so the time tells neither which was near nor how long it is.
            known = [hmac.compare_digest(seen, key) for key in self._keys]
            if scheme.lower() != "bearer" or not any(known):
                raise Refused(
                    401, "this API needs a key: send it as Authorization: Bearer KEY", kind="authentication_error"
                )
            client = seen.hex()
        if self._rate is not None and not self._limiter.hit(self._rate, client):
            raise Refused(
                429,
                f"more than {self._rate}; try again later",
                kind="rate_limit_error",
                retry_after=self._seconds(self._rate, client),
            )

    def _seconds(self, rate: RateLimitItem, client: str) -> int:

        reset, _ = self._limiter.get_window_stats(rate, client)
        return max(1, round(reset - time.time()))


def _rate(text: str) -> RateLimitItem | None:
    if not text:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise ArgumentError(f"--rate {text!r} is no rate; write for example 600/minute") from error


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
