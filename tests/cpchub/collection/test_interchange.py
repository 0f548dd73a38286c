"""Vectors from elsewhere, and collections for other engines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpchub.collection.collection import Collection
from cpchub.collection.export_vectors import export_vectors
from cpchub.collection.import_vectors import import_vectors
from cpchub.collection.tables import read_table, write_table
from cpchub.errors import ArgumentError, CollectionError, DependencyError, OutputError
from cpchub.index import Index

N, D = 50, 8
VECTORS = np.random.default_rng(0).normal(size=(N, D))
PATHS = [f"{i:03d}.jpg" for i in range(N)]


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return import_vectors(tmp_path / "in", VECTORS, PATHS, labels=[None, *["cat", "dög"] * 24, "cat"])


class TestImporting:
    def test_vectors_are_brought_to_unit_length_and_found_by_path(self, collection: Collection) -> None:
        assert np.allclose(collection.vectors(), VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True), atol=1e-6)
        hit = Index.build(collection).search(VECTORS[7].astype(np.float32), k=1)[0]
        assert (hit.path, hit.label) == ("007.jpg", "cat")

    def test_new_content_replaces_the_old_and_ids_are_not_given_twice(self, collection: Collection) -> None:
        Index.build(collection)
        left = [0, 3, 49]
        again = import_vectors(collection.folder, VECTORS[left], [PATHS[i] for i in left], ids=left)
        assert again.items["id"].to_pylist() == left
        assert len(list((collection.folder / "vectors").iterdir())) == 1
        assert again.manifest["next_id"] == N
        assert Index.update(again).search(VECTORS[49].astype(np.float32), k=1)[0].id == 49

    def test_an_index_of_other_vectors_under_the_same_ids_counts_no_longer(self, collection: Collection) -> None:
        Index.build(collection)
        turned = import_vectors(collection.folder, VECTORS[::-1], PATHS)
        with pytest.raises(CollectionError, match="has no index for the images it holds now"):
            Index.open(collection.folder)
        assert Index.update(turned).search(VECTORS[7].astype(np.float32), k=1)[0].path == PATHS[N - 1 - 7]

    def test_an_import_that_was_killed_while_it_changed_the_files_is_completed_first(
        self, collection: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("cpchub.collection.writer.finish_commit", lambda folder: sys.exit("killed"))
            with pytest.raises(SystemExit):
                import_vectors(collection.folder, VECTORS[:3], PATHS[:3])
        again = import_vectors(collection.folder, VECTORS[:2], PATHS[:2])
        assert (again.manifest["generation"], again.paths) == (3, PATHS[:2])
        assert np.allclose(again.vectors(), VECTORS[:2] / np.linalg.norm(VECTORS[:2], axis=1, keepdims=True), atol=1e-6)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"paths": PATHS[1:]}, "as many of each"),
            ({"labels": ["cat"]}, "as many of each"),
            ({"ids": [3] * N}, "ascend"),
            ({"ids": range(-1, N - 1)}, "0 or more"),
            ({"vectors": np.zeros((N, D))}, "vectors are zero or not finite, in rows 0, 1"),
            ({"vectors": np.zeros((0, D)), "paths": []}, r"shape \(0, 8\)"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, tmp_path: Path, change: dict, reason: str) -> None:
        with pytest.raises(ArgumentError, match=reason):
            import_vectors(tmp_path / "x", **{"vectors": VECTORS, "paths": PATHS, **change})
        assert not (tmp_path / "x").exists()

    def test_other_content_is_never_replaced(self, tmp_path: Path, collection: Collection) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "novel.txt").write_text("chapter 1")
        with pytest.raises(OutputError, match="other content"):
            import_vectors(tmp_path / "mine", VECTORS, PATHS)
        with pytest.raises(OutputError, match="other vectors"):
            import_vectors(collection.folder, VECTORS[:, :4], PATHS)


class TestExporting:
    def test_numpy_files_hold_the_rows_in_order(self, collection: Collection, tmp_path: Path) -> None:
        assert export_vectors(collection, tmp_path / "out", "numpy") == N
        assert np.array_equal(np.load(tmp_path / "out" / "vectors.npy"), collection.vectors())
        assert np.load(tmp_path / "out" / "ids.npy").tolist() == list(range(N))
        assert pq.read_table(tmp_path / "out" / "items.parquet")["path"].to_pylist() == PATHS

    def test_a_folder_of_hidden_files_counts_as_empty_and_keeps_them(
        self, collection: Collection, tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / ".gitignore").write_text("*")
        export_vectors(collection, tmp_path / "out", "numpy")
        assert (tmp_path / "out" / ".gitignore").is_file()
        assert (tmp_path / "out" / "vectors.npy").is_file()

    def test_milvus_files_are_as_bulk_import_reads_them(self, collection: Collection, tmp_path: Path) -> None:
        export_vectors(collection, tmp_path / "out", "milvus")
        table = pq.read_table(tmp_path / "out" / "00000.parquet")
        schema = json.loads((tmp_path / "out" / "schema.json").read_text())
        assert table.column_names == [field["name"] for field in schema] == ["id", "path", "label", "vector"]
        assert table["label"].null_count == 0
        assert np.allclose(np.stack(table["vector"].to_pylist()), collection.vectors())
        assert schema[3] == {"name": "vector", "type": "FLOAT_VECTOR", "dim": D, "metric_type": "IP"}

    def test_a_folder_with_content_is_left_as_it_is(self, collection: Collection, tmp_path: Path) -> None:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "novel.txt").write_text("chapter 1")
        with pytest.raises(OutputError, match="other content"):
            export_vectors(collection, tmp_path / "full", "numpy")
        assert [path.name for path in (tmp_path / "full").iterdir()] == ["novel.txt"]

    @pytest.mark.parametrize(("to", "module"), [("lance", "lance"), ("milvus", "pymilvus")])
    def test_a_missing_client_is_named_with_its_extra_and_nothing_is_left(
        self, to: str, module: str, collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        uri = str(tmp_path / "x.db") if to == "milvus" else None
        with pytest.raises(DependencyError, match=rf"pip install .*\[{to}\]"):
            export_vectors(collection, tmp_path / "out", to, uri=uri)  # type: ignore[arg-type]
        assert not (tmp_path / "out").exists()
        assert not list(tmp_path.glob(".*"))

    def test_a_uri_is_for_milvus_only(self, collection: Collection, tmp_path: Path) -> None:
        with pytest.raises(ArgumentError, match="milvus only"):
            export_vectors(collection, tmp_path / "out", "numpy", uri="x.db")
        with pytest.raises(ArgumentError, match="choose one of numpy, milvus, lance"):
            export_vectors(collection, tmp_path / "out", "qdrant")  # type: ignore[arg-type]

    def test_lance_reads_what_was_written(self, collection: Collection, tmp_path: Path) -> None:
        lance = pytest.importorskip("lance")
        export_vectors(collection, tmp_path / "out", "lance")
        data = lance.dataset(str(tmp_path / "out" / "items.lance"))
        near = data.to_table(nearest={"column": "vector", "q": collection.vectors()[9], "k": 1, "metric": "cosine"})
        assert near["path"].to_pylist() == ["009.jpg"]

    @pytest.mark.parametrize("reason", ["refused", "Ctrl-C"])
    def test_nothing_is_left_in_a_milvus_that_took_only_a_part(
        self, reason: str, collection: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Refusal(Exception):
            pass

        client = mock.MagicMock()
        client.has_collection.return_value = False
        client.flush.side_effect = Refusal("disk full") if reason == "refused" else KeyboardInterrupt
        library = SimpleNamespace(MilvusClient=lambda uri: client, DataType=mock.MagicMock(), MilvusException=Refusal)
        monkeypatch.setitem(sys.modules, "pymilvus", library)
        with pytest.raises(OutputError if reason == "refused" else KeyboardInterrupt):
            export_vectors(collection, "photos", "milvus", uri="http://milvus")
        client.drop_collection.assert_called_once_with("photos")
        client.close.assert_called_once_with()

    def test_milvus_lite_finds_what_was_inserted(self, collection: Collection, tmp_path: Path) -> None:
        pytest.importorskip("milvus_lite")
        pymilvus = pytest.importorskip("pymilvus")
        uri = str(tmp_path / "photos.db")
        assert export_vectors(collection, "photos", "milvus", uri=uri) == N
        with pytest.raises(OutputError, match="has a collection 'photos' already"):
            export_vectors(collection, "photos", "milvus", uri=uri)
        client = pymilvus.MilvusClient(uri)
        client.load_collection("photos")
        found = client.search("photos", [collection.vectors()[9].tolist()], limit=1, output_fields=["path"])
        client.close()
        assert found[0][0]["entity"]["path"] == "009.jpg"


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_table_has_no_row_group_without_rows(rows: int, tmp_path: Path) -> None:
    """Hugging Face `datasets` reads a file of no row group, and fails on a row group of no rows."""
    table = pa.table({"path": [f"{i}.jpg" for i in range(rows)], "size": pa.array(range(rows), pa.int32())})
    table = table.replace_schema_metadata({"mark": "7"})
    write_table(table, tmp_path / "table.parquet")
    with pq.ParquetFile(tmp_path / "table.parquet") as file:
        groups = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
    assert groups == [rows] * bool(rows)
    again = read_table(tmp_path / "table.parquet")
    assert again.equals(table, check_metadata=True)


def test_hugging_faces_datasets_reads_every_table_of_a_collection(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    export_vectors(collection, tmp_path / "milvus", "milvus")
    tables = [*collection.folder.rglob("*.parquet"), *(tmp_path / "milvus").rglob("*.parquet")]
    assert {table.name for table in tables} >= {"items.parquet", "failures.parquet"}
    for table in tables:
        streamed = datasets.load_dataset("parquet", data_files=str(table), split="train", streaming=True)
        assert len(list(streamed)) == pq.read_metadata(table).num_rows
