"""Labels that cannot be used as they are: each kind is answered in a sentence, and nothing is dropped silently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpchub.cli.main import main
from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import ArgumentError

HEADER = "path,label\n"


def answer(collection: Path, text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The status of `cpchub classify` with these labels, and what it said."""
    labels = folder / "labels.csv"
    labels.write_text(text, encoding="utf-8")
    status = main(["classify", str(collection), "--labels", str(labels), "-o", str(folder / "out.csv")])
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("000.png,cat\n001.png,cat\n", "labels of one class only (cat); label at least one example of a second class"),
        ("", "has no lines below the names of its columns; write one into the column label for a few images"),
        ("000.png,\n001.png, \n", "has no labels; write one into the column label for a few images of each class"),
        ("000.png,cat\n001.png,dog\n,dog\n", "line 4 has no path; name its image there, or delete the line"),
        ("000.png,cat\n001.png,dog\n000.png,dog\n", "line 4: 000.png is dog here and cat above; give each image one"),
        (
            "000.png,cat\n001.png,dog\n000.png,dog\n000.png,ant\n001.png,cat\n002.png,ant\n002.png,cat\n",
            "line 4: 000.png is dog here and cat above; give each image one class; 2 other images have two classes",
        ),
        ("000.png,cat\n./000.png,dog\n", "./000.png is dog here and cat under another spelling of its path"),
        ("000.png,cat\n001.png,dog\nx.png,dog\n", "does not hold: x.png. They are 1 of 3 labels; mend or delete"),
        ("x.png,cat\n001.png,dog\ny.png,dog\nz.png,cat\n", "does not hold: x.png and 2 more. They are 3 of 4 labels;"),
        ("000.png,cat;dog\n", "line 2 has 3 fields and the first line 2; put quotes around"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(
    collection: Path, lines: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = HEADER.replace(",", ";") if "cat;dog" in lines else HEADER
    status, words = answer(collection, header + lines.replace("000.png,cat;dog", "000.png;cat;dog"), tmp_path, capsys)
    assert status == 2
    assert words.startswith("error: ")
    assert said in words
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "000.png,cat\n001.png,dog\n002.png,\n003.png,\n001.png,dog\n",
            "2 labels in {}; left aside: 2 lines without a label and 1 line that repeats another",
        ),
        ("000.png,cat\n001.png,cat\n002.png,dog\n", "Not tested, since they have one label each: dog"),
        ("".join(f"{row:03d}.png,{row % 2}\n" for row in range(8)), "Every image has a label already;"),
    ],
)
def test_what_can_be_used_in_part_is_used_and_the_rest_is_told(
    collection: Path, lines: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, words = answer(collection, HEADER + lines, tmp_path, capsys)
    assert status == 0
    assert said.format(tmp_path / "labels.csv") in words
    assert (tmp_path / "out.csv").read_text().count("\n") == 9


def test_images_in_no_class_folder_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png", "loose.png"]
    import_vectors(tmp_path / "index", np.eye(5), paths)
    out = ["-o", str(tmp_path / "out.csv")]
    assert main(["classify", str(tmp_path / "index"), "--labels", "folders", *out]) == 0
    assert "Without a label: 1 image in no class folder" in capsys.readouterr().err


def test_two_hundred_classes_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    centres = np.random.default_rng(0).normal(size=(200, 32))
    vectors = centres[np.arange(600) % 200] + 0.1 * np.random.default_rng(1).normal(size=(600, 32))
    import_vectors(tmp_path / "index", vectors, [f"{row}.png" for row in range(600)])
    lines = "".join(f"{row}.png,class {row % 200}\n" for row in range(400))
    status, words = answer(tmp_path / "index", HEADER + lines, tmp_path, capsys)
    assert status == 0
    assert "The 12 of 200 classes that are found least:" in words
    assert len({line.split(",")[1] for line in (tmp_path / "out.csv").read_text().splitlines()[1:]}) == 200


def test_vectors_that_are_no_numbers_are_named_by_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = np.eye(6, dtype=np.float32)
    collection = import_vectors(tmp_path / "index", vectors, [f"{row}.png" for row in range(6)])
    vectors[[2, 4]] = np.nan
    with pytest.raises(ArgumentError, match=r"2 of 6 vectors are zero or not finite, in rows 2 and 4; leave them out"):
        import_vectors(tmp_path / "other", vectors, collection.paths)
    file = tmp_path / "index" / "vectors" / collection.manifest["shards"][0]["file"]
    table = pq.read_table(file)
    damaged = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 6)
    pq.write_table(table.set_column(1, "vector", damaged), file)
    status, words = answer(tmp_path / "index", HEADER + "0.png,cat\n1.png,dog\n", tmp_path, capsys)
    assert status == 2
    assert "holds NaN or infinity in rows 2 (2.png) and 4 (4.png)" in words
