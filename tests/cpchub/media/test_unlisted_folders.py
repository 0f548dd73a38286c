"""A folder or file that cannot be looked at this time is listed, and its old rows stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cpchub.errors import SourceError
from tests.cpchub.images import folder_of_images, lock
from tests.cpchub.media.embedded import embedded
from tests.cpchub.media.stored import png, put, write_tar


class TestAFolderThatMayNotBeListed:
    def test_it_is_among_the_failures_its_old_rows_stay_and_the_rest_is_embedded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = folder_of_images(tmp_path / "photos", 3)
        folder_of_images(root / "lost+found", 2, first=10)
        before = embedded(root, tmp_path / "out")
        vectors = dict(zip(before.paths, before.vectors(), strict=True))
        folder_of_images(root, 1, first=20)
        (root / "001.png").unlink()
        with monkeypatch.context() as patch:
            lock(patch, "lost+found")
            after = embedded(root, tmp_path / "out")
            assert after.paths == ["000.png", "002.png", "lost+found/010.png", "lost+found/011.png", "020.png"]
            for path, vector in zip(after.paths, after.vectors(), strict=True):
                assert path == "020.png" or (vector == vectors[path]).all()
            assert after.failures.to_pylist() == [
                {"path": "lost+found", "reason": "the folder cannot be listed (Permission denied)"}
            ]
            counts = after.counts
            assert (counts.unchanged, counts.added, counts.removed, counts.broken) == (4, 1, 1, 1)
            assert any("1 place could not be looked into, first lost+found" in note for note in after.notes)
        (root / "lost+found" / "010.png").unlink()
        assert embedded(root, tmp_path / "out").counts.removed == 1

    def test_labels_and_columns_of_its_old_rows_stay_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(tmp_path / "photos", "cat/0.png", "dog/1.png", "ox/2.png")
        embedded(tmp_path / "photos", tmp_path / "out", labels="folders")
        lock(monkeypatch, "dog")
        after = embedded(tmp_path / "photos", tmp_path / "out")
        assert dict(zip(after.paths, after.items["label"].to_pylist(), strict=True))["dog/1.png"] == "dog"

    def test_a_shard_that_cannot_be_opened_this_time_keeps_its_rows_and_their_labels(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from cpchub.media.sources.storage import Disk

        root = tmp_path / "shards"
        root.mkdir()
        write_tar(root / "a.tar", {"0.png": png(0), "0.cls": b"cat"})
        write_tar(root / "b.tar", {"1.png": png(1), "1.cls": b"dog"})
        embedded(root, tmp_path / "out")
        opened = Disk.open

        def failing(self: Disk, path: str) -> Any:
            if path == "b.tar":
                raise PermissionError(13, "Permission denied")
            return opened(self, path)

        monkeypatch.setattr(Disk, "open", failing)
        after = embedded(root, tmp_path / "out")
        assert dict(zip(after.paths, after.items["label"].to_pylist(), strict=True)) == {
            "a.tar/0.png": "cat",
            "b.tar/1.png": "dog",
        }
        assert after.failures["path"].to_pylist() == ["b.tar"]

    def test_a_file_that_may_not_be_looked_at_keeps_its_row(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from cpchub.media.sources import walk

        root = folder_of_images(tmp_path / "photos", 3)
        embedded(root, tmp_path / "out")
        take = walk._Walk._take

        def failing(self: Any, entry: Any, path: str) -> None:
            if path == "001.png":
                raise PermissionError(13, "Permission denied")
            take(self, entry, path)

        monkeypatch.setattr(walk._Walk, "_take", failing)
        after = embedded(root, tmp_path / "out")
        assert (after.counts.unchanged, after.counts.removed) == (3, 0)
        assert after.failures["path"].to_pylist() == ["001.png"]

    def test_the_source_itself_that_may_not_be_listed_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder_of_images(tmp_path / "photos", 3)
        lock(monkeypatch, "photos")
        with pytest.raises(SourceError, match=r"cannot list the folder .*photos: Permission denied"):
            embedded(tmp_path / "photos", tmp_path / "out")

    def test_where_nothing_else_is_there_the_reason_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder_of_images(tmp_path / "photos" / "all", 3)
        lock(monkeypatch, "all")
        with pytest.raises(SourceError, match=r"no images in .*1 place could not be looked into, first all"):
            embedded(tmp_path / "photos", tmp_path / "out")
