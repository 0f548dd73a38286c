"""`cpchub cache` lists what is kept, and removes it when asked to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpchub.cli.main import main
from cpchub.encoders.fast.kept_network import ABOUT, kept_networks


@pytest.fixture
def two_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CPCHUB_CACHE", str(tmp_path / "cache"))

    def fill(folder: Path) -> None:
        (folder / ABOUT).write_text(json.dumps({"engine": "OpenVINO", "encoder": "simclr-tiny"}))
        (folder / "network.bin").write_bytes(bytes(2_000_000))

    kept_networks().make("whole", fill)
    kept_networks().make("empty", lambda folder: None)
    return tmp_path / "cache" / "networks"


@pytest.mark.parametrize("words", [["cache"], ["cache", "--list"]])
def test_what_is_kept_is_listed_with_its_size_and_its_encoder(
    two_networks: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(words) == 0
    said = capsys.readouterr()
    rows = {tuple(line.split("\t")[2:]): line.split("\t")[0] for line in said.out.splitlines()}
    assert rows == {("OpenVINO", "simclr-tiny"): "2 MB", ("damaged", "empty"): "0 bytes"}
    assert str(two_networks) in said.err


def test_what_is_kept_is_removed_when_asked(two_networks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--clear"]) == 0
    assert "removed 2 networks, 2 MB" in capsys.readouterr().err
    assert kept_networks().entries() == []
    assert main(["cache", "--clear"]) == 0


def test_listing_and_removing_at_once_is_refused(two_networks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--clear", "--list"]) == 2
    assert len(kept_networks().entries()) == 2
