"""Lists of paths and URLs give their images and columns, and tell what could not be fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.sources import web
from tests.cpchub.images import an_image, folder_of_images, save
from tests.cpchub.media.embedded import check_pairs, run
from tests.cpchub.media.stored import png
from tests.loopback import answering


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
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Server)) as url:
        yield url


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
