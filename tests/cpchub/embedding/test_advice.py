"""Advice on photos: one line, once, where a small bundled encoder is about to embed them; it can be silenced."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cpchub.catalog.families import published
from cpchub.catalog.listing import get_spec
from cpchub.catalog.vocabulary import learned_from_labels
from cpchub.cli.main import main
from cpchub.embedding.advice import photo_encoder


def images(folder: Path, side: int) -> Path:
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (side + 20, side), (90 * number, 50, 60)).save(folder / f"{number}.png")
    return folder


def index(capsys: pytest.CaptureFixture[str], source: Path, out: Path, *more: str) -> str:
    """What the command says while it makes a collection."""
    assert main(["embed", str(source), "-o", str(out), *more]) == 0
    return capsys.readouterr().err


def test_photos_are_told_which_encoder_fits_them_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, better = images(tmp_path / "photos", 300), photo_encoder()
    assert better is not None
    said = index(capsys, photos, tmp_path / "out")
    lines = [line for line in said.splitlines() if "--encoder" in line]
    assert len(lines) == 1
    for part in ("320 x 300 pixels", f"--encoder {better.name}", "to be fetched", better.license, "CPCHUB_NO_ADVICE"):
        assert part in lines[0]
    Image.new("RGB", (200, 200)).save(photos / "new.png")
    assert "--encoder" not in index(capsys, photos, tmp_path / "out")


def test_small_images_need_no_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--encoder" not in index(capsys, images(tmp_path / "small", 100), tmp_path / "out")


def test_it_can_be_silenced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = images(tmp_path / "photos", 300)
    assert "--encoder" not in index(capsys, photos, tmp_path / "quiet", "--quiet")
    monkeypatch.setenv("CPCHUB_NO_ADVICE", "1")
    assert "--encoder" not in index(capsys, photos, tmp_path / "silent")


def test_what_is_advised_is_free_for_all_uses_and_of_moderate_size() -> None:
    better = photo_encoder()
    assert better is not None
    assert better.license in ("mit", "apache-2.0")
    assert better.input_size == (3, 224, 224)
    assert get_spec(better.name).status == "public"


def test_what_is_advised_has_not_learned_the_classes_that_it_was_measured_on() -> None:
    better, labelled = photo_encoder(), get_spec("supcon-resnet50")
    assert better is not None
    assert (published(labelled) or 0) > (published(better) or 0)
    assert learned_from_labels(labelled.method)
    assert not learned_from_labels(better.method)
