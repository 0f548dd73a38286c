"""The commands work on a collection whose index is in Milvus, without being told so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpchub.cli.main import main
from cpchub.encoders.load import load
from cpchub.index import Index
from cpchub_serving.space.write import write_space
from tests.cpchub.images import an_image, folder_of_images, save
from tests.cpchub.index.stores import ended, milvus_in


def test_index_info_search_and_outliers_answer_as_with_faiss(
    tmp_path: Path, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    milvus_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    for number in range(12):  # all of them differ, so that no two scores are equal
        (tmp_path / "photos" / ("cat", "dog")[number % 2]).mkdir(parents=True, exist_ok=True)
        save(an_image(number), tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number:03}.png")
    common = ["--encoder", str(tiny_encoder_folder), "--labels", "folders"]
    assert main(["index", "photos", "-o", "in-file", *common]) == 0
    assert main(["index", "photos", "-o", "in-milvus", *common, "--store", "milvus:photos.db"]) == 0
    assert "Search is exact in Milvus" in capsys.readouterr().err
    assert main(["info", "in-milvus"]) == 0
    assert f"of milvus:{tmp_path / 'photos.db'}." in capsys.readouterr().out

    def said(*command: str) -> dict[str, str]:
        answers = {}
        for collection in ("in-file", "in-milvus"):
            assert main([command[0], collection, *command[1:]]) == 0
            answers[collection] = capsys.readouterr().out
        return answers

    for command in (
        ("search", "id:0", "-k", "12"),
        ("search", "id:3", "id:4", "--each", "--where", "label == 'dog' and not path.endswith('01.png')"),
        ("search", "id:3", "--plus", "0.5:dog/003.png", "--minus", "id:1", "-k", "4"),
        ("outliers", "--all"),
    ):
        answers = said(*command)
        assert answers["in-milvus"] == answers["in-file"]
        assert answers["in-file"]
    ended(f"milvus:{tmp_path / 'photos.db'}")

    # a Space has no Milvus: it gets an index in a file
    written = write_space("in-milvus", tmp_path / "space", load(tiny_encoder_folder).spec)
    manifest = json.loads((written.folder / "collection" / "manifest.json").read_text())
    assert manifest["store"] is None
    assert len(Index.open(written.folder / "collection")) == 12
    ended(f"milvus:{tmp_path / 'photos.db'}")


def test_a_store_that_is_none_is_refused_before_anything_is_embedded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = folder_of_images(tmp_path / "photos", 2)
    assert main(["index", str(photos), "-o", str(tmp_path / "out"), "--store", "milvus:http://root:secret@host"]) == 2
    said = capsys.readouterr().err
    assert "CPCHUB_MILVUS_TOKEN" in said
    assert "secret" not in said
    assert not (tmp_path / "out").exists()
