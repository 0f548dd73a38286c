"""Several processes fetch one public encoder, and some are killed: what is kept is whole, and the same to the byte."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cpchub.catalog import listing
from cpchub.catalog.origin import ORIGIN
from cpchub.catalog.spec import CONFIG, WEIGHTS
from tests.cpchub.importers.layouts import LAYOUTS
from tests.cpchub.published import Published, saved, write_entry
from tests.loopback_files import FileServer, loopback_files

pytestmark = pytest.mark.slow  # it takes a second Python with torch

NAME = "moco-tiny"
KILLS = 10
CHANGES = ("open", "os.mkdir", "os.remove", "os.rename", "os.rmdir")  # what touches the disk, as Python's audit says


@dataclass(frozen=True)
class Machine:
    """A catalog with one public encoder, the server of its authors, and a cache."""

    catalog: Path
    server: FileServer
    home: Path

    def fetch(self, killed_at: int = 0, touched: Path | None = None) -> Any:
        """A process that fetches the encoder, started; it ends itself by SIGKILL at a step of its work."""
        process = multiprocessing.get_context("forkserver").Process(
            target=fetch_here, args=(self.catalog, self.server.url, self.home, killed_at, touched), daemon=True
        )
        process.start()
        return process

    def kept(self) -> dict[str, bytes]:
        """The files of the model folder."""
        folder = self.home / "cpchub" / "public" / NAME
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def fetch_here(catalog: Path, url: str, home: Path, killed_at: int, touched: Path | None) -> None:
    """In a process of its own. `touched` is given the number of steps."""
    os.environ["CPCHUB_MIRROR"] = url
    from huggingface_hub import constants

    from cpchub.common.progress import Report
    from cpchub.hub import fetch_file, public

    constants.HF_HOME = str(home)
    listing.catalog_folder = lambda: catalog
    fetch_file._CHUNK = 1 << 16
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(event: str, args: Any) -> None:
        if event in CHANGES and str(args[0]).startswith(str(home)):
            step()

    sys.addaudithook(audited)
    Report.update = lambda *_: step()  # type: ignore[method-assign]
    public.locate_public(listing.get_spec(NAME))
    if touched is not None:
        touched.write_text(str(steps))


def ended(*processes: Any) -> list[int]:
    """Their statuses, below 0 for a signal."""
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Machine]]:
    """Makes machines that have an empty cache each; the same server stands behind all."""
    format_name, _, make = LAYOUTS["MoCo v1"]
    published = Published(format_name, {"tiny.pth.tar": saved(make()[0])}, lambda x: x)
    multiprocessing.set_forkserver_preload(["cpchub.importers.published", "cpchub.hub.public"])
    catalog = tmp_path_factory.mktemp("catalog")
    with pytest.MonkeyPatch.context() as monkeypatch, loopback_files() as server:
        monkeypatch.setattr(listing, "catalog_folder", lambda: catalog)
        write_entry(NAME, published, tmp_path_factory.mktemp("scratch"))
        server.files = {f"/{NAME}/tiny.pth.tar": published.files["tiny.pth.tar"]}
        yield lambda: Machine(catalog, server, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def whole(machine: Callable[[], Machine], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], int]:
    """The files of a fetch that nothing has stopped, and how many steps it took."""
    touched = tmp_path_factory.mktemp("count") / "steps"
    undisturbed = machine()
    assert ended(undisturbed.fetch(touched=touched)) == [0]
    assert {CONFIG, WEIGHTS, ORIGIN} < set(undisturbed.kept())
    return undisturbed.kept(), int(touched.read_text())


def test_two_processes_at_once_fetch_once(machine: Callable[[], Machine], whole: tuple[dict[str, bytes], int]) -> None:
    shared = machine()
    before = len(shared.server.asked)
    assert ended(shared.fetch(), shared.fetch()) == [0, 0]
    assert len(shared.server.asked) == before + 1
    assert shared.kept() == whole[0]


@pytest.mark.parametrize("tenth", range(KILLS))
def test_one_that_was_killed_goes_on_to_the_same_bytes(
    tenth: int, machine: Callable[[], Machine], whole: tuple[dict[str, bytes], int]
) -> None:
    files, steps = whole
    killed = machine()
    assert steps > 2 * KILLS
    at = 1 + round(tenth * (steps - 1) / (KILLS - 1))
    assert ended(killed.fetch(killed_at=at)) == [-signal.SIGKILL]
    assert ended(killed.fetch()) == [0]
    assert killed.kept() == files
    left = {path.name for path in (killed.home / "cpchub" / "public").iterdir()}
    assert left <= {NAME, f".{NAME}.lock", ".downloads"}
    assert not any((killed.home / "cpchub" / "public" / ".downloads").rglob("*.*"))
