"""A folder becomes a collection, stays in step with it, and survives what happens on the way."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cpchub.collection.collection import Collection
from cpchub.common.files import only_writer
from cpchub.embedding.job import embed
from cpchub.errors import (
    ArgumentError,
    CollectionError,
    EncoderMismatchError,
    LabelError,
    NoSpaceError,
    OutputError,
    SourceError,
)
from cpchub.media.decode import ORIENTATION_TAG, read_image
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save
from tests.processes import Processes


def run(source: Path, out: Path, encoder: TinyEncoder | None = None, **options: object) -> Collection:
    return embed(source, out, encoder or TinyEncoder(), progress=False, **{"batch_size": 4} | options)  # type: ignore[arg-type]


def files_of(out: Path) -> dict[str, bytes]:
    """Every file that holds results; the manifest also holds the time of day."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def by_path(collection: Collection) -> dict[str, tuple[int, bytes]]:
    ids = collection.items["id"].to_pylist()
    return {path: (ids[row], collection.vectors()[row].tobytes()) for row, path in enumerate(collection.paths)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return folder_of_images(tmp_path / "photos")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpchub.embedding.job.SHARD", 3)


class TestAFirstRun:
    def test_every_row_holds_the_vector_of_its_own_image(self, source: Path, tmp_path: Path) -> None:
        collection = run(source, tmp_path / "out")
        assert collection.paths == [f"{n:03d}.png" for n in range(10)]
        for row in range(10):
            expected = TinyEncoder().encode([read_image(collection.path_of(row), size=4)], normalize=True)[0]
            assert np.allclose(collection.vectors()[row], expected, atol=1e-6)
        assert collection.vectors().dtype == np.float32
        assert np.allclose(np.linalg.norm(collection.vectors(), axis=1), 1, atol=1e-5)

    def test_the_items_tell_size_time_content_and_shape(self, source: Path, tmp_path: Path) -> None:
        item = run(source, tmp_path / "out").items.to_pylist()[3]
        stat = (source / "003.png").stat()
        assert (item["id"], item["path"], item["width"], item["height"], item["label"]) == (3, "003.png", 24, 20, None)
        assert (item["size"], item["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)
        assert len(item["sha256"]) == 64

    def test_the_manifest_names_encoder_transform_source_and_versions(self, source: Path, tmp_path: Path) -> None:
        manifest = run(source, tmp_path / "out").manifest
        spec = TinyEncoder().spec
        assert manifest["encoder"]["fingerprint"] == spec.fingerprint
        assert manifest["encoder"]["weights_sha256"] == "ab" * 32
        assert manifest["encoder"]["transform"]["input_size"] == [3, 4, 4]
        assert (manifest["dim"], manifest["count"], manifest["normalized"]) == (48, 10, True)
        assert manifest["source"] == str(source.resolve())
        assert "pyarrow" in manifest["versions"]

    def test_other_tools_read_the_vectors_as_plain_parquet(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        table = pq.read_table(tmp_path / "out" / "vectors")
        assert table.column_names == ["id", "vector"]
        assert str(table.schema.field("vector").type) == "fixed_size_list<element: float>[48]"

    def test_a_broken_image_is_listed_and_the_rest_is_embedded(self, source: Path, tmp_path: Path) -> None:
        (source / "004.png").write_bytes(b"")
        (source / "005.png").write_bytes((source / "006.png").read_bytes()[:60])
        (source / "007.png").write_text("not an image")
        collection = run(source, tmp_path / "out")
        assert collection.failures["path"].to_pylist() == ["004.png", "005.png", "007.png"]
        assert collection.failures["reason"].to_pylist()[0] == "the file is empty"
        assert collection.counts.broken == 3
        assert "3 could not be read" in collection.counts.sentence()
        whole = by_path(run(folder_of_images(tmp_path / "whole"), tmp_path / "whole_out"))
        for path, (_, vector) in by_path(collection).items():
            assert vector == whole[path][1], path  # no vector slipped to a neighbour of the broken one

    def test_an_image_turned_by_exif_has_the_vector_of_the_upright_one(self, tmp_path: Path) -> None:
        exif = an_image(0).getexif()
        exif[ORIENTATION_TAG] = 6
        save(an_image(0), tmp_path / "photos" / "upright.png")
        save(an_image(0).rotate(90, expand=True), tmp_path / "photos" / "turned.png", exif=exif)
        vectors = run(tmp_path / "photos", tmp_path / "out").vectors()
        assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-5)

    def test_labels_come_from_class_folders_only_when_asked(self, tmp_path: Path) -> None:
        for name in ("cat/1.png", "dog/old/2.png", "3.png"):
            save(an_image(len(name)), tmp_path / "photos" / name)
        assert run(tmp_path / "photos", tmp_path / "without").items["label"].to_pylist() == [None] * 3
        labelled = run(tmp_path / "photos", tmp_path / "with", labels="folders")
        assert dict(zip(labelled.paths, labelled.items["label"].to_pylist(), strict=True)) == {
            "3.png": None,
            "cat/1.png": "cat",
            "dog/old/2.png": "dog",
        }
        save(an_image(9), tmp_path / "photos" / "cat" / "4.png")
        assert run(tmp_path / "photos", tmp_path / "with").items["label"].to_pylist().count("cat") == 2

    def test_labels_come_from_a_csv_and_an_empty_one_is_none(self, source: Path, tmp_path: Path) -> None:
        (source / "two\nlines.png").write_bytes((source / "000.png").read_bytes())
        (tmp_path / "labels.csv").write_text('path,label\n000.png,\n001.png,007\n"two\nlines.png",cat\n')
        collection = run(source, tmp_path / "out", labels=tmp_path / "labels.csv")
        labels = dict(zip(collection.paths, collection.items["label"].to_pylist(), strict=True))
        assert {path: label for path, label in labels.items() if label is not None} == {
            "001.png": "007",
            "two\nlines.png": "cat",
        }

    def test_labels_that_are_gone_are_missed_before_anything_is_embedded(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text("path,label\n001.png,cat\n")
        run(source, tmp_path / "out", labels=tmp_path / "labels.csv")
        (tmp_path / "labels.csv").unlink()
        folder_of_images(source, 1, first=50)
        encoder = TinyEncoder()
        with pytest.raises(LabelError, match=r"out came from .*labels\.csv: put that file back"):
            run(source, tmp_path / "out", encoder)
        assert encoder.seen == 0

    def test_an_image_without_direction_is_listed(self, source: Path, tmp_path: Path) -> None:
        class Blind(TinyEncoder):
            def encode(self, images: Any, **options: Any) -> Any:
                vectors = super().encode(images, **options)
                vectors[0] = 0
                return vectors

        collection = run(source, tmp_path / "out", Blind(), batch_size=10)
        assert collection.paths == [f"{n:03d}.png" for n in range(1, 10)]
        assert collection.failures.to_pylist() == [
            {"path": "000.png", "reason": "the encoder gives nothing but zeros for it"}
        ]

    def test_the_encoder_is_found_where_it_was_last(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        moved = TinyEncoder()
        moved.spec = replace(moved.spec, name="moved")
        assert moved.spec.fingerprint == TinyEncoder().spec.fingerprint
        collection = run(source, tmp_path / "out", moved)
        assert (collection.encoder_to_load, moved.seen) == ("moved", 0)

    def test_a_csv_that_names_an_image_twice_is_refused(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text("path,label\n000.png,cat\n000.png,dog\n")
        with pytest.raises(LabelError, match=r"000\.png on more than one line"):
            run(source, tmp_path / "out", labels=tmp_path / "labels.csv")

    def test_a_file_name_that_is_not_utf8_is_listed(self, source: Path, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(source) + b"/caf\xe9.png")).write_bytes((source / "000.png").read_bytes())
        collection = run(source, tmp_path / "out")
        assert len(collection) == 10
        assert collection.failures.to_pylist()[0]["path"] == r"caf\udce9.png"

    def test_shards_and_batches_change_nothing_but_the_number_of_files(
        self, source: Path, tmp_path: Path, small_shards: None
    ) -> None:
        collection = run(source, tmp_path / "out", workers=3, batch_size=2)
        assert [shard["rows"] for shard in collection.manifest["shards"]] == [3, 3, 3, 1]
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "failures.parquet",
            "items.parquet",
            "manifest.json",
            "vectors",
        ]


class TestARefusal:
    """Nothing is written before the checks have passed."""

    def test_a_folder_without_images(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(SourceError, match="no images in"):
            run(tmp_path / "empty", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_folder_in_which_every_image_is_broken(self, tmp_path: Path) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.jpg").write_bytes(b"")
        with pytest.raises(SourceError, match=r"none of the 1 images .* a\.jpg: the file is empty"):
            run(tmp_path / "photos", tmp_path / "out")
        assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []

    def test_an_output_folder_with_other_content(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter1.tex").write_text("text")
        with pytest.raises(OutputError, match=r"other content \(chapter1\.tex\)"):
            run(source, tmp_path / "thesis")
        assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter1.tex"]
        with pytest.raises(OutputError, match="is a file"):
            run(source, tmp_path / "thesis" / "chapter1.tex")

    def test_hidden_files_are_not_content(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / ".DS_Store").write_bytes(b"view settings")
        assert len(run(source, tmp_path / "out")) == 10
        assert (tmp_path / "out" / ".DS_Store").exists()

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"shards": [{"file": "../items.parquet", "rows": 1, "first_id": 0, "last_id": 0}]}, "one of shards"),
            ({"shards": [7]}, "one of shards is 7"),
            ({"dim": 24}, "ids and vectors of 24 dimensions"),
            ({"shards": []}, "has 0 vectors for 10 images"),
        ],
    )
    def test_a_manifest_that_was_edited(self, source: Path, tmp_path: Path, change: dict, reason: str) -> None:
        manifest = run(source, tmp_path / "out").folder / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
        with pytest.raises(CollectionError, match=reason):
            Collection.open(tmp_path / "out").vectors()

    def test_a_folder_with_somebody_elses_manifest(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "manifest.json").write_text('{"name": "web app"}')
        with pytest.raises(CollectionError, match="not the manifest of a collection"):
            run(source, tmp_path / "app")

    def test_another_encoder(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        before = files_of(tmp_path / "out")
        with pytest.raises(EncoderMismatchError, match=r"embedded by 'tiny' .* not by 'other'"):
            run(source, tmp_path / "out", TinyEncoder("other", weights="cd" * 32))
        assert files_of(tmp_path / "out") == before

    def test_another_source_while_the_first_is_still_there(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        with pytest.raises(OutputError, match=r"holds the images of .*photos"):
            run(folder_of_images(tmp_path / "more"), tmp_path / "out")

    def test_another_source_when_the_first_is_gone(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        before = files_of(tmp_path / "out")
        source.rename(tmp_path / "unplugged")
        with pytest.raises(OutputError, match=r"photos, which is gone, and none of them is in .*more"):
            run(folder_of_images(tmp_path / "more", first=50), tmp_path / "out")
        assert files_of(tmp_path / "out") == before

    def test_a_folder_that_another_process_writes_to(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        with only_writer(tmp_path / "out"), pytest.raises(OutputError, match="another process is writing"):
            run(source, tmp_path / "out")

    def test_settings_that_mean_nothing(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match="labels='names'"):
            run(source, tmp_path / "out", labels="names")
        with pytest.raises(ArgumentError, match="batch_size=0"):
            run(source, tmp_path / "out", batch_size=0)
        (tmp_path / "labels.csv").write_text("name,label\n000.png,cat\n")
        encoder = TinyEncoder()
        with pytest.raises(LabelError, match=r"no column named path \(its columns: name, label\)"):
            run(source, tmp_path / "out", encoder, labels=tmp_path / "labels.csv")
        assert encoder.seen == 0
        assert not (tmp_path / "out").exists()


class TestKeepingInStep:
    def test_a_second_run_reads_nothing_and_changes_nothing(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        before, encoder = files_of(tmp_path / "out"), TinyEncoder()
        collection = run(source, tmp_path / "out", encoder)
        assert (encoder.seen, collection.counts.unchanged) == (0, 10)
        assert files_of(tmp_path / "out") == before

    def test_only_what_changed_is_embedded(self, source: Path, tmp_path: Path) -> None:
        before = by_path(run(source, tmp_path / "out"))
        save(an_image(100), source / "new.png")
        save(an_image(101), source / "002.png")
        (source / "003.png").unlink()
        encoder = TinyEncoder()
        collection = run(source, tmp_path / "out", encoder)
        after, counts = by_path(collection), collection.counts
        assert encoder.seen == 2
        assert (counts.added, counts.removed, counts.unchanged) == (2, 2, 8)  # a changed image is a new one
        assert {path: after[path] for path in after if path in before and path != "002.png"} == {
            path: before[path] for path in before if path not in ("002.png", "003.png")
        }
        assert after["002.png"] != before["002.png"]
        fresh = by_path(run(source, tmp_path / "afresh"))
        assert {path: vector for path, (_, vector) in after.items()} == {p: vector for p, (_, vector) in fresh.items()}

    def test_a_renamed_or_touched_file_keeps_its_id_and_is_not_embedded_again(
        self, source: Path, tmp_path: Path
    ) -> None:
        before = by_path(run(source, tmp_path / "out"))
        (source / "sub").mkdir()
        (source / "001.png").rename(source / "sub" / "moved.png")
        os.utime(source / "002.png")
        encoder = TinyEncoder()
        collection = run(source, tmp_path / "out", encoder)
        assert (encoder.seen, collection.counts.renamed, collection.counts.unchanged) == (0, 1, 9)
        assert by_path(collection) == {path if path != "001.png" else "sub/moved.png": v for path, v in before.items()}

    def test_a_second_copy_of_a_renamed_file_is_an_image_of_its_own(self, source: Path, tmp_path: Path) -> None:
        before = by_path(run(source, tmp_path / "out"))
        content = (source / "001.png").read_bytes()
        (source / "001.png").unlink()
        for name in ("a.png", "b.png"):
            (source / name).write_bytes(content)
        after = by_path(run(source, tmp_path / "out"))
        assert after["a.png"] == before["001.png"]
        assert after["b.png"][1] == before["001.png"][1]
        assert after["b.png"][0] == 10

    def test_a_mended_image_leaves_the_list_of_failures(self, source: Path, tmp_path: Path) -> None:
        (source / "004.png").write_bytes(b"")
        assert len(run(source, tmp_path / "out")) == 9
        save(an_image(4), source / "004.png")
        collection = run(source, tmp_path / "out")
        assert len(collection) == 10
        assert collection.failures.num_rows == 0

    def test_ids_are_not_given_twice(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        (source / "009.png").unlink()
        run(source, tmp_path / "out")
        save(an_image(50), source / "x.png")
        assert run(source, tmp_path / "out").items["id"].to_pylist() == [*range(9), 10]

    def test_a_source_that_was_moved_is_followed(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        moved, encoder = source.rename(tmp_path / "elsewhere"), TinyEncoder()
        collection = run(moved, tmp_path / "out", encoder)
        assert encoder.seen == 0
        assert collection.path_of(0) == moved / "000.png"

    def test_a_source_that_was_moved_and_changed_is_followed(self, source: Path, tmp_path: Path) -> None:
        run(source, tmp_path / "out")
        for number in range(9):
            (source / f"{number:03d}.png").unlink()
        (source / "009.png").rename(source / "renamed.png")
        folder_of_images(source, 3, first=50)
        collection = run(source.rename(tmp_path / "elsewhere"), tmp_path / "out")
        assert (collection.counts.renamed, collection.counts.added, collection.counts.removed) == (1, 3, 9)

    def test_a_collection_inside_its_own_source_does_not_embed_itself(self, source: Path) -> None:
        run(source, source / "out")
        save(an_image(3), source / "out" / "contact_sheet.png")
        assert len(run(source, source / "out")) == 10


class Stopping(TinyEncoder):
    """An encoder that meets an event when it is given its `after`-th batch."""

    def __init__(self, event: BaseException, after: int) -> None:
        super().__init__()
        self.event, self.after = event, after

    def encode(self, images, **options):  # type: ignore[no-untyped-def]
        if len(self.batches) == self.after:
            raise self.event
        return super().encode(images, **options)


@pytest.mark.usefixtures("small_shards")
class TestBeingStopped:
    def test_ctrl_c_says_what_is_kept_and_the_next_run_goes_on(self, source: Path, tmp_path: Path) -> None:
        whole = run(source, tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt, match=r"6 images are done and kept in .*out\. Run the same command"):
            run(source, tmp_path / "out", Stopping(KeyboardInterrupt(), after=2))
        with pytest.raises(CollectionError, match="stopped before its end"):
            Collection.open(tmp_path / "out")
        encoder = TinyEncoder()
        assert len(run(source, tmp_path / "out", encoder)) == len(whole)
        assert encoder.seen == 4
        assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")

    def test_going_on_with_another_encoder_is_refused(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out", Stopping(KeyboardInterrupt(), after=1))
        with pytest.raises(EncoderMismatchError):
            run(source, tmp_path / "out", TinyEncoder("other", weights="cd" * 32))

    def test_a_source_that_was_moved_while_it_is_stopped_is_followed(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out", Stopping(KeyboardInterrupt(), after=2))
        moved = source.rename(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match=r"photos, which is gone"):
            run(folder_of_images(tmp_path / "more", first=50), tmp_path / "out")
        encoder = TinyEncoder()
        collection = run(moved, tmp_path / "out", encoder)
        assert (encoder.seen, collection.source) == (4, moved)

    def test_files_that_change_while_it_is_stopped_are_embedded_as_they_are_now(
        self, source: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out", Stopping(KeyboardInterrupt(), after=2))
        save(an_image(77), source / "001.png")
        (source / "002.png").unlink()
        resumed = by_path(run(source, tmp_path / "out"))
        afresh = by_path(run(source, tmp_path / "afresh"))
        assert {path: vector for path, (_, vector) in resumed.items()} == {p: v for p, (_, v) in afresh.items()}

    def test_a_stopped_update_leaves_the_collection_as_it_was(self, source: Path, tmp_path: Path) -> None:
        before = by_path(run(source, tmp_path / "out"))
        folder_of_images(source / "more", 7, first=50)
        (source / "000.png").rename(source / "renamed.png")
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out", Stopping(KeyboardInterrupt(), after=1))
        assert by_path(Collection.open(tmp_path / "out")) == before
        collection = run(source, tmp_path / "out")
        assert collection.counts.added == 7
        assert by_path(collection)["renamed.png"] == before["000.png"]

    def test_a_full_disk_keeps_what_is_complete(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = run(source, tmp_path / "whole")
        calls = iter(range(100))

        def full(handle: int) -> None:
            if next(calls) >= 3:  # the job's record and two shards fit
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("cpchub.common.files.os.fsync", full)
            with pytest.raises(NoSpaceError, match=r"no space left .* goes on from there"):
                run(source, tmp_path / "out")
        assert not list((tmp_path / "out").rglob("*.partial"))
        encoder = TinyEncoder()
        assert len(run(source, tmp_path / "out", encoder)) == len(whole)
        assert encoder.seen == 4
        assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")

    def test_a_run_stopped_at_any_write_ends_with_the_same_files(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(source, tmp_path / "whole")
        expected = files_of(tmp_path / "whole")
        original, moments = Path.replace, 0
        for moment in range(40):
            calls = iter(range(1000))

            def stop(self: Path, target: Path) -> Path:
                if next(calls) == moment:  # noqa: B023 - used within the loop's own turn
                    raise KeyboardInterrupt
                return original(self, target)

            out = tmp_path / f"out{moment}"
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", stop)
                try:
                    run(source, out)
                    break
                except KeyboardInterrupt:
                    moments += 1
            run(source, out)
            assert files_of(out) == expected, moment
        assert moments > 10


KILLED = """
import sys
sys.path.insert(0, {repository!r})
from tests.cpchub.images import TinyEncoder
import cpchub.embedding.job
cpchub.embedding.job.SHARD = 3
class Stepwise(TinyEncoder):
    def encode(self, images, **options):
        print("batch", flush=True)
        sys.stdin.readline()
        return super().encode(images, **options)
cpchub.embedding.job.embed({source!r}, {out!r}, Stepwise(), batch_size=4, progress=False)
"""


def test_a_run_killed_without_warning_goes_on_and_ends_with_the_same_files(
    source: Path, tmp_path: Path, small_shards: None, processes: Processes
) -> None:
    run(source, tmp_path / "whole")
    out = tmp_path / "out"
    script = KILLED.format(repository=str(Path(__file__).parents[3]), source=str(source), out=str(out))
    process = processes.start(sys.executable, "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for _ in range(2):
        assert process.stdout.readline() == "batch\n"
        process.stdin.write("go on\n")
        process.stdin.flush()
    assert process.stdout.readline() == "batch\n"
    process.kill()
    process.wait()
    assert not (out / "manifest.json").exists()
    encoder = TinyEncoder()
    run(source, out, encoder)
    assert 0 < encoder.seen <= 7
    assert files_of(out) == files_of(tmp_path / "whole")
