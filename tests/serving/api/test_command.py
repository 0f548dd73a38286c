"""`cpchub serve`: what it refuses before anything is loaded, and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cpchub.cli.main import main
from cpchub.errors import ArgumentError
from cpchub_serving.process import server
from tests.processes import PATIENCE, wait_for


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "serve needs a collection, or --encoder NAME"),
        (["nowhere", "--rate", "often"], "--rate 'often' is no rate"),
        (["nowhere", "--keys", "nowhere.txt"], "the file of API keys nowhere.txt cannot be read"),
        (["nowhere", "--max-images", "0"], "--max-images and --max-mb are 1 or more"),
        (["nowhere"], "there is no collection at nowhere"),
    ],
)
def test_what_cannot_be_served_is_said(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *args, "--port", "0"]) != 0
    assert message in capsys.readouterr().err


def test_a_key_that_can_be_guessed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CPCHUB_API_KEYS", "secret")
    assert main(["serve", "nowhere", "--port", "0"]) != 0
    assert "an API key has 6 characters, and can be guessed; use 16 or more" in capsys.readouterr().err
    monkeypatch.delenv("CPCHUB_API_KEYS")
    (tmp_path / "keys.txt").write_text("# none yet\n")
    assert main(["serve", "nowhere", "--port", "0", "--keys", str(tmp_path / "keys.txt")]) != 0
    assert "has none; write one a line" in capsys.readouterr().err


def test_the_socket_is_known_to_be_tcp_so_that_answers_are_sent_at_once() -> None:
    with server.listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP
    with pytest.raises(ArgumentError, match="Port 70000 cannot be used"):
        server.listen("127.0.0.1", 70_000)


@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_it_answers_without_gradio_until_it_is_stopped_and_ends_in_order(
    served: Any, tmp_path: Path, stop: signal.Signals
) -> None:
    log = tmp_path / "log"
    (tmp_path / "gradio.py").write_text("raise ImportError('the API alone imports Gradio')\n")
    found_first = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    command = [sys.executable, "-m", "cpchub", "serve", str(served.index.collection.folder), "--port", "0"]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, stdin=subprocess.DEVNULL, env=found_first)
    try:
        url = wait_for(
            lambda: next((w for w in log.read_text().split() if w.startswith("http://")), None), "no address"
        )
        with urllib.request.urlopen(url.removesuffix("/docs") + "/healthz", timeout=PATIENCE) as answer:
            assert json.load(answer) == {"status": "ok", "images": 60}
        process.send_signal(stop)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    assert log.read_text().splitlines()[-1] == "stopped"
