"""Labels in doubt: those that were flipped come first, and nothing is said where nothing can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cpchub
from cpchub.cli.main import main
from cpchub.collection.collection import Collection
from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import LabelError
from tests.cpchub.fewlabels.test_calibration import clouds

NAMES = np.array(["ant", "bee", "cat"])
COUNT, FLIPPED = 200, 10


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    x, _ = clouds(COUNT, 3, apart=0.5)
    return import_vectors(tmp_path_factory.mktemp("errors") / "index", x, [f"{row:03d}.png" for row in range(COUNT)])


@pytest.fixture(scope="module")
def truth(collection: Collection) -> dict[str, str]:
    return {path: str(NAMES[row % 3]) for row, path in enumerate(collection.paths)}


@pytest.fixture(scope="module")
def wrong(truth: dict[str, str]) -> dict[str, str]:
    """Of every twentieth image, another class."""
    return {path: str(NAMES[(int(path[:3]) + 1) % 3]) for path in list(truth)[:: COUNT // FLIPPED]}


def test_labels_that_were_flipped_come_first_with_the_class_they_had(
    collection: Collection, truth: dict[str, str], wrong: dict[str, str]
) -> None:
    found = cpchub.find_label_errors(collection, truth | wrong)
    worst = found.table.slice(0, FLIPPED).to_pylist()
    hits = [line for line in worst if line["path"] in wrong]
    assert len(hits) >= 0.8 * FLIPPED
    assert all(line["label"] == wrong[line["path"]] and line["suggested"] == truth[line["path"]] for line in hits)
    assert found.table["probability"].to_pylist() == sorted(found.table["probability"].to_pylist())
    assert found.tested == COUNT
    assert found.alone == []


def test_right_labels_of_clear_classes_are_not_in_doubt(collection: Collection, truth: dict[str, str]) -> None:
    assert cpchub.find_label_errors(collection, truth).table.num_rows <= 0.05 * COUNT


def test_a_class_with_one_label_is_told_and_labels_that_cannot_be_tested_are_an_error(
    collection: Collection, truth: dict[str, str]
) -> None:
    few = {path: truth[path] for path in ("000.png", "003.png", "001.png", "004.png", "002.png")}
    assert cpchub.find_label_errors(collection, few).alone == ["cat"]
    with pytest.raises(LabelError, match="no class has two labels"):
        cpchub.find_label_errors(collection, {"000.png": "ant", "001.png": "bee"})
    with pytest.raises(LabelError, match=r"one class only \(ant\)"):
        cpchub.find_label_errors(collection, {"000.png": "ant", "003.png": "ant"})
    with pytest.raises(LabelError, match="no labels"):
        cpchub.find_label_errors(collection, {})


def test_the_command_writes_a_table_and_a_contact_sheet(
    collection: Collection,
    truth: dict[str, str],
    wrong: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels, out, sheet = tmp_path / "labels.csv", tmp_path / "doubts.csv", tmp_path / "doubts.png"
    labels.write_text("path,label\n" + "".join(f"{path},{name}\n" for path, name in (truth | wrong).items()))
    before = labels.read_bytes()
    command = ["label-errors", str(collection.folder), "--labels", str(labels)]
    assert main([*command, "-o", str(out), "--show", str(sheet)]) == 0
    assert f"of {COUNT} in doubt" in capsys.readouterr().err
    assert out.read_text().splitlines()[0] == '"path","label","suggested","probability"'
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert main([*command, "-o", str(labels)]) == 2
    assert labels.read_bytes() == before
