"""A public encoder is fetched, checked and converted once; whatever a server does wrong is said and leaves nothing."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import HTTPSHandler, Request

import huggingface_hub.constants
import pytest
import torch
from PIL import Image

import cpchub
from cpchub.catalog.listing import catalog_folder, get_spec, list_models
from cpchub.cli.main import main
from cpchub.common import retry as retrying
from cpchub.encoders import model_folder
from cpchub.errors import (
    ArgumentError,
    HubError,
    ImportFormatError,
    IntegrityError,
    NoSpaceError,
    UnsafeWeightsError,
    WeightsUnavailableError,
)
from cpchub.hub import fetch_file
from cpchub.hub.known_files import LOCK_FILE
from cpchub.importers.convert import import_checkpoint
from tests.cpchub.foreign_checkpoints import features, head, state, torchvision_resnet
from tests.loopback_files import FileServer, loopback_files

NAME = "moco-v2-tiny"
PATH, SECOND = "/moco/tiny.pth.tar", "/copies/tiny.pth.tar"
HOST = "https://authors.example"


@pytest.fixture(scope="module")
def network() -> Any:
    return torchvision_resnet(num_classes=8)


@pytest.fixture(scope="module")
def checkpoint(network: Any) -> bytes:
    network.fc, classifier = torch.nn.Identity(), network.fc
    tensors = {**state(network, "module.encoder_q."), **state(head(32, 32, 8), "module.encoder_q.fc.")}
    network.fc = classifier
    content = io.BytesIO()
    torch.save({"epoch": 200, "arch": "resnet18", "state_dict": tensors}, content)
    return content.getvalue()


@pytest.fixture(scope="module")
def described(checkpoint: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The config.json of the converted network, without its weights."""
    folder = tmp_path_factory.mktemp("described")
    (folder / "tiny.pth.tar").write_bytes(checkpoint)
    import_checkpoint(folder / "tiny.pth.tar", folder / NAME)
    config: dict[str, Any] = json.loads((folder / NAME / "config.json").read_text())
    del config["cpchub"]["weights"]
    config["cpchub"] |= {"license": "cc-by-nc-4.0", "summary": "A tiny one.", "limits": ["For tests."]}
    return config


@pytest.fixture
def server(
    own_cache: Path, checkpoint: bytes, described: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FileServer]:
    """A server with the checkpoint, a catalog that knows it, and no pause between two tries."""
    monkeypatch.setattr(retrying, "wait", lambda _: None)
    write_entry(described)
    with loopback_files() as files:
        files.files[PATH] = checkpoint
        monkeypatch.setenv("CPCHUB_MIRROR", files.url)
        yield files


def write_entry(config: dict[str, Any], *sources: dict[str, Any], **of_file: Any) -> None:
    from cpchub.catalog import listing

    folder = listing.catalog_folder() / NAME
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    row = {"task": "linear", "dataset": "imagenet-1k", "split": "validation", "metric": "accuracy", "value": 0.677}
    row |= {"published": True, "source": "README", "source_url": "https://authors.example", "protocol": "as published"}
    (folder / "eval.json").write_text(json.dumps({"results": [row]}))
    content = {
        "citation": "the paper", "links_read": "2026-11-28", "license_note": "Ask them.",
        "sources": list(sources) or [source(**of_file)],
    }  # fmt: skip
    (folder / "origin.json").write_text(json.dumps(content))


def source(path: str = PATH, **of_file: Any) -> dict[str, Any]:
    return {"format": "moco", "files": [{"name": "tiny.pth.tar", "address": f"{HOST}{path}", **of_file}]}


def left(home: Path) -> list[str]:
    """What lies in the cache besides locks and what is remembered."""
    kept = ("verified.json", LOCK_FILE)
    found = (path for path in home.rglob("*") if path.is_file() and path.name not in kept)
    return sorted(path.name for path in found if path.suffix not in (".lock", ".held"))


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


