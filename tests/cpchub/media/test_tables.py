"""Rows of Parquet files and of Hugging Face data sets become images with their columns and class names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpchub.errors import SourceError
from cpchub.media.sources import open_source
from tests.cpchub.media.embedded import check_pairs, run
from tests.cpchub.media.stored import image_table, png


class TestParquet:
    def test_rows_keep_their_columns_and_class_names(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        folder.mkdir()
        pq.write_table(image_table([0, 1, 2], label=[0, 1, -1], path=["x", "y", "z"]), folder / "a.parquet")
        pq.write_table(image_table([3], label=[1], path=["w"]), folder / "b.parquet")
        collection, _ = run(folder, tmp_path / "out")
        names = {"a.parquet/0000000": 0, "a.parquet/0000001": 1, "a.parquet/0000002": 2, "b.parquet/0000000": 3}
        check_pairs(collection, names)
        assert collection.items["label"].to_pylist() == ["cat", "dog", None, "dog"]
        assert collection.items["source_path"].to_pylist() == ["x", "y", "z", "w"]
        assert run(folder, tmp_path / "out")[1] == 0

    def test_many_row_groups_read_by_several_threads_stay_in_order(self, tmp_path: Path) -> None:
        seeds = list(range(130))
        pq.write_table(image_table(seeds), tmp_path / "a.parquet", row_group_size=50)
        collection, _ = run(tmp_path / "a.parquet", tmp_path / "out", workers=4)
        check_pairs(collection, {f"a.parquet/{seed:07d}": seed for seed in seeds})

    def test_a_plain_binary_column_and_a_row_without_an_image(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"jpg": [png(0), None, b"junk"]}), tmp_path / "a.parquet")
        collection, _ = run(tmp_path / "a.parquet", tmp_path / "out")
        check_pairs(collection, {"a.parquet/0000000": 0})
        reasons = [row["reason"] for row in collection.failures.to_pylist()]
        assert reasons == ["the row has no image", "not an image, or of an unknown format"]

    def test_a_column_of_several_types_becomes_text(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        folder.mkdir()
        pq.write_table(image_table([0], score=[1]), folder / "a.parquet")
        pq.write_table(image_table([1], score=["high"]), folder / "b.parquet")
        assert run(folder, tmp_path / "out")[0].items["score"].to_pylist() == ["1", "high"]

    def test_other_images_beside_the_image_are_not_read_to_list_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        masks = pa.array([{"bytes": b"x" * 1000, "path": ""}] * 2)
        pq.write_table(image_table([0, 1], mask=masks, year=[1, 2]), tmp_path / "a.parquet")
        asked: list[list[str]] = []
        read = pq.ParquetFile.read

        def watched(self: pq.ParquetFile, columns: list[str] | None = None, **options: Any) -> pa.Table:
            asked.append(columns or ["all"])
            return read(self, columns=columns, **options)

        monkeypatch.setattr(pq.ParquetFile, "read", watched)
        listing = open_source(tmp_path / "a.parquet").listing()
        assert asked == [["year"]]
        assert listing.columns is not None
        assert listing.columns.column_names == ["path", "year"]

    def test_a_file_without_images_is_refused_with_its_columns(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
        with pytest.raises(SourceError, match=r"no column of encoded images .*text: string"):
            run(tmp_path / "a.parquet", tmp_path / "out")


class TestHuggingFace:
    def dataset(self, seeds: list[int]) -> Any:
        datasets = pytest.importorskip("datasets")
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
        rows = {"image": [{"bytes": png(seed), "path": None} for seed in seeds], "label": [n % 2 for n in seeds]}
        return datasets.Dataset.from_dict(rows, features=features)

    def test_a_dataset_object(self, tmp_path: Path) -> None:
        collection, _ = run(self.dataset([4, 5]), tmp_path / "out")
        check_pairs(collection, {"0000000": 4, "0000001": 5})
        assert collection.items["label"].to_pylist() == ["cat", "dog"]

    def test_a_saved_dataset_needs_no_library_to_be_read(self, tmp_path: Path) -> None:
        self.dataset(list(range(7))).save_to_disk(tmp_path / "data", num_shards=3)
        collection, _ = run(tmp_path / "data", tmp_path / "out")
        check_pairs(collection, {f"{n:07d}": n for n in range(7)})
        assert collection.items["label"].to_pylist()[:2] == ["cat", "dog"]
        assert run(tmp_path / "data", tmp_path / "out")[1] == 0
        assert collection.image(6) == png(6)

    def test_splits_are_part_of_the_names(self, tmp_path: Path) -> None:
        datasets = pytest.importorskip("datasets")
        splits = {"train": self.dataset([0, 1]), "test": self.dataset([2])}
        datasets.DatasetDict(splits).save_to_disk(tmp_path / "data")
        collection, _ = run(tmp_path / "data", tmp_path / "out")
        check_pairs(collection, {"train/0000000": 0, "train/0000001": 1, "test/0000000": 2})
