"""A small collection of coloured images, embedded by the real code with a tiny random encoder."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from cpchub.embedding.job import embed
from cpchub.encoders.encoder import Encoder
from cpchub.encoders.load import load
from cpchub.index import Index
from tests.processes import Processes, ended_processes, wait_for

if TYPE_CHECKING:
    from tests.serving.browser import Browser

COLOURS = {"blue": (40, 80, 200), "green": (50, 170, 70), "red": (210, 50, 40)}
PER_CLASS = 20


@dataclass(frozen=True)
class Served:
    """What a page is built from, and where its images lie."""

    index: Index
    encoder: Encoder
    images: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_encoder_folder: Path) -> Served:
    root = tmp_path_factory.mktemp("served")
    images = root / "colours"
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (images / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            coarse = np.clip(np.array(colour) + random.normal(scale=30, size=(4, 4, 3)), 0, 255).astype(np.uint8)
            image = Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)
            image.save(images / name / f"{name}-{number:02}.png")
    encoder = load(tiny_encoder_folder, device="cpu")
    collection = embed(images, root / "collection", encoder, progress=False, labels="folders")
    return Served(Index.build(collection, encoder), encoder, images)


@dataclass(frozen=True)
class Page:
    """A page that is served by a process of its own, which keeps its files in `folder`."""

    host: PageHost
    pid: int
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def url(self) -> str | None:
        """Where it says that it is; None before."""
        said = re.search(r"http://\S+(?=  )", self.log)
        return said and said.group()

    def files(self) -> list[Path]:
        """What it has of its visitors: uploads, whole or in parts, and whatever else was put in a temporary folder."""
        return [path for path in (self.folder / "temporary").rglob("*") if path.is_file()]

    def exit_code(self) -> int | None:
        """None while the process runs."""
        return self.host.ask({"wait": self.pid})


class PageHost:
    """Starts pages: forks of one process that has loaded what they take, which serve `cpchub demo`."""

    def __init__(self, processes: Processes) -> None:
        command = (sys.executable, "-m", "tests.serving.page_host")
        self.process = processes.start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "loaded\n"

    def ask(self, question: dict[str, Any]) -> Any:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(
        self, collection: Path, encoder: Path, folder: Path, job: str | None = None, port: int | None = None, **env: str
    ) -> Page:
        """Serve a collection, by default on the first free port.

        With `job`, one of page_host.JOBS, a search by row is that job; with "endless map" no map is ever done.
        """
        (folder / "log").touch()
        (folder / "temporary").mkdir()
        where = [] if port is None else ["--port", str(port)]
        asked = {
            "args": [str(collection), "--encoder", str(encoder), *where],
            "env": {"XDG_CACHE_HOME": str(folder), "TMPDIR": str(folder / "temporary"), **env},
            "log": str(folder / "log"),
            "job": job,
        }
        page = Page(self, self.ask(asked), folder)
        wait_for(lambda: page.url or page.exit_code() is not None, "the page is not up")
        assert page.url, page.log
        return page


@pytest.fixture(scope="session")
def page_host() -> Iterator[PageHost]:
    with ended_processes() as processes:
        yield PageHost(processes)


StartPage = Callable[..., Page]
Visit = Callable[..., "Browser"]


@pytest.fixture
def start_page(page_host: PageHost, served: Served, tiny_encoder_folder: Path, tmp_path: Path) -> StartPage:
    """Starts pages of one test alone, which may stop them."""
    numbers = itertools.count()

    def start(job: str | None = None, **env: str) -> Page:
        folder = tmp_path / f"page{next(numbers)}"
        folder.mkdir()
        return page_host.start(served.index.collection.folder, tiny_encoder_folder, folder, job, **env)

    return start


@pytest.fixture(scope="session")
def shown(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection that `page_url` shows: a copy, for what visitors do is written into it."""
    return Path(shutil.copytree(served.index.collection.folder, tmp_path_factory.mktemp("shown") / "collection"))


@pytest.fixture(scope="session")
def page_url(
    page_host: PageHost, shown: Path, tiny_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A page that all tests share."""
    folder = tmp_path_factory.mktemp("page")
    url = page_host.start(shown, tiny_encoder_folder, folder).url
    assert url is not None
    return url


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The driver of a Chromium that all tests of this process share; `visit` opens windows in it."""
    from tests.serving.browser import started  # skips where its packages are not installed

    driver = started(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture
def visit(chromium: Any, tmp_path: Path) -> Iterator[Visit]:
    """Opens windows on pages, each as for a new visitor; see `browsing`. They are closed after the test."""
    from tests.serving.browser import DESK, browsing

    with ExitStack() as stack:

        def visit(url: str, size: tuple[int, int] = DESK, *, dark: bool = False) -> Browser:
            return stack.enter_context(browsing(chromium, url, size, tmp_path, dark=dark))

        yield visit
