"""How large a request to a page may be: Gradio bounds each uploaded file, but not their number, and no other body."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from cpchub_serving.process.asgi import App, Message, Receive, Scope, Send

LARGEST_REQUEST = 64 << 20  # bytes: two of the largest files
SAID = f"A request has at most {LARGEST_REQUEST >> 20} MB; send fewer or smaller files."


class Bounded:
    """ASGI middleware: a request with more bytes is answered with 413, and the rest of it is not read."""

    def __init__(self, app: App, *, most: int = LARGEST_REQUEST) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.most:
            await PlainTextResponse(SAID, 413, {"Connection": "close"})(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.most:
                raise HTTPException(413, SAID)  # the route that reads the body is left
            return message

        await self.app(scope, counted, send)
