"""The whole way, on images and a network small enough for seconds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cpchub
from cpchub.errors import OutputError, RunError, SourceError
from cpchub.fewlabels import LabelCurve
from cpchub_training import recipes
from cpchub_training.jobs import few_labels, quickstart
from cpchub_training.recipes import Recipe
from tests.training.small_runs import TINY


def photos(folder: Path, classes: tuple[str, ...] = ("red", "blue"), each: int = 20) -> Path:
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        for i in range(each):
            pixels = rng.integers(0, 120, (24, 30, 3), dtype=np.uint8)
            pixels[..., 2 * number] += 120
            path = folder / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


def tiny(images: Path) -> Recipe:
    recipe = recipes.get("simclr_photos_quickstart")
    return replace(
        recipe,
        data=str(images),
        backbone_args=TINY,
        stored_size=16,
        views=replace(recipe.views, size=16),
        input_size=16,
        epochs=2,
        batch_size=8,
    )


@pytest.fixture
def not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The label curve takes most of the time; the first test has it."""
    monkeypatch.setattr(quickstart, "compare_few_labels", lambda *args: {"accuracy": {}})


def test_a_folder_of_classes_becomes_encoder_collection_and_label_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_labels, "SEEDS", (0,))
    images, out = photos(tmp_path / "photos"), tmp_path / "out"
    collection = quickstart.run(images, out, recipe=tiny(images), scratch_steps=2)
    results = json.loads((out / "results.json").read_text())
    assert results["pictures"] == 40
    assert results["labels_per_class"] == [1, 2, 5, 10]
    assert set(results["accuracy"]) == {"frozen", "package", "from_scratch"}
    for name in ("neighbours.png", "label_curve.png"):
        with Image.open(out / name) as image:
            assert min(image.size) > 100
    encoder = cpchub.load(out / "run" / "export")
    hits = cpchub.Index.open(collection).search(images / "red" / "3.png", k=40, encoder=encoder)
    score = {hit.path: hit.score for hit in hits}
    # after two epochs the red images are one to the encoder, so several share the first place
    assert score["red/3.png"] == pytest.approx(hits[0].score, abs=1e-6)
    assert hits[0].score >= 0.999
    assert max(score[path] for path in score if not path.startswith("red/")) < 0.99
    assert encoder.spec.recipe is not None
    assert encoder.spec.recipe["data"] == "photos"  # the name of the folder, not where it is

    weights = (out / "run" / "export" / "model.safetensors").read_bytes()
    monkeypatch.setattr(quickstart, "compare_few_labels", lambda *args: {})
    quickstart.run(images, out, recipe=tiny(images), scratch_steps=2)  # again: trained already
    assert (out / "run" / "export" / "model.safetensors").read_bytes() == weights


def test_images_without_classes_are_searchable_and_not_measured(tmp_path: Path) -> None:
    images = photos(tmp_path / "photos", classes=("all",)) / "all"
    quickstart.run(images, tmp_path / "out", recipe=tiny(images))
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert "accuracy" not in results
    assert not (tmp_path / "out" / "label_curve.png").exists()


def test_a_handful_of_images_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    images = photos(tmp_path / "photos", each=5)
    with pytest.raises(SourceError, match="needs at least 32"):
        quickstart.run(images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("not_measured")
def test_added_images_and_a_class_of_one_start_the_training_again(tmp_path: Path) -> None:
    images, out = photos(tmp_path / "photos"), tmp_path / "out"
    quickstart.run(images, out, recipe=tiny(images), scratch_steps=1)
    assert "accuracy" in json.loads((out / "results.json").read_text())
    photos(images, classes=("green",), each=1)
    quickstart.run(images, out, recipe=tiny(images), scratch_steps=1)
    results = json.loads((out / "results.json").read_text())
    assert results["pictures"] == 41
    assert "accuracy" not in results  # one image of a class cannot be learnt from and measured with


@pytest.mark.usefixtures("not_measured")
def test_a_damaged_run_is_an_error_and_is_not_thrown_away(tmp_path: Path) -> None:
    images, out = photos(tmp_path / "photos"), tmp_path / "out"
    quickstart.run(images, out, recipe=tiny(images), scratch_steps=1)
    checkpoint = out / "run" / "checkpoints" / "last.safetensors"
    checkpoint.write_bytes(b"damaged")
    with pytest.raises(RunError, match="delete it to start the run again"):
        quickstart.run(images, out, recipe=tiny(images), scratch_steps=1)
    assert checkpoint.read_bytes() == b"damaged"
    assert (out / "collection" / "manifest.json").exists()


def test_a_folder_with_other_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        quickstart.run(None, tmp_path)
    with pytest.raises(OutputError, match="lies among the images"):
        quickstart.run(photos(tmp_path / "photos"), tmp_path / "photos" / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos", "thesis.txt"]


def test_a_lead_within_its_spread_is_said_to_be_perhaps_chance() -> None:
    labels, own = (1, 5), LabelCurve((1, 5), np.array([[0.5, 0.8], [0.6, 0.9]]))
    curves = {
        "frozen": own,
        "package": LabelCurve(labels, np.array([[0.4, 0.9], [0.65, 0.85]])),
        "from_scratch": LabelCurve(labels, np.array([[0.45, 0.5], [0.54, 0.6]])),
    }
    package, scratch = few_labels.remarks(curves)
    assert package == (
        "The own encoder minus the encoder in the package: +2.5, -2.5 points. That is within its spread: it may be "
        "chance."
    )
    assert scratch == "The own encoder minus training from scratch: +5.5, +30.0 points."


@pytest.mark.parametrize(("package", "encoder"), [([0.4, 0.9], "simclr-resnet18"), ([0.4, 0.7], "out/run")])
def test_the_encoder_that_did_better_is_offered_for_other_images(package: list[float], encoder: str) -> None:
    results = {"accuracy": {"frozen": {"mean": [0.5, 0.7]}, "package": {"mean": package}}}
    *_, last = quickstart.what_next(Path("out"), results, own=True)
    assert f"--encoder {encoder}" in last


@pytest.mark.slow
def test_on_the_digits_the_frozen_encoder_leads_at_every_number_of_labels(tmp_path: Path) -> None:
    quickstart.run(None, tmp_path / "out")
    accuracy = json.loads((tmp_path / "out" / "results.json").read_text())["accuracy"]
    for frozen, scratch in zip(accuracy["frozen"]["mean"], accuracy["from_scratch"]["mean"], strict=True):
        assert frozen > scratch
