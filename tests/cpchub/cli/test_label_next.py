"""`cpchub label-next`: a list with reasons, a CSV to be filled in and given back, a contact sheet."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cpchub.cli.main import main
from cpchub.embedding.job import embed
from tests.cpchub.images import TinyEncoder, an_image, save


def lines_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def fill_in(file: Path, label: dict[str, str]) -> None:
    """Write a label beside each path, as a person does in a spreadsheet."""
    lines = lines_of(file)
    assert [line["label"] for line in lines] == [""] * len(lines)
    file.write_text("path,label\n" + "".join(f"{line['path']},{label[line['path']]}\n" for line in lines))


def test_the_loop_of_choosing_filling_in_and_classifying(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = {f"{number:03d}.png": "even" if number % 2 == 0 else "odd" for number in range(8)}
    first, second, sheet = (tmp_path / name for name in ("first.csv", "second.csv", "sheet.png"))
    start = ["label-next", str(collection)]
    assert main([*start, "-n", "4", "-o", str(first), "--show", str(sheet)]) == 0
    said = capsys.readouterr()
    listed = [line.split("\t") for line in said.out.splitlines()]
    assert [path for path, _ in listed] == [line["path"] for line in lines_of(first)]
    assert all("stands for" in reason or "unlike" in reason for _, reason in listed)
    assert "4 images to label next, the most helpful first, of 8 without" in said.err
    assert f"--labels {first}" in said.err
    assert sheet.read_bytes().startswith(b"\x89PNG")

    fill_in(first, truth)
    assert main([*start, "-n", "2", "--labels", str(first), "-o", str(second)]) == 0
    assert f"--labels {first} --labels {second}" in capsys.readouterr().err
    fill_in(second, truth)
    chosen = [line["path"] for file in (first, second) for line in lines_of(file)]
    assert len(set(chosen)) == 6

    both = ["--labels", str(first), "--labels", str(second)]
    assert main(["classify", str(collection), *both, "-o", str(tmp_path / "out.csv")]) == 0
    given = {line["path"]: line["label"] for line in lines_of(tmp_path / "out.csv") if line["label"]}
    assert given == {path: truth[path] for path in chosen}
    capsys.readouterr()
    assert main([*start, *both]) == 0
    assert {line.split("\t")[0] for line in capsys.readouterr().out.splitlines()} == set(truth) - set(chosen)


def test_an_empty_label_is_not_labelled_and_is_counted(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\n000.png,cat\n001.png,\n002.png,\n")
    assert main(["label-next", str(collection), "--labels", str(labels)]) == 0
    said = capsys.readouterr()
    assert "left aside: 2 lines without a label" in said.err
    assert len(said.out.splitlines()) == 7


def test_of_two_files_the_later_label_counts_and_that_is_said(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("path,label\n000.png,cat\n001.png,dog\n")
    second.write_text("path,label\n001.png,cat\n002.png,dog\n")
    files = ["--labels", str(first), "--labels", str(second)]
    assert main(["classify", str(collection), *files, "-o", str(tmp_path / "out.csv")]) == 0
    assert f"1 label of {second} in place of another in an earlier file: 001.png" in capsys.readouterr().err
    given = {line["path"]: line["label"] for line in lines_of(tmp_path / "out.csv") if line["label"]}
    assert given == {"000.png": "cat", "001.png": "cat", "002.png": "dog"}


def test_no_file_is_overwritten(collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "next.csv"
    out.write_text("path,label\n000.png,cat\n")
    assert main(["label-next", str(collection), "-o", str(out)]) == 2
    assert capsys.readouterr().err == f"error: {out} exists and may hold labels; give --out another name\n"
    assert out.read_text() == "path,label\n000.png,cat\n"


def test_a_collection_that_is_labelled_is_said_to_be(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\n" + "".join(f"{number:03d}.png,{'ab'[number % 2]}\n" for number in range(8)))
    command = ["label-next", str(collection), "--labels", str(labels), "-o", str(tmp_path / "next.csv")]
    assert main(command) == 2
    assert capsys.readouterr().err == "error: all 8 images have a label; there is none to label next\n"
    assert not (tmp_path / "next.csv").exists()
    assert main([*command, "--strategy", "errors"]) == 0
    assert "in doubt, the worst first; look at them again" in capsys.readouterr().err


def test_copies_are_told_by_the_whole_images_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(6):
        image = an_image(number, (96, 80))
        save(image, tmp_path / "photos" / f"{number}.png")
        save(image.reduce(2), tmp_path / "photos" / f"{number}-small.png")
    collection = embed(tmp_path / "photos", tmp_path / "index", TinyEncoder(), progress=False)
    assert main(["label-next", str(collection.folder)]) == 0
    said = capsys.readouterr()
    assert sorted(line[0] for line in said.out.splitlines()) == list("012345")
    assert "The others are copies of these or of labelled images, and are left out" in said.err


@pytest.mark.parametrize("number", ["0", "-3"])
def test_no_images_are_asked_for_in_vain(collection: Path, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["label-next", str(collection), "-n", number]) == 2
    assert f"-n {number}: give the number of images to label next" in capsys.readouterr().err
