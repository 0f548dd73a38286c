"""Tar shards and buckets give the images they hold under stable names, and tell what changed."""

from __future__ import annotations

import json
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cpchub.errors import QueryError, SourceError
from cpchub.media.sources import open_source
from tests.cpchub.images import folder_of_images
from tests.cpchub.media.embedded import check_pairs, run
from tests.cpchub.media.stored import image_table, png, write_tar


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
