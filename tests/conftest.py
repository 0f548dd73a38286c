"""Fixtures and rules for all tests: no setting of the machine leaks in, what a machine lacks is skipped by name."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fresh import FreshInterpreters
from tests.processes import Processes, ended_processes

# What is multiplied here is small: a second thread gains nothing, and on busy cores two wait for each other. Tests that
# are about threads set their number. Before torch is loaded, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Each process of pytest-xdist, with the processes that it starts, has a core of its own. Some virtual machines pack all
# of them onto one core.
if (WORKER := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    CORES = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {CORES[int(WORKER.removeprefix("gw")) % len(CORES)]})

STARTED = time.monotonic()
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--within", type=float, metavar="SECONDS", help="skip the tests that have not begun by then")


def pytest_runtest_setup(item: pytest.Item) -> None:
    limit = item.config.getoption("--within")
    if limit is not None and time.monotonic() - STARTED > limit:
        pytest.skip(f"not begun within {limit:g} seconds: `make test` runs it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = []
    if not any(map(shutil.which, BROWSERS)) or not shutil.which("chromedriver"):
        missing.append(("browser", "no headless Chromium with its driver here"))
    if any(item.get_closest_marker("gpu") for item in items) and not _has_gpu():
        missing.append(("gpu", "no CUDA device here"))
    for marker, reason in missing:
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def temporary_files_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever libraries, and processes that were killed, leave behind lies in pytest's own temporary folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        monkeypatch.setattr(tempfile, "tempdir", None)  # to be asked for again
        yield


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A test sees the built-in catalog, no token and an empty cache, whatever the shell that runs it has set."""
    monkeypatch.setenv("CPCHUB_CACHE", str(tmp_path_factory.getbasetemp() / "cpchub-cache"))
    proxies = [f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")]
    names = ("CPCHUB_HUB", "CPCHUB_ORG", "HF_TOKEN", "HF_ENDPOINT", *proxies, *map(str.upper, proxies))
    for name in names:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Starts processes for a test; none of them outlives it, however it ends."""
    with ended_processes() as processes:
        yield processes


@pytest.fixture(scope="session")
def fresh_interpreters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshInterpreters]:
    """Runs programs, each in an interpreter that has not imported timm or cpchub."""
    with FreshInterpreters(tmp_path_factory.mktemp("printed")) as interpreters:
        yield interpreters


@pytest.fixture(scope="session")
def tiny_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a very small ResNet of random weights; do not write to it."""
    from tests.tiny_encoder import export_tiny

    return export_tiny(tmp_path_factory.mktemp("encoder") / "tiny-simclr")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
