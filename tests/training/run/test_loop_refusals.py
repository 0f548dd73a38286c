"""A run that cannot work, or that is another's, is refused by name and leaves the last good checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open

from cpchub.errors import OutputError, RecipeError, RunError
from cpchub_training.run.loop import train
from tests.training.small_runs import TINY, small, some_digits, weights


def test_a_run_folder_is_not_taken_over_by_another_recipe(tmp_path: Path) -> None:
    train(small(epochs=1), tmp_path / "run", images=some_digits())
    with pytest.raises(RunError, match=r"lr: 0\.3 there, 0\.1 here"):
        train(small(epochs=1, lr=0.1), tmp_path / "run", images=some_digits())


def test_a_folder_with_other_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not a run folder"):
        train(small(), tmp_path, images=some_digits())
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_damaged_checkpoint_is_refused_with_the_way_out(tmp_path: Path) -> None:
    recipe, images = small(epochs=1), some_digits()
    train(recipe, tmp_path / "run", images=images)
    (tmp_path / "run" / "checkpoints" / "last.safetensors").write_bytes(b"not weights")
    with pytest.raises(RunError, match="delete it to start the run again"):
        train(recipe, tmp_path / "run", images=images)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    recipe, images = small(), some_digits()
    train(recipe, tmp_path / "run", images=images, stop_after_steps=2)
    before = weights(tmp_path / "run")
    diverging = replace(recipe, lr=1e30)
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(diverging.to_dict()))
    with pytest.raises(RunError, match="the loss is nan"):
        train(diverging, tmp_path / "run", images=images)
    assert weights(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batch_size": 500}, "batch_size=500"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"epochs": 0}, "epochs=0"),
        ({"n_views": 1}, "n_views=1"),
        ({"momentum": -1.0}, "momentum=-1"),
        ({"precision": "fp16"}, "precision='fp16'"),
        ({"schedule": "stepz"}, "schedule='stepz'"),
        ({"projector_dim": 0}, "projector_dim=0"),
        ({"backbone": "resnet1000"}, "resnet1000"),
        ({"method": "simsiam"}, "simsiam"),
        ({"method": "instdisc", "n_views": 2}, "n_views=2"),
        ({"method": "cmc", "backbone": "resnet18", "backbone_args": TINY}, "colour_paths"),
        ({"steps": ((0.8, 0.01), (0.6, 0.1))}, "steps"),
        ({"accumulate": 3}, "accumulate=3"),
        ({"accumulate": 16}, "accumulate=16"),
        ({"ema_decay": 1.0}, "ema_decay=1.0"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0"),
        ({"plain_views": 3}, "plain_views=3"),
        ({"colour_weight": -0.1}, "colour_weight=-0.1"),
        ({"colour_weight": 0.1, "method": "moco_v2"}, "colour_weight=0.1"),
        ({"plain_views": -1}, "plain_views=-1"),
        ({"decoupled": True, "n_views": 3}, "decoupled is for simclr with two views"),
        ({"decoupled": True, "method": "moco_v2"}, "decoupled is for simclr.*not for moco_v2"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(changes: dict[str, object], named: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=named):
        train(small(**changes), tmp_path / "run", images=some_digits())
    assert not (tmp_path / "run").exists()


def test_a_supervised_method_refuses_images_without_labels(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="needs labels"):
        train(small("sup_con"), tmp_path / "run", images=replace(some_digits(), labels=None))


def test_a_diverged_state_never_replaces_the_last_good_checkpoint(tmp_path: Path) -> None:
    recipe, images = small(checkpoint_minutes=0), some_digits()
    train(recipe, tmp_path / "run", images=images, stop_after_steps=2)
    diverging = replace(recipe, lr=1e30)
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(diverging.to_dict()))
    with pytest.raises(RunError, match=r"not finite|the loss is"):
        train(diverging, tmp_path / "run", images=images)
    with safe_open(tmp_path / "run" / "checkpoints" / "last.safetensors", framework="pt") as f:
        assert all(f.get_tensor(name).isfinite().all() for name in f.keys() if "method" in name)  # noqa: SIM118


def test_a_run_does_not_go_on_with_other_images(tmp_path: Path) -> None:
    train(small(), tmp_path / "run", images=some_digits(), stop_after_steps=2)
    with pytest.raises(RunError, match=r"was trained on 64 images.*now there are 80 images"):
        train(small(), tmp_path / "run", images=some_digits(80))


def test_an_unreadable_recipe_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    train(small(epochs=1), tmp_path / "run", images=some_digits())
    (tmp_path / "run" / "recipe.json").write_text("")
    with pytest.raises(RunError, match=r"recipe\.json cannot be read"):
        train(small(epochs=1), tmp_path / "run", images=some_digits())


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    from cpchub.common.files import only_writer

    train(small(epochs=1), tmp_path / "run", images=some_digits())
    with only_writer(tmp_path / "run"), pytest.raises(OutputError, match="another process"):
        train(small(epochs=1), tmp_path / "run", images=some_digits())
