"""A small collection of coloured pictures, embedded by the real code with a tiny random encoder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.embed import embed
from cpchub.encoder import Encoder, load
from cpchub.index import Index

COLOURS = {"blue": (40, 80, 200), "green": (50, 170, 70), "red": (210, 50, 40)}
PER_CLASS = 20
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Served:
    """What a page is built from, and where its pictures lie."""

    index: Index
    encoder: Encoder
    pictures: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_encoder_folder: Path) -> Served:
    root = tmp_path_factory.mktemp("served")
    pictures = root / "colours"
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (pictures / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            coarse = np.clip(np.array(colour) + random.normal(scale=30, size=(4, 4, 3)), 0, 255).astype(np.uint8)
            picture = Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)
            picture.save(pictures / name / f"{name}-{number:02}.png")
    encoder = load(tiny_encoder_folder, device="cpu")
    collection = embed(pictures, root / "collection", encoder, progress=False, labels="folders")
    return Served(Index.build(collection, encoder), encoder, pictures)


SERVE = "import sys; from serving.app import serve; serve(sys.argv[1], encoder=sys.argv[2], port=int(sys.argv[3]))"


@dataclass(frozen=True)
class Page:
    """A page that is served, and the process that serves it."""

    url: str
    server: subprocess.Popen


@contextmanager
def serving_page(collection: Path, encoder: Path, cache: Path) -> Iterator[Page]:
    """The page, served on a free port by a process of its own, as `cpchub demo` does it; it writes to `cache` only."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        (cache / "log").open("w+") as log,
        subprocess.Popen(
            [sys.executable, "-c", SERVE, str(collection), str(encoder), str(port)],
            cwd=REPOSITORY,
            env={**os.environ, "XDG_CACHE_HOME": str(cache), "GRADIO_TEMP_DIR": str(cache / "uploads")},
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            until = time.monotonic() + 120
            while "http://" not in (cache / "log").read_text():
                assert server.poll() is None, (cache / "log").read_text()
                assert time.monotonic() < until, "the page is not up after two minutes"
                time.sleep(0.2)
            yield Page(f"http://127.0.0.1:{port}/", server)
        finally:
            server.terminate()


@pytest.fixture
def page(served: Served, tiny_encoder_folder: Path, tmp_path: Path) -> Iterator[Page]:
    """A page of one test alone, which may stop it."""
    with serving_page(served.index.collection.folder, tiny_encoder_folder, tmp_path) as page:
        yield page


@pytest.fixture(scope="session")
def page_url(served: Served, tiny_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page that all tests share."""
    cache = tmp_path_factory.mktemp("cache")
    with serving_page(served.index.collection.folder, tiny_encoder_folder, cache) as page:
        yield page.url
