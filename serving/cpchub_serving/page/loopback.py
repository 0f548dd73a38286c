"""A page asks itself whether it is up; where a proxy is set, that question must not go to the proxy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = ("NO_PROXY", "no_proxy")  # of both spellings the second wins


@contextmanager
def asked_directly(host: str) -> Iterator[None]:
    """In this block requests to this machine, and to `host`, go past any proxy of the environment."""
    before = {name: os.environ.get(name) for name in NAMES}
    kept = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    direct = ",".join(dict.fromkeys(filter(None, (kept, "localhost", "127.0.0.1", "::1", host))))
    os.environ.update(dict.fromkeys(NAMES, direct))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
