"""Several collections as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.collection.merge import merge
from cpchub.embedding.job import embed
from cpchub.errors import ArgumentError, CollectionError, EncoderMismatchError, OutputError
from cpchub.index import Index
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images


@pytest.fixture
def parts(tmp_path: Path) -> list[Collection]:
    """Ten images in photos/a and six others in photos/b/c, one of each unreadable."""
    sources = [folder_of_images(tmp_path / "photos" / "a", 10)]
    sources.append(folder_of_images(tmp_path / "photos" / "b" / "c", 6, first=10))
    for source in sources:
        (source / "broken.jpg").write_text("no image")
    return [
        embed(source, tmp_path / f"part-{number}", TinyEncoder(), progress=False)
        for number, source in enumerate(sources)
    ]


def test_every_image_keeps_its_vector_under_its_new_path(parts: list[Collection], tmp_path: Path) -> None:
    merged = merge([part.folder for part in parts], tmp_path / "all")
    assert len(merged) == 16
    assert merged.source == (tmp_path / "photos").resolve()
    index = Index.build(merged, TinyEncoder())
    for number in range(16):
        path = f"a/{number:03d}.png" if number < 10 else f"b/c/{number:03d}.png"
        hit = index.search(merged.source / path, k=1)[0]
        assert hit.path == path
        assert hit.score >= 0.999
        assert merged.path_of(hit.row).is_file()
    assert merged.failures["path"].to_pylist() == ["a/broken.jpg", "b/c/broken.jpg"]
    assert np.array_equal(merged.vectors(), np.vstack([part.vectors() for part in parts]))


def test_it_goes_on_like_any_other_collection(parts: list[Collection], tmp_path: Path) -> None:
    merged = merge([part.folder for part in parts], tmp_path / "all")
    folder_of_images(merged.source / "b", 1, first=30)
    encoder = TinyEncoder()
    again = embed(merged.source, merged.folder, encoder, progress=False)
    assert (again.counts.unchanged, again.counts.added, encoder.seen) == (16, 1, 1)
    assert Index.update(again, encoder).search(an_image(30), k=1)[0].path == "b/030.png"


def test_labels_and_columns_stay_with_their_images(tmp_path: Path) -> None:
    for place, score in (("a", "1"), ("b", "high")):
        source = tmp_path / "photos" / place
        folder_of_images(source / "cat", 2, first=0 if place == "a" else 10)
        rows = [f"cat/{path.name},{place}-cat,{score}" for path in sorted((source / "cat").iterdir())]
        (tmp_path / f"{place}.csv").write_text("\n".join(["path,label,score", *rows]))
        embed(source, tmp_path / f"of-{place}", TinyEncoder(), progress=False, labels=tmp_path / f"{place}.csv")
    merged = merge([tmp_path / "of-a", tmp_path / "of-b"], tmp_path / "all")
    (merged.source / "a" / "cat" / "000.png").rename(merged.source / "a" / "renamed.png")
    folder_of_images(merged.source / "b", 1, first=30)
    again = embed(merged.source, merged.folder, TinyEncoder(), progress=False)
    known = {row["path"]: (row["label"], row["score"]) for row in again.items.to_pylist()}
    assert known == {
        "a/renamed.png": ("a-cat", "1"),
        "a/cat/001.png": ("a-cat", "1"),
        "b/cat/010.png": ("b-cat", "high"),
        "b/cat/011.png": ("b-cat", "high"),
        "b/030.png": (None, None),
    }


def test_what_cannot_be_merged_is_refused_and_nothing_is_written(parts: list[Collection], tmp_path: Path) -> None:
    one, other = (part.folder for part in parts)
    with pytest.raises(ArgumentError, match="two collections or more"):
        merge([one], tmp_path / "all")
    with pytest.raises(CollectionError, match=r"000\.png is in two of the collections"):
        merge([one, one], tmp_path / "all")
    with pytest.raises(OutputError, match="other content"):
        merge([one, other], other)
    stranger = embed(parts[0].source, tmp_path / "stranger", TinyEncoder("other", weights="cd" * 32), progress=False)
    with pytest.raises(EncoderMismatchError, match=r"'other'.*'tiny'"):
        merge([one, stranger.folder], tmp_path / "all")
    assert not (tmp_path / "all").exists()
