"""A server of plain files on 127.0.0.1 that stands in for every host (CPCHUB_MIRROR): ranges, versions, faults."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.loopback import answering


class FileServer:
    """Its state, and what it does wrong on purpose. `asked` has the path of each request, `ranges` its Range header."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.heads: list[str] = []  # the paths of HEAD requests
        self.ranges: list[str] = []
        self.cuts: list[int] = []  # after how many bytes the next answers break off
        self.statuses: dict[str, int] = {}  # by path: what is answered instead
        self.moved: dict[str, str] = {}  # by path: where the server sends
        self.content_type = "application/octet-stream"
        self.versions = True  # whether it says which version of a file it gives
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.owner = self  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        owner: FileServer = self.server.owner  # type: ignore[attr-defined]
        owner.heads.append(self.path)
        status = owner.statuses.get(self.path, 200 if self.path in owner.files else 404)
        if self.path in owner.moved:
            status = 302
        self.send_response(status)
        if status == 302:
            self.send_header("Location", owner.moved[self.path])
        if status == 200:
            self.send_header("Content-Type", owner.content_type)
            self.send_header("Content-Length", str(len(owner.files[self.path])))
        self.end_headers()

    def do_GET(self) -> None:
        owner: FileServer = self.server.owner  # type: ignore[attr-defined]
        wanted = self.headers.get("Range", "")
        with owner.lock:
            owner.asked.append(self.path)
            owner.ranges.append(wanted)
            cut = owner.cuts.pop(0) if owner.cuts else None
        if self.path in owner.moved:
            return self._answer(302, b"", {"Location": owner.moved[self.path]})
        if self.path in owner.statuses or self.path not in owner.files:
            return self._answer(owner.statuses.get(self.path, 404), b"no", {})
        content = owner.files[self.path]
        version = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"Content-Type": owner.content_type} | ({"ETag": version} if owner.versions else {})
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and self.headers.get("If-Range") == version else 0
        if start >= len(content) > 0:
            return self._answer(416, b"", {})
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._answer(206 if start else 200, content[start:], headers, cut)

    def _answer(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


def asked_for(address: str) -> str:
    """What a server is asked for; Dropbox gives a file only with `?dl=1`."""
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


@contextmanager
def loopback_files() -> Iterator[FileServer]:
    """A running server; stopped on the way out."""
    files = FileServer()
    with answering(files.server):
        yield files
