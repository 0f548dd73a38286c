"""Every kind of source gives the images it holds under stable names, tells what changed, and keeps what it knows."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpchub.collection.collection import Collection
from cpchub.embedding.job import embed
from cpchub.errors import BrokenImageError, QueryError, SourceError
from cpchub.media.decode import read_image
from cpchub.media.sources import open_source, web
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    an_image(seed).save(stream, "PNG")
    return stream.getvalue()


def expected(seed: int) -> np.ndarray:
    return TinyEncoder().encode([read_image(png(seed), size=4)], normalize=True)[0]


def run(source: object, out: Path, **options: Any) -> tuple[Collection, int]:
    """The collection, and how many images went through the encoder."""
    encoder = TinyEncoder()
    return embed(source, out, encoder, progress=False, batch_size=4, **options), encoder.seen


def check_pairs(collection: Collection, seeds: dict[str, int]) -> None:
    assert sorted(collection.paths) == sorted(seeds)
    for row, path in enumerate(collection.paths):
        assert np.allclose(collection.vectors()[row], expected(seeds[path]), atol=1e-6), path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


class TestTar:
    def test_images_are_paired_with_their_classes_and_facts(self, tmp_path: Path) -> None:
        members = {f"{n:04d}.png": png(n) for n in range(5)}
        members |= {f"{n:04d}.cls": str(n % 2).encode() for n in range(5)}
        members |= {"0001.json": json.dumps({"place": "Rome", "year": 1999, "tags": ["x"], "id": 7}).encode()}
        (tmp_path / "shards").mkdir()
        write_tar(tmp_path / "shards" / "a.tar", members)
        write_tar(tmp_path / "shards" / "b.tar", {"sub/0000.png": png(9)})
        collection, _ = run(tmp_path / "shards", tmp_path / "out")
        check_pairs(collection, {f"a.tar/{n:04d}.png": n for n in range(5)} | {"b.tar/sub/0000.png": 9})
        items = collection.items.to_pylist()
        assert [item["label"] for item in items] == ["0", "1", "0", "1", "0", None]
        assert (items[1]["place"], items[1]["year"], items[1]["source_id"]) == ("Rome", 1999, 7)
        assert items[0]["place"] is None

    def test_only_what_is_new_in_a_shard_that_was_written_again_is_embedded(self, tmp_path: Path) -> None:
        shard = write_tar(tmp_path / "a.tar", {f"{n}.png": png(n) for n in range(5)})
        run(shard, tmp_path / "out")
        assert run(shard, tmp_path / "out")[1] == 0
        write_tar(shard, {"new.png": png(7)} | {f"{n}.png": png(n) for n in range(1, 5)})
        collection, seen = run(shard, tmp_path / "out")
        assert (seen, collection.counts.added, collection.counts.removed, collection.counts.unchanged) == (1, 1, 1, 4)
        check_pairs(collection, {"a.tar/new.png": 7} | {f"a.tar/{n}.png": n for n in range(1, 5)})

    def test_a_compressed_and_a_cut_off_shard_are_listed(self, tmp_path: Path) -> None:
        folder = tmp_path / "shards"
        folder.mkdir()
        write_tar(folder / "good.tar", {"0.png": png(0)})
        whole = write_tar(folder / "cut.tar", {"1.png": png(1), "2.png": png(2)}).read_bytes()
        (folder / "cut.tar").write_bytes(whole[: 512 + 1024 + 600])
        with tarfile.open(folder / "packed.tar", "w:gz") as tar:
            tar.addfile(tarfile.TarInfo("3.png"))
        collection, _ = run(folder, tmp_path / "out")
        assert "good.tar/0.png" in collection.paths
        assert {row["path"].partition("/")[0] for row in collection.failures.to_pylist()} == {"cut.tar", "packed.tar"}

    def test_a_search_hit_can_be_read_out_of_its_shard(self, tmp_path: Path) -> None:
        collection, _ = run(write_tar(tmp_path / "a.tar", {"0.png": png(0)}), tmp_path / "out")
        assert collection.image(0) == png(0)
        with pytest.raises(QueryError, match=r"Collection\.image"):
            collection.path_of(0)


HUGGING_FACE = {
    b"huggingface": json.dumps(
        {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    ).encode()
}


def image_table(seeds: list[int], **columns: list[Any]) -> pa.Table:
    images = pa.array([{"bytes": png(seed), "path": f"{seed}.png"} for seed in seeds])
    return pa.table({"image": images, **columns}).replace_schema_metadata(HUGGING_FACE)


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


class Server(BaseHTTPRequestHandler):
    """Images by number, with an ETag; other paths misbehave, each in its own way."""

    requests: list[str]
    version = 0

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        self.answer(body=False)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.requests.append(self.path)
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        name = self.path.strip("/").partition(".")[0]
        if name == "missing":
            self.send_error(404)
            return
        if name == "busy" and len([path for path in self.requests if "busy" in path]) < 3:
            self.send_error(503)
            return
        data = png(int(name) + self.version if name.isdigit() else 50)
        self.send_response(200)
        self.send_header("ETag", f'"{name}-{self.version}"')
        self.send_header("Content-Length", str(len(data) + (100 if name == "short" else 0)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Server, "requests", [], raising=False)  # for bytes
    monkeypatch.setattr(Server, "asked", [], raising=False)  # for anything
    monkeypatch.setattr(Server, "version", 0)
    monkeypatch.setattr(web.time, "sleep", lambda seconds: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


class TestLists:
    def test_a_csv_of_paths_keeps_its_columns(self, tmp_path: Path) -> None:
        folder_of_images(tmp_path / "photos", 3)
        lines = ["path,label,year", "photos/000.png,cat,1999", "photos/002.png,dog,2001", "photos/none.png,cat,2002"]
        (tmp_path / "list.csv").write_text("\n".join([*lines, "photos/000.png,dog,2003"]) + "\n")
        collection, _ = run(tmp_path / "list.csv", tmp_path / "out")
        check_pairs(collection, {"photos/000.png": 0, "photos/002.png": 2})
        assert collection.items.select(["label", "year"]).to_pylist() == [
            {"label": "cat", "year": 1999},
            {"label": "dog", "year": 2001},
        ]
        assert [row["reason"] for row in collection.failures.to_pylist()] == [
            "row 4 of the list names it again",
            "no such file",
        ]
        assert collection.path_of(1) == tmp_path / "photos" / "002.png"
        assert run(tmp_path / "list.csv", tmp_path / "out")[1] == 0

    def test_urls_are_fetched_with_their_troubles_listed(self, tmp_path: Path, server: str) -> None:
        names = ["1.png", "2.png", "missing.png", "busy.png", "short.png"]
        urls = [*[f"{server}/{name}" for name in names], "http://127.0.0.1:9/closed.png"]
        save(an_image(8), tmp_path / "local.png")
        (tmp_path / "urls.txt").write_text("\n".join([*urls, "local.png", (tmp_path / "local.png").as_uri()]))
        collection, _ = run(tmp_path / "urls.txt", tmp_path / "out")
        seeds = {f"{server}/1.png": 1, f"{server}/2.png": 2, f"{server}/busy.png": 50, "local.png": 8}
        check_pairs(collection, seeds | {(tmp_path / "local.png").as_uri(): 8})
        reasons = {row["path"].rpartition("/")[2]: row["reason"] for row in collection.failures.to_pylist()}
        assert reasons["missing.png"] == "the server answers 404 Not Found"
        assert "the connection ended before its last byte" in reasons["short.png"]
        assert "cannot be downloaded" in reasons["closed.png"]

    def test_a_url_is_fetched_again_only_when_the_server_says_that_it_changed(
        self, tmp_path: Path, server: str
    ) -> None:
        (tmp_path / "urls.txt").write_text(f"{server}/1.png\n{server}/2.png\n")
        run(tmp_path / "urls.txt", tmp_path / "out")
        Server.requests.clear()
        assert run(tmp_path / "urls.txt", tmp_path / "out")[1] == 0
        assert Server.requests == []
        Server.version = 5
        collection, seen = run(tmp_path / "urls.txt", tmp_path / "out")
        assert seen == 2
        check_pairs(collection, {f"{server}/1.png": 6, f"{server}/2.png": 7})

    def test_an_image_that_is_too_large_is_not_held_in_memory(
        self, server: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(web, "LARGEST", 100)
        with pytest.raises(BrokenImageError, match="more than 0 MB"):
            web.download(f"{server}/1.png")

    def test_what_is_no_file_is_listed_and_not_waited_for(self, tmp_path: Path) -> None:
        save(an_image(1), tmp_path / "a.png")
        os.mkfifo(tmp_path / "pipe.png")
        (tmp_path / "list.txt").write_text("a.png\npipe.png\n.\n")
        failures = run(tmp_path / "list.txt", tmp_path / "out")[0].failures.to_pylist()
        assert failures == [{"path": path, "reason": "not a regular file"} for path in (".", "pipe.png")]

    def test_names_and_labels_are_taken_as_they_stand(self, tmp_path: Path) -> None:
        (tmp_path / "list.csv").write_text("path,label\n0012,007\n13,\n")
        for seed, name in enumerate(("0012", "13")):
            (tmp_path / name).write_bytes(png(seed))
        collection, _ = run(tmp_path / "list.csv", tmp_path / "out")
        check_pairs(collection, {"0012": 0, "13": 1})
        assert collection.items["label"].to_pylist() == ["007", None]

    def test_odd_names_in_a_text_file_are_found(self, tmp_path: Path) -> None:
        names = ["a.png", "~tmp.png", "~backup/b.png", "line\u2028separator.png", "form\ffeed.png"]
        for seed, name in enumerate(names):
            save(an_image(seed), tmp_path / name)
        (tmp_path / "list.txt").write_bytes(("\ufeff" + "\r\n".join(names)).encode())
        collection, _ = run(tmp_path / "list.txt", tmp_path / "out")
        check_pairs(collection, {name: seed for seed, name in enumerate(names)})
        assert collection.path_of(collection.paths.index("~tmp.png")) == tmp_path / "~tmp.png"

    def test_showing_one_image_asks_the_server_for_that_one_only(self, tmp_path: Path, server: str) -> None:
        (tmp_path / "urls.txt").write_text(f"{server}/1.png\n{server}/2.png\n")
        collection, _ = run(tmp_path / "urls.txt", tmp_path / "out")
        Server.asked.clear()
        assert collection.image(0) == png(1)
        assert Server.asked == ["/1.png"]

    def test_a_list_without_a_column_of_images(self, tmp_path: Path) -> None:
        (tmp_path / "list.csv").write_text("name,label\na,b\n")
        with pytest.raises(SourceError, match=r"no column named path or url \(its columns: name, label\)"):
            run(tmp_path / "list.csv", tmp_path / "out")


class TestBuckets:
    @pytest.fixture
    def bucket(self) -> Iterator[Any]:
        fsspec = pytest.importorskip("fsspec")
        filesystem = fsspec.filesystem("memory")
        yield filesystem
        filesystem.rm("/bucket", recursive=True)

    def test_images_are_kept_in_step_without_downloading_what_is_the_same(
        self, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for seed in range(4):
            bucket.pipe(f"/bucket/photos/sub/{seed}.png", png(seed))
        bucket.pipe("/bucket/photos/.hidden.png", png(9))
        collection, _ = run("memory://bucket/photos", tmp_path / "out")
        check_pairs(collection, {f"sub/{seed}.png": seed for seed in range(4)})
        assert collection.location == "memory://bucket/photos"
        bucket.pipe("/bucket/photos/sub/1.png", png(11))
        bucket.mv("/bucket/photos/sub/2.png", "/bucket/photos/moved.png")
        bucket.rm("/bucket/photos/sub/3.png")
        collection, seen = run("memory://bucket/photos", tmp_path / "out")
        counts = collection.counts
        assert (seen, counts.added, counts.renamed, counts.removed, counts.unchanged) == (1, 1, 1, 2, 1)
        check_pairs(collection, {"sub/0.png": 0, "sub/1.png": 11, "moved.png": 2})
        assert collection.image(collection.paths.index("moved.png")) == png(2)

    def test_shards_and_tables_in_a_bucket(self, bucket: Any, tmp_path: Path) -> None:
        bucket.pipe(
            "/bucket/tars/a.tar", write_tar(tmp_path / "a.tar", {"0.png": png(0), "0.cls": b"cat"}).read_bytes()
        )
        pq.write_table(image_table([1, 2]), tmp_path / "a.parquet")
        bucket.pipe("/bucket/tables/a.parquet", (tmp_path / "a.parquet").read_bytes())
        collection, _ = run("memory://bucket/tars", tmp_path / "tars")
        check_pairs(collection, {"a.tar/0.png": 0})
        assert collection.items["label"].to_pylist() == ["cat"]
        check_pairs(
            run("memory://bucket/tables", tmp_path / "tables")[0], {"a.parquet/0000000": 1, "a.parquet/0000001": 2}
        )

    def test_what_a_stores_own_library_raises_is_told(
        self, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class NoCredentialsError(Exception):
            """As botocore's, which is no OSError."""

        def find(*args: Any, **options: Any) -> None:
            raise NoCredentialsError("Unable to locate credentials")

        bucket.pipe("/bucket/0.png", png(0))
        with monkeypatch.context() as patch:
            patch.setattr(type(bucket), "find", find)
            with pytest.raises(SourceError, match="cannot list memory://bucket: Unable to locate credentials"):
                run("memory://bucket", tmp_path / "out")

    def test_an_empty_bucket_and_a_lone_web_address_are_refused(self, tmp_path: Path) -> None:
        pytest.importorskip("fsspec")
        with pytest.raises(SourceError, match="memory://nothing"):
            run("memory://nothing", tmp_path / "out")
        with pytest.raises(SourceError, match="write the URLs of the images into"):
            open_source("https://example.org/photos")


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.doc").write_text("text")
    with pytest.raises(SourceError, match="is a file; give a folder of images"):
        open_source(tmp_path / "notes.doc")
    with pytest.raises(SourceError, match="int is not a source"):
        open_source(3)


def test_a_source_can_be_sent_to_another_process(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "photos", 2)
    pq.write_table(image_table([0, 1]), tmp_path / "a.parquet")
    write_tar(tmp_path / "a.tar", {"0.png": png(0), "1.png": png(1)})
    for place in (tmp_path / "photos", tmp_path / "a.parquet", tmp_path / "a.tar"):
        source = open_source(place)
        images = source.listing().images
        source.read(images[0])
        assert pickle.loads(pickle.dumps(source)).read(images[1]) == png(1)  # noqa: S301
