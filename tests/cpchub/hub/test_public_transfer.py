"""Downloads that break off go on, and addresses lead nowhere else than they should."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import HTTPSHandler, Request

import pytest

import cpchub
from cpchub.common import retry as retrying
from cpchub.encoders import model_folder
from cpchub.errors import (
    HubError,
    NoSpaceError,
)
from cpchub.hub import fetch_file
from cpchub.hub.places import check_name
from tests.cpchub.hub.tiny_moco import HOST, NAME, PATH, left
from tests.loopback_files import FileServer


class FullDisk(io.FileIO):
    """Takes no byte."""

    def write(self, _: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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

    @pytest.mark.parametrize("nobody", ["http://127.0.0.1:9", "http://authors.invalid"])
    @pytest.mark.usefixtures("server")
    def test_an_address_where_nobody_is_is_asked_once(self, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
        waits: list[float] = []
        monkeypatch.setattr(retrying, "wait", waits.append)
        monkeypatch.setenv("CPCHUB_MIRROR", nobody)
        for ask in (cpchub.load, check_name):
            with pytest.raises(HubError, match=f"{NAME} could not be fetched: {nobody}.* cannot be reached"):
                ask(NAME)
        assert waits == []

    def test_a_name_is_checked_without_a_download(self, server: FileServer) -> None:
        server.statuses[PATH] = 503  # that is an answer: what follows from it is left to the download
        check_name(NAME)
        server.statuses.clear()
        cpchub.load(NAME)
        asked = list(server.asked)
        check_name(NAME)
        assert server.asked == asked

    def test_a_full_disk_is_one_sentence(self, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = Path.open

        def open_on_a_full_disk(path: Path, mode: str = "r", **options: Any) -> Any:
            full = mode == "ab" and path.name == "tiny.pth.tar.partial"
            return io.BufferedWriter(FullDisk(path, "ab")) if full else opened(path, mode, **options)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", open_on_a_full_disk)
            patched.setattr(fetch_file, "_CHUNK", 1000)  # so few bytes wait in the buffer, also when it is closed
            with pytest.raises(NoSpaceError, match=r"no space left on the disk of .*tiny.pth.tar.partial"):
                cpchub.load(NAME)
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


class TestWhereTheAddressesLead:
    def test_a_proxy_is_asked_in_the_place_of_the_host(
        self, server: FileServer, checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "REQUEST_METHOD"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.setenv("CPCHUB_MIRROR", "http://mirror.invalid/authors")
        server.files = {f"http://mirror.invalid/authors{PATH}": checkpoint}
        cpchub.load(NAME)
        assert server.asked == list(server.files)

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
