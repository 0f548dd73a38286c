"""A file that is not what its authors published is refused in one sentence, and nothing of it is kept."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import cpchub
from cpchub.errors import (
    HubError,
    ImportFormatError,
    IntegrityError,
    UnsafeWeightsError,
)
from cpchub.hub.known_files import LOCK_FILE
from tests.cpchub.hub.tiny_moco import HOST, NAME, PATH, SECOND, left, source, write_entry
from tests.loopback_files import FileServer


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
