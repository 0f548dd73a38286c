"""Of what people's folders hold, the images are embedded; what is passed over is said, with the way to take it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpchub.collection.merge import merge
from cpchub.embedding.job import embed
from cpchub.errors import SourceError
from cpchub.media.rules import Rules
from cpchub.media.sounds import look_for_recordings
from cpchub.media.sources import open_source
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, lock, save
from tests.cpchub.media.embedded import embedded
from tests.cpchub.media.stored import png, put, table_of, write_tar


class TestADataSetAsItWasCloned:
    def test_the_rows_are_embedded_and_not_the_banner_beside_them(self, tmp_path: Path) -> None:
        root = put(tmp_path / "data set", "assets/banner.png")
        (root / "README.md").write_text("# Images")
        table_of(root / "data" / "train-00000.parquet", 50)
        collection = embedded(root, tmp_path / "out")
        assert len(collection) == 50
        assert collection.paths[0] == "data/train-00000.parquet/0000000"
        assert collection.notes == (
            "1 image file is left aside, beside 1 Parquet file of 50 images, first assets/banner.png; "
            "--exclude '*.parquet' takes it in its place",
            "1 file with an ending that is not read: md 1",
        )

    def test_shards_are_embedded_and_not_the_preview_beside_them(self, tmp_path: Path) -> None:
        root = put(tmp_path / "data set", "preview.jpg")
        for name, first in (("a.tar", 0), ("b.tar", 5)):
            write_tar(root / name, {f"{seed}.png": png(seed) for seed in range(first, first + 5)})
        collection = embedded(root, tmp_path / "out")
        assert {path.partition("/")[0] for path in collection.paths} == {"a.tar", "b.tar"}
        assert "1 image file is left aside, beside 2 tar files of 10 images" in collection.notes[0]

    def test_the_way_that_is_named_takes_the_other_layout(self, tmp_path: Path) -> None:
        root = put(tmp_path / "data set", "assets/banner.png")
        table_of(root / "train.parquet", 5)
        collection = embedded(root, tmp_path / "out", rules=Rules(exclude=("*.parquet",)))
        assert collection.paths == ["assets/banner.png"]

    def test_photos_stay_photos_beside_an_archive_of_fewer_and_a_table_of_none(self, tmp_path: Path) -> None:
        root = folder_of_images(tmp_path / "photos", 6)
        write_tar(root / "old.tar", {"1.png": png(90), "2.png": png(91)})
        pq.write_table(pa.table({"path": ["000.png"], "label": ["cat"]}), root / "labels.parquet")
        collection = embedded(root, tmp_path / "out")
        assert len(collection) == 6
        tar, table = collection.notes
        assert tar.startswith("1 tar file of 2 images is left aside, beside 6 image files, first old.tar")
        assert table == (
            "1 Parquet file without images is left aside, beside 6 image files, first labels.parquet: "
            "labels.parquet has no column of encoded images (its columns: path: string, label: string)"
        )

    def test_a_collection_stays_what_it_was_when_a_larger_archive_arrives(self, tmp_path: Path) -> None:
        root = folder_of_images(tmp_path / "photos", 3)
        embedded(root, tmp_path / "out")
        write_tar(root / "more.tar", {f"{seed}.png": png(seed) for seed in range(50, 60)})
        again = embedded(root, tmp_path / "out")
        assert (again.counts.unchanged, again.counts.added, again.counts.removed) == (3, 0, 0)
        assert "1 tar file is left aside" in again.notes[0]
        assert again.image(0) == root.resolve() / "000.png"

    def test_a_table_without_images_among_others_is_listed_and_the_rest_is_embedded(self, tmp_path: Path) -> None:
        table_of(tmp_path / "data" / "a.parquet", 4)
        pq.write_table(pa.table({"text": ["a"]}), tmp_path / "data" / "statistics.parquet")
        collection = embedded(tmp_path / "data", tmp_path / "out")
        assert len(collection) == 4
        assert collection.failures["path"].to_pylist() == ["statistics.parquet"]

    def test_a_bucket_is_taken_for_what_it_holds_too(self, tmp_path: Path) -> None:
        fsspec = pytest.importorskip("fsspec")
        bucket = fsspec.filesystem("memory")
        bucket.pipe("/cloned/banner.png", png(70))
        bucket.pipe("/cloned/__MACOSX/1.png", png(71))
        bucket.pipe("/cloned/notes.ppm", b"P6")
        bucket.pipe("/cloned/train.parquet", table_of(tmp_path / "a.parquet", 3).read_bytes())
        try:
            collection = embedded("memory://cloned", tmp_path / "out")
        finally:
            bucket.rm("/cloned", recursive=True)
        assert len(collection) == 3
        assert [note.partition(" ")[2][:20] for note in collection.notes] == [
            "image file is left a",
            "file with an ending ",
            "folder of a system i",
        ]


class TestEndings:
    def test_every_ending_of_jpeg_is_read_and_others_are_counted_in_one_line(self, tmp_path: Path) -> None:
        root = tmp_path / "photos"
        endings = ["jpg", "jpeg", "jfif", "jpe", "pjpeg", "pjp", "JFIF"]
        for seed, ending in enumerate(endings):
            save(an_image(seed), root / f"{seed}.{ending}", format="JPEG")
        for name in ("a.ppm", "b.ppm", "c.PPM", "notes.txt", "raw.cr2", "raw.nef", "no ending", "v1. the last"):
            (root / name).write_bytes(b"x")
        collection = embedded(root, tmp_path / "out")
        assert len(collection) == len(endings)
        assert collection.notes == ("8 files with endings that are not read: ppm 3, (none) 2, cr2 1, nef 1, txt 1",)

    def test_many_endings_are_summed_up(self, tmp_path: Path) -> None:
        root = folder_of_images(tmp_path / "photos", 1)
        for number in range(9):
            (root / f"x.e{number}").write_bytes(b"")
        assert embedded(root, tmp_path / "out").notes[0].endswith("e4 1, e5 1, others 3")

    def test_a_folder_of_nothing_that_is_read_says_what_it_holds(self, tmp_path: Path) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "photos.zip").write_bytes(b"PK")
        with pytest.raises(SourceError, match=r"looked for: .*not read: zip 1"):
            embedded(tmp_path / "photos", tmp_path / "out")


SYSTEM = ["@eaDir/a.png", "deep/@eaDir/b.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/c.png", "$RECYCLE.BIN/d.png"]
SYSTEM += ["__MACOSX/e.png", "$Recycle.Bin/S-1-5/f.png", "@Recycle/g.png", "System Volume Information/h.png"]


class TestFoldersOfSystems:
    def test_they_are_left_out_and_told_and_taken_in_on_request(self, tmp_path: Path) -> None:
        root = put(tmp_path / "photos", "1.png", "deep/2.png", *SYSTEM)
        collection = embedded(root, tmp_path / "out")
        assert collection.paths == ["1.png", "deep/2.png"]
        (note,) = collection.notes
        assert note.startswith("8 folders of systems are left out: @eaDir 2, #recycle 1, ")
        assert note.endswith("--include-system takes them in")
        assert len(embedded(root, tmp_path / "out", rules=Rules(include_system=True))) == 2 + len(SYSTEM)

    def test_those_in_a_tar_are_left_out_too(self, tmp_path: Path) -> None:
        members = {"1.png": png(1), "__MACOSX/1.png": png(2), "cat/@eaDir/2.png": png(3), ".thumbnails/1.png": png(4)}
        collection = embedded(write_tar(tmp_path / "a.tar", members), tmp_path / "out")
        assert collection.paths == ["a.tar/1.png"]
        assert "2 folders of systems are left out: @eaDir 1, __MACOSX 1" in collection.notes[0]

    def test_what_an_older_run_took_of_them_is_dropped_by_the_next(self, tmp_path: Path) -> None:
        root = put(tmp_path / "photos", "1.png", "@eaDir/2.png")
        embedded(root, tmp_path / "out", rules=Rules(include_system=True))
        assert embedded(root, tmp_path / "out", rules=Rules()).paths == ["1.png"]


class TestWhatAPersonLeavesOut:
    @pytest.mark.parametrize(
        ("pattern", "left"),
        [
            ("raw", {"a.png", "b.gif", "trips/2019-rome/e.png", "trips/2020/f.png"}),
            ("*.gif", {"a.png", "raw/c.png", "trips/raw/d.png", "trips/2019-rome/e.png", "trips/2020/f.png"}),
            ("trips/2019*", {"a.png", "b.gif", "raw/c.png", "trips/raw/d.png", "trips/2020/f.png"}),
            ("/raw", {"a.png", "b.gif", "trips/raw/d.png", "trips/2019-rome/e.png", "trips/2020/f.png"}),
            ("trips/", {"a.png", "b.gif", "raw/c.png"}),
            ("./trips/raw/*", {"a.png", "b.gif", "raw/c.png", "trips/2019-rome/e.png", "trips/2020/f.png"}),
            ("**/?.png", {"b.gif"}),
            ("", {"a.png", "b.gif", "raw/c.png", "trips/raw/d.png", "trips/2019-rome/e.png", "trips/2020/f.png"}),
        ],
    )
    def test_a_pattern_is_of_names_or_with_a_slash_of_paths(self, tmp_path: Path, pattern: str, left: set[str]) -> None:
        names = ["a.png", "b.gif", "raw/c.png", "trips/raw/d.png", "trips/2019-rome/e.png", "trips/2020/f.png"]
        root = put(tmp_path / "photos", *names)
        listing = open_source(root, rules=Rules(exclude=(pattern,))).listing()
        assert {image.path for image in listing.images} == left

    def test_a_name_with_brackets_may_be_written_as_it_stands(self, tmp_path: Path) -> None:
        root = put(tmp_path / "photos", "a.png", "old [2019]/b.png")
        assert embedded(root, tmp_path / "out", rules=Rules(exclude=("old [2019]",))).paths == ["a.png"]

    def test_it_holds_for_later_runs_until_others_are_given_and_a_pattern_that_fits_nothing_is_told(
        self, tmp_path: Path
    ) -> None:
        root = put(tmp_path / "photos", "a.png", "raw/b.png", "raw/c.png")
        first = embedded(root, tmp_path / "out", rules=Rules(exclude=("raw", "row")))
        assert first.notes == ("Files and folders left out by --exclude: 'raw' 1, 'row' 0",)
        assert embedded(root, tmp_path / "out").paths == ["a.png"]
        assert len(embedded(root, tmp_path / "out", rules=Rules())) == 3
        assert len(embedded(root, tmp_path / "out")) == 3

    def test_it_holds_for_members_rows_and_lists(self, tmp_path: Path) -> None:
        shard = write_tar(tmp_path / "a.tar", {"cat/0.png": png(0), "dog/1.png": png(1)})
        assert embedded(shard, tmp_path / "tar", rules=Rules(exclude=("dog",))).paths == ["a.tar/cat/0.png"]
        put(tmp_path, "0.png", "1.png")
        (tmp_path / "list.csv").write_text("path,label\n0.png,cat\n1.png,dog\n")
        listed = embedded(tmp_path / "list.csv", tmp_path / "list", rules=Rules(exclude=("0*",)))
        assert (listed.paths, listed.items["label"].to_pylist()) == (["1.png"], ["dog"])
        with pytest.raises(SourceError, match=r"the rules leave no image.*'\*\.png' 2"):
            embedded(tmp_path / "list.csv", tmp_path / "none", rules=Rules(exclude=("*.png",)))

    def test_merged_collections_keep_the_rules_that_all_of_them_have(self, tmp_path: Path) -> None:
        parts = []
        for name in ("a", "b"):
            put(tmp_path / "photos" / name, "1.png", "raw/2.png")
            parts.append(embedded(tmp_path / "photos" / name, tmp_path / name, rules=Rules(exclude=("raw",))).folder)
        merged = merge(parts, tmp_path / "all")
        assert embedded(merged.source, merged.folder).counts.added == 0


def test_recordings_are_looked_for_by_the_same_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile = pytest.importorskip("soundfile")
    for name in ("a.wav", "@eaDir/b.wav", "locked/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, [0.0] * 80, 8000)
    (tmp_path / "round").symlink_to(tmp_path)
    lock(monkeypatch, "locked")
    recordings, found = look_for_recordings(tmp_path)
    assert [each.path for each in recordings] == ["a.wav"]
    assert found.failures() == [{"path": "locked", "reason": "the folder cannot be listed (Permission denied)"}]
    assert found.system == {"@eaDir": 1}


def test_the_notes_are_printed_as_they_stand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = put(tmp_path / "photos", "a.png", "old [red]/b.png")
    embed(root, tmp_path / "out", TinyEncoder(), rules=Rules(exclude=("old [red]",)))
    assert "left out by --exclude: 'old [red]' 1" in capsys.readouterr().err


def test_an_image_of_a_place_that_holds_several_layouts_can_be_read_again(tmp_path: Path) -> None:
    root = put(tmp_path / "data", "banner.png")
    table_of(root / "a.parquet", 3)
    collection = embedded(root, tmp_path / "out")
    assert collection.image(2) == png(2)
