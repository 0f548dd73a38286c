"""What stores and servers of other people do to a job: stumble, refuse, keep images under names of any letters."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpchub.collection.collection import Collection
from cpchub.common import retry
from cpchub.embedding.job import embed
from cpchub.errors import BrokenImageError, DependencyError, SourceError
from cpchub.media.sources import open_source, web
from tests.cpchub.images import TinyEncoder, an_image, folder_of_images, save
from tests.cpchub.media.stored import png
from tests.loopback import answering

COUNT = 30


class StoreError(Exception):
    """As botocore's, google's and aiohttp's, which are no OSError."""


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, which take no time."""
    made: list[float] = []
    monkeypatch.setattr(retry, "wait", made.append)
    return made


def run(source: object, out: Path) -> Collection:
    return embed(source, out, TinyEncoder(), progress=False, batch_size=4)


def reasons(collection: Collection) -> dict[str, str]:
    return {row["path"]: row["reason"] for row in collection.failures.to_pylist()}


class TestStores:
    @pytest.fixture
    def bucket(self) -> Iterator[Any]:
        filesystem = pytest.importorskip("fsspec").filesystem("memory")
        for seed in range(COUNT):
            filesystem.pipe(f"/shelf/photos/{seed:02}.png", png(seed))
        yield filesystem
        filesystem.rm("/shelf", recursive=True)

    @pytest.fixture
    def stumble(self, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Counter[str]]:
        """Let reads of some names fail, the first `times` of each; gives the count of reads."""

        def install(name: str, times: float, error: Callable[[], Exception], call: str = "cat_file") -> Counter[str]:
            reads: Counter[str] = Counter()
            whole = getattr(type(bucket), call)

            def read(self: Any, path: str, *args: Any, **options: Any) -> Any:
                reads[path] += 1
                if name in path and reads[path] <= times:
                    raise error()
                return whole(self, path, *args, **options)

            monkeypatch.setattr(type(bucket), call, read)
            return reads

        return install

    @pytest.mark.parametrize(
        "error",
        [lambda: StoreError("SlowDown"), lambda: RuntimeError("Session is closed"), lambda: OSError("reset"),
         lambda: TimeoutError(), lambda: KeyError("Body")],
        ids=["of its own", "runtime", "os", "timeout", "key"],
    )  # fmt: skip
    def test_a_read_that_fails_once_is_tried_again(
        self, error: Callable[[], Exception], stumble: Any, pauses: list[float], tmp_path: Path
    ) -> None:
        reads = stumble("17.png", 1, error)
        collection = run("memory://shelf/photos", tmp_path / "out")
        assert len(collection) == COUNT
        assert not reasons(collection)
        assert reads["/shelf/photos/17.png"] == 2
        assert pauses == [0.5]

    def test_one_that_always_fails_is_the_failure_of_that_image(
        self, stumble: Any, pauses: list[float], tmp_path: Path
    ) -> None:
        stumble("17.png", float("inf"), lambda: StoreError("SlowDown"))
        collection = run("memory://shelf/photos", tmp_path / "out")
        assert len(collection) == COUNT - 1
        assert reasons(collection) == {"17.png": "the file cannot be read (SlowDown)"}
        assert pauses == [0.5, 1.0, 2.0]

    def test_an_error_without_words_is_named(self, stumble: Any, tmp_path: Path) -> None:
        stumble("17.png", float("inf"), StoreError)
        assert reasons(run("memory://shelf/photos", tmp_path / "out")) == {
            "17.png": "the file cannot be read (StoreError)"
        }

    def test_a_closed_door_is_not_knocked_at_again(self, stumble: Any, pauses: list[float], tmp_path: Path) -> None:
        reads = stumble("17.png", float("inf"), lambda: PermissionError("Access Denied"))
        assert reasons(run("memory://shelf/photos", tmp_path / "out")) == {
            "17.png": "the file cannot be read (Access Denied)"
        }
        assert reads["/shelf/photos/17.png"] == 1
        assert not pauses

    def test_a_listing_that_fails_once_is_tried_again(self, stumble: Any, tmp_path: Path) -> None:
        stumble("photos", 1, lambda: StoreError("SlowDown"), call="find")
        assert len(run("memory://shelf/photos", tmp_path / "out")) == COUNT

    @pytest.mark.parametrize("times", [1, 3])
    def test_shards_and_tables_are_opened_and_read_again_too(
        self, times: int, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            for seed in range(3):
                info = tarfile.TarInfo(f"{seed}.png")
                info.size = len(png(seed))
                tar.addfile(info, io.BytesIO(png(seed)))
        bucket.pipe("/shelf/tars/a.tar", data.getvalue())
        pq.write_table(pa.table({"image": [png(seed) for seed in range(3)]}), tmp_path / "a.parquet")
        bucket.pipe("/shelf/tables/a.parquet", (tmp_path / "a.parquet").read_bytes())
        opened = type(bucket)._open
        left = Counter(open=times)

        class Stumbling(io.BytesIO):
            failed = 0

            def read(self, size: int | None = -1) -> bytes:
                self.failed += 1
                if self.failed <= times:
                    self.seek(5)
                    raise StoreError("Response payload is not completed")
                return super().read(size)

        def _open(self: Any, path: str, *args: Any, **options: Any) -> Any:
            if left["open"]:
                left["open"] -= 1
                raise StoreError("SlowDown")
            return Stumbling(opened(self, path, *args, **options).getvalue())

        monkeypatch.setattr(type(bucket), "_open", _open)
        assert run("memory://shelf/tars", tmp_path / "tars").paths == ["a.tar/0.png", "a.tar/1.png", "a.tar/2.png"]
        left["open"] = times
        assert len(run("memory://shelf/tables", tmp_path / "tables")) == 3

    def test_a_shard_that_cannot_be_read_is_told_with_the_stores_words(
        self, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def _open(self: Any, path: str, *args: Any, **options: Any) -> Any:
            raise StoreError("SlowDown")

        bucket.pipe("/shelf/tars/a.tar", b"")
        monkeypatch.setattr(type(bucket), "_open", _open)
        with pytest.raises(SourceError, match=r"no images in the tar files.*SlowDown"):
            run("memory://shelf/tars", tmp_path / "out")


class TestListedStores:
    def test_a_store_of_no_known_kind_is_the_failure_of_its_line(self, tmp_path: Path) -> None:
        pytest.importorskip("fsspec")
        save(an_image(1), tmp_path / "a.png")
        (tmp_path / "list.txt").write_text("a.png\ns4://bucket/b.png\n")
        collection = run(tmp_path / "list.txt", tmp_path / "out")
        assert collection.paths == ["a.png"]
        assert "Protocol not known: s4" in reasons(collection)["s4://bucket/b.png"]

    def test_a_package_that_a_store_needs_is_asked_for_before_the_work(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fsspec = pytest.importorskip("fsspec")

        def missing(*args: Any, **options: Any) -> None:
            raise ImportError("Install s3fs to access S3")

        monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
        save(an_image(1), tmp_path / "a.png")
        (tmp_path / "list.txt").write_text("a.png\ns3://bucket/b.png\n")
        with pytest.raises(DependencyError, match=r"Install s3fs|s3fs is not installed; run: pip install "):
            run(tmp_path / "list.txt", tmp_path / "out")
        assert not (tmp_path / "out" / "manifest.json").exists()


class Shelf(BaseHTTPRequestHandler):
    """Images under names of any letters; it answers only an address that is right as it stands."""

    def do_GET(self) -> None:
        names = self.server.names  # type: ignore[attr-defined]
        name = unquote(self.path)
        found = self.path.isascii() and " " not in self.path and name in names
        data = png(names.index(name)) if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""


class TestAddresses:
    NAMES = ("/my cat.png", "/niño.png", "/猫/1.png", "/100% real.png", "/a+b&c=d.png", "/[x]'(1).png", "/Ω?q=ü w.png")

    @pytest.fixture
    def server(self) -> Iterator[str]:
        found = ThreadingHTTPServer(("127.0.0.1", 0), Shelf)
        found.names = list(self.NAMES)  # type: ignore[attr-defined]
        with answering(found) as url:
            yield url

    def test_letters_of_any_kind_are_downloaded_and_keep_their_name(self, server: str, tmp_path: Path) -> None:
        addresses = [f"{server}{name}" for name in self.NAMES]
        (tmp_path / "list.txt").write_text("\n".join(addresses), encoding="utf-8")
        collection = run(tmp_path / "list.txt", tmp_path / "out")
        assert not reasons(collection)
        assert collection.paths == sorted(addresses)

    def test_what_is_encoded_already_is_not_encoded_again(self, server: str, tmp_path: Path) -> None:
        addresses = [f"{server}/my%20cat.png", f"{server}/ni%C3%B1o.png", f"{server}/%e7%8c%ab/1.png"]
        (tmp_path / "list.txt").write_text("\n".join(addresses))
        assert run(tmp_path / "list.txt", tmp_path / "out").paths == sorted(addresses)

    @pytest.mark.parametrize(
        ("written", "sent"),
        [
            ("http://h/a b.png", "http://h/a%20b.png"),
            ("http://h/a%20b c.png", "http://h/a%20b%20c.png"),
            ("http://h/50%.png", "http://h/50%25.png"),
            ("http://h/50%zz.png", "http://h/50%25zz.png"),
            ("http://h/x.png?sig=a%2Bb%3D&t=1+2", "http://h/x.png?sig=a%2Bb%3D&t=1+2"),
            ("http://h/x.png#top", "http://h/x.png"),
            ("http://bücher.example:8080/ü.png", "http://xn--bcher-kva.example:8080/%C3%BC.png"),
            ("https://h", "https://h"),
            ("http://h/e\u0301.png", "http://h/e%CC%81.png"),
        ],
    )
    def test_an_address_as_it_goes_over_the_network(self, written: str, sent: str) -> None:
        assert web.encoded(written) == sent
        assert web.encoded(sent) == sent

    def test_one_that_is_none_is_told(self, pauses: list[float]) -> None:
        for url in ("http://[1/x.png", "http://h:port/x.png", f"http://{'x' * 70}ü.example/x.png"):
            with pytest.raises(BrokenImageError, match=r"not a URL that can be fetched|cannot be downloaded"):
                web.download(url)
        assert not pauses

    def test_a_refusal_is_believed_at_once_of_a_server_that_has_never_answered(
        self, pauses: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(web, "_answered", set())
        nobody = ("http://127.0.0.1:9/x.png", "http://images.invalid/x.png")
        for url in nobody:
            with pytest.raises(BrokenImageError, match="cannot be downloaded"):
                web.download(url)
        assert not pauses
        web._answered.add("127.0.0.1:9")
        with pytest.raises(BrokenImageError, match="cannot be downloaded"):
            web.download(nobody[0])
        assert len(pauses) == 2

    def test_a_file_address_means_the_file_of_that_name(self, tmp_path: Path) -> None:
        folder_of_images(tmp_path / "mi niño 100%", 2)
        assert len(open_source((tmp_path / "mi niño 100%").as_uri()).listing().images) == 2
