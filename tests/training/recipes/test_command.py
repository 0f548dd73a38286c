"""The command on a card makes the recipe that was trained."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from cpchub.cli.training import TrainRecipe
from cpchub_training import recipes
from cpchub_training.data.loading import drawn, open_data
from cpchub_training.jobs.pretrain import describe
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.command import command_of

SIMCLR, CPC = recipes.get("simclr_digits"), recipes.get("cpc_cifar10_cpu")


@pytest.mark.parametrize(
    "recipe",
    [
        SIMCLR,
        replace(SIMCLR, epochs=3, limit=100, lr=1e-5, nesterov=False, mean=(0.1, 0.2, 0.3), exclude=("a b", "*.gif")),
        replace(SIMCLR, views=replace(SIMCLR.views, size=24, crop_scale=(0.5, 0.9)), decoupled=True),
        replace(SIMCLR, backbone_args={"layers": [1, 1], "stem_type": "deep"}, steps=((0.5, 0.1), (0.7, 0.01))),
        replace(CPC, cpc=replace(CPC.cpc, directions=2, patches=replace(CPC.cpc.patches, jitter=3))),
        replace(recipes.get("cpc_audio_fsdd"), data="tones"),
    ],
)
def test_the_command_of_a_recipe_makes_that_recipe(recipe: Recipe) -> None:
    command = command_of(recipe)
    assert command is not None
    words = shlex.split(command)
    assert words[:2] == ["cpchub", "train"]
    assert TrainRecipe.parse(words[2:]).recipe == recipe  # type: ignore[attr-defined]


def test_a_command_names_no_folder_of_this_machine_and_only_what_is_registered() -> None:
    assert command_of(replace(SIMCLR, data="/home/ann/photos")) == "cpchub train simclr_digits --images photos"
    assert command_of(replace(SIMCLR, name="mine")) is None
    assert describe(replace(SIMCLR, epochs=2), 64, "x")["command"] == "cpchub train simclr_digits --epochs 2"
    assert "command" not in describe(replace(SIMCLR, name="mine"), 64, "x")


def test_a_limit_draws_the_same_images_each_time() -> None:
    few = open_data(replace(SIMCLR, limit=100))
    again = open_data(replace(SIMCLR, limit=100, seed=5))
    assert len(few) == 100
    assert few.digest() == again.digest()
    assert few.labels is not None
    assert len(few.labels.unique()) == 10
    assert drawn(10, 0) is drawn(10, 20) is None
    assert drawn(1000, 10) is not None
