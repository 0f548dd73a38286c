"""Publish and download with the real client against a Hub on 127.0.0.1."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch

from cpchub.catalog.listing import get_spec, list_models
from cpchub.catalog.spec import PUBLISHED_FILES
from cpchub.collection.collection import Collection
from cpchub.embedding.encoder_of import encoder_of
from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.errors import (
    IntegrityError,
    OutputError,
    WeightsUnavailableError,
)
from cpchub.hub.locate import find
from cpchub.hub.publish import publish
from tests.cpchub.images import folder_of_images
from tests.loopback_hub import LoopbackHub, loopback_hub
from tests.tiny_encoder import DIM, export_tiny, files_of

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
pytestmark = pytest.mark.usefixtures("own_cache")


class TestPublishAndDownload:
    def test_what_is_published_is_what_is_loaded(self, hub: LoopbackHub, exported: Path) -> None:
        release = publish(exported, "lab/tiny-simclr", token="secret")
        assert release.revision == hub.repos["lab/tiny-simclr"].head
        assert set(release.files) == set(PUBLISHED_FILES)
        downloaded = load("lab/tiny-simclr", device="cpu")
        assert downloaded.spec.repo_id == "lab/tiny-simclr"
        assert downloaded.spec.revision == release.revision
        assert downloaded.spec.fingerprint == load(exported).spec.fingerprint
        assert np.array_equal(downloaded.encode(IMAGE), load(exported, device="cpu").encode(IMAGE))

    def test_it_is_one_commit(self, hub: LoopbackHub, exported: Path) -> None:
        publish(exported, "lab/tiny", token="secret")
        assert hub.requests["POST commit"] == 1
        assert hub.requests["PUT lfs_put"] == 1

    def test_the_card_speaks_of_the_name_it_is_published_under(self, hub: LoopbackHub, exported: Path) -> None:
        publish(exported, "lab/another-name", token="secret")
        files = hub.repos["lab/another-name"].commits[hub.repos["lab/another-name"].head]
        assert b'cpchub.load("lab/another-name")' in files["README.md"]

    def test_what_people_wrote_in_the_card_stays(self, hub: LoopbackHub, exported: Path, tmp_path: Path) -> None:
        publish(exported, "lab/tiny", token="secret")
        repo = hub.repos["lab/tiny"]
        files = dict(repo.commits[repo.head])
        files["README.md"] += b"\nA note by a person.\n"
        repo.commit(files)
        publish(export_tiny(tmp_path / "newer", seed=1, summary="Better now."), "lab/tiny", token="secret")
        card = repo.commits[repo.head]["README.md"].decode()
        assert "A note by a person." in card
        assert "Better now." in card
        assert card.count("## Facts") == 1

    def test_the_folders_own_text_comes_before_that_on_the_hub(
        self, hub: LoopbackHub, exported: Path, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(exported, tmp_path / "copy")
        card, repo_id = folder / "README.md", "lab/tiny"
        rendered = card.read_text()
        for note in ("First thoughts.", "Second thoughts."):
            card.write_text(f"{rendered}\n{note}\n")
            publish(folder, repo_id, token="secret")
        published = hub.repos[repo_id].commits[hub.repos[repo_id].head]["README.md"].decode()
        assert "Second thoughts." in published
        assert "First thoughts." not in published

    def test_a_file_that_is_gone_from_the_folder_leaves_the_repository_in_the_same_commit(
        self, hub: LoopbackHub, exported: Path, tmp_path: Path
    ) -> None:
        first = publish(exported, "lab/tiny", token="secret").revision
        repo = hub.repos["lab/tiny"]
        repo.commit({**repo.commits[first], "notes.txt": b"somebody's"})
        unmeasured = export_tiny(tmp_path / "newer", seed=1, evaluation=None)
        release = publish(unmeasured, "lab/tiny", token="secret")
        assert "eval.json" not in release.files
        assert set(repo.commits[repo.head]) == {*PUBLISHED_FILES, ".gitattributes", "notes.txt"} - {"eval.json"}
        assert hub.requests["POST commit"] == 2

    def test_a_bare_name_goes_to_the_organisation(
        self, hub: LoopbackHub, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CPCHUB_ORG", "lab")
        assert publish(exported, "tiny", token="secret", private=True).repo_id == "lab/tiny"
        assert hub.repos["lab/tiny"].private

    def test_an_older_revision_can_be_asked_for(self, hub: LoopbackHub, exported: Path, tmp_path: Path) -> None:
        old = hub.add("lab/tiny", files_of(exported))
        hub.add("lab/tiny", files_of(export_tiny(tmp_path / "newer", seed=1)))
        fingerprint = load(exported).spec.fingerprint
        assert load("lab/tiny").spec.fingerprint != fingerprint
        assert load("lab/tiny", revision=old).spec.fingerprint == fingerprint
        assert load(f"hf-hub:lab/tiny@{old}").spec.fingerprint == fingerprint

    def test_a_collection_finds_its_encoder_again_at_the_commit_that_embedded_it(
        self, hub: LoopbackHub, exported: Path, tmp_path: Path
    ) -> None:
        commit = hub.add("lab/tiny", files_of(exported))
        images = folder_of_images(tmp_path / "photos", 3)
        collection = embed(images, tmp_path / "out", load("lab/tiny"), progress=False)
        hub.add("lab/tiny", files_of(export_tiny(tmp_path / "newer", seed=1)))
        assert collection.encoder_to_load == f"lab/tiny@{commit}"
        assert encoder_of(Collection.open(tmp_path / "out")).spec.revision == commit

    def test_plain_timm_loads_from_the_hub_too(
        self, hub: LoopbackHub, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(exported, "lab/tiny", token="secret")
        constants = huggingface_hub.constants  # timm has no endpoint argument, and the client reads HF_ENDPOINT once
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        model = timm.create_model("hf-hub:lab/tiny", pretrained=True).eval()
        x = torch.randn(2, 3, 32, 32)
        with torch.inference_mode():
            assert torch.equal(model(x), load(exported, device="cpu")(x))


class TestRequests:
    def test_a_pinned_revision_in_a_warm_cache_makes_no_request(self, hub: LoopbackHub, exported: Path) -> None:
        commit = hub.add("lab/tiny", files_of(exported))
        load("lab/tiny", revision=commit)
        before = hub.total_requests()
        load("lab/tiny", revision=commit)
        assert hub.total_requests() == before

    @pytest.mark.parametrize("lacking", ["README.md", "recipe.json", "eval.json"])
    def test_nor_does_one_that_lacks_a_descriptive_file(self, lacking: str, hub: LoopbackHub, exported: Path) -> None:
        files = {name: content for name, content in files_of(exported).items() if name != lacking}
        commit = hub.add("lab/tiny", files)
        load("lab/tiny", revision=commit)
        before = hub.total_requests()
        load("lab/tiny", revision=commit)
        assert hub.total_requests() == before

    def test_a_branch_in_a_warm_cache_makes_one(self, hub: LoopbackHub, exported: Path) -> None:
        hub.add("lab/tiny", files_of(exported))
        load("lab/tiny")
        before = hub.total_requests()
        load("lab/tiny")
        assert hub.total_requests() == before + 1

    def test_without_a_network_the_cache_is_enough(self, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with loopback_hub() as server:
            server.add("lab/tiny", files_of(exported))
            monkeypatch.setenv("HF_ENDPOINT", server.url)
            load("lab/tiny")
        assert load("lab/tiny").dim == DIM

    def test_without_a_network_and_a_cache_the_error_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: None)  # the client waits longer before each of its retries
        with pytest.raises(WeightsUnavailableError, match="cannot be reached"):
            load("lab/tiny")

    def test_weights_are_hashed_once(self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = shutil.copytree(exported, tmp_path / "copy")
        find(folder)

        def never(*_: object) -> None:
            pytest.fail("hashed again")

        monkeypatch.setattr("cpchub.hub.integrity.file_sha256", never)
        find(folder)


class TestCatalogNames:
    def test_a_pinned_release_is_fetched_and_held_to_its_record(
        self, hub: LoopbackHub, exported: Path, tmp_path: Path
    ) -> None:
        release = publish(exported, "lab/tiny-simclr", token="secret")
        entry = shutil.copytree(exported, tmp_path / "model_cards" / "tiny-simclr")
        (entry / "model.safetensors").unlink()
        release.record(exported, entry)
        assert list_models(status="hub") == ["tiny-simclr"]
        encoder = load("tiny_simclr")
        assert encoder.spec.name == "tiny-simclr"
        assert encoder.spec.revision == release.revision
        hub.tamper("lab/tiny-simclr", "README.md")
        shutil.rmtree(Path(huggingface_hub.constants.HF_HUB_CACHE))
        with pytest.raises(IntegrityError, match=r"README\.md"):
            load("tiny-simclr")

    def test_a_recipe_has_no_weights_and_two_ways_out(self, exported: Path, tmp_path: Path) -> None:
        entry = shutil.copytree(exported, tmp_path / "model_cards" / "tiny-simclr")
        (entry / "model.safetensors").unlink()
        with pytest.raises(WeightsUnavailableError, match=r"cpchub train tiny_simclr.*pretrained=False"):
            load("tiny-simclr")
        assert load("tiny-simclr", pretrained=False).encode(IMAGE).shape == (1, DIM)


class TestFolderHub:
    def test_a_folder_works_as_a_hub(self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        release = publish(exported, f"folder:{tmp_path / 'shared' / 'tiny-simclr'}")
        assert len(release.revision) == 40
        monkeypatch.setenv("CPCHUB_HUB", str(tmp_path / "shared"))
        spec = get_spec("tiny-simclr")
        assert (spec.status, spec.revision, spec.repo_id) == ("hub", release.revision, None)
        assert load("tiny-simclr", revision=release.revision).spec.name == "tiny-simclr"
        assert np.array_equal(load("tiny-simclr").encode(IMAGE), load(exported).encode(IMAGE))

    def test_publishing_the_same_again_gives_the_same_revision(self, exported: Path, tmp_path: Path) -> None:
        target = str(tmp_path / "shared" / "tiny")
        assert publish(exported, target) == publish(exported, target)

    def test_hidden_files_do_not_make_a_folder_foreign_and_stay_in_it(self, exported: Path, tmp_path: Path) -> None:
        target = tmp_path / "shared" / "tiny"
        target.mkdir(parents=True)
        (target / ".DS_Store").write_bytes(b"view settings")
        publish(exported, str(target))
        assert {path.name for path in target.iterdir()} == {*PUBLISHED_FILES, "release.json", ".DS_Store"}

    def test_a_folder_with_other_content_is_not_touched(self, exported: Path, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.tex").write_text("years of work")
        with pytest.raises(OutputError):
            publish(exported, str(tmp_path / "mine"))
        with pytest.raises(OutputError):
            publish(exported, str(exported))
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
