"""The check of all addresses: one HEAD each, compared with what is on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpchub.catalog import listing
from cpchub.catalog.listing import list_specs
from cpchub.common import retry as retrying
from cpchub.hub.check_origins import main
from tests.loopback_files import FileServer, asked_for, loopback_files

REAL_CATALOG = listing.catalog_folder()


@pytest.fixture
def server(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(retrying, "wait", lambda _: None)
    with loopback_files() as files:
        monkeypatch.setenv("CPCHUB_MIRROR", files.url)
        yield files


def entry(name: str, **of_file: Any) -> None:
    """A public encoder of the catalog with one file, of 1,000 bytes on the server."""
    folder = listing.catalog_folder() / name
    folder.mkdir(parents=True)
    config = json.loads((REAL_CATALOG / "dino-resnet50" / "config.json").read_text())
    config["cpchub"] |= {"name": name, "aliases": []}
    (folder / "config.json").write_text(json.dumps(config))
    file = {"name": "a.pth", "address": f"https://authors.example/{name}/a.pth", **of_file}
    content = {"citation": "x", "links_read": "2026-11-28", "sources": [{"format": "moco", "files": [file]}]}
    (folder / "origin.json").write_text(json.dumps(content))


def rows(text: str) -> dict[str, list[str]]:
    """The columns of each encoder."""
    table = [line.split("\t") for line in text.splitlines()[1:]]
    return {row[1]: row for row in table}


def test_each_address_is_asked_once_and_compared(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    records = {"exact": {"size": 1000}, "unstated": {}, "about": {"about_mb": 0.001}, "grown": {"size": 999}}
    records |= {"other": {"about_mb": 50}, "dead": {}}
    for name, record in records.items():
        entry(name, **record)
        server.files[f"/{name}/a.pth"] = bytes(1000)
    del server.files["/dead/a.pth"]
    assert main([]) == 1
    out, err = capsys.readouterr()
    assert {name: row[0] for name, row in rows(out).items()} == {
        "exact": "fine",
        "unstated": "fine",
        "about": "fine",
        "grown": "another size: 999 bytes on record",
        "other": "another size: about 50 MB on record",
        "dead": "404 Not Found",
    }
    assert rows(out)["exact"][3:] == ["1,000", "application/octet-stream", f"{server.url}/exact/a.pth"]
    assert "3 of 6 addresses" in err
    assert sorted(server.heads) == sorted(f"/{name}/a.pth" for name in records)
    assert server.asked == [], "a file was fetched"


def test_a_login_page_is_no_file_and_a_good_answer_is_status_0(
    server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    entry("one")
    server.files["/one/a.pth"] = bytes(10)
    assert main(["one"]) == 0
    server.content_type = "text/html"
    assert main(["one"]) == 1
    assert "a web page\tone" in capsys.readouterr().out


def test_where_the_server_sends_is_asked_by_head_too(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    entry("one", size=10)
    server.moved["/one/a.pth"], server.files["/cdn/a.pth"] = "/cdn/a.pth", bytes(10)
    assert main(["one"]) == 0
    assert server.heads == ["/one/a.pth", "/cdn/a.pth"]
    assert server.asked == []


def test_an_unknown_encoder_and_a_host_out_of_reach_are_said(
    server: FileServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["nobody"]) == 2
    assert "There is no encoder called 'nobody'" in capsys.readouterr().err
    entry("one")
    monkeypatch.setenv("CPCHUB_MIRROR", "http://127.0.0.1:9")
    assert main([]) == 1
    assert "refused" in capsys.readouterr().out


def test_every_address_of_the_catalog_is_asked(
    server: FileServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "catalog_folder", lambda: REAL_CATALOG)
    origins = [spec.origin for spec in list_specs(status="public")]
    paths = [
        asked_for(file.address)
        for origin in origins if origin is not None
        for source in origin.sources
        for file in source.files
    ]  # fmt: skip
    server.files = dict.fromkeys(paths, b"")
    main([])
    assert sorted(server.heads) == sorted(paths)
    assert len(paths) >= 58
