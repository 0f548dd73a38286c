"""A first run makes a collection: every row has its own image's vector, facts and label."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cpchub.errors import (
    LabelError,
)
from cpchub.media.decode import ORIENTATION_TAG, read_image
from tests.cpchub.embedding.runs import by_path, run
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save


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
