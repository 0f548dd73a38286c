"""How bytes travel to the Hub and back: in parts, by way of another origin, broken off and continued, twice at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from cpchub.catalog.spec import PUBLISHED_FILES
from cpchub.encoders.load import load
from cpchub.errors import HubError, IntegrityError
from cpchub.hub import download
from cpchub.hub.locate import find
from cpchub.hub.publish import publish
from tests.loopback_hub import LoopbackHub, loopback_hub
from tests.processes import PATIENCE, Processes, wait_for
from tests.tiny_encoder import DIM, files_of

pytestmark = pytest.mark.usefixtures("own_cache")
WEIGHTS = "model.safetensors"


class TestUpload:
    def test_a_large_file_goes_up_in_parts_and_arrives_whole(
        self, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        weights = (exported / WEIGHTS).read_bytes()
        with loopback_hub(part_size=len(weights) // 3 + 1) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            publish(exported, "lab/tiny", token="secret")
            assert hub.requests["PUT lfs_put_part"] == 3
            assert hub.requests["POST lfs_complete"] == 1
            assert hub.requests["PUT lfs_put"] == 0
            assert hub.repos["lab/tiny"].files[WEIGHTS] == weights
            assert load("lab/tiny").dim == DIM

    def test_the_clients_own_snapshot_holds_what_was_published(
        self, hub: LoopbackHub, exported: Path, tmp_path: Path
    ) -> None:
        release = publish(exported, "lab/tiny", token="secret")
        snapshot = Path(huggingface_hub.snapshot_download("lab/tiny", revision=release.revision, endpoint=hub.url))
        assert {path.name for path in snapshot.iterdir()} == {*PUBLISHED_FILES, ".gitattributes"}
        assert (snapshot / WEIGHTS).read_bytes() == (exported / WEIGHTS).read_bytes()
        assert (snapshot / "config.json").read_bytes() == (exported / "config.json").read_bytes()


class TestRedirects:
    def test_the_token_stays_with_the_hub_when_the_files_are_elsewhere(
        self, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with loopback_hub(redirect=True) as hub:  # its storage refuses whoever sends it a token
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            hub.add("lab/tiny", files_of(exported), private=True, readers={"secret"})
            assert load("lab/tiny", token="secret").dim == DIM
            assert hub.requests["GET lfs_get"] == 1

    def test_a_renamed_repository_is_followed_by_a_path_without_a_host(self, hub: LoopbackHub, exported: Path) -> None:
        hub.add("lab/old", files_of(exported), private=True, readers={"secret"})
        hub.rename("lab/old", "lab/new")
        assert load("lab/old", token="secret").dim == DIM


class TestBrokenDownload:
    @pytest.fixture(autouse=True)
    def small_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)
        monkeypatch.setattr(time, "sleep", lambda _: None)  # the client waits before it tries again

    def test_one_call_goes_on_where_the_connection_was_cut(self, hub: LoopbackHub, exported: Path) -> None:
        hub.add("lab/tiny", files_of(exported))
        hub.cuts = [20_000]
        assert load("lab/tiny").dim == DIM
        [asked] = hub.ranges
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        assert 0 < start <= 20_000
        assert hub.weights_sent == 20_000 + (exported / WEIGHTS).stat().st_size - start

    def test_the_next_call_goes_on_where_the_last_one_gave_up(self, hub: LoopbackHub, exported: Path) -> None:
        hub.add("lab/tiny", files_of(exported))
        hub.cuts = [20_000, *[0] * 20]  # then nothing comes any more, however often the client asks
        with pytest.raises(HubError, match="goes on from there"):
            load("lab/tiny")
        hub.cuts, before = [], hub.weights_sent
        assert before == 20_000
        encoder = load("lab/tiny")
        start = int(hub.ranges[-1].removeprefix("bytes=").removesuffix("-"))
        assert 0 < start <= 20_000
        assert hub.weights_sent - before == (exported / WEIGHTS).stat().st_size - start
        assert encoder.spec.weights_sha256 == load(exported).spec.weights_sha256
        assert not list(Path(constants.HF_HUB_CACHE).rglob("*.partial"))

    @pytest.mark.parametrize(("have", "asked"), [(0, 0), (70, 70), (100, 100), (130, 0)])
    def test_it_goes_on_from_what_is_there_when_its_turn_comes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, have: int, asked: int
    ) -> None:
        sizes: list[int] = []
        monkeypatch.setattr(download, "http_get", lambda *_, resume_size, **__: sizes.append(resume_size))
        with (tmp_path / "file.partial").open("ab") as waiting:
            (tmp_path / "file.partial").write_bytes(b"x" * have)  # by another process, which had the lock
            download._complete(waiting, "http://nowhere", {}, 100)
        assert sizes == [asked]

    def test_a_beginning_that_is_not_of_the_file_is_found_out(
        self, hub: LoopbackHub, exported: Path, own_cache: Path
    ) -> None:
        hub.add("lab/tiny", files_of(exported))
        sha256 = load(exported).spec.weights_sha256
        partial = own_cache / "hub" / "models--lab--tiny" / "blobs" / f"{sha256}.partial"
        partial.parent.mkdir(parents=True)
        partial.write_bytes(b"of another file")
        with pytest.raises(IntegrityError, match="announced"):
            load("lab/tiny")
        assert load("lab/tiny").spec.weights_sha256 == sha256


def test_wrong_bytes_of_the_right_size_do_not_stay_in_the_cache(hub: LoopbackHub, exported: Path) -> None:
    hub.add("lab/tiny", files_of(exported))
    commit = hub.repos["lab/tiny"].head
    hub.tamper("lab/tiny", WEIGHTS)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="sha256"):
            load("lab/tiny")
    hub.repos["lab/tiny"].commits[commit] = files_of(exported)  # the mirror is repaired
    assert load("lab/tiny").dim == DIM


def test_a_file_that_was_damaged_in_the_cache_is_refused_until_the_one_named_is_deleted(
    hub: LoopbackHub, exported: Path
) -> None:
    hub.add("lab/tiny", files_of(exported))
    blob = (find("lab/tiny") / WEIGHTS).resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(IntegrityError, match=f"Delete {blob} and fetch it again"):
        find("lab/tiny")
    blob.unlink()
    assert (find("lab/tiny") / WEIGHTS).read_bytes() == (exported / WEIGHTS).read_bytes()


class TestOtherProcesses:
    """What the environment says, read by processes of their own."""

    FIND = "import sys; from cpchub.hub.locate import find; print(find(sys.argv[1]))"

    @pytest.fixture
    def start(self, hub: LoopbackHub, processes: Processes) -> Callable[..., subprocess.Popen[str]]:
        def start(home: Path, **settings: str) -> subprocess.Popen[str]:
            ours = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
            return processes.start(
                *(sys.executable, "-c", self.FIND, "lab/tiny"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **ours, **settings},
            )

        return start

    def test_two_at_once_download_a_file_once_and_offline_asks_for_nothing(
        self,
        hub: LoopbackHub,
        exported: Path,
        tmp_path: Path,
        start: Callable[..., subprocess.Popen[str]],
    ) -> None:
        hub.add("lab/tiny", files_of(exported), private=True, readers={"secret"})
        asked: list[int] = []

        def until_the_second_is_as_far() -> None:
            if not asked:
                asked.append(hub.requests["HEAD resolve"])
                wait_for(lambda: hub.requests["HEAD resolve"] >= 2 * asked[0], "the second has not come")

        hub.before_weights = until_the_second_is_as_far
        both = [start(tmp_path / "home", HF_TOKEN="secret") for _ in range(2)]
        ends = [process.communicate(timeout=PATIENCE) for process in both]
        assert [process.returncode for process in both] == [0, 0], ends
        [folder] = {out.strip() for out, _ in ends}
        assert files_of(Path(folder)) == files_of(exported)
        assert hub.weights_sent == (exported / WEIGHTS).stat().st_size
        before = hub.total_requests()
        offline = start(tmp_path / "home", HF_HUB_OFFLINE="1")
        assert offline.communicate(timeout=PATIENCE)[0].strip() == folder
        elsewhere = start(tmp_path / "empty", HF_HUB_OFFLINE="1")
        assert "HF_HUB_OFFLINE is set" in elsewhere.communicate(timeout=PATIENCE)[1]
        assert hub.total_requests() == before


def test_a_cache_that_may_not_be_written_is_named(hub: LoopbackHub, exported: Path, tmp_path: Path) -> None:
    hub.add("lab/tiny", files_of(exported))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HubError, match="HF_HOME"):
        load("lab/tiny", cache_dir=tmp_path / "file" / "cache")
