"""Lists on a terminal have headings: `cpchub models`, two lines an encoder at most, and `cpchub train --list`."""

from __future__ import annotations

import pytest

from cpchub.cli.main import main


def test_models_is_a_table_of_what_fits_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["models", "moco-v2-resnet50*"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert "\t" not in head
    assert all(word in head for word in ("name", "published", "licence", "weights"))
    assert len([line for line in lines if line.startswith("moco-v2-resnet50-")]) == 2
    assert len(lines) <= 4, "an encoder takes more than two lines"


def test_recipes_have_headings_on_a_terminal_and_are_names_alone_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", "--list"]) == 0
    names = capsys.readouterr().out.splitlines()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "140")
    assert main(["train", "--list"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert all(word in head for word in ("recipe", "method", "network", "images", "epochs"))
    assert [line.split()[0] for line in lines] == names
    (photos,) = [line for line in lines if line.startswith("simclr_photos ")]
    assert "yours, by --images" in photos
    (sounds,) = [line for line in lines if line.startswith("cpc_audio_librispeech ")]
    assert "yours, by --recordings" in sounds
