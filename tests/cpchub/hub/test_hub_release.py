"""Releasing in two steps: look first, upload in one commit on top of what was seen, then pin the catalog to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from cpchub.catalog.listing import get_spec, list_models
from cpchub.catalog.spec import PUBLISHED_FILES
from cpchub.cli.main import main
from cpchub.encoders.load import load
from cpchub.errors import ArgumentError, HubConflictError, HubError, ModelFolderError, OutputError
from cpchub.hub import release_plan
from cpchub.hub.card import front_matter
from cpchub.hub.publish import publish
from cpchub.hub.release_plan import plan_release
from tests.loopback_hub import LoopbackHub
from tests.tiny_encoder import export_tiny, files_of

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def newer(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights, described anew and not measured."""
    return export_tiny(tmp_path_factory.mktemp("newer") / "tiny", evaluation=None, summary="Better described.")


class TestPlan:
    def test_a_repository_that_is_not_there_would_be_made_and_is_not(self, hub: LoopbackHub, exported: Path) -> None:
        planned = plan_release(exported, "lab/tiny", token="secret")
        assert planned.parent is None
        assert planned.changes == dict.fromkeys(PUBLISHED_FILES, "new")
        assert hub.repos == {}

    def test_each_file_is_compared_with_what_is_there(self, hub: LoopbackHub, exported: Path, newer: Path) -> None:
        commit = publish(exported, "lab/tiny", token="secret").revision
        planned = plan_release(newer, "lab/tiny", token="secret")
        assert planned.parent == commit
        assert planned.changes == {
            "config.json": "changed",
            "model.safetensors": "same",
            "README.md": "changed",
            "recipe.json": "same",
            "eval.json": "removed",
        }
        assert hub.repos["lab/tiny"].head == commit

    def test_what_is_planned_is_what_is_done(self, hub: LoopbackHub, exported: Path, newer: Path) -> None:
        publish(exported, "lab/tiny", token="secret")
        planned = plan_release(newer, "lab/tiny", token="secret")
        released = publish(newer, "lab/tiny", token="secret")
        assert released.files == planned.files
        assert hub.repos["lab/tiny"].files["README.md"].decode() == planned.card
        assert set(plan_release(newer, "lab/tiny", token="secret").changes.values()) == {"same"}

    def test_a_folder_is_planned_for_like_a_repository(self, exported: Path, newer: Path, tmp_path: Path) -> None:
        target = tmp_path / "shared" / "tiny"
        assert plan_release(exported, str(target)).changes == dict.fromkeys(PUBLISHED_FILES, "new")
        assert not target.exists()
        released = publish(exported, str(target))
        planned = plan_release(newer, str(target))
        assert (planned.parent, planned.changes["eval.json"]) == (released.revision, "removed")

    def test_a_card_that_cannot_be_published_is_found_by_looking(
        self, hub: LoopbackHub, exported: Path, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(exported, tmp_path / "copy")
        with (folder / "README.md").open("a") as card:
            card.write("\nTODO: write this\n")
        with pytest.raises(ModelFolderError, match="TODO"):
            plan_release(folder, "lab/tiny")


class TestOneCommit:
    def test_only_what_has_changed_is_uploaded(self, hub: LoopbackHub, exported: Path, newer: Path) -> None:
        publish(exported, "lab/tiny", token="secret")
        publish(newer, "lab/tiny", token="secret")
        assert hub.requests["PUT lfs_put"] == 1
        assert hub.requests["POST commit"] == 2

    def test_where_nothing_has_changed_there_is_no_commit(self, hub: LoopbackHub, exported: Path) -> None:
        first = publish(exported, "lab/tiny", token="secret")
        assert publish(exported, "lab/tiny", token="secret") == first
        assert hub.requests["POST commit"] == 1

    def test_a_stale_card_is_renewed_in_our_block_only_and_keeps_its_tags(
        self, hub: LoopbackHub, exported: Path, newer: Path
    ) -> None:
        publish(exported, "lab/tiny", token="secret")
        repo = hub.repos["lab/tiny"]
        card = repo.files["README.md"].decode().replace("tags:\n", "tags:\n- cells\n") + "\nA note by a person.\n"
        repo.commit({**repo.files, "README.md": card.encode()})
        publish(newer, "lab/tiny", token="secret")
        renewed = repo.files["README.md"].decode()
        assert "Better described." in renewed
        assert "A network that only a test could love." not in renewed
        assert renewed.endswith("A note by a person.\n")
        assert {"cells", "simclr", "cpchub"} <= set(front_matter(renewed)["tags"])
        assert "model-index" not in front_matter(renewed)

    def test_front_matter_that_the_hub_refuses_is_our_error_and_nothing_is_committed(
        self, hub: LoopbackHub, exported: Path
    ) -> None:
        hub.yaml_errors = ['"license" must be one of the list']
        with pytest.raises(ModelFolderError, match="must be one of the list"):
            publish(exported, "lab/tiny", token="secret")
        assert hub.requests["POST commit"] == 0

    def test_a_hub_without_xet_is_told_apart_from_one_that_is_down(
        self, hub: LoopbackHub, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("hf_xet")
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
        with pytest.raises(HubError, match="HF_HUB_DISABLE_XET=1"):
            publish(exported, "lab/tiny", token="secret")
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        assert publish(exported, "lab/tiny", token="secret").revision == hub.repos["lab/tiny"].head


class TestSomebodyElse:
    def test_a_commit_in_between_is_not_overwritten_and_publishing_again_goes_on_top(
        self, hub: LoopbackHub, exported: Path, newer: Path
    ) -> None:
        publish(newer, "lab/tiny", token="secret")
        repo = hub.repos["lab/tiny"]
        theirs = {**repo.files, "config.json": b"{}"}

        def commit_theirs() -> None:
            hub.before_commit = None
            repo.commit(theirs)

        hub.before_commit = commit_theirs
        with pytest.raises(HubConflictError, match=r"lab/tiny has changed.*publish again"):
            publish(exported, "lab/tiny", token="secret")
        assert repo.files == theirs
        released = publish(exported, "lab/tiny", token="secret")
        assert repo.head == released.revision
        assert list(repo.commits.values())[-2] == theirs
        assert hub.requests["PUT lfs_put"] == 1  # the weights were there already

    def test_a_repository_that_appears_in_between_is_not_written_to(
        self, hub: LoopbackHub, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        theirs = hub.add("lab/tiny", {"README.md": b"theirs"})
        monkeypatch.setattr(release_plan, "head_of", lambda *_: None)  # it was not there when we looked
        with pytest.raises(HubConflictError):
            publish(exported, "lab/tiny", token="secret")
        assert hub.repos["lab/tiny"].head == theirs

    def test_a_parent_that_is_not_the_newest_stops_it_before_anything_is_uploaded(
        self, hub: LoopbackHub, exported: Path, newer: Path, tmp_path: Path
    ) -> None:
        for target in ("lab/tiny", str(tmp_path / "shared" / "tiny")):
            first = publish(exported, target, token="secret").revision
            second = publish(newer, target, token="secret", parent=first).revision
            with pytest.raises(HubConflictError, match=f"is at {second}, not at {first}"):
                publish(exported, target, token="secret", parent=first)
            publish(exported, target, token="secret", parent=second[:8])


class TestRecord:
    def test_a_recipe_becomes_an_encoder_on_the_hub(self, hub: LoopbackHub, exported: Path, tmp_path: Path) -> None:
        entry = tmp_path / "model_cards" / "tiny-simclr"
        entry.mkdir(parents=True)
        shutil.copy(exported / "config.json", entry)
        assert list_models(status="recipe") == ["tiny-simclr"]
        released = publish(exported, "lab/tiny-simclr", token="secret")
        released.record(exported, entry)
        spec = get_spec("tiny-simclr")
        assert (spec.status, spec.repo_id, spec.revision) == ("hub", "lab/tiny-simclr", released.revision)
        assert {name: record.sha256 for name, record in spec.files.items()} == {
            name: record.sha256 for name, record in released.files.items()
        }
        assert set(files_of(entry)) == {*PUBLISHED_FILES, "release.json"} - {"model.safetensors"}
        assert (entry / "README.md").read_bytes() == hub.repos["lab/tiny-simclr"].files["README.md"]
        assert load("tiny-simclr").spec.revision == released.revision

    def test_an_encoder_that_ships_with_the_package_gets_the_new_weights(
        self, hub: LoopbackHub, exported: Path, tmp_path: Path
    ) -> None:
        entry = shutil.copytree(exported, tmp_path / "model_cards" / "tiny-simclr")
        other = export_tiny(tmp_path / "other", seed=1, evaluation=None)
        released = publish(other, "lab/tiny-simclr", token="secret")
        released.record(other, entry)
        spec = get_spec("tiny-simclr")
        assert (spec.status, spec.revision) == ("bundled", released.revision)
        assert not (entry / "eval.json").exists()
        assert load("tiny-simclr").spec.fingerprint == load(other).spec.fingerprint

    def test_a_folder_of_something_else_is_not_made_an_entry(
        self, hub: LoopbackHub, exported: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.tex").write_text("years of work")
        with pytest.raises(OutputError):
            publish(exported, "lab/tiny", token="secret").record(exported, tmp_path / "mine")
        assert set(files_of(tmp_path / "mine")) == {"thesis.tex"}

    def test_a_folder_is_nothing_to_pin_an_entry_to(self, exported: Path, tmp_path: Path) -> None:
        released = publish(exported, str(tmp_path / "shared" / "tiny"))
        assert load(released.repo_id).spec.name == "tiny-simclr"
        with pytest.raises(ArgumentError, match="CPCHUB_HUB"):
            released.record(exported, tmp_path / "model_cards" / "tiny-simclr")
        assert not (tmp_path / "model_cards").exists()

    def test_a_later_commit_on_the_hub_does_not_move_the_entry(
        self, hub: LoopbackHub, exported: Path, tmp_path: Path
    ) -> None:
        released = publish(exported, "lab/tiny-simclr", token="secret")
        released.record(exported, tmp_path / "model_cards" / "tiny-simclr")
        publish(export_tiny(tmp_path / "other", seed=1), "lab/tiny-simclr", token="secret")
        assert load("tiny-simclr").spec.fingerprint == load(exported).spec.fingerprint


class TestCommand:
    def test_check_says_what_would_be_uploaded_and_uploads_nothing(
        self, hub: LoopbackHub, exported: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["publish", str(exported), "lab/tiny", "--check"]) == 0
        first, *rest = capsys.readouterr().out.splitlines()
        assert first == "lab/tiny: would be made"
        size = (exported / "model.safetensors").stat().st_size
        assert f"new\tmodel.safetensors\t{size:,} bytes" in rest
        assert hub.repos == {}

    def test_record_pins_the_entry_and_the_name_loads(
        self,
        hub: LoopbackHub,
        exported: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "secret")
        entry = tmp_path / "model_cards" / "tiny-simclr"
        assert main(["publish", str(exported), "lab/tiny-simclr", "--record", str(entry)]) == 0
        [where] = capsys.readouterr().out.splitlines()
        assert where == f"lab/tiny-simclr@{json.loads((entry / 'release.json').read_text())['revision']}"
        shutil.rmtree(Path(constants.HF_HUB_CACHE), ignore_errors=True)
        assert load("tiny-simclr").spec.repo_id == "lab/tiny-simclr"

    def test_another_parent_is_one_error_and_status_2(
        self, hub: LoopbackHub, exported: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        publish(exported, "lab/tiny", token="secret")
        capsys.readouterr()  # the client's progress bar
        assert main(["publish", str(exported), "lab/tiny", "--parent", "a" * 40]) == 2
        assert capsys.readouterr().err.count("\n") == 1
