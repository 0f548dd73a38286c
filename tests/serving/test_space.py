"""A Space: its folder has all it needs and tells nothing of this machine, and its app serves it."""

from __future__ import annotations

import asyncio
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

import cpchub
from cpchub.cli.main import main
from cpchub.errors import OutputError
from cpchub.index import Index
from cpchub_serving.process import server
from cpchub_serving.space.write import write_space
from tests.processes import PATIENCE, Processes, wait_for
from tests.serving.conftest import Served


@pytest.fixture(scope="module")
def space(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "colours-space"
    source = served.index.collection.folder
    assert main(["space", str(source), "-o", str(folder), "--title", 'Red: "and" blue', "-q"]) == 0
    return folder


@pytest.fixture
def served_space(space: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """What `python app.py` serves, without a network."""
    apps: list[Any] = []
    monkeypatch.setattr(server, "serve", lambda app, *_: apps.append(app))
    monkeypatch.setenv("GRADIO_SERVER_PORT", "0")

    async def run() -> None:  # outside of a loop Gradio makes loops that it never closes
        runpy.run_path(str(space / "app.py"), run_name="__main__")

    asyncio.run(run())
    with TestClient(apps[0]) as client:
        yield client


def test_the_readme_begins_with_the_header_of_a_space(space: Path) -> None:
    header = yaml.safe_load((space / "README.md").read_text().split("---\n")[1])
    assert header["title"] == 'Red: "and" blue'
    assert (header["sdk"], header["app_file"]) == ("gradio", "app.py")
    assert header["sdk_version"].count(".") == 2
    assert (space / header["app_file"]).is_file()


def test_pip_installs_this_version_there_or_what_was_asked_for(space: Path, served: Served, tmp_path: Path) -> None:
    assert (space / "requirements.txt").read_text() == f"cpchub[cpu,demo]=={cpchub.__version__}\n"
    asked = "cpchub[cpu,demo] @ git+https://example.org/cpchub"
    write_space(served.index.collection.folder, tmp_path / "other", served.encoder.spec, package=asked)
    assert (tmp_path / "other" / "requirements.txt").read_text() == f"{asked}\n"
    assert "# colours" in (tmp_path / "other" / "README.md").read_text()


def test_nothing_of_this_machine_and_no_image_is_in_it(space: Path, served: Served, tiny_encoder_folder: Path) -> None:
    places = [str(place).encode() for place in (served.images, served.index.collection.folder, tiny_encoder_folder)]
    files = [path for path in space.rglob("*") if path.is_file()]
    assert not [path for path in files for place in places if place in path.read_bytes()]
    assert not [path for path in files if path.suffix == ".png"]
    assert not [path for path in files if path.is_symlink()]
    assert not (space / "collection" / "labels").exists()


def test_large_files_go_by_lfs(space: Path) -> None:
    by_lfs = [line.split()[0] for line in (space / ".gitattributes").read_text().splitlines()]
    files = [path for path in space.rglob("*") if path.is_file()]
    binary = [path for path in files if b"\0" in path.read_bytes()]
    assert binary
    assert all(any(path.match(pattern) for pattern in by_lfs) for path in binary)


def test_the_app_serves_page_api_and_small_copies_without_the_images(space: Path, served_space: TestClient) -> None:
    assert served_space.get("/healthz").json()["images"] == 60
    assert "colours" in served_space.get("/").text
    for row in range(60):
        for kind in ("thumb", "preview"):
            assert served_space.get(f"/page/{kind}/{row}").status_code == 200
    assert served_space.get("/page/large/3").json()["path"].endswith(".png")
    found = served_space.post("/v1/search", json={"id": 3, "k": 2}).json()["data"]
    assert [hit.path for hit in Index.open(space / "collection").search(cpchub.Item(3), 2)] == [
        each["path"] for each in found
    ]


def test_a_folder_that_holds_anything_is_left_as_it_is(served: Served, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=str(tmp_path)):
        write_space(served.index.collection.folder, tmp_path, served.encoder.spec)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_the_app_starts_as_hugging_face_starts_it(space: Path, tmp_path: Path, processes: Processes) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(space, moved)
    log = tmp_path / "log"
    with log.open("w") as file:
        app = processes.start(sys.executable, moved / "app.py", stdout=file, stderr=subprocess.STDOUT)
    wait_for(lambda: "Ctrl-C stops" in log.read_text() or app.poll() is not None, "the Space is not up")
    assert "colours, 60 images: http://0.0.0.0:7860/" in log.read_text()
    app.terminate()
    assert app.wait(PATIENCE) == 0
