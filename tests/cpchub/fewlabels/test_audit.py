"""A random sample that somebody labels: how many it takes, and the accuracy that it tells."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.cli.main import main
from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import ArgumentError, LabelError
from cpchub.fewlabels.audit import audit, draw_audit, interval_of_sample, rows_to_audit, sample_size
from cpchub.fewlabels.classify import learn
from tests.cpchub.fewlabels.test_calibration import clouds

COUNT = 300
NAMES = np.array(["ant", "bee", "cat"])


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    x, _ = clouds(COUNT, 3, apart=0.25)
    return import_vectors(tmp_path_factory.mktemp("audit") / "index", x, [f"{row:03d}.png" for row in range(COUNT)])


@pytest.fixture(scope="module")
def truth(collection: Collection) -> dict[str, str]:
    return {path: str(NAMES[row % 3]) for row, path in enumerate(collection.paths)}


def some_of(truth: dict[str, str], count: int) -> dict[str, str]:
    return dict(list(truth.items())[:count])


def test_the_sample_gives_the_width_that_was_asked_for_and_one_label_less_does_not() -> None:
    for width, images, accuracy in ((0.1, 10**6, 0.5), (0.1, 10**6, 0.9), (0.2, 500, 0.5), (0.05, 2000, 0.8)):
        count = sample_size(width, images, accuracy)
        widths = [np.ptp(interval_of_sample(accuracy, each, images)) for each in (count, count - 1)]
        assert widths[0] <= width < widths[1]


def test_a_better_classifier_and_a_smaller_collection_take_fewer_labels() -> None:
    assert sample_size(0.1, 10**6, 0.9) < sample_size(0.1, 10**6, 0.5)
    assert sample_size(0.1, 300) < sample_size(0.1, 10**6)
    assert interval_of_sample(0.8, 300, 300) == (0.8, 0.8)
    with pytest.raises(ArgumentError, match=r"width=10"):
        sample_size(10, 300)


def test_every_image_is_drawn_as_often_and_every_class_by_its_share() -> None:
    predicted, drawn = ["ant"] * 60 + ["bee"] * 30 + ["cat"] * 10, np.zeros(100)
    for seed in range(400):
        rows = draw_audit(predicted, np.arange(100), 20, seed)
        assert len(set(rows.tolist())) == 20
        assert [abs((rows < 60).sum() - 12) <= 1, abs((rows >= 90).sum() - 2) <= 1] == [True, True]
        drawn[rows] += 1
    assert np.abs(drawn / 400 - 0.2).max() < 0.1


def test_the_interval_of_the_audit_holds_the_true_accuracy(collection: Collection, truth: dict[str, str]) -> None:
    head = learn(collection, some_of(truth, 30), "means")
    predicted = head.classify(collection)["predicted"].to_pylist()
    rows = rows_to_audit(collection, some_of(truth, 30))
    true = np.mean([predicted[row] == truth[collection.paths[row]] for row in rows])
    inside = []
    for seed in range(40):
        sample = draw_audit(np.array(predicted)[rows].tolist(), rows, 50, seed)
        labels = {collection.paths[row]: truth[collection.paths[row]] for row in sample}
        found = audit(collection, head, labels, len(rows)).accuracy
        inside.append(found.low <= true <= found.high)
    assert np.mean(inside) >= 0.85


def test_a_class_that_the_classifier_lacks_counts_as_wrong(collection: Collection, truth: dict[str, str]) -> None:
    head = learn(collection, {path: name for path, name in some_of(truth, 30).items() if name != "cat"}, "means")
    found = audit(collection, head, some_of(truth, 60))
    assert found.unknown == ("cat",)
    assert found.classes["cat"].right == 0
    assert found.accuracy.value <= 2 / 3


def test_a_sample_is_drawn_filled_in_and_tells_the_accuracy(
    collection: Collection, truth: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, learned, head = str(collection.folder), tmp_path / "labels.csv", str(tmp_path / "head")
    learned.write_text("path,label\n" + "".join(f"{path},{name}\n" for path, name in some_of(truth, 30).items()))
    assert main(["classify", folder, "--labels", str(learned), "-o", str(tmp_path / "p.csv"), "--save", head]) == 0
    assert "more labels for 95 %" in (said := capsys.readouterr().err) or "not reachable with this encoder" in said
    assert "`cpchub audit` draws one" in said
    out, sheet = tmp_path / "audit.csv", tmp_path / "sheet.png"
    draw = ["audit", folder, "--head", head, "--without", str(learned), "--width", "0.2"]
    assert main([*draw, "-o", str(out), "--show", str(sheet)]) == 0
    assert "drawn at random of 270" in (said := capsys.readouterr().err)
    assert f"--labels {out}" in said
    with Image.open(sheet) as image:
        assert image.width > 100
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert not {row["path"] for row in rows} & set(some_of(truth, 30))
    assert {row["label"] for row in rows} == {""}
    assert main([*draw, "-o", str(out)]) == 2  # a sample may have labels and is not overwritten
    out.write_text("path,label\n" + "".join(f"{row['path']},{truth[row['path']]}\n" for row in rows))
    capsys.readouterr()
    assert main(["audit", folder, "--head", head, "--labels", str(out)]) == 0
    said = capsys.readouterr().err
    assert f"of {len(rows)} images drawn at random" in said
    assert "ant: " in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labels", "audit.csv"], "name it with --head"),
        (["--labels", "audit.csv", "--head", "head", "--width", "0.1"], "--width is for drawing"),
        (["--width", "10"], "between 0 and 1"),
    ],
)
def test_flags_that_do_not_go_together_are_told(
    words: list[str], said: str, collection: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(collection.folder), *words]) == 2
    assert said in capsys.readouterr().err


def test_where_every_image_has_a_label_there_is_none_to_audit(collection: Collection, truth: dict[str, str]) -> None:
    with pytest.raises(LabelError, match="every image has a label"):
        rows_to_audit(collection, truth)
