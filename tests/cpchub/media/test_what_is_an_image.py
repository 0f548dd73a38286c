"""Of what people's folders hold, the images are embedded; what is passed over is said, with the way to take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpchub.collection.collection import Collection
from cpchub.collection.merge import merge
from cpchub.embedding.job import embed
from cpchub.errors import SourceError
from cpchub.media.rules import Rules
from cpchub.media.sounds import look_for_recordings
from cpchub.media.sources import open_source
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, lock, save
from tests.cpchub.media.test_sources import png, write_tar


def run(source: object, out: Path, **options: Any) -> Collection:
    return embed(source, out, TinyEncoder(), progress=False, batch_size=8, **options)


def table_of(path: Path, count: int, **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [png(seed) for seed in range(count)], **columns}), path)
    return path


def put(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(seed))
    return root


class TestADataSetAsItWasCloned:
    def test_the_rows_are_embedded_and_not_the_banner_beside_them(self, tmp_path: Path) -> None:
        root = put(tmp_path / "data set", "assets/banner.png")
        (root / "README.md").write_text("# Images")
        table_of(root / "data" / "train-00000.parquet", 50)
        collection = run(root, tmp_path / "out")
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
        collection = run(root, tmp_path / "out")
        assert {path.partition("/")[0] for path in collection.paths} == {"a.tar", "b.tar"}
        assert "1 image file is left aside, beside 2 tar files of 10 images" in collection.notes[0]

    def test_the_way_that_is_named_takes_the_other_layout(self, tmp_path: Path) -> None:
        root = put(tmp_path / "data set", "assets/banner.png")
        table_of(root / "train.parquet", 5)
        collection = run(root, tmp_path / "out", rules=Rules(exclude=("*.parquet",)))
        assert collection.paths == ["assets/banner.png"]

    def test_photos_stay_photos_beside_an_archive_of_fewer_and_a_table_of_none(self, tmp_path: Path) -> None:
        root = folder_of_images(tmp_path / "photos", 6)
        write_tar(root / "old.tar", {"1.png": png(90), "2.png": png(91)})
        pq.write_table(pa.table({"path": ["000.png"], "label": ["cat"]}), root / "labels.parquet")
        collection = run(root, tmp_path / "out")
        assert len(collection) == 6
        tar, table = collection.notes
        assert tar.startswith("1 tar file of 2 images is left aside, beside 6 image files, first old.tar")
        assert table == (
            "1 Parquet file without images is left aside, beside 6 image files, first labels.parquet: "
            "labels.parquet has no column of encoded images (its columns: path: string, label: string)"
        )

    def test_a_collection_stays_what_it_was_when_a_larger_archive_arrives(self, tmp_path: Path) -> None:
        root = folder_of_images(tmp_path / "photos", 3)
        run(root, tmp_path / "out")
        write_tar(root / "more.tar", {f"{seed}.png": png(seed) for seed in range(50, 60)})
        again = run(root, tmp_path / "out")
        assert (again.counts.unchanged, again.counts.added, again.counts.removed) == (3, 0, 0)
        assert "1 tar file is left aside" in again.notes[0]
        assert again.image(0) == root.resolve() / "000.png"

    def test_a_table_without_images_among_others_is_listed_and_the_rest_is_embedded(self, tmp_path: Path) -> None:
        table_of(tmp_path / "data" / "a.parquet", 4)
        pq.write_table(pa.table({"text": ["a"]}), tmp_path / "data" / "statistics.parquet")
        collection = run(tmp_path / "data", tmp_path / "out")
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
            collection = run("memory://cloned", tmp_path / "out")
        finally:
            bucket.rm("/cloned", recursive=True)
        assert len(collection) == 3
        assert [note.partition(" ")[2][:20] for note in collection.notes] == [
            "image file is left a",
            "file with an ending ",
            "folder of a system i",
        ]


class TestAFolderThatMayNotBeListed:
    def test_it_is_among_the_failures_its_old_rows_stay_and_the_rest_is_embedded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = folder_of_images(tmp_path / "photos", 3)
        folder_of_images(root / "lost+found", 2, first=10)
        before = run(root, tmp_path / "out")
        vectors = dict(zip(before.paths, before.vectors(), strict=True))
        folder_of_images(root, 1, first=20)
        (root / "001.png").unlink()
        with monkeypatch.context() as patch:
            lock(patch, "lost+found")
            after = run(root, tmp_path / "out")
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
        assert run(root, tmp_path / "out").counts.removed == 1

    def test_labels_and_columns_of_its_old_rows_stay_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(tmp_path / "photos", "cat/0.png", "dog/1.png", "ox/2.png")
        run(tmp_path / "photos", tmp_path / "out", labels="folders")
        lock(monkeypatch, "dog")
        after = run(tmp_path / "photos", tmp_path / "out")
        assert dict(zip(after.paths, after.items["label"].to_pylist(), strict=True))["dog/1.png"] == "dog"

    def test_a_shard_that_cannot_be_opened_this_time_keeps_its_rows_and_their_labels(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from cpchub.media.sources.storage import Disk

        root = tmp_path / "shards"
        root.mkdir()
        write_tar(root / "a.tar", {"0.png": png(0), "0.cls": b"cat"})
        write_tar(root / "b.tar", {"1.png": png(1), "1.cls": b"dog"})
        run(root, tmp_path / "out")
        opened = Disk.open

        def failing(self: Disk, path: str) -> Any:
            if path == "b.tar":
                raise PermissionError(13, "Permission denied")
            return opened(self, path)

        monkeypatch.setattr(Disk, "open", failing)
        after = run(root, tmp_path / "out")
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
        run(root, tmp_path / "out")
        take = walk._Walk._take

        def failing(self: Any, entry: Any, path: str) -> None:
            if path == "001.png":
                raise PermissionError(13, "Permission denied")
            take(self, entry, path)

        monkeypatch.setattr(walk._Walk, "_take", failing)
        after = run(root, tmp_path / "out")
        assert (after.counts.unchanged, after.counts.removed) == (3, 0)
        assert after.failures["path"].to_pylist() == ["001.png"]

    def test_the_source_itself_that_may_not_be_listed_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder_of_images(tmp_path / "photos", 3)
        lock(monkeypatch, "photos")
        with pytest.raises(SourceError, match=r"cannot list the folder .*photos: Permission denied"):
            run(tmp_path / "photos", tmp_path / "out")

    def test_where_nothing_else_is_there_the_reason_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder_of_images(tmp_path / "photos" / "all", 3)
        lock(monkeypatch, "all")
        with pytest.raises(SourceError, match=r"no images in .*1 place could not be looked into, first all"):
            run(tmp_path / "photos", tmp_path / "out")


class TestEndings:
    def test_every_ending_of_jpeg_is_read_and_others_are_counted_in_one_line(self, tmp_path: Path) -> None:
        root = tmp_path / "photos"
        endings = ["jpg", "jpeg", "jfif", "jpe", "pjpeg", "pjp", "JFIF"]
        for seed, ending in enumerate(endings):
            save(an_image(seed), root / f"{seed}.{ending}", format="JPEG")
        for name in ("a.ppm", "b.ppm", "c.PPM", "notes.txt", "raw.cr2", "raw.nef", "no ending", "v1. the last"):
            (root / name).write_bytes(b"x")
        collection = run(root, tmp_path / "out")
        assert len(collection) == len(endings)
        assert collection.notes == ("8 files with endings that are not read: ppm 3, (none) 2, cr2 1, nef 1, txt 1",)

    def test_many_endings_are_summed_up(self, tmp_path: Path) -> None:
        root = folder_of_images(tmp_path / "photos", 1)
        for number in range(9):
            (root / f"x.e{number}").write_bytes(b"")
        assert run(root, tmp_path / "out").notes[0].endswith("e4 1, e5 1, others 3")

    def test_a_folder_of_nothing_that_is_read_says_what_it_holds(self, tmp_path: Path) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "photos.zip").write_bytes(b"PK")
        with pytest.raises(SourceError, match=r"looked for: .*not read: zip 1"):
            run(tmp_path / "photos", tmp_path / "out")


SYSTEM = ["@eaDir/a.png", "deep/@eaDir/b.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/c.png", "$RECYCLE.BIN/d.png"]
SYSTEM += ["__MACOSX/e.png", "$Recycle.Bin/S-1-5/f.png", "@Recycle/g.png", "System Volume Information/h.png"]


class TestFoldersOfSystems:
    def test_they_are_left_out_and_told_and_taken_in_on_request(self, tmp_path: Path) -> None:
        root = put(tmp_path / "photos", "1.png", "deep/2.png", *SYSTEM)
        collection = run(root, tmp_path / "out")
        assert collection.paths == ["1.png", "deep/2.png"]
        (note,) = collection.notes
        assert note.startswith("8 folders of systems are left out: @eaDir 2, #recycle 1, ")
        assert note.endswith("--include-system takes them in")
        assert len(run(root, tmp_path / "out", rules=Rules(include_system=True))) == 2 + len(SYSTEM)

    def test_those_in_a_tar_are_left_out_too(self, tmp_path: Path) -> None:
        members = {"1.png": png(1), "__MACOSX/1.png": png(2), "cat/@eaDir/2.png": png(3), ".thumbnails/1.png": png(4)}
        collection = run(write_tar(tmp_path / "a.tar", members), tmp_path / "out")
        assert collection.paths == ["a.tar/1.png"]
        assert "2 folders of systems are left out: @eaDir 1, __MACOSX 1" in collection.notes[0]

    def test_what_an_older_run_took_of_them_is_dropped_by_the_next(self, tmp_path: Path) -> None:
        root = put(tmp_path / "photos", "1.png", "@eaDir/2.png")
        run(root, tmp_path / "out", rules=Rules(include_system=True))
        assert run(root, tmp_path / "out", rules=Rules()).paths == ["1.png"]


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
        assert run(root, tmp_path / "out", rules=Rules(exclude=("old [2019]",))).paths == ["a.png"]

    def test_it_holds_for_later_runs_until_others_are_given_and_a_pattern_that_fits_nothing_is_told(
        self, tmp_path: Path
    ) -> None:
        root = put(tmp_path / "photos", "a.png", "raw/b.png", "raw/c.png")
        first = run(root, tmp_path / "out", rules=Rules(exclude=("raw", "row")))
        assert first.notes == ("Files and folders left out by --exclude: 'raw' 1, 'row' 0",)
        assert run(root, tmp_path / "out").paths == ["a.png"]
        assert len(run(root, tmp_path / "out", rules=Rules())) == 3
        assert len(run(root, tmp_path / "out")) == 3

    def test_it_holds_for_members_rows_and_lists(self, tmp_path: Path) -> None:
        shard = write_tar(tmp_path / "a.tar", {"cat/0.png": png(0), "dog/1.png": png(1)})
        assert run(shard, tmp_path / "tar", rules=Rules(exclude=("dog",))).paths == ["a.tar/cat/0.png"]
        put(tmp_path, "0.png", "1.png")
        (tmp_path / "list.csv").write_text("path,label\n0.png,cat\n1.png,dog\n")
        listed = run(tmp_path / "list.csv", tmp_path / "list", rules=Rules(exclude=("0*",)))
        assert (listed.paths, listed.items["label"].to_pylist()) == (["1.png"], ["dog"])
        with pytest.raises(SourceError, match=r"the rules leave no image.*'\*\.png' 2"):
            run(tmp_path / "list.csv", tmp_path / "none", rules=Rules(exclude=("*.png",)))

    def test_merged_collections_keep_the_rules_that_all_of_them_have(self, tmp_path: Path) -> None:
        parts = []
        for name in ("a", "b"):
            put(tmp_path / "photos" / name, "1.png", "raw/2.png")
            parts.append(run(tmp_path / "photos" / name, tmp_path / name, rules=Rules(exclude=("raw",))).folder)
        merged = merge(parts, tmp_path / "all")
        assert run(merged.source, merged.folder).counts.added == 0


class TestLinks:
    def test_the_path_of_the_real_folder_wins(self, tmp_path: Path) -> None:
        root = put(tmp_path / "photos", *[f"holiday/{number}.png" for number in range(20)])
        before = run(root, tmp_path / "out", labels="folders")
        (root / "00-best").symlink_to("holiday")
        after = run(root, tmp_path / "out")
        assert after.paths == before.paths
        assert (after.counts.unchanged, after.counts.renamed) == (20, 0)
        assert set(after.items["label"].to_pylist()) == {"holiday"}

    def test_a_link_to_the_folder_above_is_followed_only_when_asked(self, tmp_path: Path) -> None:
        put(tmp_path / "home", "private/secret.png", "photos/a.png")
        root = tmp_path / "home" / "photos"
        (root / "all").symlink_to("..")
        collection = run(root, tmp_path / "out")
        assert collection.paths == ["a.png"]
        assert collection.notes == (
            "1 link leads out of the source and was not followed: all; --follow-links follows it",
        )
        followed = run(root, tmp_path / "out", rules=Rules(follow_links=True))
        assert followed.paths == ["a.png", "all/private/secret.png"]

    def test_links_that_lead_in_circles_through_two_folders_outside_end(self, tmp_path: Path) -> None:
        put(tmp_path, "photos/a.png", "x/b.png", "y/c.png")
        for link, target in (("photos/x", "x"), ("x/y", "y"), ("y/x", "x"), ("y/photos", "photos")):
            (tmp_path / link).symlink_to(tmp_path / target)
        assert run(tmp_path / "photos", tmp_path / "out", rules=Rules(follow_links=True)).paths == [
            "a.png",
            "x/b.png",
            "x/y/c.png",
        ]

    def test_a_source_that_is_a_link_itself_is_entered(self, tmp_path: Path) -> None:
        put(tmp_path / "disk" / "photos", "a.png", "b/c.png")
        (tmp_path / "photos").symlink_to(tmp_path / "disk" / "photos")
        assert len(run(tmp_path / "photos", tmp_path / "out")) == 2

    def test_a_link_to_what_is_left_out_leaves_it_out(self, tmp_path: Path) -> None:
        root = put(tmp_path / "photos", "a.png", "raw/b.png", "@eaDir/c.png")
        (root / "best").symlink_to("raw")
        (root / "small").symlink_to("@eaDir")
        assert run(root, tmp_path / "out", rules=Rules(exclude=("raw",))).paths == ["a.png"]

    def test_where_only_links_are_the_way_out_is_told(self, tmp_path: Path) -> None:
        put(tmp_path / "disk", "cat/a.png", "dog/b.png")
        (tmp_path / "subset").mkdir()
        for name in ("cat", "dog"):
            (tmp_path / "subset" / name).symlink_to(tmp_path / "disk" / name)
        with pytest.raises(SourceError, match=r"2 links lead out of the source.*cat, dog; --follow-links"):
            run(tmp_path / "subset", tmp_path / "out")


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
    collection = run(root, tmp_path / "out")
    assert collection.image(2) == png(2)
