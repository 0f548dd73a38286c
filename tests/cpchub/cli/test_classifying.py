"""`cpchub classify`: a class and a confidence for each image, printed or in a file."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

from cpchub.cli.estimates import show_estimate
from cpchub.cli.main import main
from cpchub.fewlabels.estimate import estimate_of
from cpchub.fewlabels.held_out import HeldOut


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("path,label\n000.png,cat\n001.png,dog\n")
    return path


def test_every_image_gets_a_class_and_a_confidence(collection: Path, labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    assert main(["classify", str(collection), "--labels", str(labels), "-o", str(out)]) == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert len(rows) == 8
    assert {row["predicted"] for row in rows} <= {"cat", "dog"}
    assert all(0 <= float(row["confidence"]) <= 1 for row in rows)


def test_without_a_file_the_predictions_are_printed(
    collection: Path, labels: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["classify", str(collection), "--labels", str(labels)]) == 0
    assert capfdbinary.readouterr().out.count(b"\n") == 9


def test_labels_of_images_that_are_not_there_are_an_error(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\nnowhere.png,cat\n001.png,dog\n")
    assert main(["classify", str(collection), "--labels", str(labels)]) == 2
    assert "nowhere.png" in capsys.readouterr().err


def test_an_output_without_a_folder_is_named_before_the_work(
    collection: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nowhere" / "predictions.csv"
    assert main(["classify", str(collection), "--labels", str(labels), "-o", str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"error: there is no folder {out.parent} to write predictions.csv")


def test_what_was_found_is_said_by_class(
    collection: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "predictions.csv"
    assert main(["classify", str(collection), "--labels", str(labels), "-o", str(out)]) == 0
    said = capsys.readouterr().err
    found = [row["predicted"] for row in csv.DictReader(io.StringIO(out.read_text()))]
    assert all(f"{name} {found.count(name)}" in said for name in set(found))


def test_the_file_of_the_labels_is_never_overwritten(collection: Path, labels: Path) -> None:
    before = labels.read_text()
    assert main(["classify", str(collection), "--labels", str(labels), "-o", str(labels)]) == 2
    assert labels.read_text() == before


def test_a_saved_classifier_says_the_same_of_the_images(
    collection: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, head = tmp_path / "first.csv", tmp_path / "second.csv", tmp_path / "head"
    start = ["classify", str(collection)]
    assert main([*start, "--labels", str(labels), "-o", str(first), "--save", str(head)]) == 0
    assert "tiny-simclr" in capsys.readouterr().err
    assert main([*start, "--head", str(head), "-o", str(second)]) == 0
    rows = [list(csv.DictReader(io.StringIO(out.read_text()))) for out in (first, second)]
    assert [row | {"label": ""} for row in rows[0]] == rows[1]


@pytest.mark.parametrize("more", [["--labels", "labels.csv"], ["--save", "other"], ["--method", "knn"]])
def test_a_saved_classifier_learns_nothing_more(
    collection: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", str(collection), "--head", "head", *more]) == 2
    assert "--labels" in capsys.readouterr().err


def test_images_are_sorted_by_label_and_prediction(
    collection: Path, labels: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "out.csv"), "--copy-to", str(tmp_path / "sorted")]
    assert main(["classify", str(collection), "--labels", str(labels), *out]) == 0
    assert "8 images" in capsys.readouterr().err
    assert (tmp_path / "sorted" / "cat" / "000.png").read_bytes() == (images / "000.png").read_bytes()
    assert len(list((tmp_path / "sorted").rglob("*.png"))) == len(list(images.iterdir())) == 8


def test_the_accuracy_is_told_with_its_interval_and_by_class(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, out = tmp_path / "labels.csv", str(tmp_path / "out.csv")
    labels.write_text("path,label\n000.png,cat\n001.png,cat\n002.png,dog\n003.png,dog\n004.png,ant\n")
    assert main(["classify", str(collection), "--labels", str(labels), "-o", out]) == 0
    said = capsys.readouterr().err
    assert re.search(r"Accuracy: about \d+% \(90 % interval \d+% to \d+%\); \d of 4 labels right when held out", said)
    assert "Not tested, since they have one label each: ant" in said
    assert re.search(r"^3 +dog +2 +\d+% \(\d+-\d+%\) .*( +[.\d]){3}$", said, re.MULTILINE)


def test_without_two_labels_of_a_class_no_accuracy_is_claimed(
    collection: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", str(collection), "--labels", str(labels), "-o", str(tmp_path / "out.csv")]) == 0
    assert "Accuracy: not known, since no class has two labels" in capsys.readouterr().err


def test_many_classes_are_told_by_what_is_confused_most(capsys: pytest.CaptureFixture[str]) -> None:
    codes = np.repeat(np.arange(20), 2)
    taken = np.eye(20)[codes]
    taken[0] = np.eye(20)[7]
    names = tuple(f"class {number}" for number in range(20))
    found = HeldOut(names, codes, taken, np.ones(40, bool))
    show_estimate(estimate_of(found, dict.fromkeys(names, 1.0)))
    said = capsys.readouterr().err
    assert "Most confused: class 0 taken for class 7 1" in said
    assert "The 12 of 20 classes that are found least:\n" in said
    assert len(said.splitlines()) == 1 + 1 + 12 + 1


def test_a_target_is_answered_and_the_growth_drawn(
    collection: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "predictions.csv", tmp_path / "growth.png"
    labels.write_text("path,label\n000.png,cat\n001.png,dog\n002.png,cat\n003.png,dog\n004.png,cat\n")
    start = ["classify", str(collection), "--labels", str(labels), "-o", str(out)]
    assert main([*start, "--target", "0.9", "--plot", str(plot)]) == 0
    said = capsys.readouterr().err
    assert "90 %" in said.replace("(90 % interval", "")
    assert f"Growth of the accuracy: {plot}" in said
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert main([*start, "--plot", "growth.pdf"]) == 2
    assert "--plot writes a PNG" in capsys.readouterr().err
    assert main(["classify", str(collection), "--head", "head", "--target", "0.9"]) == 2
    assert "--target goes with --labels" in capsys.readouterr().err
