"""What the API takes of each client, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds of a request and of all requests together.

    body: most bytes of a request. upload_seconds: until a body has to be there whole. images: most in a request.
    pixels: most of an image, as its header says. queue: most images that wait or are computed; one more request is
    answered with 429. batch: most images that the network takes together. wait_ms: how long the first image of a batch
    waits for others. rate: requests of one client, as the package `limits` writes it ("600/minute"); "" for no bound.
    neighbours: most results of a search.
    """

    body: int = 32 * MB
    upload_seconds: float = 30.0
    images: int = 256
    pixels: int = 100_000_000
    queue: int = 1024
    batch: int = 64
    wait_ms: float = 5.0
    rate: str = ""
    neighbours: int = 1000
