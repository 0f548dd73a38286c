"""What of a Milvus cannot be used is said in a sentence, before a long job begins."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cpchub.cli.main import main
from cpchub.collection.collection import Collection
from cpchub.errors import ArgumentError, DependencyError, StoreError
from cpchub.index import Index
from cpchub.index.milvus import client
from cpchub.index.place import Place, parsed
from tests.cpchub.images import folder_of_images
from tests.cpchub.index.clustered import clustered, stored
from tests.cpchub.index.stores import milvus_in
from tests.processes import Processes


def labelled(folder: Path, count: int) -> Collection:
    return stored(folder, np.arange(count), clustered(count, 0))


@pytest.mark.parametrize(
    "store", ["photos.db", "milvus:", "milvus:photos", "milvus:ftp://host", "redis", "milvus:http://"]
)
def test_an_address_that_is_none_is_refused(store: str) -> None:
    with pytest.raises(ArgumentError, match="write faiss, milvus:photos"):
        parsed(store)


@pytest.mark.parametrize("store", ["milvus:http://root:secret@host:19530", "http://root:secret@host"])
def test_a_password_in_an_address_is_refused_and_not_printed(store: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parsed(store)
    assert "secret" not in str(caught.value)


def test_a_token_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("root:from file\n")
    monkeypatch.setenv("CPCHUB_MILVUS_TOKEN_FILE", str(tmp_path / "token"))
    assert client.token() == "root:from file"
    monkeypatch.setenv("CPCHUB_MILVUS_TOKEN", "root:given")
    assert client.token() == "root:given"
    monkeypatch.delenv("CPCHUB_MILVUS_TOKEN")
    monkeypatch.setenv("CPCHUB_MILVUS_TOKEN_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(ArgumentError, match="cannot be read"):
        client.token()


def test_a_server_that_is_not_reached_is_told_before_anything_is_embedded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pymilvus")
    images = folder_of_images(tmp_path / "photos", 2)
    command = ["index", str(images), "-o", str(tmp_path / "out"), "--store", "milvus:http://127.0.0.1:9"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "Milvus at http://127.0.0.1:9 is not reached" in said
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("raised", "version", "said"),
    [
        ("auth check failure, please check username and password", "", r"refuses the token.*CPCHUB_MILVUS_TOKEN"),
        (None, "v2.3.5", r"has version v2\.3\.5; cpchub needs 2\.5 or later"),
        ("collection not found", "", "refuses: collection not found"),
    ],
)
def test_what_a_server_refuses_is_said_in_a_sentence(
    raised: str | None, version: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    milvus = pytest.importorskip("pymilvus")
    monkeypatch.setenv("CPCHUB_MILVUS_TOKEN", "root:secret")
    given: dict[str, object] = {}

    def made(address: str, **options: object) -> SimpleNamespace:
        given.update(options)
        if raised is not None:
            raise milvus.MilvusException(message=raised)
        return SimpleNamespace(get_server_version=lambda: version)

    monkeypatch.setattr(milvus, "MilvusClient", made)
    with pytest.raises(StoreError, match=said) as caught:
        client.connect(Place("http://host:19530", "x", "http://host:19530"))
    assert given["token"] == "root:secret"
    assert "secret" not in str(caught.value)


def test_a_wrong_token_is_told_from_a_server_that_is_away() -> None:
    """Of both the client says that it failed to connect; where the port takes connections it is the token."""
    pytest.importorskip("pymilvus")
    with socket.create_server(("127.0.0.1", 0)) as port:
        place = Place(f"http://127.0.0.1:{port.getsockname()[1]}", "x", "")
        with pytest.raises(StoreError, match="refuses the token, or lacks one"), client.plain_words(place):
            raise pymilvus_error("Fail connecting to server, illegal connection params or server unavailable")
    with pytest.raises(StoreError, match="is not reached"), client.plain_words(place):
        raise pymilvus_error("Fail connecting to server, illegal connection params or server unavailable")


def pymilvus_error(said: str) -> Exception:
    from pymilvus import MilvusException

    return MilvusException(message=said)


def test_a_folder_that_another_process_uses_is_refused(tmp_path: Path, processes: Processes) -> None:
    store = milvus_in(tmp_path)
    folder = Path(parsed(store) or "")
    folder.mkdir()
    code = "import fcntl, sys; f = open(sys.argv[1], 'wb'); fcntl.flock(f, 2); print(1, flush=True); input()"
    other = processes.start(sys.executable, "-c", code, folder / "LOCK", stdout=-1, stdin=-1)
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(StoreError, match="in use by another process"):
        Index.build(labelled(tmp_path / "in", 20), store=store)


def test_a_file_of_the_earlier_milvus_lite_is_refused(tmp_path: Path) -> None:
    store = milvus_in(tmp_path)
    Path(parsed(store) or "").write_bytes(b"SQLite format 3")
    with pytest.raises(StoreError, match="keeps its data in a folder"):
        Index.build(labelled(tmp_path / "in", 20), store=store)


def test_packages_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = labelled(tmp_path / "in", 20)
    pytest.importorskip("pymilvus")
    monkeypatch.setitem(sys.modules, "milvus_lite", None)
    with pytest.raises(DependencyError, match=r"Milvus Lite, which is not installed.*milvus-lite(.|\n)*faiss-gpu"):
        Index.build(collection, store=f"milvus:{tmp_path / 'x.db'}")
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(DependencyError, match=r"pip install .*\[milvus\]"):
        Index.build(collection, store="milvus:http://127.0.0.1:9")
    assert not (tmp_path / "x.db").exists()


def test_faiss_cpu_beside_faiss_gpu_is_an_error_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = milvus_in(tmp_path)
    monkeypatch.setattr(
        "cpchub.index.engine.faiss_import._is_installed",
        lambda name: name in ("faiss-cpu", "faiss-gpu", "milvus-lite"),
    )
    with pytest.raises(
        DependencyError, match=r"pip uninstall -y faiss-cpu faiss-gpu(.|\n)*milvus-lite brings faiss-cpu"
    ):
        Index.build(labelled(tmp_path / "in", 20), store=store)
