"""`cpchub index`: a folder of images becomes a collection; what is refused before anything is embedded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cpchub.cli import embedding
from cpchub.cli.main import main
from cpchub.collection.collection import Collection
from cpchub.index import Index
from tests.cpchub.images import folder_of_images


def test_a_folder_becomes_a_collection_with_an_index(images: Path, tiny_encoder_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["index", str(images), "-o", str(out), "--encoder", str(tiny_encoder_folder)]) == 0
    assert len(Index.open(out)) == 8


def test_a_second_run_keeps_the_encoder_of_the_first_and_takes_over_new_images(
    tmp_path: Path, tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPCHUB_HUB", str(tiny_encoder_folder.parent))
    photos, out = folder_of_images(tmp_path / "photos", 3), tmp_path / "out"
    command = ["index", str(photos), "-o", str(out)]
    assert main([*command, "--encoder", "tiny-simclr"]) == 0
    folder_of_images(photos, 2, first=3)
    assert main(command) == 0
    again = Collection.open(out)
    assert len(again) == 5
    assert again.encoder_name == "tiny-simclr"


def test_a_folder_without_images_is_one_error_and_nothing_is_written(
    tmp_path: Path, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    assert main(["index", str(tmp_path / "empty"), "-o", str(out), "--encoder", str(tiny_encoder_folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_recall_that_cannot_be_is_refused_before_anything_is_embedded(
    images: Path, tiny_encoder_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["index", str(images), "-o", str(out), "--encoder", str(tiny_encoder_folder), "--recall", "95"]
    assert main(command) == 2
    assert capsys.readouterr().err == "error: --recall 95: a share above 0 and up to 1, for example 0.95\n"
    assert not out.exists()


def test_an_unknown_encoder_is_an_error_that_names_it(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(images), "-o", str(tmp_path / "out"), "--encoder", "cpc-resnet1700"]) == 2
    assert "cpc-resnet1700" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_: embedding.IndexCommand) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(embedding.IndexCommand, "run", stop)
    assert main(["index", "my photos", "-o", "out"]) == 130
    assert capsys.readouterr().err == "stopped; to go on: cpchub index 'my photos' -o out\n"


def test_ctrl_c_before_the_commands_are_loaded_is_one_word_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stop:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name.startswith("cpchub.cli"):
                raise KeyboardInterrupt

    for name in [name for name in sys.modules if name.startswith("cpchub.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Stop, *sys.meta_path])
    assert main(["index", "photos", "-o", "out"]) == 130
    assert capsys.readouterr().err == "stopped\n"
