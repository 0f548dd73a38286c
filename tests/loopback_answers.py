"""How the loopback Hub answers: JSON, an error as the Hub words it, or bytes, from where the client asks for them."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.loopback_hub import LoopbackHub


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> LoopbackHub:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    @property
    def token(self) -> str:
        return (self.headers.get("authorization") or "").removeprefix("Bearer ")

    def send_ranged(
        self, content: bytes, headers: dict[str, str], *, cut_after: int | None = None, counted: bool = False
    ) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        status = 200
        if wanted is not None:
            self.hub.ranges.append(wanted[0])
            start = int(wanted[1])
            headers = {**headers, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            content, status = content[start:], 206
        sent = self.send(status, content, headers, cut_after=cut_after)
        if counted:
            with self.hub.lock:
                self.hub.weights_sent += sent

    def refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        more = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
        self.send(status, json.dumps({"error": message}).encode(), {"Content-Type": "application/json", **more})

    def answer(self, status: int, content: Any, content_type: str = "application/json") -> None:
        self.send(status, json.dumps(content).encode(), {"Content-Type": content_type})

    def send(self, status: int, content: bytes, headers: dict[str, str], *, cut_after: int | None = None) -> int:
        """Answer; returns how many bytes of the content went out."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return 0
        part = content[:cut_after]
        self.wfile.write(part)
        if len(part) < len(content):
            self.close_connection = True  # as when a cable is pulled: less than Content-Length has said
        return len(part)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: pytest's output is for failures."""
