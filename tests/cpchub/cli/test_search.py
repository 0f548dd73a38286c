"""`cpchub search` with one image: its lines, its contact sheet, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cpchub.cli.main import main
from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.index import Index


def test_an_image_finds_itself_first(
    collection: Path, images: Path, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = str(images / "003.png")
    assert main(["search", str(collection), query, "-k", "3", "--encoder", str(tiny_encoder_folder)]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 3
    assert lines[0][1] == "003.png"
    assert float(lines[0][0]) >= 0.999


def test_show_writes_a_contact_sheet(collection: Path, images: Path, tiny_encoder_folder: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    command = ["search", str(collection), str(images / "001.png"), "--encoder", str(tiny_encoder_folder)]
    assert main([*command, "--show", str(sheet)]) == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_more_neighbours_than_images_are_all_the_images(
    collection: Path, images: Path, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["search", str(collection), str(images / "001.png"), "--encoder", str(tiny_encoder_folder)]
    assert main([*command, "-k", "9"]) == 0
    assert capsys.readouterr().out.count("\n") == 8


def test_no_neighbours_are_an_error(collection: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(collection), "id:0", "-k", "0"]) == 2
    assert "k=0" in capsys.readouterr().err


def test_imported_vectors_are_searched_by_what_they_hold_and_say_so_where_an_encoder_is_needed(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cpchub.collection.import_vectors import import_vectors

    Index.build(import_vectors(tmp_path / "out", np.eye(4, dtype=np.float32), ["a", "b", "c", "d"]))
    assert main(["search", str(tmp_path / "out"), "b", "-k", "1"]) == 0
    assert capsys.readouterr().out == "1.0000\tb\n"
    for command in (["search", str(tmp_path / "out"), str(images / "000.png")], ["demo", str(tmp_path / "out")]):
        assert main(command) == 2
        assert "computed elsewhere" in capsys.readouterr().err


def test_a_contact_sheet_is_a_png_by_name_too(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.txt"
    assert main(["search", str(collection), "id:0", "--show", str(sheet)]) == 2
    assert ".png" in capsys.readouterr().err
    assert not sheet.exists()


def test_a_name_with_a_tab_or_a_line_end_stays_in_its_column_and_is_found_as_printed(
    images: Path, tmp_path: Path, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    names = ["a\tb.png", "c\nd.png", "e\\f.png", "g\x1b[31m.png"]
    for number, name in enumerate(names):
        (photos / "x\ty").mkdir(parents=True, exist_ok=True)
        shutil.copy(images / f"00{number}.png", photos / "x\ty" / name)
    out = tmp_path / "out"
    Index.build(embed(photos, out, load(tiny_encoder_folder), progress=False, labels="folders"))
    capsys.readouterr()
    assert main(["search", str(out), "id:0"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {len(row) for row in rows} == {3}
    assert {row[1] for row in rows} == {r"x\ty/a\tb.png", r"x\ty/c\nd.png", r"x\ty/e\\f.png", r"x\ty/g\x1b[31m.png"}
    assert {row[2] for row in rows} == {r"x\ty"}
    for _, printed, _ in rows:
        assert main(["search", str(out), printed, "-k", "1"]) == 0
        assert capsys.readouterr().out.split("\t")[1] == printed


def test_another_encoder_is_refused_by_name(
    collection: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.tiny_encoder import export_tiny

    other = export_tiny(tmp_path / "other", seed=1, name="other-encoder")
    assert main(["search", str(collection), str(images / "001.png"), "--encoder", str(other)]) == 2
    error = capsys.readouterr().err
    assert "tiny-simclr" in error
    assert "other-encoder" in error


def test_a_folder_that_is_no_collection_is_an_error_with_the_command_that_makes_one(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(tmp_path), str(images / "001.png")]) == 2
    assert "is not a collection" in (said := capsys.readouterr().err)
    assert "cpchub index IMAGES" in said
    assert main(["demo", str(tmp_path / "nowhere")]) == 2
    assert f"cpchub index IMAGES -o {tmp_path / 'nowhere'}\n" in capsys.readouterr().err
