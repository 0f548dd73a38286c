"""A file that is not as recorded is not loaded, and a card that is not complete is not published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest

from cpchub.encoders.load import load
from cpchub.errors import (
    ArgumentError,
    HubError,
    IntegrityError,
    ModelFolderError,
    UnknownModelError,
    UnsafeWeightsError,
    WeightsUnavailableError,
)
from cpchub.hub.publish import publish
from tests.loopback_hub import LoopbackHub
from tests.tiny_encoder import files_of

pytestmark = pytest.mark.usefixtures("own_cache")


class TestRefusals:
    def test_the_same_size_with_other_bytes_is_refused(self, hub: LoopbackHub, exported: Path) -> None:
        hub.add("lab/tiny", files_of(exported))
        hub.tamper("lab/tiny", "model.safetensors")
        with pytest.raises(IntegrityError, match="sha256"):
            load("lab/tiny")

    def test_a_foreign_repository_is_held_to_what_the_hub_says_of_it(self, hub: LoopbackHub, exported: Path) -> None:
        files = files_of(exported)
        config = json.loads(files["config.json"])
        del config["cpchub"]
        files["config.json"] = json.dumps(config).encode()
        hub.add("lab/foreign", files)
        assert load("lab/foreign").spec.name == "lab/foreign"
        hub.add("lab/tampered", files)
        hub.tamper("lab/tampered", "model.safetensors")
        shutil.rmtree(Path(huggingface_hub.constants.HF_HUB_CACHE))
        with pytest.raises(IntegrityError, match="sha256"):
            load("lab/tampered")

    def test_a_local_folder_with_changed_weights_is_refused(self, exported: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(exported, tmp_path / "copy")
        load(folder)
        weights = folder / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(bytes(content))
        with pytest.raises(IntegrityError, match="sha256"):
            load(folder)
        weights.write_bytes(bytes(content[:-4]))
        with pytest.raises(IntegrityError, match="bytes"):
            load(folder)

    def test_a_pickle_offered_as_weights_is_refused(self, hub: LoopbackHub, exported: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(exported, tmp_path / "pickled")
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        hub.add("lab/pickled", files_of(folder))
        for name in (folder, "lab/pickled", folder / "pytorch_model.bin"):
            with pytest.raises(UnsafeWeightsError, match=r"pytorch_model\.bin"):
                load(name)
        with pytest.raises(UnsafeWeightsError):
            publish(folder, "lab/other", token="secret")

    def test_a_folder_that_is_no_encoder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "note.txt").write_text("no encoder here")
        for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "note.txt"):
            with pytest.raises(ModelFolderError, match=str(folder)):
                load(folder)

    def test_a_folder_has_no_revision_to_ask_for(self, exported: Path) -> None:
        with pytest.raises(ArgumentError, match="revision"):
            load(exported, revision="a" * 40)

    def test_an_unknown_name_offers_the_nearest(self, exported: Path, tmp_path: Path) -> None:
        shutil.copytree(exported, tmp_path / "model_cards" / "tiny-simclr")
        with pytest.raises(UnknownModelError, match="'tiny-simclr'"):
            load("tiny-simclrr")

    def test_what_cannot_be_a_hub_id_is_shown_how_one_looks(self) -> None:
        with pytest.raises(HubError, match="org/name"):
            load("hf-hub:not a name")

    def test_publishing_without_the_right_token_is_one_clear_error(self, hub: LoopbackHub, exported: Path) -> None:
        hub.token = "right"
        with pytest.raises((HubError, WeightsUnavailableError), match="log in"):
            publish(exported, "lab/tiny", token="wrong")
        assert hub.repos == {}

    def test_publishing_to_a_hub_that_is_not_there_is_one_clear_error(self, exported: Path) -> None:
        with pytest.raises(HubError, match="HF_ENDPOINT"):
            publish(exported, "lab/tiny", token="secret")

    def test_a_card_with_a_placeholder_is_not_published(self, hub: LoopbackHub, exported: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(exported, tmp_path / "copy")
        card = folder / "README.md"
        card.write_text(card.read_text() + "\n[More Information Needed]\n")
        with pytest.raises(ModelFolderError, match="More Information Needed"):
            publish(folder, "lab/tiny", token="secret")
        assert hub.repos == {}
