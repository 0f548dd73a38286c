"""Before a request is read: its key, its rate, its size, and how long it takes to arrive."""

from __future__ import annotations

import asyncio

from cpchub_serving.api.failures import Refused, answer
from cpchub_serving.api.keys import Door
from cpchub_serving.api.limits import Limits
from cpchub_serving.process.asgi import App, Message, Receive, Scope, Send, path_of

DESCRIBED_WITH = "/docs-files"  # scripts and styles of the page at /docs
OPEN = ("/healthz", "/docs", "/openapi.json")  # a load balancer asks the first; a browser sends no key for the others


class Guard:
    """ASGI middleware. The body is read here whole, so that no handler waits for a slow sender or holds a large one."""

    def __init__(self, app: App, *, door: Door, limits: Limits) -> None:
        self.app = app
        self.door = door
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it with 401, 408, 411, 413 or 429."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        path = path_of(scope)
        try:
            if path not in OPEN and not path.startswith(f"{DESCRIBED_WITH}/"):
                client = scope.get("client")
                self.door.check(headers.get(b"authorization", b"").decode("latin-1"), client[0] if client else "")
            body = await self._body(headers, receive)
        except Refused as error:
            response = answer(error.status, error.message, error.kind, error.retry_after)
            response.headers["Connection"] = "close"  # what is left of the body is not read
            await response(scope, receive, send)
            return
        except _Gone:
            return
        await self.app(scope, _again(body, receive), send)

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise Refused(400, "Content-Length is not a number")
        self._check_size(int(length))
        try:
            return await asyncio.wait_for(self._whole(receive), self.limits.upload_seconds)
        except asyncio.TimeoutError as error:
            seconds = f"{self.limits.upload_seconds:g}"
            raise Refused(408, f"the request did not arrive within {seconds} seconds; send it faster") from error

    async def _whole(self, receive: Receive) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            self._check_size(size)
            more = message.get("more_body", False)
        return b"".join(parts)

    def _check_size(self, size: int) -> None:
        if size > self.limits.body:
            raise Refused(413, f"the request has more than {self.limits.body:,} bytes; send fewer or smaller images")


class _Gone(Exception):
    """The client has left."""


def _again(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read once, then whatever comes."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
