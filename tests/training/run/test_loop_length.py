"""The learning rate over a run, and which runs may be made longer or shorter while they train."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpchub.errors import OtherRunError
from cpchub_training.data.batches import Batches
from cpchub_training.recipes import Recipe
from cpchub_training.run.loop import train
from cpchub_training.run.optimizers import schedule
from tests.training.small_runs import small, some_digits, weights


def test_the_length_of_a_trapezoid_may_be_chosen_until_it_cools_down(tmp_path: Path) -> None:
    def recipe(epochs: int) -> Recipe:
        return small(epochs=epochs, schedule="trapezoid", cooldown=0.5, knn_every=0)

    images = some_digits()
    steps = Batches(recipe(4), len(images)).steps_per_epoch
    train(recipe(4), tmp_path / "whole", images=images)
    train(recipe(8), tmp_path / "run", images=images, stop_after_steps=steps)
    train(recipe(4), tmp_path / "run", images=images, stop_after_steps=2 * steps)
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["epochs"] == 4
    with pytest.raises(OtherRunError, match="epochs: 4 there, 8 here"):
        train(recipe(8), tmp_path / "run", images=images)
    train(recipe(4), tmp_path / "run", images=images)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.mark.parametrize("change", [{"schedule": "cosine"}, {"schedule": "trapezoid", "lr": 0.5}])
def test_no_other_change_to_a_run_is_taken_over(tmp_path: Path, change: dict[str, object]) -> None:
    train(
        small(epochs=8, schedule=change["schedule"], knn_every=0),
        tmp_path / "run",
        images=some_digits(),
        stop_after_steps=1,
    )
    with pytest.raises(OtherRunError, match="another recipe"):
        train(small(epochs=9, **change, knn_every=0), tmp_path / "run", images=some_digits())


def test_a_constant_rate_goes_on_past_its_end(tmp_path: Path) -> None:
    short, long = (small(epochs=n, schedule="constant", knn_every=0) for n in (1, 2))
    train(long, tmp_path / "whole", images=some_digits())
    train(short, tmp_path / "run", images=some_digits())
    train(long, tmp_path / "run", images=some_digits())
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_the_length_of_a_run_is_fixed_when_its_views_grow(tmp_path: Path) -> None:
    def recipe(epochs: int) -> Recipe:
        return small(epochs=epochs, schedule="trapezoid", cooldown=0.1, knn_every=0, early_sizes=((0.5, 8),))

    images = some_digits()
    steps = Batches(recipe(4), len(images)).steps_per_epoch
    train(recipe(4), tmp_path / "run", images=images, stop_after_steps=2 * steps)
    train(recipe(5), tmp_path / "run", images=images, stop_after_steps=1)
    with pytest.raises(OtherRunError, match="epochs: 5 there, 4 here"):
        train(recipe(4), tmp_path / "run", images=images)


def test_learning_rate_schedules() -> None:
    assert [schedule(s, 100, 10) for s in (0, 9, 10)] == [0.1, 1.0, 1.0]
    assert schedule(99, 100, 10) < 0.001
    trapezoid = [schedule(s, 100, 10, cooldown=0.3) for s in (10, 69, 70, 85, 99)]
    assert trapezoid == pytest.approx([1, 1, 1, 0.5, 1 / 30])
    steps = ((0.6, 0.1), (0.8, 0.01))
    assert [schedule(s, 100, 0, steps=steps) for s in (0, 59, 60, 79, 80, 99)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
