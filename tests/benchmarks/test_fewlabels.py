"""The benchmark of few labels: its sets, its parts, and that one part leaves the entries of the others alone."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.fewlabels import __main__ as command
from benchmarks.fewlabels import choice, coverage, openset, unlabelled
from benchmarks.fewlabels.sets import LabelledSet


@pytest.fixture
def blobs() -> LabelledSet:
    """Three classes, well apart."""
    rng, y = np.random.default_rng(0), np.arange(120) % 3
    x = (rng.normal(size=(3, 8))[y] * 3 + rng.normal(size=(120, 8))).astype(np.float32)
    return LabelledSet("blobs", {"name": "blobs", "images": 120}, ("a", "b", "c"), x, y)


@pytest.mark.parametrize("name", command.PARTS)
def test_each_part_says_what_it_measures_and_shows(name: str) -> None:
    part = import_module(f"benchmarks.fewlabels.{name}")
    assert part.__doc__
    assert part.COLUMNS
    assert callable(part.title)
    assert callable(part.measure)


def test_the_classes_of_a_set_have_their_names(blobs: LabelledSet) -> None:
    assert blobs.labels[:4].tolist() == ["a", "b", "c", "a"]


def test_coverage_has_a_row_for_each_number_of_labels_and_way_to_draw(
    blobs: LabelledSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "LABELS", (20,))
    monkeypatch.setattr(coverage, "DRAWS", 2)
    found = coverage.measure([blobs])
    assert [row["drawn"] for row in found["results"]] == ["at random", "as many of each class"]
    assert found["draws"] == 4
    assert 0 <= found["covered"] <= 1
    assert all(set(coverage.COLUMNS) <= set(row) for row in found["results"])


def test_openset_has_a_row_for_each_number_of_labels(blobs: LabelledSet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PER_CLASS", (20,)), ("DRAWS", 2), ("DRAWS_CHOSEN", 1), ("CHOSEN_PER_CLASS", 5)):
        monkeypatch.setattr(openset, name, value)
    found = openset.measure([blobs])
    assert [(row["labels_per_class"], row["chosen"]) for row in found["results"]] == [
        (20, "at random"),
        (5, "label-next"),
    ]
    assert 0.5 < found["results"][0]["auroc"] <= 1
    assert 0 <= found["results"][0]["known_rejected_at_5"] <= found["results"][0]["known_rejected_at_10"] <= 1
    assert set(openset.COLUMNS) <= set(found["results"][0])


def test_unlabelled_has_a_row_for_each_number_of_labels(blobs: LabelledSet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PER_CLASS", (2, 5)), ("DRAWS", 2), ("LARGE", 200)):
        monkeypatch.setattr(unlabelled, name, value)
    found = unlabelled.measure([blobs])
    assert [row["labels_per_class"] for row in found["results"]] == [2, 5]
    assert all(0 <= row["used"] <= 1 for row in found["results"])
    assert set(unlabelled.COLUMNS) <= set(found["results"][0])
    assert found["large"]["seconds"]["all"] >= found["large"]["seconds"]["graph"]


def test_choice_compares_with_a_random_choice_and_draws_it(
    blobs: LabelledSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(choice, "PER_CLASS", (1, 3))
    monkeypatch.setattr(choice, "SEEDS", 3)
    found = choice.measure([blobs])
    assert [row["chosen"] for row in found["results"]] == [
        *(name for name in choice.WAYS for _ in choice.PER_CLASS),
        "typical clustering",
    ]
    assert found["first_batch"]["blobs"]["auto"] > found["first_batch"]["blobs"]["random"]
    assert found["best"]["blobs"]["labels_for_one_of_random"] < choice.BEST
    assert choice.title(found).startswith("1 of 1 sets")
    choice.draw(found, tmp_path / "choice.png")
    assert (tmp_path / "choice.png").read_bytes().startswith(b"\x89PNG")


def test_a_part_that_is_not_measured_keeps_its_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_encoder_folder: Path
) -> None:
    for i in range(6):
        (home := tmp_path / "colours" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (40 * i, 0, 0)).save(home / f"{i}.png")
    out = tmp_path / "fewlabels.json"
    out.write_text('{"another": {"results": [1]}}')
    monkeypatch.setattr(coverage, "measure", lambda sets: {"covered": 1, "draws": len(sets[0].y), "results": []})
    options = ("--only", "coverage", "--cache", tmp_path / "cache", "--encoder", tiny_encoder_folder, "--out", out)
    monkeypatch.setattr(sys, "argv", ["fewlabels", *map(str, (tmp_path / "colours", *options))])
    command.main()
    found = json.loads(out.read_text())
    assert found["another"] == {"results": [1]}
    assert found["coverage"]["draws"] == 6
    assert found["coverage"]["sets"][0]["name"] == "colours"
