"""The photo encoder, measured while it trains: settings that work, the averaged weights of the last checkpoint."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import photos_choice, photos_watch
from benchmarks.photos_data import TRAIN
from cpchub.encoders.load import load
from cpchub_training import data, recipes
from cpchub_training.recipes import Recipe
from cpchub_training.run.loop import train
from cpchub_training.views.settings import Views
from tests.training.small_runs import TINY


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of `photos_data.py`: dark and bright images, 12 and 4 held out of each set."""
    home, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, prefix in (("tiny-imagenet", "tiny"), ("cifar10", "cifar10")):
        for label, light in (("dark", 0), ("bright", 150)):
            for folder, n in ((home / TRAIN / f"{prefix}-{label}", 6), (home / "held-out" / name / label, 2)):
                folder.mkdir(parents=True)
                for i in range(n):
                    noise = rng.integers(light, light + 60, (20, 20, 3)).astype(np.uint8)
                    Image.fromarray(noise).save(folder / f"{i}.png")
    return home


def small(**changes: object) -> Recipe:
    recipe = replace(
        recipes.get("simclr_photos"),
        backbone_args=TINY,
        stored_size=16,
        views=Views(size=16),
        input_size=16,
        projector_hidden=16,
        projector_dim=8,
        batch_size=8,
        epochs=2,
        ema_decay=0.9,
        knn_every=0,
        precision="fp32",
    )
    return replace(recipe, **changes)  # type: ignore[arg-type]


def test_the_averaged_weights_of_the_last_checkpoint_are_measured_on_both_sets(images: Path, tmp_path: Path) -> None:
    source = data.load(str(images / TRAIN), size=16)
    result = train(small(), tmp_path / "run", images=source)
    recipe, network, step = photos_watch.averaged(tmp_path / "run")
    assert step == 2 * (24 // 8)
    assert recipe == small()
    for (name, mine), kept in zip(network.state_dict().items(), result.backbone.state_dict().values(), strict=True):
        assert torch.equal(mine, kept), name
    assert any(not torch.equal(a, b) for a, b in zip(network.parameters(), result.method.parameters(), strict=False))
    found = photos_choice.held_out_knn(network, recipe, source, images)
    assert set(found) == {"tiny-imagenet", "cifar10"}
    assert min(found.values()) >= 0.5


def test_a_line_is_kept_beside_the_run_and_the_encoder_as_it_is_can_be_had(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, exported = tmp_path / "run", tmp_path / "now"
    recipe, source = small(data=str(images / TRAIN)), data.load(str(images / TRAIN), size=16)
    train(recipe, run, images=source, stop_after_steps=2)
    given = [str(images), str(run), "--size", "24", "--export", str(exported)]
    monkeypatch.setattr(sys, "argv", ["photos_watch", *given])
    photos_watch.main()
    line = json.loads((run / "held_out.jsonl").read_text())
    assert line["step"] == 2
    assert line["epoch"] == pytest.approx(2 / 3)
    assert line["size"] == 24
    encoder = load(exported)
    assert encoder.spec.input_size == (3, 24, 24)
    assert f"24 images of {TRAIN}" in (exported / "README.md").read_text()
    assert train(recipe, run, images=source).metrics["step"] == 6  # the run goes on


def test_without_an_average_it_is_the_network_itself(images: Path, tmp_path: Path) -> None:
    result = train(small(ema_decay=0.0), tmp_path / "run", images=data.load(str(images / TRAIN), size=16))
    _, network, _ = photos_watch.averaged(tmp_path / "run")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), result.backbone.parameters(), strict=True))


def test_every_setting_can_be_run() -> None:
    for recipe in photos_choice.SETTINGS.values():
        recipe.check(140_000)
    assert photos_choice.SETTINGS["0.1, decoupled"].decoupled


def test_views_end_when_the_processor_time_is_spent(images: Path, tmp_path: Path) -> None:
    limited = photos_choice.Limited(data.load(str(images / TRAIN), size=16), seconds=0.0)
    result = train(small(epochs=1000), tmp_path / "run", images=limited)
    assert limited.batches == 1
    assert result.metrics["step"] == 1
