"""An encoder chooses its way through the network by the first images of the job, whoever embeds which of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.collection.merge import merge
from cpchub.embedding.shards import PlainEmbedder
from tests.cpchub.embedding.runs import files_of, run
from tests.cpchub.images import TinyEncoder


class ChoosingEmbedder(PlainEmbedder):
    """Its vectors show by which images it chose: their mean is added to each."""

    def __init__(self, encoder: TinyEncoder, batches: int) -> None:
        super().__init__(encoder)
        self._chosen_by: Any = None
        self._left = batches

    def choose(self, first: Sequence[Any]) -> None:
        assert self._chosen_by is None, "it chooses once"
        self._chosen_by = super().encode(first).mean(axis=0)

    def encode(self, prepared: Sequence[Any]) -> Any:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        if self._chosen_by is None:
            self.choose(prepared)
        vectors = super().encode(prepared) + self._chosen_by
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Choosing(TinyEncoder):
    """An encoder of several ways; it is stopped after so many batches."""

    def __init__(self, batches: int = -1) -> None:
        super().__init__()
        self._most = batches

    def embedder(self, images: int) -> ChoosingEmbedder:
        return ChoosingEmbedder(self, self._most)


@pytest.fixture(autouse=True)
def _some_first_images(monkeypatch: pytest.MonkeyPatch, small_shards: None) -> None:
    monkeypatch.setattr("cpchub.embedding.job.FIRST", 4)  # more than a shard of three


@pytest.fixture
def whole(source: Path, tmp_path: Path) -> Collection:
    """In one process; the second of its first four images is broken."""
    (source / "001.png").write_bytes(b"")
    return run(source, tmp_path / "whole", Choosing())


def test_the_first_readable_images_of_the_job_decide(whole: Collection, source: Path, tmp_path: Path) -> None:
    plain = run(source, tmp_path / "plain").vectors()
    expected = plain + plain[:3].mean(axis=0)  # of the images 0, 2 and 3
    np.testing.assert_allclose(whole.vectors(), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_several_processes_choose_as_one(whole: Collection, source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out", Choosing(), processes=2)
    assert files_of(tmp_path / "out") == files_of(whole.folder)


def test_the_parts_of_a_job_choose_as_one(whole: Collection, source: Path, tmp_path: Path) -> None:
    parts = [tmp_path / "1", tmp_path / "2"]
    for number, part in enumerate(parts, 1):
        run(source, part, Choosing(), part=f"{number}/2")
    merge(parts, tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(whole.folder)


def test_a_job_that_goes_on_chooses_as_it_did(whole: Collection, source: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out", Choosing(batches=2))
    run(source, tmp_path / "out", Choosing())
    assert files_of(tmp_path / "out") == files_of(whole.folder)


def test_where_no_first_image_can_be_read_the_first_batch_decides(source: Path, tmp_path: Path) -> None:
    for number in range(4):
        (source / f"{number:03}.png").write_bytes(b"")
    collection = run(source, tmp_path / "out", Choosing())
    plain = run(source, tmp_path / "plain").vectors()
    expected = plain + plain[:2].mean(axis=0)  # those that are left of the second shard
    np.testing.assert_allclose(
        collection.vectors(), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6
    )


def test_first_images_are_read_once(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cpchub.media.sources.folder import FolderSource

    read, seen = FolderSource.read, []

    def counted(self: FolderSource, image: Any) -> bytes:
        seen.append(image.path)
        return read(self, image)

    monkeypatch.setattr(FolderSource, "read", counted)
    run(source, tmp_path / "out", Choosing())
    assert sorted(seen) == [f"{number:03}.png" for number in range(10)]
