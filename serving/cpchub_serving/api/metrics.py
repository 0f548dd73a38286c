"""What the API counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cpchub_serving.api.batching import Batcher

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
CALL = Callable[[Request], Awaitable[Response]]


class Metrics:
    """The counts of one API; `batcher` tells how many images wait."""

    def __init__(self, batcher: Batcher) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "cpchub_requests_total", "Requests by path and status", ("path", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "cpchub_request_seconds", "Time of a request", ("path",), buckets=SECONDS, registry=self.registry
        )
        self._batches = Histogram(
            "cpchub_batch_images", "Images that the network took together", buckets=SIZES, registry=self.registry
        )
        waiting = Gauge("cpchub_waiting_images", "Images that wait or are computed", registry=self.registry)
        waiting.set_function(lambda: batcher.waiting)
        batcher.on_batch = self._batches.observe

    async def around(self, request: Request, call_next: CALL) -> Response:
        """Middleware that counts and times each request."""
        started = time.perf_counter()
        status = 500
        try:
            response = await call_next(request)
            status = response.status_code
            return response
        finally:
            route = request.scope.get("route")
            path = getattr(route, "path", "other")  # never what a client made up: each value is kept for good
            self._requests.labels(path, status).inc()
            self._seconds.labels(path).observe(time.perf_counter() - started)

    def page(self) -> Response:
        """All of it, in Prometheus's text format."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)
