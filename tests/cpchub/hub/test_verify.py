"""`cpchub verify` reads every file again, whatever was found and remembered before."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from cpchub.catalog import listing
from cpchub.cli import tables
from cpchub.cli.main import main
from cpchub.encoders.load import load
from cpchub.errors import IntegrityError, ModelFolderError, WeightsUnavailableError
from cpchub.hub.integrity import cache_sha256, sha256_of
from cpchub.hub.locate import find
from cpchub.hub.publish import publish
from cpchub.hub.verify import FileCheck, verify_files
from tests.loopback_hub import LoopbackHub
from tests.tiny_encoder import export_tiny, files_of

pytestmark = pytest.mark.usefixtures("own_cache")


def states(name: str | Path) -> dict[str, str]:
    return {check.path.name: check.state for check in verify_files(name)}


def damage(path: Path) -> None:
    """Change one byte, and nothing that a look at size and time would show."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


class TestFolder:
    def test_weights_are_on_record_and_the_rest_is_said_not_to_be(self, folder: Path) -> None:
        expected = dict.fromkeys(files_of(folder), "not on record") | {"model.safetensors": "fine"}
        assert states(folder) == expected

    def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = folder / "file"
        file.write_bytes(b"good")

        def read(path: Path) -> str:
            seen = hashlib.sha256(path.read_bytes()).hexdigest()
            path.write_bytes(b"bad!")
            return seen

        with monkeypatch.context() as patch:
            patch.setattr("cpchub.hub.integrity.file_sha256", read)
            sha256_of(file)
        assert sha256_of(file) == hashlib.sha256(b"bad!").hexdigest()

    def test_damage_that_the_memory_hides_is_found_and_remembered(self, folder: Path) -> None:
        load(folder)
        weights = folder / "model.safetensors"
        good = sha256_of(weights)
        damage(weights)
        cache_sha256(weights, good)  # as if the disk had done it, which changes no time of the file
        load(folder)
        assert states(folder)["model.safetensors"] == "changed"
        with pytest.raises(IntegrityError):
            load(folder)

    def test_a_change_that_kept_size_and_modification_time_is_refused_by_the_next_load(self, folder: Path) -> None:
        load(folder)
        damage(folder / "model.safetensors")
        with pytest.raises(IntegrityError):
            load(folder)

    def test_weights_that_are_gone_are_missing(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        assert states(folder)["model.safetensors"] == "missing"

    def test_measurements_of_other_weights_are_changed(self, folder: Path) -> None:
        (folder / "eval.json").write_text(json.dumps({"results": [], "weights_sha256": "0" * 64}))
        assert states(folder)["eval.json"] == "changed"

    def test_json_that_does_not_parse_is_named(self, folder: Path) -> None:
        (folder / "recipe.json").write_text("{half a")
        with pytest.raises(ModelFolderError, match=r"^\S+recipe\.json cannot be read as JSON"):
            verify_files(folder)


class TestFolderHub:
    def test_every_file_is_on_record_and_a_changed_one_is_found(
        self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "hub" / "lab" / "tiny-simclr"
        publish(exported, str(target))
        monkeypatch.setenv("CPCHUB_HUB", str(tmp_path / "hub"))
        assert states("tiny-simclr") == dict.fromkeys(files_of(exported), "fine")
        (target / "eval.json").unlink()
        (target / "recipe.json").write_text('{"name": "another"}')
        found = states("tiny-simclr")
        assert (found["eval.json"], found["recipe.json"]) == ("missing", "changed")
        assert load("tiny-simclr").spec.name == "tiny-simclr"  # its weights are those on record

    def test_publishing_again_renews_the_record(self, exported: Path, tmp_path: Path) -> None:
        target = tmp_path / "hub" / "tiny"
        publish(exported, str(target))
        publish(export_tiny(tmp_path / "other", seed=1, evaluation=None), str(target))
        assert set(states(target).values()) == {"fine"}


def test_what_pip_has_installed_is_held_to_pips_record(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    entry = shutil.copytree(exported, site / "cpchub" / "model_cards" / "tiny-simclr")
    info = site / "cpchub-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cpchub\nVersion: 9.9\n")
    rows = []
    for path in entry.iterdir():
        content = path.read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        rows.append(f"{path.relative_to(site)},sha256={digest},{len(content)}\n")
    (info / "RECORD").write_text("".join(rows))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(listing, "catalog_folder", lambda: entry.parent)
    assert states("tiny-simclr") == dict.fromkeys(files_of(exported), "fine")
    damage(entry / "README.md")
    assert states("tiny-simclr")["README.md"] == "changed"


class TestCache:
    def test_every_file_is_fine_by_the_hubs_own_hash(self, hub: LoopbackHub, exported: Path) -> None:
        commit = hub.add("lab/tiny", files_of(exported))
        find("lab/tiny")
        before = hub.total_requests()
        assert states("lab/tiny") == dict.fromkeys(files_of(exported), "fine")
        assert states(f"lab/tiny@{commit}") == states("lab/tiny")
        assert hub.total_requests() == before

    @pytest.mark.parametrize("name", ["model.safetensors", "README.md", "config.json"])
    def test_a_changed_file_is_named_by_where_it_lies(self, hub: LoopbackHub, exported: Path, name: str) -> None:
        hub.add("lab/tiny", files_of(exported))
        blob = (find("lab/tiny") / name).resolve()
        damage(blob)
        if name == "config.json":  # still JSON: one digit of it is another
            blob.write_bytes(exported.joinpath(name).read_bytes().replace(b"0.9", b"0.8"))
        [changed] = [check for check in verify_files("lab/tiny") if check.state == "changed"]
        assert changed.path == blob

    def test_a_released_encoder_is_held_to_the_release(self, hub: LoopbackHub, exported: Path, tmp_path: Path) -> None:
        publish(exported, "lab/tiny-simclr", token="secret").record(exported, tmp_path / "model_cards" / "tiny-simclr")
        with pytest.raises(WeightsUnavailableError, match="not on this machine"):
            verify_files("tiny-simclr")
        recipe = find("tiny-simclr") / "recipe.json"
        assert set(states("tiny_simclr").values()) == {"fine"}
        newer = hub.add("lab/tiny-simclr", files_of(export_tiny(tmp_path / "newer", seed=1)))
        find(f"lab/tiny-simclr@{newer}")
        assert set(states(f"lab/tiny-simclr@{newer}").values()) == {"fine"}  # not held to the record of another commit
        recipe.unlink()
        assert states("tiny-simclr")["recipe.json"] == "missing"

    def test_what_is_not_here_is_not_fetched(self, hub: LoopbackHub, exported: Path) -> None:
        hub.add("lab/tiny", files_of(exported))
        with pytest.raises(WeightsUnavailableError, match="not on this machine"):
            verify_files("lab/tiny")
        assert hub.total_requests() == 0


class TestCommand:
    def test_a_sound_folder_ends_with_status_0_and_a_line_a_file(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["verify", str(folder)]) == 0
        said = capsys.readouterr()
        lines = said.out.splitlines()
        assert "fine\ttiny-simclr\tmodel.safetensors" in lines
        assert len(lines) == len(files_of(folder))
        assert said.err.splitlines() == [
            "All is well: tiny-simclr is as recorded (1 file with a recorded hash).",
            "README.md, config.json, eval.json, recipe.json: no hash is recorded before an encoder is published, so "
            "there is none to check.",
        ]

    def test_damage_ends_with_status_2_and_names_the_file(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        damage(folder / "model.safetensors")
        assert main(["verify", str(folder)]) == 2
        said = capsys.readouterr()
        assert "changed\ttiny-simclr\tmodel.safetensors" in said.out
        assert said.err.startswith("error: 1 of 5 files")
        assert str(folder / "model.safetensors") in said.err

    def test_all_are_those_on_this_machine(
        self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(exported, tmp_path / "model_cards" / "tiny-simclr")
        export_tiny(tmp_path / "hub" / "other", name="other")
        recipe = tmp_path / "model_cards" / "recipe-only"
        recipe.mkdir()
        config = (exported / "config.json").read_text().replace("tiny-simclr", "recipe-only")
        (recipe / "config.json").write_text(config)
        monkeypatch.setenv("CPCHUB_HUB", str(tmp_path / "hub"))
        assert main(["verify", "--all"]) == 0
        lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert {line[1] for line in lines} == {"tiny-simclr", "other"}

    def test_a_broken_folder_in_a_folder_hub_is_damage_and_hides_no_other(
        self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(exported, tmp_path / "hub" / "sound")
        (shutil.copytree(exported, tmp_path / "hub" / "broken") / "config.json").write_text("{half a")
        monkeypatch.setenv("CPCHUB_HUB", str(tmp_path / "hub"))
        assert main(["verify", "--all"]) == 2
        said = capsys.readouterr()
        assert "fine\ttiny-simclr\tmodel.safetensors" in said.out
        assert str(tmp_path / "hub" / "broken") in said.err

    @pytest.mark.parametrize("args", [[], ["tiny", "--all"]])
    def test_it_takes_one_name_or_all(self, args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["verify", *args]) == 2
        assert "--all" in capsys.readouterr().err


def test_files_without_any_recorded_hash_are_not_called_well() -> None:
    assert list(tables.sound([FileCheck("mine", Path("model.safetensors"), "not on record")])) == [
        "Nothing could be checked: no file has a recorded hash.",
        "model.safetensors: no hash is recorded before an encoder is published, so there is none to check.",
    ]
