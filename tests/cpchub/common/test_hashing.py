"""Hashes are those of the tools that give them names: sha256sum, git, the Hub."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cpchub.common import hashing
from cpchub.common.hashing import bytes_sha256, file_sha256, git_blob_sha1, is_sha256


@pytest.mark.parametrize("data", [b"", b"a", bytes(range(256)) * 33])
def test_a_file_has_the_hash_of_its_bytes(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_BLOCK", 1000)  # the longest is read in nine pieces
    (tmp_path / "file").write_bytes(data)
    assert file_sha256(tmp_path / "file") == bytes_sha256(data) == hashlib.sha256(data).hexdigest()


def test_a_blob_is_named_as_git_names_it() -> None:
    assert git_blob_sha1(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # git hash-object /dev/null
    assert git_blob_sha1(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", '"' + "a" * 62 + '"'])
def test_only_64_lower_case_hex_digits_are_a_sha256(text: str) -> None:
    assert not is_sha256(text)
    assert is_sha256("0123456789abcdef" * 4)
