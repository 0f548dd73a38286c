"""The API over the collection of coloured images, called without a network, and over HTTP."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from cpchub.fewlabels.classify import learn
from cpchub.fewlabels.heads.head import Head
from cpchub_serving.api.app import build
from cpchub_serving.api.keys import Door
from cpchub_serving.api.limits import Limits
from cpchub_serving.api.service import Service
from cpchub_serving.process.keys import Keys
from tests.processes import wait_for

MakeApp = Callable[..., FastAPI]


@pytest.fixture(scope="session")
def make_app(served: Any) -> MakeApp:
    """Makes an application; limits, keys, rate and origins as given."""
    colours = {path: path.partition("/")[0] for path in served.index.collection.paths[::4]}
    of_colours = learn(served.index.collection, colours)

    def make(
        *,
        keys: tuple[str, ...] = (),
        rate: str = "",
        origins: tuple[str, ...] = (),
        head: Head = of_colours,
        **limits: Any,
    ) -> FastAPI:
        service = Service(served.encoder, served.index, {"colours": head}, Limits(**limits))
        return build(service, Door(Keys(keys), rate), origins)

    return make


@pytest.fixture(scope="session")
def client(make_app: MakeApp) -> Iterator[TestClient]:
    with TestClient(make_app()) as called:
        yield called


@contextmanager
def over_http(app: FastAPI) -> Iterator[str]:
    """The address of an application that is served on 127.0.0.1."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, "the server has not started")
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def served_over_http() -> Callable[[FastAPI], AbstractContextManager[str]]:
    return over_http


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()
