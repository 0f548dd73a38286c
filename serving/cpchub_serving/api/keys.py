"""Who may ask, by a key, and how often."""

from __future__ import annotations

import hashlib

from limits import parse

from cpchub.errors import ArgumentError
from cpchub_serving.api.failures import Refused
from cpchub_serving.process.keys import Keys
from cpchub_serving.process.rates import Rate


class Door:
    """Lets a request in by its key and its rate.

    keys: of these one has to be sent, `Authorization: Bearer KEY`; none for an API that is open. rate: requests of one
    key, or without keys of one address, as `limits` writes it; "" for no bound. Raises ArgumentError for another rate.
    """

    def __init__(self, keys: Keys, rate: str) -> None:
        self._keys = keys
        self._rate = _rate(rate)

    @property
    def needs_key(self) -> bool:
        return bool(self._keys)

    def check(self, authorization: str, address: str) -> None:
        """Raise Refused with 401 for a wrong key, and with 429 for a client that asks too often."""
        client = address
        if self._keys:
            scheme, _, given = authorization.partition(" ")
            if not self._keys.has(given.strip()) or scheme.lower() != "bearer":
                raise Refused(
                    401, "this API needs a key: send it as Authorization: Bearer KEY", kind="authentication_error"
                )
            client = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).hexdigest()
        if self._rate is not None and not self._rate.take(client):
            raise Refused(
                429,
                f"more than {self._rate.most}; try again later",
                kind="rate_limit_error",
                retry_after=self._rate.wait(client),
            )


def _rate(text: str) -> Rate | None:
    if not text:
        return None
    try:
        return Rate(parse(text))
    except ValueError as error:
        raise ArgumentError(f"--rate {text!r} is no rate; write for example 600/minute") from error
