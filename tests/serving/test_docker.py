"""The Dockerfile, as far as it can be read: who it runs as, what it copies and installs, what it starts and asks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cpchub.cli.serving import Demo
from cpchub_serving.process.port import HERE
from tests.loopback import answering
from tests.processes import REPOSITORY

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

FOLDER = REPOSITORY / "serving" / "docker"


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """The instructions with their arguments, in order."""
    text = re.sub(r"\\\n\s*", "", (FOLDER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def last(steps: list[tuple[str, str]], name: str) -> str:
    return [argument for step, argument in steps if step == name][-1]


def test_it_does_not_run_as_root(steps: list[tuple[str, str]]) -> None:
    names = [name for name, _ in steps]
    assert last(steps, "USER") not in ("root", "0")
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert not {"RUN", "COPY"} & set(names[names.index("USER") :])


def test_what_it_copies_is_there_and_is_not_ignored(steps: list[tuple[str, str]]) -> None:
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [argument.split()[:-1] for name, argument in steps if name == "COPY" and not argument.startswith("--from")]
    sources = {source for each in copied for source in each}
    assert {source for source in sources if not (REPOSITORY / source).exists()} == set()
    assert {line[1:] for line in ignored if line.startswith("!")} == sources
    built = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {Path(place).parts[0] for place in built["only-include"]} <= sources


def test_both_variants_are_extras_of_the_package(steps: list[tuple[str, str]]) -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert ("ARG", "FAISS=cpu") in steps
    assert '".[${FAISS},demo]"' in [argument for name, argument in steps if name == "RUN"][1]
    assert {"cpu", "gpu", "demo"} <= set(extras)


def test_what_it_starts_is_a_command_that_listens_where_docker_looks(steps: list[tuple[str, str]]) -> None:
    assert json.loads(last(steps, "ENTRYPOINT")) == ["cpchub"]
    name, *args = json.loads(last(steps, "CMD"))
    command = Demo.parse(args)
    assert name == Demo.command_name()
    assert isinstance(command, Demo)
    assert command.host not in HERE
    assert str(command.port) == last(steps, "EXPOSE")
    assert f"127.0.0.1:{command.port}/healthz" in last(steps, "HEALTHCHECK")


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" and self.server.well else 500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def health() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    with answering(server):
        yield server


def test_the_health_check_tells_an_answer_from_none(
    steps: list[tuple[str, str]], health: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # a container may have one, which knows nothing of it
    _, _, code = json.loads(last(steps, "HEALTHCHECK").partition("CMD ")[2])
    command = [sys.executable, "-c", code.replace("7860", str(health.server_port))]
    for well in (True, False):
        health.well = well
        done = subprocess.run(command, capture_output=True, check=False)
        assert (done.returncode == 0) == well
