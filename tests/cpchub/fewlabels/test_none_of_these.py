"""Images of no labelled class are found at the level that was asked for, and a saved head still finds them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

import cpchub
from cpchub.cli.main import main
from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import ArgumentError, LabelError
from cpchub.fewlabels.classify import classify, learn
from cpchub.fewlabels.none_of_these import NONE, NoneOfThese, share_of_none

CLASSES, OF_EACH, DIM = 6, 100, 24
KNOWN = 3  # classes 0 to 2 are labelled, 3 to 5 are not


def vectors(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Six classes around directions at right angles, with a spread that all of them share in some directions."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(CLASSES), OF_EACH)
    common = rng.normal(size=(len(codes), 4)) @ np.eye(DIM)[-4:]
    return np.eye(DIM)[codes] + 0.12 * rng.normal(size=(len(codes), DIM)) + common, codes


def drawn(codes: np.ndarray, of_each: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(codes == c))[:of_each] for c in range(KNOWN)])


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    x, codes = vectors()
    paths = [f"{code}/{row}.jpg" for row, code in enumerate(codes)]
    return import_vectors(tmp_path_factory.mktemp("none") / "index", x, paths)


@pytest.fixture(scope="module")
def labels(collection: Collection) -> dict[str, str]:
    rows = drawn(vectors()[1], 20)
    return {collection.paths[row]: f"class {collection.paths[row][0]}" for row in rows}


@pytest.mark.parametrize("level", [0.05, 0.1])
def test_images_of_the_labelled_classes_are_rejected_at_the_level(level: float) -> None:
    known, unknown = [], []
    for seed in range(20):
        x, codes = vectors(seed)
        rows = drawn(codes, 15, seed)
        rest = np.delete(np.arange(len(codes)), rows)
        none = NoneOfThese(level).fit(x[rows], codes[rows], x).predict(x[rest]) == -1
        known.append(none[codes[rest] < KNOWN].mean())
        unknown.append(none[codes[rest] >= KNOWN].mean())
    assert level / 2 < np.mean(known) < 1.3 * level
    assert np.mean(unknown) > 0.9


def test_what_all_images_share_is_not_taken_for_a_likeness() -> None:
    x, codes = vectors()
    rows = drawn(codes, 15)
    none = [NoneOfThese(0.1).fit(x[rows], codes[rows], rest).predict(x) == -1 for rest in (x, None)]
    found = [each[codes >= KNOWN].mean() for each in none]
    assert found[0] > found[1]


def test_the_share_of_images_of_no_class_is_estimated() -> None:
    x, codes = vectors()
    rows = drawn(codes, 20)
    rest = np.delete(np.arange(len(codes)), rows)
    p = NoneOfThese().fit(x[rows], codes[rows], x).p_values(x[rest])
    assert share_of_none(p) == pytest.approx((codes[rest] >= KNOWN).mean(), abs=0.1)
    assert share_of_none(np.ones(5)) == 0


def test_too_few_labels_for_a_level_are_refused_with_the_number_needed() -> None:
    x, codes = vectors()
    rows = drawn(codes, 6)
    with pytest.raises(LabelError, match=r"level of 0\.05 needs 19 labels .* there are 18: .* level of 0\.053 or more"):
        NoneOfThese().fit(x[rows], codes[rows], x)
    NoneOfThese(1 / 19).fit(x[rows], codes[rows], x)
    with pytest.raises(LabelError, match=r"needs 9 labels .* there are 0"):
        NoneOfThese(0.1).fit(x[[0, 100, 200]], [0, 1, 2], x)
    with pytest.raises(ArgumentError, match=r"level=5: it is a share of the images, such as 0\.05"):
        NoneOfThese(5).fit(x[rows], codes[rows], x)
    assert clone(NoneOfThese(0.2)).level == 0.2


def test_one_class_is_enough_and_a_class_with_one_label_takes_part() -> None:
    x, codes = vectors()
    rows = drawn(codes, 20)
    detector = NoneOfThese().fit(x[rows[:21]], codes[rows[:21]], x)
    assert len(detector.known_) == 20
    assert NoneOfThese().fit(x[rows[:20]], codes[rows[:20]], x).predict(x[codes == 0]).mean() > 0.8


def test_the_command_answers_none_of_these_and_a_saved_head_does(
    collection: Collection, labels: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text("path,label\n" + "".join(f"{path},{name}\n" for path, name in labels.items()))
    start, head = ["classify", str(collection.folder)], tmp_path / "head"
    flags = ["--labels", str(tmp_path / "labels.csv"), "--none-of-these", "0.05"]
    assert main([*start, *flags, "-o", str(tmp_path / "a.csv"), "--save", str(head)]) == 0
    said = capsys.readouterr().err
    rows = read(tmp_path / "a.csv")
    none = [row for row in rows if row["predicted"] == NONE]
    assert f"None of these: {len(none)} of 600 images. About 5% of the images of the labelled classes" in said
    assert sum(row["path"][0] in "345" for row in none) > 200
    assert all(row["confidence"] == "" and float(row["typical"]) <= 0.05 for row in none)
    assert all(float(row["typical"]) > 0.05 for row in rows if row["predicted"] != NONE)
    assert main([*start, "--head", str(head), "-o", str(tmp_path / "b.csv")]) == 0
    assert [row | {"label": ""} for row in rows] == read(tmp_path / "b.csv")
    assert json.loads((head / "head.json").read_text())["none_of_these"] == {"level": 0.05}
    assert main([*start, "--head", str(head), "--none-of-these", "0.1"]) == 2
    assert "--none-of-these goes with --labels" in capsys.readouterr().err


def test_a_head_without_it_gives_each_image_a_class(
    collection: Collection, labels: dict[str, str], tmp_path: Path
) -> None:
    head = learn(collection, labels)
    assert "typical" not in classify(collection, labels, head=head).column_names
    loaded = cpchub.load_classifier(head.save(tmp_path / "head"))
    assert loaded.none_of_these is None
    assert json.loads((tmp_path / "head" / "head.json").read_text())["format"] == 1


def test_a_class_may_not_have_the_name_of_the_answer(collection: Collection, labels: dict[str, str]) -> None:
    with pytest.raises(LabelError, match="name the class otherwise"):
        classify(collection, labels | {collection.paths[500]: NONE}, none_of_these=0.05)
