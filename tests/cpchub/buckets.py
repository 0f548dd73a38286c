"""Collections in object stores: S3 on this machine, by moto, and what is compared of a place and a folder.

The server runs in threads of the test's process. Each of its answers takes some hundredths of a second, so what is not
about S3 is tested with fsspec's `memory://`.
"""

from __future__ import annotations

import itertools
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

TIMES = ("created", "updated")
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class Server:
    """A running server. asked: method, path and query of each request.

    fail_every: which answers are a 500, as those of S3 are now and then; failed: how many were.
    """

    url: str
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    fail_every: int = 0
    failed: int = 0

    def files(self, place: str) -> dict[str, bytes]:
        """The files below `s3://bucket/folder`, by their names there."""
        return files_at(place)

    def stored(self, place: str) -> list[str]:
        """What was stored below a place, in order, by the names there."""
        below = place.removeprefix("s3:/") + "/"
        return [path.removeprefix(below) for how, path, _ in self.asked if how == "PUT" and path.startswith(below)]

    def read(self, place: str) -> list[str]:
        """What was read below a place, by the names there."""
        below = place.removeprefix("s3:/") + "/"
        return [path.removeprefix(below) for how, path, _ in self.asked if how == "GET" and path.startswith(below)]


def files_at(place: str) -> dict[str, bytes]:
    """The files below a URL, by their names there."""
    import fsspec

    filesystem, root = fsspec.core.url_to_fs(place)
    filesystem.invalidate_cache()
    return {path.removeprefix(f"{root}/"): filesystem.cat_file(path) for path in filesystem.find(root)}


def but_for_times(files: Mapping[str, bytes]) -> dict[str, object]:
    """Files of a collection by name; of the manifest what it says, without the times."""
    manifest = json.loads(files["manifest.json"])
    return {**files, "manifest.json": {name: value for name, value in manifest.items() if name not in TIMES}}


def local_files(folder: Path) -> dict[str, object]:
    """The same of a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return but_for_times({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})


def another_machine(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Go on as a machine with this cache, which is all that a machine knows of buckets."""
    monkeypatch.setenv("CPCHUB_CACHE", str(cache))


@contextmanager
def serving() -> Iterator[Server]:
    """A server with the empty bucket `photos`; the environment names it, and has keys for it."""
    pytest.importorskip("moto", reason="moto, which stands in for S3, is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    import s3fs
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    answer, count = DomainDispatcherApplication(create_backend_app), itertools.count(1)

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        server.asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]))
        if server.fail_every and next(count) % server.fail_every == 0:
            server.failed += 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("500 Internal Server Error", [("Content-Type", "application/xml")])
            return [b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"]
        return answer(environ, start)  # type: ignore[no-any-return]

    listening = make_server("127.0.0.1", 0, app, threaded=True)
    server = Server(f"http://127.0.0.1:{listening.server_port}")
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": server.url}.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # of another server
        try:
            s3fs.S3FileSystem().mkdir("photos")
            yield server
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            listening.shutdown()
            thread.join()
            listening.server_close()
