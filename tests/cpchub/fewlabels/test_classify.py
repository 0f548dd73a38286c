"""From a CSV file with a few labels to a class for every image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.collection.collection import Collection
from cpchub.embedding.job import embed
from cpchub.errors import LabelError
from cpchub.fewlabels.classify import METHODS, classify
from cpchub.fewlabels.given_labels import read_labels
from tests.cpchub.images import TinyEncoder, save


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Twelve reddish, twelve bluish images, and one that is broken."""
    folder = tmp_path_factory.mktemp("classify")
    rng = np.random.default_rng(0)
    for number in range(12):
        for name, channel in (("red", 0), ("blue", 2)):
            pixels = rng.integers(0, 120, (8, 8, 3), dtype=np.uint8)
            pixels[:, :, channel] += 120
            save(Image.fromarray(pixels), folder / "photos" / name / f"{number:02d}.png")
    (folder / "photos" / "broken.png").write_bytes(b"")
    return embed(folder / "photos", folder / "out", TinyEncoder(), progress=False)


@pytest.mark.parametrize("method", METHODS)
def test_two_labels_a_class_classify_the_rest(collection: Collection, method: str) -> None:
    given = {f"{name}/{number:02d}.png": name for name in ("red", "blue") for number in (0, 1)}
    table = classify(collection, given, method=method)
    assert table.column_names == ["path", "predicted", "confidence", "label"]
    assert table["path"].to_pylist() == collection.paths
    assert table["predicted"].to_pylist() == [path.split("/")[0] for path in collection.paths]
    assert all(0.5 < confidence <= 1 for confidence in table["confidence"].to_pylist())
    labels = dict(zip(collection.paths, table["label"].to_pylist(), strict=True))
    assert {path: label for path, label in labels.items() if label} == given


@pytest.mark.parametrize("method", METHODS)
def test_vectors_are_read_file_by_file(
    collection: Collection, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpchub.embedding.job.SHARD", 5)
    parts = embed(collection.source, tmp_path / "out", TinyEncoder(), progress=False, dtype="float16")
    given = {f"{name}/{number:02d}.png": name for name in ("red", "blue") for number in (0, 1)}
    monkeypatch.setattr(Collection, "vectors", lambda self: pytest.fail("all vectors are in memory"))
    assert classify(parts, given, method=method)["predicted"].to_pylist() == [
        path.split("/")[0] for path in collection.paths
    ]


def test_a_path_may_be_that_of_the_file(collection: Collection) -> None:
    given = {str(collection.source / "red" / "00.png"): "red", "./blue/../blue/00.png": "blue"}
    assert classify(collection, given)["label"].to_pylist().count("red") == 1


def test_labels_that_do_not_fit_are_refused_by_name(collection: Collection) -> None:
    with pytest.raises(LabelError, match=r"does not hold: red/99\.png\..* for example blue/00\.png"):
        classify(collection, {"red/99.png": "red", "blue/00.png": "blue"})
    with pytest.raises(LabelError, match=r"broken\.png \(could not be read\)"):
        classify(collection, {"broken.png": "red"})
    with pytest.raises(LabelError, match=r"\./red/00\.png is blue here and red under another spelling"):
        classify(collection, {"red/00.png": "red", "./red/00.png": "blue"})
    with pytest.raises(LabelError, match=r"hold: 0\.png and 4 more\. They are 5 of 5 labels"):
        classify(collection, {f"{number}.png": "red" for number in range(5)})
    with pytest.raises(LabelError, match=r"one class only \(red\)"):
        classify(collection, {"red/00.png": "red", "red/01.png": "red"})
    with pytest.raises(LabelError, match="no labels to learn from"):
        classify(collection, {})
    with pytest.raises(LabelError, match="no method 'forest'; there are auto, logistic, ridge, shrunk-means"):
        classify(collection, {}, method="forest")


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_are_read_by_column_name_and_empty_ones_are_skipped(tmp_path: Path) -> None:
    path = csv_file(tmp_path, '\ufefflabel,score,path\ncat,1,"a, b.png"\n,2,c.png\n dog ,3, d.png\ncat,4,"a, b.png"\n')
    assert read_labels(path) == {"a, b.png": "cat", "d.png": "dog"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class\na.png,cat\n", "has the columns file, class; it needs path,label"),
        ("", r"has the columns \(none\)"),
        ("path,label\na.png,\n", "has no labels"),
        ("path,label\na.png,cat\na.png,dog\n", r"line 3: a\.png is dog here and cat above"),
    ],
)
def test_a_file_that_is_not_a_list_of_labels_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        read_labels(csv_file(tmp_path, text))


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no file of labels"):
        read_labels(tmp_path / "nowhere.csv")
    (tmp_path / "labels.csv").write_bytes(b"path,label\n\xff\xfe,cat\n")
    with pytest.raises(LabelError, match="cannot be read as CSV"):
        read_labels(tmp_path / "labels.csv")
