"""An encoder that was made of others is published under their licence, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

import cpchub
from cpchub.cli.main import main
from cpchub.errors import ModelFolderError
from cpchub.hub.derived import licence_sentence
from cpchub.hub.publish import publish
from tests.tiny_encoder import export_tiny

pytestmark = pytest.mark.usefixtures("own_cache")

STRICT = [{"name": "moco-v2-resnet50-800e", "license": "cc-by-nc-4.0"}]


def test_the_licence_of_its_parents_is_carried_on_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = export_tiny(tmp_path / "tiny", license="cc-by-nc-4.0", derived_from=STRICT)
    said = (
        "Licence: cc-by-nc-4.0, which forbids commercial use; it goes over from what it was made of, moco-v2-resnet50"
    )
    assert main(["publish", str(folder), f"folder:{tmp_path / 'hub' / 'tiny'}", "--check"]) == 0
    assert said in capsys.readouterr().err
    assert main(["publish", str(folder), f"folder:{tmp_path / 'hub' / 'tiny'}"]) == 0
    assert said in capsys.readouterr().err
    assert cpchub.load(tmp_path / "hub" / "tiny").spec.license == "cc-by-nc-4.0"
    card = (tmp_path / "hub" / "tiny" / "README.md").read_text()
    assert "license: cc-by-nc-4.0" in card
    assert "They were made of moco-v2-resnet50-800e (cc-by-nc-4.0), whose licence goes over to them" in card


def test_one_that_says_a_freer_licence_is_not_published(tmp_path: Path) -> None:
    folder = export_tiny(tmp_path / "tiny", license="mit", derived_from=STRICT)
    with pytest.raises(ModelFolderError, match=r"cannot be mit: the encoder was made of moco-v2-resnet50-800e"):
        publish(folder, f"folder:{tmp_path / 'hub' / 'tiny'}")
    assert not (tmp_path / "hub").exists()


def test_free_ones_are_published_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = export_tiny(tmp_path / "tiny", derived_from=[{"name": "lightly-dcl-resnet50", "license": "mit"}])
    assert main(["publish", str(folder), f"folder:{tmp_path / 'hub' / 'tiny'}"]) == 0
    assert "icence" not in capsys.readouterr().err
    assert licence_sentence(folder) == ""


def test_an_author_who_has_not_chosen_a_licence_is_asked_to_and_the_choice_is_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, target = export_tiny(tmp_path / "run" / "export", license="unknown"), tmp_path / "hub" / "tiny"
    assert "If you trained them, choose one: `cpchub publish --license LICENSE`" in (folder / "README.md").read_text()
    assert main(["publish", str(tmp_path / "run"), f"folder:{target}", "--check"]) == 0
    assert "If you trained it, choose one by --license" in capsys.readouterr().err
    assert main(["publish", str(tmp_path / "run"), f"folder:{target}", "--license", "MIT"]) == 0
    assert "icence" not in capsys.readouterr().err
    assert cpchub.load(target).spec.license == cpchub.load(folder).spec.license == "MIT"
    card = (target / "README.md").read_text()
    assert "license: mit" in card
    assert "Licence of the weights: MIT. Training data" in card


def test_a_licence_that_is_freer_than_its_parents_cannot_be_chosen(tmp_path: Path) -> None:
    folder = export_tiny(tmp_path / "tiny", license="cc-by-nc-4.0", derived_from=STRICT)
    before = (folder / "config.json").read_bytes()
    with pytest.raises(ModelFolderError, match=r"cannot be mit.*by --license cc-by-nc-4\.0"):
        publish(folder, f"folder:{tmp_path / 'hub' / 'tiny'}", license="mit")
    assert (folder / "config.json").read_bytes() == before
