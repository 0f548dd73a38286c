"""Several classes an image: read from `a;b`, told with a probability each, estimated by class, saved and exported."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

import cpchub
from cpchub.cli.main import main
from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import LabelError
from cpchub.fewlabels import ClassMeans, LogisticProbe
from cpchub.fewlabels.classify import classify, classify_multi_label
from cpchub.fewlabels.given_labels import classes_of, joined, read_label_file
from cpchub.fewlabels.heads.card import render
from cpchub.fewlabels.multi_label import estimate_classes, indicators
from cpchub.fewlabels.one_vs_rest import OneVsRest

NAMES = ("beach", "people", "sky")


def images(count: int = 400, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Vectors `[N, 12]` with a direction for each of three classes, and which image is of which, at 1/2, 1/4, 1/8."""
    rng = np.random.default_rng(0)
    of_class = rng.random((count, 3)) < [0.5, 0.25, 0.125]
    return (of_class @ np.eye(3, 12) * 2 + 1 + spread * rng.normal(size=(count, 12))).astype(np.float32), of_class


def label(row: np.ndarray) -> str:
    return joined([name for name, each in zip(NAMES, row, strict=True) if each])


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    x, _ = images()
    return import_vectors(tmp_path_factory.mktemp("several") / "index", x, [f"{row}.jpg" for row in range(len(x))])


@pytest.fixture(scope="module")
def labels_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    path.write_text("path,label\n" + "".join(f"{row}.jpg,{label(each)}\n" for row, each in enumerate(images()[1][:60])))
    return path


def test_a_label_is_its_classes_in_any_order_each_once() -> None:
    assert classes_of(" sky; beach ;sky;") == ["beach", "sky"]
    assert classes_of(";") == []
    assert joined([]) == ";"
    names, of_class = indicators(["b;a", "a", ";"])
    assert names == ["a", "b"]
    assert of_class.tolist() == [[True, True], [True, False], [False, False]]
    with pytest.raises(LabelError, match="every label is ;"):
        indicators([";", ";"])


def test_several_classes_are_read_with_any_separator_and_an_empty_field_is_not_labelled(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,label\n1.jpg, sky ;beach\n2.jpg,\n3.jpg,;\n1.jpg,beach;sky\n")
    (tmp_path / "b.csv").write_text('path;label\n1.jpg;"beach; sky"\n3.jpg;";"\n')
    first, second = (read_label_file(tmp_path / name, several=True) for name in ("a.csv", "b.csv"))
    assert first.by_path == second.by_path == {"1.jpg": "beach;sky", "3.jpg": ";"}
    assert first.left_aside == ("1 line without a label", "1 line that repeats another")
    with pytest.raises(LabelError, match=r"line 2: 'sky ;beach' has a semicolon.*`cpchub classify --multi-label`"):
        read_label_file(tmp_path / "a.csv")


def test_the_probabilities_of_each_class_are_right_as_often_as_they_say() -> None:
    x, of_class = images(4000, spread=1.5)
    p = OneVsRest(LogisticProbe()).fit(x[:200], of_class[:200], NAMES).predict_proba(x[200:])
    for mean, share in zip(p.mean(axis=0), of_class[200:].mean(axis=0), strict=True):
        assert mean == pytest.approx(share, abs=0.08)
    for low in (0.0, 0.25, 0.5, 0.75):
        here = (p >= low) & (p < low + 0.25)
        assert of_class[200:][here].mean() == pytest.approx(p[here].mean(), abs=0.12)


def test_the_estimate_is_near_what_other_images_show() -> None:
    x, of_class = images(2000, spread=1.0)
    classifier = OneVsRest(LogisticProbe()).fit(x[:300], of_class[:300], NAMES)
    found = estimate_classes(x[:300], of_class[:300], classifier)
    true = f1_score(of_class[300:], classifier.predict(x[300:]), average="macro")
    assert found.macro_f1 == pytest.approx(true, abs=0.1)
    assert [each.labels for each in found.classes] == of_class[:300].sum(axis=0).tolist()
    assert all(each.recall is not None and each.recall.low < each.recall.value for each in found.classes)


def test_a_class_with_one_label_is_not_tested_and_one_that_all_have_is_refused() -> None:
    x, of_class = images(40)
    of_class[:, 2] = np.arange(40) == 5
    classifier = OneVsRest(ClassMeans()).fit(x, of_class, NAMES)
    found = estimate_classes(x, of_class, classifier)
    assert found.alone == ["sky"]
    assert found.classes[2].recall is found.classes[2].precision is None
    of_class[:, 1] = True
    with pytest.raises(LabelError, match="every labelled image is people; label one that is not"):
        OneVsRest(ClassMeans()).fit(x, of_class, NAMES)
    with pytest.raises(LabelError, match=r"y of shape \(40,\) for 40 images"):
        OneVsRest(ClassMeans()).fit(x, of_class[:, 0])


def test_the_command_tells_several_classes_and_a_saved_head_the_same(
    collection: Collection, labels_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, head = ["classify", str(collection.folder)], tmp_path / "head"
    flags = ["--labels", str(labels_csv), "--multi-label", "-o", str(tmp_path / "a.csv"), "--save", str(head)]
    assert main([*start, *flags]) == 0
    said = capsys.readouterr().err
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert list(rows[0]) == ["path", "predicted", "p_beach", "p_people", "p_sky", "label"]
    for row in rows:
        assert classes_of(row["predicted"]) == [name for name in NAMES if float(row[f"p_{name}"]) >= 0.5]
    expected = [label(each) for each in images()[1]]
    assert np.mean([row["predicted"] == right for row, right in zip(rows, expected, strict=True)]) > 0.9
    assert [row["label"] for row in rows] == [*expected[:60], *[""] * 340]
    assert "Macro F1: about " in said
    assert "no class " in said
    assert main([*start, "--head", str(head), "-o", str(tmp_path / "b.csv")]) == 0
    again = list(csv.DictReader((tmp_path / "b.csv").read_text().splitlines()))
    assert again == [row | {"label": ""} for row in rows]
    loaded = cpchub.load_classifier(head)
    assert loaded.several is not None
    assert loaded.several.macro_f1 is not None
    assert f"Macro F1 is estimated at {loaded.several.macro_f1:.2f}" in render(loaded, "org/name")
    assert main([*start, "--head", str(head), "--copy-to", str(tmp_path / "sorted")]) == 2
    assert "sorts by one class an image" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--none-of-these", "0.05"], ["--use-unlabelled"], ["--copy-to", "sorted"]])
def test_what_is_for_one_class_an_image_is_refused(
    collection: Collection, labels_csv: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--labels", str(labels_csv), "--multi-label"]
    assert main(["classify", str(collection.folder), *flags, *more]) == 2
    assert f"{more[0]} is for one class an image" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["means", "knn"])
def test_every_method_takes_several_classes(
    collection: Collection, labels_csv: Path, method: str, tmp_path: Path
) -> None:
    labels = read_label_file(labels_csv, several=True).by_path
    table, head = classify_multi_label(collection, labels, method)
    loaded = cpchub.load_classifier(head.save(tmp_path / "head"))
    assert classify(collection, {}, head=loaded)["predicted"].equals(table["predicted"])
    assert loaded.labels == head.labels
