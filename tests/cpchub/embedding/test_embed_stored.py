"""Embedding into S3: the files of a local collection, whatever happens on the way.

What is the same for every store is in tests/cpchub/collection/test_stored.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cpchub.collection.collection import Collection
from cpchub.collection.stored import claim
from cpchub.errors import OutputError, StoreError
from cpchub.index import Index
from tests.cpchub.buckets import Server, another_machine, but_for_times, local_files, serving
from tests.cpchub.embedding.runs import run
from tests.cpchub.images import TinyEncoder, an_image, save
from tests.processes import Processes, wait_for

IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
import cpchub.embedding.job as job
from tests.cpchub.embedding.gated import Gated

class Late(Gated):  # waits with its third shard
    def encode(self, images, **options):
        return (super() if len(self.batches) >= 2 else super(Gated, self)).encode(images, **options)

job.SHARD = 3
job.embed(sys.argv[1], sys.argv[2], Late(Path(sys.argv[3])), batch_size=4, progress=False)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def place(server: Server, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in the bucket that no other test has, and a machine that has never seen it."""
    another_machine(monkeypatch, tmp_path / "cache")
    server.asked.clear()
    return f"s3://photos/{request.node.name}"


@contextmanager
def new_client() -> Iterator[None]:
    """With a client of S3 that takes its settings anew, and that nobody else gets afterwards."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    try:
        yield
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.usefixtures("small_shards")
class TestEmbeddingIntoS3:
    def test_the_bucket_holds_the_files_of_a_local_collection_which_an_update_keeps_up(
        self, server: Server, place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(source, tmp_path / "local")
        collection = run(source, place)
        assert (collection.place, len(collection)) == (place, 10)
        assert server.stored(place)[0] == ".writer.json"
        assert server.stored(place)[-1] == "manifest.json"
        assert but_for_times(server.files(place)) == local_files(tmp_path / "local")

        (source / "004.png").unlink()
        (source / "007.png").rename(source / "aaa.png")
        save(an_image(70), source / "new.png")
        another_machine(monkeypatch, tmp_path / "elsewhere")
        server.asked.clear()
        counts = run(source, place).counts
        assert (counts.added, counts.renamed, counts.removed) == (1, 1, 1)
        assert [name for name in server.read(place) if "vectors/" in name] == ["vectors/00001-00001.parquet"]
        run(source, tmp_path / "local")
        assert but_for_times(server.files(place)) == local_files(tmp_path / "local")

    def test_a_search_on_another_machine_gives_what_a_local_one_gives(
        self, server: Server, place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours = Index.build(run(source, place))
        theirs = Index.build(run(source, tmp_path / "local"))
        assert but_for_times(server.files(place)) == local_files(tmp_path / "local")
        another_machine(monkeypatch, tmp_path / "elsewhere")
        server.asked.clear()
        opened = Index.open(place, TinyEncoder())
        assert not [name for name in server.read(place) if "vectors/" in name]  # the index is enough
        query = source / "003.png"
        assert opened.search(query, 4) == ours.search(query, 4, TinyEncoder()) == theirs.search(query, 4, TinyEncoder())
        server.asked.clear()
        assert Index.open(place).search_row(2, 3) == theirs.search_row(2, 3)
        assert len(server.asked) == 1  # one look at the manifest in the bucket

    def test_answers_of_500_now_and_then_are_no_obstacle(
        self, server: Server, place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cpchub.common.retry.wait", lambda seconds: None)
        run(source, tmp_path / "local")
        server.fail_every, server.failed = 9, 0
        try:
            run(source, place)
        finally:
            server.fail_every = 0
        assert server.failed >= 2
        assert but_for_times(server.files(place)) == local_files(tmp_path / "local")

    def test_a_job_that_was_killed_goes_on_from_the_bucket_once_it_is_known_to_be_dead(
        self,
        server: Server,
        place: str,
        source: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        processes: Processes,
    ) -> None:
        run(source, tmp_path / "local")
        killed = processes.start(sys.executable, "-c", IN_ANOTHER_PROCESS, source, place, tmp_path / "gate")
        wait_for(lambda: "pending/000001.parquet" in server.stored(place), "two shards were not stored")
        with pytest.raises(OutputError, match=f"another process is writing to {place}; wait for it"):
            run(source, place)  # of the same machine, where its folder is locked
        killed.kill()
        killed.wait()
        another_machine(monkeypatch, tmp_path / "elsewhere")
        with pytest.raises(OutputError, match=f"writing to {place}: process {killed.pid} of .*if it was killed"):
            run(source, place)
        monkeypatch.setattr(claim, "BELIEVED_FOR", -1.0)
        encoder = TinyEncoder()
        run(source, place, encoder)
        assert encoder.seen == 4
        assert but_for_times(server.files(place)) == local_files(tmp_path / "local")


class TestWhatIsWrong:
    def test_a_bucket_that_there_is_not_is_named(self, place: str, source: Path) -> None:
        for use in (lambda: run(source, "s3://no-such-bucket/x"), lambda: Collection.open("s3://no-such-bucket/x")):
            with pytest.raises(StoreError, match=r"s3://no-such-bucket/x: there is no such bucket"):
                use()

    def test_without_credentials_it_says_where_they_go(
        self, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        with new_client(), pytest.raises(StoreError, match=f"{place}: .*AWS_ACCESS_KEY_ID"):
            Collection.open(place)

    def test_without_a_network_it_says_so(self, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
        import s3fs

        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the port of `discard`, where nobody listens
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
        with new_client(), pytest.raises(StoreError, match=f"{place}: .*Is this machine online"):
            Collection.open(place)

    def test_without_the_package_for_the_store_its_name_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from fsspec.registry import _registry

        from cpchub.errors import DependencyError

        monkeypatch.setattr("cpchub.common.extras.is_installed", lambda name: name != "s3fs")
        monkeypatch.delitem(_registry, "s3", raising=False)
        with pytest.raises(DependencyError, match=r"s3fs is not installed; run: pip install .*s3fs"):
            Collection.open("s3://photos/x")
