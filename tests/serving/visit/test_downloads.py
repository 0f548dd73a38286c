"""Downloads of results: the table, and the zip of the images, written piece by piece."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cpchub.collection.collection import Collection
from cpchub.embedding.job import embed
from cpchub.errors import QueryError
from cpchub_serving.visit import downloads
from cpchub_serving.visit.finder import Finder
from tests.cpchub.images import TinyEncoder, an_image, save


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    for number in range(4):
        save(an_image(number, (20, 16)), tmp_path / "pictures" / f"{number}.png")
    return embed(tmp_path / "pictures", tmp_path / "collection", TinyEncoder(), progress=False)


def unzipped(parts: list[bytes]) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(b"".join(parts)))


def test_the_table_has_rank_score_and_all_columns(served) -> None:
    finder = Finder(served.index, served.encoder)
    text = "".join(downloads.results_csv(finder, np.array([7, 3]), np.array([0.9, 0.5], np.float32)))
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["path"] for line in lines] == [finder.paths[7], finder.paths[3]]
    assert [(line["rank"], line["score"]) for line in lines] == [("1", "0.900000"), ("2", "0.500000")]
    assert set(lines[0]) == {"rank", "score", *served.index.items.column_names}


def test_a_table_of_the_collection_comes_in_pieces_and_has_no_score(served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "LINES", 25)
    finder = Finder(served.index, served.encoder)
    pieces = list(downloads.results_csv(finder, np.arange(60), None))
    assert len(pieces) == 3
    assert [line["path"] for line in csv.DictReader(io.StringIO("".join(pieces)))] == list(finder.paths)
    assert "score" not in pieces[0].partition("\n")[0]
    assert "".join(downloads.results_csv(finder, np.arange(0), None)) == pieces[0].partition("\n")[0] + "\n"


def test_the_zip_has_the_files_byte_by_byte_and_comes_in_pieces(collection: Collection) -> None:
    parts = list(downloads.originals_zip(collection, np.array([2, 0])))
    assert len(parts) > 2
    with unzipped(parts) as archive:
        assert archive.namelist() == [collection.paths[2], collection.paths[0]]
        assert archive.read(collection.paths[2]) == collection.path_of(2).read_bytes()
        assert archive.testzip() is None


def test_an_image_that_is_gone_is_named_in_the_zip(collection: Collection) -> None:
    collection.path_of(1).unlink()
    with unzipped(list(downloads.originals_zip(collection, np.arange(4)))) as archive:
        assert len(archive.namelist()) == 4
        assert collection.paths[1] in archive.read("missing.txt").decode()


def test_a_zip_that_is_full_says_what_is_left_out(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "MOST_BYTES", collection.path_of(0).stat().st_size)
    with unzipped(list(downloads.originals_zip(collection, np.arange(4)))) as archive:
        assert archive.namelist() == [collection.paths[0], "missing.txt"]


def test_too_many_images_and_too_many_bytes_are_refused_before_anything_is_sent(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads.check_zip(collection, np.arange(4))
    monkeypatch.setattr(downloads, "MOST_BYTES", 10)
    with pytest.raises(QueryError, match="GB"):
        downloads.check_zip(collection, np.arange(4))
    monkeypatch.setattr(downloads, "MOST_FILES", 3)
    with pytest.raises(QueryError, match="these are 4"):
        downloads.check_zip(collection, np.arange(4))


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "..\\x.png", "https://a.b/c/../d.png", "missing.txt"]
)
def test_a_name_in_the_zip_leads_to_no_other_folder(
    collection: Collection, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "paths", [path] * 4)
    monkeypatch.setattr(Collection, "image", lambda *_: b"image")
    with unzipped(list(downloads.originals_zip(collection, np.arange(2)))) as archive:
        first, second = archive.namelist()
    for name in (first, second):
        assert not name.startswith("/")
        assert ".." not in name.split("/")
        assert "\\" not in name
    assert first != second
