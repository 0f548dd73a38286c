"""How often one client may do something."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


class Rate:
    """At most so many things of each client in a period that moves with the time."""

    def __init__(self, most: RateLimitItem) -> None:
        self.most = most
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def take(self, client: str) -> bool:
        """Count one more; False, and not counted, where it is too much."""
        return self._limiter.hit(self.most, client)

    def wait(self, client: str) -> int:
        """Seconds until the client may again; 0 where it may now."""
        reset, left = self._limiter.get_window_stats(self.most, client)
        return 0 if left else max(1, math.ceil(reset - time.time()))