class TestBrokenDownload:
    @pytest.mark.parametrize("cuts", [[1000], [1, 70_000, 5], [0, 0, 30_000]])
    def test_it_goes_on_where_it_broke_off(self, server: FileServer, cuts: list[int]) -> None:
        server.cuts = list(cuts)
        cpchub.load(NAME)
        begun = [sum(cuts[:count]) for count in range(len(cuts) + 1)]
        assert server.ranges == [f"bytes={have}-" if have else "" for have in begun]

    def test_the_next_call_goes_on_too(
        self, server: FileServer, own_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.cuts = [50_000, 0, 0, 0, 0, 0, 0, 0]
        with pytest.raises(HubError, match="the same call goes on from there"):
            cpchub.load(NAME)
        assert "tiny.pth.tar.partial" in left(own_cache)
        server.cuts = []
        cpchub.load(NAME)
        assert server.ranges[-1] == "bytes=50000-"

    def test_two_versions_of_a_file_are_never_joined(self, server: FileServer, checkpoint: bytes) -> None:
        server.cuts = [50_000, 0, 0, 0, 0, 0, 0, 0]
        server.files[PATH] = bytes(len(checkpoint))
        with pytest.raises(HubError):
            cpchub.load(NAME)
        server.cuts, server.files[PATH] = [], checkpoint
        cpchub.load(NAME)

    def test_a_server_without_versions_is_asked_for_all_of_it_again(self, server: FileServer) -> None:
        server.versions, server.cuts = False, [1000]
        cpchub.load(NAME)
        assert server.ranges == ["", ""]

    def test_one_that_was_complete_before_it_got_its_name(
        self, server: FileServer, own_cache: Path, checkpoint: bytes
    ) -> None:
        place = own_cache / "cpchub" / "public" / ".downloads" / NAME / "0"
        place.mkdir(parents=True)
        (place / "tiny.pth.tar.partial").write_bytes(checkpoint)
        (place / "tiny.pth.tar.version").write_text(f'"{hashlib.sha256(checkpoint).hexdigest()[:16]}"')
        cpchub.load(NAME)

    def test_a_server_in_trouble_is_asked_a_few_times(self, server: FileServer) -> None:
        server.statuses[PATH] = 503
        with pytest.raises(HubError, match="answered 503"):
            cpchub.load(NAME)
        assert len(server.asked) == 1 + len(retrying.PAUSES)

    def test_a_full_disk_is_one_sentence(self, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any) -> int:
            with fetch_file.writing(Path("disk")):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return 0

        monkeypatch.setattr(fetch_file, "_copy", full)
        with pytest.raises(NoSpaceError, match="no space left"):
            cpchub.load(NAME)

    def test_a_disk_that_is_full_at_the_conversion_keeps_only_the_download(
        self, server: FileServer, own_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(model_folder, "save_tensors", full)
            with pytest.raises(NoSpaceError, match="no space left"):
                cpchub.load(NAME)
        assert left(own_cache) == ["tiny.pth.tar"]
        cpchub.load(NAME)
        assert server.asked == [PATH]
        assert "tiny.pth.tar" not in left(own_cache)


class TestWrongFile:
    def test_a_dead_address_is_followed_by_the_next(
        self, server: FileServer, described: dict[str, Any], checkpoint: bytes
    ) -> None:
        write_entry(described, source("/gone.pth"), source(SECOND))
        server.files[SECOND] = checkpoint
        cpchub.load(NAME)
        assert server.asked == ["/gone.pth", SECOND]

    @pytest.mark.parametrize(
        ("record", "said"),
        [
            ({"size": 1234}, "offers .* bytes; the file on record has 1,234"),
            ({"sha256": "a" * 64}, "have published a{64}"),
            ({"sha256_prefix": "a" * 8}, "have published aaaaaaaa"),
            ({"md5_prefix": "a" * 8}, "begins with aaaaaaaa"),
        ],
    )
    def test_one_that_is_not_the_one_on_record(
        self, server: FileServer, own_cache: Path, described: dict[str, Any], record: dict[str, Any], said: str
    ) -> None:
        write_entry(described, **record)
        with pytest.raises(IntegrityError, match=said):
            cpchub.load(NAME)
        assert left(own_cache) == []

    def test_the_one_on_record_is_taken(self, server: FileServer, described: dict[str, Any], checkpoint: bytes) -> None:
        md5, sha256 = hashlib.md5(checkpoint).hexdigest(), hashlib.sha256(checkpoint).hexdigest()
        write_entry(described, size=len(checkpoint), sha256=sha256, md5_prefix=md5[:8])
        cpchub.load(NAME)

    def test_another_file_than_that_of_the_first_download(
        self, server: FileServer, own_cache: Path, checkpoint: bytes
    ) -> None:
        cpchub.load(NAME)
        known = json.loads((own_cache / "cpchub" / LOCK_FILE).read_text())
        assert known[f"{HOST}{PATH}"]["sha256"] == hashlib.sha256(checkpoint).hexdigest()
        shutil.rmtree(own_cache / "cpchub" / "public")
        server.files[PATH] = checkpoint + b"more"
        with pytest.raises(IntegrityError, match=r"on 20\d\d-\d\d-\d\d it gave"):
            cpchub.load(NAME)

    @pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream"])
    def test_a_web_page(self, server: FileServer, own_cache: Path, content_type: str) -> None:
        server.files[PATH], server.content_type = b"\n<!DOCTYPE html><html>Sign in</html>", content_type
        with pytest.raises(HubError, match="gave a web page and not a file"):
            cpchub.load(NAME)
        assert left(own_cache) == []

    def test_a_pickle_that_attacks(self, server: FileServer, own_cache: Path, tmp_path: Path) -> None:
        class Attack:
            def __reduce__(self) -> Any:
                return os.system, (f"touch {tmp_path}/attacked",)

        content = io.BytesIO()
        torch.save({"state_dict": Attack()}, content)
        server.files[PATH] = content.getvalue()
        with pytest.raises(UnsafeWeightsError):
            cpchub.load(NAME)
        assert left(own_cache) == []
        assert not (tmp_path / "attacked").exists()

    def test_another_network_than_the_catalog_describes(
        self, server: FileServer, own_cache: Path, described: dict[str, Any]
    ) -> None:
        write_entry({**described, "num_features": 64})
        with pytest.raises(ImportFormatError, match="another checkpoint than the catalog describes"):
            cpchub.load(NAME)
        assert left(own_cache) == []

    def test_a_file_that_could_not_be_converted_is_not_remembered(self, server: FileServer, checkpoint: bytes) -> None:
        server.files[PATH] = b"garbage"
        with pytest.raises(ImportFormatError):
            cpchub.load(NAME)
        server.files[PATH] = checkpoint
        cpchub.load(NAME)


class TestWhereTheAddressesLead:
    def test_a_redirect_is_followed(self, server: FileServer, checkpoint: bytes) -> None:
        server.moved[PATH], server.files["/elsewhere"] = "/elsewhere", checkpoint
        cpchub.load(NAME)
        assert server.asked == [PATH, "/elsewhere"]

    @pytest.mark.parametrize("to", ["http://authors.example/x", "ftp://authors.example/x", "file:///etc/passwd"])
    def test_a_redirect_to_what_is_not_encrypted_is_refused(self, to: str) -> None:
        with pytest.raises(HubError, match="without encryption"):
            fetch_file._NoWayBack().redirect_request(Request(f"{HOST}{PATH}"), None, 302, "", {}, to)

    def test_a_server_that_sends_from_https_to_http_is_not_followed(
        self, server: FileServer, own_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def as_if_encrypted(self: HTTPSHandler, request: Request) -> Any:
            return self.do_open(HTTPConnection, request)  # type: ignore[arg-type]

        monkeypatch.setattr(HTTPSHandler, "https_open", as_if_encrypted)
        monkeypatch.setenv("CPCHUB_MIRROR", server.url.replace("http:", "https:"))
        server.moved[PATH] = f"{server.url}/elsewhere"
        with pytest.raises(HubError, match="sends elsewhere without encryption"):
            cpchub.load(NAME)
        assert server.asked == [PATH]
        assert left(own_cache) == []

    def test_a_mirror_may_have_a_path_of_its_own(
        self, server: FileServer, checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.files = {f"/mirror{PATH}": checkpoint}
        monkeypatch.setenv("CPCHUB_MIRROR", f"{server.url}/mirror/")
        cpchub.load(NAME)

    @pytest.mark.parametrize("mirror", ["mirror.example", "ftp://mirror.example", "/mnt/mirror"])
    def test_what_is_no_mirror_is_named(self, server: FileServer, monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
        monkeypatch.setenv("CPCHUB_MIRROR", mirror)
        with pytest.raises(HubError, match=f"CPCHUB_MIRROR is '{mirror}'"):
            cpchub.load(NAME)

    def test_a_host_that_is_not_there_is_named_with_the_ways_out(
        self, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CPCHUB_MIRROR", "http://127.0.0.1:9")
        with pytest.raises(HubError, match=rf"127.0.0.1:9{PATH} cannot be reached.*CPCHUB_MIRROR.*cpchub fetch {NAME}"):
            cpchub.load(NAME)


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
