"""Which encoder a name means: said where a folder of that name is here too, and named when a collection is made."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cpchub
from cpchub.cli.main import main
from cpchub.collection.collection import Collection
from cpchub.hub.places import check_name
from cpchub_training.evaluate.job import load_encoder

NOTE = "note: simclr is the encoder of that name in the catalog; the encoder in the folder here is ./simclr"


@pytest.fixture
def here(tmp_path: Path, tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images, and with an encoder in a folder called simclr."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_encoder_folder, tmp_path / "simclr")
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.fromarray(np.full((9, 9, 3), 80 * number, np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def test_the_catalog_goes_before_a_folder_of_the_same_name_which_is_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, catalog = cpchub.load("./simclr").spec, cpchub.get_spec("simclr")
    assert own.fingerprint != catalog.fingerprint
    assert main(["index", "photos", "-o", "out", "--encoder", "simclr"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert NOTE in said
    assert said[-1].startswith(f"3 images in out, embedded by {catalog.name}. ")
    assert Collection.open(here / "out").manifest["encoder"]["fingerprint"] == catalog.fingerprint


def test_a_folder_is_meant_by_its_path_and_named_when_a_collection_is_made(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", "photos", "-o", "out", "--encoder", "./simclr"]) == 0
    said = capsys.readouterr().err
    assert "note:" not in said
    assert f"embedded by tiny-simclr in {here / 'simclr'}. " in said.splitlines()[-1]


@pytest.mark.usefixtures("here")
def test_an_evaluation_means_the_same_encoder_as_an_index() -> None:
    with pytest.warns(cpchub.errors.CpchubWarning, match=NOTE.removeprefix("note: ")):
        encoder, folder = load_encoder("simclr")
    assert encoder.spec.fingerprint == cpchub.get_spec("simclr").fingerprint
    assert folder is None


def test_a_short_name_of_timm_is_told_from_a_folder_of_that_name(here: Path) -> None:
    check_name("dino-vits16")
    (here / "simclr").rename(here / "dino-vits16")
    with pytest.warns(cpchub.errors.CpchubWarning, match=r"in the folder here is \./dino-vits16"):
        cpchub.load("dino-vits16", pretrained=False)
