"""A public encoder is fetched, checked and converted once, by cpchub.load and by the commands."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from PIL import Image

import cpchub
from cpchub.catalog.listing import catalog_folder, get_spec, list_models
from cpchub.cli.main import main
from cpchub.errors import (
    ArgumentError,
    IntegrityError,
    WeightsUnavailableError,
)
from tests.cpchub.foreign_checkpoints import features
from tests.cpchub.hub.tiny_moco import HOST, NAME, PATH, left, write_entry
from tests.loopback_files import FileServer


class TestFirstLoad:
    def test_the_features_are_those_of_the_original_to_the_last_bit(
        self, server: FileServer, network: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        encoder = cpchub.load(NAME)
        x = torch.rand(2, 3, 64, 64)
        with torch.inference_mode():
            assert torch.equal(encoder(x), features(network)(x))
        assert encoder.spec.name == NAME
        assert encoder.spec.license == "cc-by-nc-4.0"
        said = capsys.readouterr().err
        assert f"Fetching {NAME} from {server.url}{PATH} (size not stated); licence of the weights: cc-by-nc" in said
        assert "which forbids commercial use (Ask them.)" in said

    def test_the_second_load_makes_no_request_and_says_nothing(
        self, server: FileServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = cpchub.load(NAME)
        capsys.readouterr()
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        second = cpchub.load(NAME)
        assert server.asked == [PATH]
        assert capsys.readouterr().err == ""
        assert first.spec.fingerprint == second.spec.fingerprint

    def test_only_the_model_folder_is_kept(self, server: FileServer, own_cache: Path) -> None:
        cpchub.load(NAME)
        kept = ["README.md", "config.json", "eval.json", "model.safetensors", "origin.json", "recipe.json"]
        assert left(own_cache) == kept
        text = next(own_cache.rglob("README.md")).read_text()
        assert "- For tests." in text
        assert "As published; nothing of it was measured" in text

    def test_its_files_are_verified_like_any_other(self, server: FileServer, own_cache: Path) -> None:
        cpchub.load(NAME)
        assert main(["verify", NAME]) == 0
        weights = next(own_cache.rglob("model.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
        assert main(["verify", "--all"]) == 2
        with pytest.raises(IntegrityError):
            cpchub.load(NAME)

    def test_the_network_without_weights_is_had_without_a_request(self, server: FileServer) -> None:
        assert cpchub.load(NAME, pretrained=False).num_features == 32
        assert server.asked == []

    def test_a_revision_is_refused(self, server: FileServer) -> None:
        with pytest.raises(ArgumentError, match="has no revision v1"):
            cpchub.load(NAME, revision="v1")

    def test_two_who_load_at_once_fetch_once(self, server: FileServer) -> None:
        threads = [threading.Thread(target=cpchub.load, args=(NAME,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.asked == [PATH]
        assert get_spec(NAME).status == "public"


class TestOffline:
    @pytest.mark.parametrize("variable", ["CPCHUB_OFFLINE", "HF_HUB_OFFLINE"])
    def test_it_names_the_address_the_command_and_the_mirror(
        self, server: FileServer, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        monkeypatch.setenv(variable, "1")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", variable == "HF_HUB_OFFLINE")
        monkeypatch.delenv("CPCHUB_MIRROR")
        with pytest.raises(WeightsUnavailableError) as error:
            cpchub.load(NAME)
        for part in (variable, f"{HOST}{PATH}", "CPCHUB_MIRROR", f"cpchub fetch {NAME}"):
            assert part in str(error.value)
        assert server.asked == []

    def test_a_variable_that_says_no_forbids_nothing(self, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CPCHUB_OFFLINE", "0")
        cpchub.load(NAME)


class TestCommands:
    def test_fetch_prints_a_folder_that_loads_on_another_machine(
        self, server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert main(["fetch", NAME]) == 0
        folder = Path(capsys.readouterr().out.strip())
        elsewhere = shutil.copytree(folder, tmp_path / "elsewhere" / NAME)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        assert cpchub.load(elsewhere).num_features == 32

    def test_fetch_keeps_the_file_of_the_authors_if_asked(
        self, server: FileServer, tmp_path: Path, checkpoint: bytes, capsys: pytest.CaptureFixture[str]
    ) -> None:
        kept = tmp_path / "kept" / "tiny.pth.tar"
        assert main(["fetch", NAME, "--keep", str(kept.parent)]) == 0
        assert kept.read_bytes() == checkpoint
        assert f"Kept {kept}" in capsys.readouterr().err
        assert main(["fetch", NAME, "--keep", str(kept.parent)]) == 0
        assert f"{kept} is there already" in capsys.readouterr().err
        assert server.asked == [PATH]

    def test_the_file_of_the_authors_is_fetched_again_where_only_the_encoder_is_here(
        self,
        server: FileServer,
        own_cache: Path,
        tmp_path: Path,
        checkpoint: bytes,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cpchub.load(NAME)
        weights = next(own_cache.rglob("model.safetensors")).stat()
        kept = tmp_path / "kept" / "tiny.pth.tar"
        monkeypatch.setenv("CPCHUB_OFFLINE", "1")
        assert main(["fetch", NAME, "--keep", str(kept.parent)]) == 2
        assert f"The authors' file of {NAME} is not on this machine" in capsys.readouterr().err
        monkeypatch.delenv("CPCHUB_OFFLINE")
        assert main(["fetch", NAME, "--keep", str(kept.parent)]) == 0
        assert kept.read_bytes() == checkpoint
        assert f"Kept {kept}" in capsys.readouterr().err
        assert next(own_cache.rglob("model.safetensors")).stat() == weights, "it was converted again"
        assert server.asked == [PATH, PATH]

    def test_fetch_of_nothing_and_of_what_is_unknown(
        self, server: FileServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["fetch", "moco-v9-tiny"]) == 2
        assert f"did you mean '{NAME}'" in capsys.readouterr().err

    def test_models_says_what_has_to_be_fetched(
        self, server: FileServer, capsys: pytest.CaptureFixture[str], described: dict[str, Any]
    ) -> None:
        write_entry(described, about_mb=103)
        assert main(["models", "--status", "public"]) == 0
        where = "to be fetched: 103 MB, from authors.example\n"
        assert capsys.readouterr().out.split("\t")[-3:] == ["67.7%", "cc-by-nc-4.0", where]
        assert list_models(offline=True) == []
        cpchub.load(NAME)
        capsys.readouterr()
        assert main(["models", "--offline", "--license", "cc-by-*"]) == 0
        assert capsys.readouterr().out.endswith("\tfetched\n")
        assert main(["models", "--license", "commercial"]) == 0
        assert capsys.readouterr().out == ""
        assert list_models(status="public") == [NAME]
        assert catalog_folder() is not None

    def test_index_fetches_the_encoder_that_is_named_in_one_go(
        self, server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        images = tmp_path / "images"
        images.mkdir()
        for number in range(3):
            Image.new("RGB", (120, 110), (80 * number, 40, 90)).save(images / f"{number}.png")
        assert main(["index", str(images), "-o", str(tmp_path / "out"), "--encoder", NAME]) == 0
        assert server.asked == [PATH]
        said = capsys.readouterr().err
        assert f"Fetching {NAME} from" in said
        assert "3 images in" in said
        assert main(["search", str(tmp_path / "out"), str(images / "1.png")]) == 0
        assert server.asked == [PATH]

    def test_publishing_it_says_that_its_licence_forbids_commercial_use(
        self, server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["fetch", NAME]) == 0
        folder = capsys.readouterr().out.strip()
        assert main(["publish", folder, f"folder:{tmp_path / 'shared' / NAME}"]) == 0
        assert "Licence: cc-by-nc-4.0, which forbids commercial use" in capsys.readouterr().err
        assert cpchub.load(tmp_path / "shared" / NAME).spec.license == "cc-by-nc-4.0"
