"""The table of transfer to other sets of photos: what each representation sees, and what is taken of a set."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import transfer
from cpchub_training.evaluate.datasets import Part
from tests.tiny_encoder import export_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reddish and greenish images without form, 30 and 26 of them, and grey ones with a bright left half, 30."""
    home, rng = tmp_path_factory.mktemp("sets") / "colours", np.random.default_rng(0)
    for label, n in (("red", 30), ("green", 26), ("left", 30)):
        (home / label).mkdir(parents=True)
        for i in range(n):
            noise = rng.integers(0, 60, (40, 50, 3))
            noise[..., 0] += 120 * (label == "red")
            noise[..., 1] += 120 * (label == "green")
            noise[:, :25] += 120 * (label == "left")
            Image.fromarray(noise.astype(np.uint8)).save(home / label / f"{i:02}.png")
    return home


def test_each_representation_is_measured_on_each_set_with_every_number_of_labels(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "label_curve", partial(transfer.label_curve, seeds=(0, 1)))
    found = transfer.report([str(folder)], [str(export_tiny(tmp_path / "tiny"))])
    rows = {row["representation"]: row for row in found["results"]}
    assert list(rows) == ["pixels", "colour histogram", "untrained network", "tiny-simclr"]
    assert rows["colour histogram"]["5 neighbours"] == 1
    assert rows["colour histogram"]["20 a class"] == 1
    assert rows["colour histogram"]["20 a class, std"] == 0
    assert rows["pixels"]["5 neighbours"] == 1
    assert all(0 <= row[f"{n} a class"] <= 1 for row in rows.values() for n in (1, 5, 20))
    assert found["sets"][0]["classes"] == 3
    transfer.show(found)
    assert "histogram" in capsys.readouterr().out


def test_of_every_class_no_more_is_taken_than_said_and_the_same_each_time() -> None:
    labels = np.array([0] * 10 + [1] * 3 + [2] * 7)
    part = Part([np.full((2, 2, 3), i, np.uint8) for i in range(20)], labels, "digest")
    taken = transfer.at_most(part, 5)
    assert np.bincount(taken.labels).tolist() == [5, 3, 5]
    assert all(labels[int(np.asarray(p)[0, 0, 0])] == y for p, y in zip(taken.images, taken.labels, strict=True))
    assert np.array_equal(taken.arrays(side=2), transfer.at_most(part, 5).arrays(side=2))


def test_a_histogram_knows_colours_and_no_places() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, :2] = 255
    turned, grey = image[:, ::-1].copy(), np.full((4, 4, 3), 128, np.uint8)
    x = transfer.colours(Part([image, turned, grey], np.zeros(3, np.int64), ""))
    assert x[0] @ x[1] == pytest.approx(1)
    assert x[0] @ x[2] == 0
