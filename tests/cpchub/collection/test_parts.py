"""A job in parts, on machines that know nothing of each other, and the collection that its parts make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cpchub.cli.main import main
from cpchub.collection.collection import Collection
from cpchub.collection.merge import merge
from cpchub.embedding.shards import PlainEmbedder
from cpchub.errors import ArgumentError, CollectionError, OutputError
from tests.cpchub.embedding.runs import files_of, run
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save

TIMES = ("created", "updated")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpchub.embedding.job.SHARD", 3)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Sixteen images in two class folders, some of them broken: all of the third shard, and one of the fourth."""
    photos = folder_of_images(tmp_path / "photos" / "cat", 8)
    folder_of_images(photos.parent / "dog", 8, first=8)
    for name in ("cat/006.png", "cat/007.png", "dog/008.png", "dog/011.png"):
        (photos.parent / name).write_bytes(b"")
    return photos.parent


def in_parts(source: Path, out: Path, count: int, **options: Any) -> list[Path]:
    folders = [out / f"part-{number}" for number in range(1, count + 1)]
    for number, folder in enumerate(folders, 1):
        run(source, folder, part=f"{number}/{count}", **options)
    return folders


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest = json.loads((folder / "manifest.json").read_text())
    return {name: value for name, value in manifest.items() if name not in TIMES}


@pytest.mark.parametrize("count", [1, 2, 4, 9])  # nine are more than there are shards
def test_they_make_the_collection_of_one_process(source: Path, tmp_path: Path, count: int) -> None:
    run(source, tmp_path / "whole", labels="folders")
    folders = in_parts(source, tmp_path / "parts", count, labels="folders")
    merge(folders[::-1], tmp_path / "merged")
    assert files_of(tmp_path / "merged") == files_of(tmp_path / "whole")
    assert manifest_of(tmp_path / "merged") == manifest_of(tmp_path / "whole")


def test_later_runs_go_on_with_the_merged_collection(source: Path, tmp_path: Path) -> None:
    merge(in_parts(source, tmp_path / "parts", 2), tmp_path / "merged")
    folder_of_images(source / "fox", 1, first=30)
    encoder = TinyEncoder()
    again = run(source, tmp_path / "merged", encoder)
    assert (again.counts.unchanged, again.counts.added, encoder.seen) == (12, 1, 1)


def test_a_part_takes_the_path_through_the_network_that_the_whole_job_takes(source: Path, tmp_path: Path) -> None:
    asked: list[int] = []

    class Asked(TinyEncoder):
        def embedder(self, images: int) -> PlainEmbedder:
            asked.append(images)
            return PlainEmbedder(self)

    run(source, tmp_path / "whole", Asked())
    run(source, tmp_path / "part", Asked(), part="1/4")
    assert asked == [16, 16]


def test_a_part_that_was_stopped_goes_on(source: Path, tmp_path: Path) -> None:
    class Stopping(TinyEncoder):
        def encode(self, images: Any, **options: Any) -> Any:
            if self.batches:
                raise KeyboardInterrupt
            return super().encode(images, **options)

    with pytest.raises(KeyboardInterrupt, match="3 images are done"):
        run(source, tmp_path / "out", Stopping(), part="1/2")
    encoder = TinyEncoder()
    assert len(run(source, tmp_path / "out", encoder, part="1/2")) == 6
    assert encoder.seen == 3


def test_a_part_is_run_again_where_the_source_changed_between_them(source: Path, tmp_path: Path) -> None:
    one, two = in_parts(source, tmp_path / "parts", 2)
    save(an_image(40), source / "dog" / "040.png")
    run(source, two, part="2/2")
    with pytest.raises(CollectionError, match=r"has changed between the parts.*run part 1 again"):
        merge([one, two], tmp_path / "merged")
    run(source, one, part="1/2")
    merged = merge([one, two], tmp_path / "merged")
    assert {"cat/000.png", "dog/040.png"} < set(merged.paths)
    assert len(merged) == 13


def test_what_does_not_fit_together_is_refused(source: Path, tmp_path: Path) -> None:
    one, two, three = in_parts(source, tmp_path / "parts", 3)
    with pytest.raises(CollectionError, match=r"part 2 of 3 is missing; embed it with --part 2/3"):
        merge([one, three], tmp_path / "merged")
    run(source, tmp_path / "twice", part="1/3")
    with pytest.raises(CollectionError, match=r"part-1 and .*twice are both part 1/3"):
        merge([one, two, three, tmp_path / "twice"], tmp_path / "merged")
    run(source, tmp_path / "half", part="1/2")
    with pytest.raises(CollectionError, match=r"half is part 1/2 of .* part 1/3 of"):
        merge([one, two, tmp_path / "half"], tmp_path / "merged")
    run(source, tmp_path / "whole")
    with pytest.raises(CollectionError, match="whole is a whole collection"):
        merge([one, tmp_path / "whole"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_folder_holds_one_part_only(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out", part="1/2")
    with pytest.raises(OutputError, match=r"holds part 1/2 of .*photos, not part 2/2; choose another output folder"):
        run(source, tmp_path / "out", part="2/2")
    with pytest.raises(OutputError, match="not all images"):
        run(source, tmp_path / "out")


def test_parts_of_which_none_has_an_image_are_told(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png", "c.png", "d.png"):
        (tmp_path / "photos" / name).write_bytes(b"")
    folders = in_parts(tmp_path / "photos", tmp_path / "parts", 2)
    assert [len(Collection.open(folder).failures) for folder in folders] == [3, 1]
    with pytest.raises(CollectionError, match=r"none of the images of .*photos could be read"):
        merge(folders, tmp_path / "merged")


@pytest.mark.parametrize("part", ["0/3", "4/3", "1/0", "one", "1/3/5", "-1/3"])
def test_what_is_no_part_is_refused(source: Path, tmp_path: Path, part: str) -> None:
    with pytest.raises(ArgumentError, match="write it as 1/8"):
        run(source, tmp_path / "out", part=part)


def test_the_commands(source: Path, tmp_path: Path, tiny_encoder_folder: Path, capsys: Any) -> None:
    encoder = ["--encoder", str(tiny_encoder_folder)]
    folders = [str(tmp_path / f"part-{number}") for number in (1, 2)]
    for number, folder in enumerate(folders, 1):
        assert main(["embed", str(source), "-o", folder, "--part", f"{number}/2", *encoder]) == 0
        assert f"part {number}/2. When all are there: cpchub merge PART... -o COLLECTION" in capsys.readouterr().err
    assert main(["merge", *folders, "-o", str(tmp_path / "all")]) == 0
    assert "12 images of 2 collections" in capsys.readouterr().err
    assert main(["index", str(source), "-o", str(tmp_path / "index"), "--part", "1/2", *encoder]) == 2
    assert "a part has no index of its own" in capsys.readouterr().err
