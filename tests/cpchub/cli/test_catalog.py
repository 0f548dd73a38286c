"""`cpchub models`, `show` and `publish`, on a catalog with one tiny encoder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cpchub.cli.main import main
from cpchub.hub.locate import find


@pytest.fixture(autouse=True)
def hub(tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPCHUB_HUB", str(tiny_encoder_folder.parent))


@pytest.fixture
def run_folder(tiny_encoder_folder: Path, tmp_path: Path) -> Path:
    """A run folder as training leaves it: its recipe, its checkpoints, and what it has exported."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "recipe.json").write_text("{}")
    shutil.copytree(tiny_encoder_folder, run / "export")
    return run


def test_models_prints_a_line_an_encoder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "tiny*"]) == 0
    assert capsys.readouterr().out.split("\t")[:3] == ["tiny-simclr", "hub", "16"]


def test_a_pattern_without_a_match_offers_a_wildcard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "tiny"]) == 0
    assert "cpchub models '*tiny*'" in capsys.readouterr().err


def test_show_prints_the_card_without_its_front_matter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "tiny_simclr"]) == 0
    card = capsys.readouterr().out
    assert not card.startswith("---")
    assert "A network that only a test could love." in card


def test_show_takes_a_folder(tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = tiny_encoder_folder / "README.md"
    assert "<!-- cpchub: generated" in card.read_text()
    assert main(["show", str(tiny_encoder_folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# tiny-simclr\n")
    assert "<!--" not in said


def test_show_of_an_unknown_name_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "tiny-simclrr"]) == 2
    assert "tiny-simclr'" in capsys.readouterr().err


def test_publish_to_a_folder_and_load_from_it(
    tiny_encoder_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", str(tiny_encoder_folder), f"folder:{tmp_path / 'hub' / 'tiny-simclr'}"]) == 0
    assert main(["show", str(tmp_path / "hub" / "tiny-simclr")]) == 0
    assert "tiny-simclr" in capsys.readouterr().out


def test_a_run_folder_names_the_encoder_of_the_run_in_every_command(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "published"
    for command in (["show"], ["verify"], ["publish", f"folder:{target}"]):
        assert main([command[0], str(run_folder), *command[1:]]) == 0
    assert "tiny-simclr" in capsys.readouterr().out
    assert (target / "model.safetensors").is_file()
    assert not (target / "checkpoints").exists()
    assert find(f"local-dir:{run_folder}") == find(run_folder) == run_folder / "export"


def test_a_run_without_an_encoder_yet_is_told_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.json").write_text("{}")
    for command in (["show", str(tmp_path)], ["publish", str(tmp_path), "you/photos"]):
        assert main(command) == 2
        assert f"the run in {tmp_path} has not exported its encoder yet" in capsys.readouterr().err
