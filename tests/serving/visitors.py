"""What visitors do to a page, over plain HTTP: upload whole or in part, hold streams open, ask for what takes long."""

from __future__ import annotations

import json
import socket
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from tests.processes import PATIENCE, wait_for
from tests.serving.conftest import Page

EDGE = "the-edge"
NAMED = '--{}\r\nContent-Disposition: form-data; name="files"; filename="{}"\r\n\r\n'
HEAD = NAMED.format(EDGE, "a.png").encode()
KIND = {"Content-Type": f"multipart/form-data; boundary={EDGE}"}


def post_upload(page_url: str, content: bytes, name: str = "a.png") -> Path:
    """Upload a file as the page does; where the server keeps it. Raises HTTPError where it is refused."""
    body = NAMED.format(EDGE, name).encode() + content + f"\r\n--{EDGE}--\r\n".encode()
    request = urllib.request.Request(f"{page_url}gradio_api/upload", body, KIND)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return Path(json.load(answer)[0])


def nobody(page: Page, stack: ExitStack) -> None:
    pass


def uploaded(page: Page, stack: ExitStack) -> None:
    kept = post_upload(page.url, b"an image")
    assert kept.read_bytes() == b"an image"
    assert kept in page.files()


def uploading(page: Page, stack: ExitStack) -> None:
    """An upload that has begun and goes on as long as the page lets it."""
    sender = stack.enter_context(socket.create_connection(("127.0.0.1", urlsplit(page.url).port)))
    lines = ["POST /gradio_api/upload HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {KIND['Content-Type']}"]
    sender.sendall("\r\n".join([*lines, "Content-Length: 1000000", "", ""]).encode() + HEAD + bytes(500_000))
    wait_for(page.files, "nothing has arrived")


def watching(page: Page, stack: ExitStack) -> None:
    """Two open browsers, each with the stream that tells it that the page is alive."""
    for visitor in ("one", "other"):
        stream = stack.enter_context(
            urllib.request.urlopen(f"{page.url}gradio_api/heartbeat/{visitor}", timeout=PATIENCE)
        )
        assert stream.readline() == b"data: ALIVE\n"


def embedding(page: Page, stack: ExitStack) -> None:
    """A program that sends images to the API, and has not sent all of the last one."""
    port = urlsplit(page.url).port
    sender = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
    lines = ["POST /v1/embeddings HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {KIND['Content-Type']}"]
    sender.sendall("\r\n".join([*lines, "Content-Length: 1000000", "", ""]).encode() + HEAD + bytes(500_000))


def mapping(page: Page, stack: ExitStack) -> None:
    """A map that is being made: the page was started with the job "endless map"."""

    def what() -> str:
        with urllib.request.urlopen(f"{page.url}page/map/state", timeout=PATIENCE) as answer:
            return json.load(answer)["what"]

    wait_for(lambda: what() == "Arranging", "the map has not begun")


def computing(page: Page, stack: ExitStack) -> None:
    """A search that does not end by itself: the page was started with a `job`."""
    endpoint = f"{page.url}gradio_api/call/neighbours"
    asked = json.dumps({"data": [3, 5]}).encode()
    request = urllib.request.Request(endpoint, asked, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        event = json.load(answer)["event_id"]
    stack.enter_context(urllib.request.urlopen(f"{endpoint}/{event}", timeout=PATIENCE))
    wait_for(lambda: "at work" in page.log, "the search has not begun")
