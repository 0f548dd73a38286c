"""The commands take the URL of a bucket where they take the folder of a collection."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpchub.cli.main import main
from tests.cpchub.buckets import another_machine


def test_the_commands_say_of_a_collection_in_a_bucket_what_they_say_of_a_local_one(
    collection: Path,
    images: Path,
    tiny_encoder_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    another_machine(monkeypatch, tmp_path / "one")
    place = "memory://of-the-commands/photos"
    assert main(["index", str(images), "-o", place, "--encoder", str(tiny_encoder_folder)]) == 0
    assert f"8 images in {place}, embedded by" in capsys.readouterr().err
    another_machine(monkeypatch, tmp_path / "other")
    commands = (["search", str(images / "003.png"), "-k", "3"], ["info"], ["duplicates"], ["outliers", "--all"])
    for name, *rest in commands:
        said = []
        for where in (place, str(collection)):
            assert main([name, where, *rest]) == 0
            said.append(capsys.readouterr().out)
        assert said[0] == said[1] != ""


def test_a_place_without_a_collection_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    another_machine(monkeypatch, tmp_path)
    for command in (["search", "memory://nothing", "id:0"], ["info", "memory://nothing"]):
        assert main(command) == 2
        assert "memory://nothing is not a collection" in capsys.readouterr().err
